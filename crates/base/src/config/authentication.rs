//! `[Authentication]` and `[Bootstrap]`.

use std::time::Duration;

use super::reader::Reader;
use super::value;

#[derive(Clone, Debug)]
pub struct Authentication {
    /// Whether the admin API is served on the network to clients with a token.
    pub api_token_auth: bool,
    /// Whether a new repository requires a token unless the request that creates it states otherwise.
    pub new_repos_auth_by_default: bool,
    /// Whether pages, and lists of all repositories and sources, are only for clients with a session or a token.
    pub require_auth_for_ui: bool,
    /// The issuer of device codes.
    pub device_codes: DeviceCodes,
    /// Maximum duration of a session of a browser.
    pub session_lifetime: Duration,
    /// Time without a request after which a session ends.
    pub session_inactivity: Duration,
    /// Interval between removals of ended sessions; at least a second.
    pub session_sweep: Duration,
    /// Maximum lifetime of a new token; `None` for no limit.
    pub max_token_lifetime: Option<Duration>,
}

/// The issuers of the codes with which devices sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceCodes {
    /// The identity provider if it supports devices, otherwise this server.
    Any,
    Provider,
    Server,
}

impl DeviceCodes {
    fn parse(text: &str) -> Result<DeviceCodes, String> {
        match text.to_ascii_lowercase().as_str() {
            "" => Ok(DeviceCodes::Any),
            "oidc" => Ok(DeviceCodes::Provider),
            "local" => Ok(DeviceCodes::Server),
            _ => Err("must be oidc or local".to_owned()),
        }
    }
}

impl Authentication {
    pub(super) fn read(reader: &Reader<'_>) -> Authentication {
        Authentication {
            api_token_auth: reader.value("Authentication", "APITokenAuth", value::boolean),
            new_repos_auth_by_default: reader.value(
                "Authentication",
                "NewReposAuthByDefault",
                value::boolean,
            ),
            require_auth_for_ui: reader.value("Authentication", "RequireAuthForUI", value::boolean),
            device_codes: reader.value("Authentication", "DeviceAuthType", DeviceCodes::parse),
            session_lifetime: reader.value("Authentication", "Lifetime", value::duration),
            session_inactivity: reader.value("Authentication", "Inactivity", value::duration),
            session_sweep: reader
                .value("Authentication", "CookieSweepDuration", value::duration)
                .max(Duration::from_secs(1)),
            max_token_lifetime: reader.optional("Authentication", "MaxTokenLifetime", value::duration),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The public key as PEM or base64 text, or the absolute path of its file. If `None`, the first token can be
    /// created on the server's machine only.
    pub public_key: Option<String>,
}

impl Bootstrap {
    pub(super) fn read(reader: &Reader<'_>) -> Bootstrap {
        Bootstrap { public_key: reader.optional("Bootstrap", "PublicKey", |text| Ok(text.to_owned())) }
    }
}
