//! `[HTTP]`, `[HTTPS]` and `[HTTPRedirect]`.

use std::path::PathBuf;

/// An address to listen on: `:4242` (every address, IPv6 and IPv4) or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Empty for every address; IPv6 without brackets.
    pub host: String,
    /// 0 lets the system choose (used by tests).
    pub port: u16,
}

/// `[HTTP]`.
#[derive(Clone, Debug)]
pub struct Http {
    /// Default `:4242`; `None` when only HTTPS is served.
    pub listen: Option<Listen>,
}

/// `[HTTPS]`.
#[derive(Clone, Debug)]
pub struct Https {
    /// Unset by default.
    pub listen: Option<Listen>,
    /// PEM, the server's certificate first, then its chain.
    pub certificate: Option<PathBuf>,
    /// PEM private key.
    pub key: Option<PathBuf>,
    /// Sends `Strict-Transport-Security` with 30 days.
    pub permanent: bool,
    /// Oldest protocol version accepted.
    pub minimum_tls: MinimumTls,
}

/// `HTTPS.MinimumTLS`. 1.0 and 1.1 are read, and act as 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinimumTls {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// `[HTTPRedirect]`.
#[derive(Clone, Debug)]
pub struct HttpRedirect {
    /// A plain-HTTP listener that redirects to HTTPS.
    pub listen: Option<Listen>,
}
