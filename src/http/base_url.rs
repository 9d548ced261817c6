//! The base URL of this server for a client: `Server.Address`, else that of the trusted proxy's headers or the request.

use http::header::{HOST, HeaderMap};
use http::request::Parts;
use http::uri::{Authority, Scheme, Uri};

use crate::http::login::permission::Principal;
use crate::http::net::Peer;
use crate::http::site::SiteSettings;
use base::model::time::Timestamp;

/// The absolute URL that the client requested; proxies configured for Posit Package Manager send it.
const ORIGINAL_URL_HEADER: &str = "x-rspm-request";

#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub peer: Peer,
    pub parts: &'a Parts,
    /// The raw path without the prefix of `Server.Address`.
    pub path: &'a str,
    pub received_at: Timestamp,
    pub principal: &'a Principal,
}

impl RequestHead<'_> {
    /// Returns whether the client is a browser that requests a page: R and other programs do not accept HTML.
    pub(super) fn accepts_html(&self) -> bool {
        self.accepts("text/html")
    }

    /// Returns whether `Accept` names a media type, whatever its quality.
    pub(super) fn accepts(&self, media_type: &str) -> bool {
        let accepted = self.parts.headers.get_all(http::header::ACCEPT).iter();
        let mut ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
        ranges.any(|range| {
            range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(media_type))
        })
    }
}

/// Returns scheme, authority and path prefix, without a trailing slash.
pub(super) fn base_url(site: &SiteSettings, head: &RequestHead<'_>) -> String {
    site.address.clone().unwrap_or_else(|| requested_url(site, head))
}

