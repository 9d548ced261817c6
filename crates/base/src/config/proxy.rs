//! `[Proxy]`.

use super::address::{self, UrlPurpose};
use super::reader::Reader;
use super::server::Secret;

/// `[Proxy]`: the outbound proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// `host:port` or a full URL, which may contain credentials.
    pub url: Option<Secret>,
    /// User, when the URL has none.
    pub user: Option<String>,
    /// Password, when the URL has none.
    pub password: Option<Secret>,
}

impl Proxy {
    pub(super) fn read(reader: &Reader<'_>) -> Proxy {
        let text = |text: &str| Ok(text.to_owned());
        Proxy {
            url: reader.optional("Proxy", "URL", |text| address::url(text, UrlPurpose::Proxy)).map(Secret),
            user: reader.optional("Proxy", "User", text),
            password: reader.optional("Proxy", "Password", text).map(Secret),
        }
    }
}
