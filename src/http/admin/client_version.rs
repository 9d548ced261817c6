//! The version of `rspm` that a request states.

use http::header::HeaderMap;

use api::VERSION_HEADER;

/// Returns the version of `rspm` in a request, major and minor, if it differs from that of this server. Clients other
/// than `rspm` send none.
pub(super) fn other(headers: &HeaderMap) -> Option<(u32, u32)> {
    let release = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    let version = release(headers.get(VERSION_HEADER)?.to_str().ok()?)?;
    (Some(version) != release(env!("CARGO_PKG_VERSION"))).then_some(version)
}