/// Returns scheme, authority and path prefix of the URL that the client requests, without regard to `Server.Address`.
pub(super) fn requested_url(site: &SiteSettings, head: &RequestHead<'_>) -> String {
    let headers = &head.parts.headers;
    // SECURITY: any client can send these headers. They are used from trusted proxies only.
    let forwarded = site.is_trusted_proxy(head.peer).then_some(headers);
    if let Some(base) = forwarded.and_then(|headers| original_base(headers, head.path)) {
        return base;
    }
    let field = |name| forwarded.and_then(|headers| first_value(headers, name));
    let tls = matches!(head.peer, Peer::Tcp { tls: true, .. });
    let scheme = field("x-forwarded-proto").and_then(scheme).unwrap_or(if tls { "https" } else { "http" });
    let host = field("x-forwarded-host").and_then(authority).or_else(|| request_host(head.parts));
    let host = host.unwrap_or_else(|| Authority::from_static("localhost"));
    let port = field("x-forwarded-port").and_then(|text| text.parse::<u16>().ok());
    let default_port = if scheme == "https" { 443 } else { 80 };
    match port.filter(|port| host.port().is_none() && *port != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Returns the part before `path` in the URL that the client requested from the proxy.
fn original_base(headers: &HeaderMap, path: &str) -> Option<String> {
    let url: Uri = headers.get(ORIGINAL_URL_HEADER)?.to_str().ok()?.parse().ok()?;
    let scheme = scheme(url.scheme().map(Scheme::as_str)?)?;
    let host = authority(url.authority()?.as_str())?;
    // No prefix if the path differs: a proxy that rewrites paths needs `Server.Address`.
    let prefix = url.path().strip_suffix(path).unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
    let prefix = if prefix.bytes().all(is_plain) { prefix.trim_end_matches('/') } else { "" };
    Some(format!("{scheme}://{host}{prefix}"))
}

/// Returns the first value of a list, to which each further proxy appends a value.
fn first_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?;
    text.split(',').next().map(str::trim).filter(|text| !text.is_empty())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

fn authority(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|host: &Authority| !host.as_str().contains('@') && !host.host().is_empty())
}

/// Returns the host of the request itself, which is in the target with HTTP/2.
fn request_host(parts: &Parts) -> Option<Authority> {
    let target = parts.uri.authority().map(Authority::as_str);
    target.or_else(|| parts.headers.get(HOST)?.to_str().ok()).and_then(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config;

    /// Returns the base URL of a request for `/cran/latest/` from an address with these headers.
    fn base_of(gcfg: &str, address: &str, tls: bool, fields: &[(&str, &str)]) -> String {
        let config = config::parse("f", gcfg.as_bytes(), []).expect("valid").config;
        let mut request = http::Request::get("/cran/latest/").header(HOST, "own.example:4242");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("good").into_parts();
        let peer = Peer::Tcp { address: address.parse().expect("an address"), tls };
        base_url(
            &SiteSettings::new(&config),
            &RequestHead {
                peer,
                parts: &parts,
                path: "/cran/latest/",
                received_at: Timestamp(0),
                principal: &Principal::Anonymous,
            },
        )
    }

    const LOCAL: &str = "127.0.0.1:9";
    const REMOTE: &str = "192.0.2.7:9";

    #[test]
    fn without_a_proxy_the_connection_determines_the_url() {
        assert_eq!(base_of("", LOCAL, false, &[]), "http://own.example:4242");
        assert_eq!(base_of("", REMOTE, true, &[]), "https://own.example:4242");
        let own = "[Server]\nAddress = https://pm.example/x";
        let forged = [("X-Forwarded-Host", "evil.example")];
        assert_eq!(base_of(own, LOCAL, false, &forged), "https://pm.example/x");
    }

    #[test]
    fn a_trusted_proxy_declares_scheme_host_and_port() {
        let base = |fields: &[(&str, &str)]| base_of("", LOCAL, false, fields);
        assert_eq!(base(&[("X-Forwarded-Proto", "https")]), "https://own.example:4242");
        let forwarded = [("X-Forwarded-Proto", "HTTPS, http"), ("X-Forwarded-Host", "pm.example, inner")];
        assert_eq!(base(&forwarded), "https://pm.example");
        let port = |port| [forwarded[0], forwarded[1], ("X-Forwarded-Port", port)];
        assert_eq!(base(&port("8443")), "https://pm.example:8443");
        assert_eq!(base(&port("443")), "https://pm.example");
        assert_eq!(base(&port("x")), "https://pm.example");
        let bad = [("X-Forwarded-Proto", "javascript"), ("X-Forwarded-Host", "user@evil/\"><script>")];
        assert_eq!(base(&bad), "http://own.example:4242");
    }

    #[test]
    fn the_requested_url_declares_the_prefix_too() {
        let base = |url| base_of("", LOCAL, false, &[("X-RSPM-Request", url), ("X-Forwarded-Proto", "http")]);
        assert_eq!(base("https://pm.example/packages/cran/latest/"), "https://pm.example/packages");
        assert_eq!(base("https://pm.example/cran/latest/?x=1"), "https://pm.example");
        assert_eq!(base("https://pm.example/elsewhere"), "https://pm.example");
        assert_eq!(base("https://pm.example/a%22b/cran/latest/"), "https://pm.example");
        for bad in ["/cran/latest/", "ftp://pm.example/cran/latest/", "https://u@pm.example/", "x y"] {
            assert_eq!(base(bad), "http://own.example:4242", "{bad}");
        }
    }

    #[test]
    fn headers_of_untrusted_clients_are_ignored() {
        let fields = [
            ("X-RSPM-Request", "https://evil.example/cran/latest/"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Port", "1"),
        ];
        let own = "http://own.example:4242";
        assert_eq!(base_of("", REMOTE, false, &fields), own);
        assert_eq!(base_of("", "[::ffff:127.0.0.1]:9", false, &fields), "https://evil.example");
        assert_eq!(base_of("", "[::1]:9", false, &fields), "https://evil.example");
        let no_proxy = "[Server]\nTrustedProxy =";
        assert_eq!(base_of(no_proxy, LOCAL, false, &fields), own);
        let net = "[Server]\nTrustedProxy = 192.0.2.0/24\nTrustedProxy = 2001:db8::1";
        assert_eq!(base_of(net, REMOTE, false, &fields), "https://evil.example");
        assert_eq!(base_of(net, "[2001:db8::1]:9", false, &fields), "https://evil.example");
        assert_eq!(base_of(net, "[2001:db8::2]:9", false, &fields), own);
        assert_eq!(base_of(net, LOCAL, false, &fields), own);
    }
}
