//! `[Proxy]`.

use super::server::Secret;

/// `[Proxy]`: the outbound proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// `host:port` or a full URL, which may hold credentials.
    pub url: Option<Secret>,
    /// User, when the URL has none.
    pub user: Option<String>,
    /// Password, when the URL has none.
    pub password: Option<Secret>,
}
