//! `[OpenIDConnect]` and `[GroupToScopeMapping "…"]`: sign-in with the company's identity provider.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{self, UrlPurpose};
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::server::Secret;
use super::value;
use crate::access::{NamedScope, named_scopes};
use crate::model::loopback::is_https_or_loopback;

const SECTION: &str = "OpenIDConnect";
const MAPPING: &str = "GroupToScopeMapping";
/// Maximum of `TokenLifetime` of issued tokens.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// `[OpenIDConnect]` with the scopes of groups.
#[derive(Clone, Debug)]
pub struct OpenIdConnect {
    /// The issuer, exactly as in the discovery document of the provider.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub client_secret_file: Option<PathBuf>,
    /// Whether the log has a line about each sign-in.
    pub logging: bool,
    /// The scopes of every user.
    pub scopes: Vec<NamedScope>,
    /// The scopes to request from the provider.
    pub requested_scopes: String,
    pub groups_claim: String,
    pub groups_separator: String,
    pub role_claim: Option<String>,
    /// The separator of scopes in a text.
    pub roles_separator: String,
    pub unique_id_claim: String,
    pub username_claim: String,
    /// The lifetime of a device's access token.
    pub token_lifetime: Duration,
    /// Whether the provider asks for the password each time.
    pub require_login: bool,
    /// The maximum age of the authentication at the provider; `None` for no limit.
    pub max_authentication_age: Option<Duration>,
    /// Whether sign-ins of browsers use PKCE.
    pub pkce: bool,
    /// Whether sign-ins of devices require PKCE.
    pub device_pkce: bool,
    pub groups: Vec<GroupScopes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupScopes {
    pub group: String,
    pub scopes: Vec<NamedScope>,
}

impl OpenIdConnect {
    /// Reads the sections; `None` if neither issuer nor client id is set. `address` is `Server.Address`.
    pub(super) fn read(reader: &mut Reader<'_>, address: Option<&str>) -> Option<OpenIdConnect> {
        let issuer = reader
            .optional(SECTION, "Issuer", |text| address::url(text, UrlPurpose::Web).map(|_| text.to_owned()));
        let text = |text: &str| Ok(text.to_owned());
        let client_id = reader.optional(SECTION, "ClientId", text);
        let (issuer, client_id) = match (issuer, client_id) {
            (None, None) => return None,
            (Some(issuer), Some(client_id)) => (issuer, client_id),
            (issuer, _) => {
                let missing = if issuer.is_none() { "Issuer" } else { "ClientId" };
                let message = "must be set: sign-in needs both Issuer and ClientId";
                reader.error(ProblemCategory::Settings, SECTION, None, missing, message);
                return None;
            }
        };
        check_address(reader, address);
        let groups: Vec<GroupScopes> = reader
            .subsections(MAPPING)
            .into_iter()
            .map(|group| {
                let texts = reader.texts_in(MAPPING, &group, "Scope");
                GroupScopes { scopes: scopes(reader, MAPPING, Some(&group), &texts), group }
            })
            .collect();
        let texts = reader.values(SECTION, "Scope", text);
        let scopes = scopes(reader, SECTION, None, &texts);
        let role_claim = reader.optional(SECTION, "RoleClaim", text);
        if scopes.is_empty() && role_claim.is_none() && groups.is_empty() {
            let message = "must be set, or RoleClaim or [GroupToScopeMapping \"group\"]; otherwise a user who signs in \
                           has no permissions. For example: Scope = repos:read:*";
            reader.error(ProblemCategory::Settings, SECTION, None, "Scope", message);
        }
        let client_secret = reader.optional(SECTION, "ClientSecret", text).map(Secret);
        let client_secret_file = reader.optional(SECTION, "ClientSecretFile", value::path);
        if client_secret.is_some() && client_secret_file.is_some() {
            let message = "has no effect, because ClientSecret is set";
            reader.warning(ProblemCategory::Effect, SECTION, None, "ClientSecretFile", message);
        }
        let token_lifetime = token_lifetime(reader, SECTION, None);
        let age = reader.value(SECTION, "MaxAuthenticationAge", value::duration);
        Some(OpenIdConnect {
            issuer,
            client_id,
            client_secret,
            client_secret_file,
            logging: reader.value(SECTION, "Logging", value::boolean),
            scopes,
            requested_scopes: requested_scopes(reader),
            groups_claim: reader.value(SECTION, "GroupsClaim", text),
            groups_separator: reader.value(SECTION, "GroupsSeparator", text),
            role_claim,
            roles_separator: reader.value(SECTION, "RolesSeparator", text),
            unique_id_claim: reader.value(SECTION, "UniqueIdClaim", text),
            username_claim: reader.value(SECTION, "UsernameClaim", text),
            token_lifetime,
            require_login: reader.value(SECTION, "RequireLogin", value::boolean),
            max_authentication_age: (!age.is_zero()).then_some(age),
            pkce: !reader.value(SECTION, "DisablePKCE", value::boolean),
            device_pkce: reader.value(SECTION, "EnableDevicePKCE", value::boolean),
            groups,
        })
    }
}

/// Checks `Server.Address`: the provider redirects to it, and browsers send the session only over TLS.
fn check_address(reader: &mut Reader<'_>, address: Option<&str>) {
    let message = match address {
        None => {
            "must be set for [OpenIDConnect]: it is part of the address to which the provider sends browsers"
        }
        Some(address) if !is_https_or_loopback(address) => {
            "must begin with https:// for [OpenIDConnect] (http:// only on this machine): sessions cross the network"
        }
        Some(_) => return,
    };
    reader.error(ProblemCategory::Settings, "Server", None, "Address", message);
}

fn requested_scopes(reader: &Reader<'_>) -> String {
    let mut words: Vec<String> = ["openid", "profile", "email"].map(str::to_owned).to_vec();
    if !reader.value(SECTION, "NoAutoGroupsScope", value::boolean) {
        words.push("groups".to_owned());
    }
    for text in reader.values(SECTION, "CustomScope", |text| Ok(text.to_owned())) {
        for word in text.split_whitespace() {
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
    }
    words.join(" ")
}

/// Reads the lifetime of the tokens that this server issues.
pub(super) fn token_lifetime(reader: &mut Reader<'_>, section: &str, sub: Option<&str>) -> Duration {
    let lifetime = reader.value_in(section, sub, "TokenLifetime", value::duration);
    if lifetime < Duration::from_secs(1) || lifetime > MAX_LIFETIME {
        let message = "must be between 1s and 30d";
        reader.error(ProblemCategory::Settings, section, sub, "TokenLifetime", message);
    }
    lifetime
}

/// Parses the values of `Scope`.
pub(super) fn scopes(
    reader: &mut Reader<'_>,
    section: &str,
    sub: Option<&str>,
    texts: &[String],
) -> Vec<NamedScope> {
    let mut scopes = Vec::new();
    for scope in texts.iter().flat_map(|text| named_scopes(text)) {
        match scope {
            Ok(scope) => scopes.push(scope),
            Err(error) => {
                reader.error(ProblemCategory::Syntax, section, sub, "Scope", &error.to_string());
            }
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn read(address: &str, lines: &str) -> Result<OpenIdConnect, String> {
        let text = format!("[Server]\nAddress = {address}\n[OpenIDConnect]\n{lines}");
        match parse("f", text.as_bytes(), []) {
            Ok(loaded) => Ok(loaded.config.open_id_connect.as_deref().cloned().expect("configured")),
            Err(error) => Err(error.to_string()),
        }
    }

    const CLIENT: &str = "Issuer = https://login.example.com/\nClientId = packages\n";

    #[test]
    fn the_section_is_read_with_its_defaults() {
        let lines = format!(
            "{CLIENT}Scope = repos:read:*\nCustomScope = offline_access roles\n\
             [GroupToScopeMapping \"Data Science\"]\nScope = sources:write:team\n"
        );
        let settings = read("https://packages.example.com", &lines).expect("valid");
        assert_eq!(settings.issuer, "https://login.example.com/", "the slash is part of the issuer");
        assert_eq!(settings.requested_scopes, "openid profile email groups offline_access roles");
        assert_eq!((settings.scopes.len(), settings.groups[0].group.as_str()), (1, "Data Science"));
        assert_eq!(settings.token_lifetime, Duration::from_secs(3_600));
        assert!(settings.pkce && !settings.device_pkce && settings.max_authentication_age.is_none());
        assert_eq!(settings.unique_id_claim, "sub");
    }

    #[test]
    fn a_section_that_cannot_work_is_refused_with_the_remedy() {
        for (address, lines, expected) in [
            ("https://p", "Issuer = https://i\nScope = repos:read:*\n".to_owned(), "ClientId"),
            ("https://p", CLIENT.to_owned(), "RoleClaim or [GroupToScopeMapping"),
            ("http://p", format!("{CLIENT}Scope = repos:read:*\n"), "must begin with https://"),
            ("", format!("{CLIENT}Scope = repos:read:*\n"), "must be set for [OpenIDConnect]"),
            ("https://p", format!("{CLIENT}Scope = repos:reed:*\n"), "repos:read"),
            (
                "https://p",
                format!("{CLIENT}Scope = repos:read:*\nTokenLifetime = 60d\n"),
                "between 1s and 30d",
            ),
        ] {
            let error = read(address, &lines).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        assert!(read("http://127.0.0.1:4242", &format!("{CLIENT}Scope = repos:read:*\n")).is_ok());
    }
}
