//! The discovery document of a provider (OpenID Connect Discovery 1.0 section 3) and its public keys (RFC 7517). Pure.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::client::ProviderError;
use base::model::loopback::is_loopback;

/// The fields of a discovery document that this server uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Document {
    /// The issuer, equal to the configured one.
    pub issuer: String,
    /// The address at which browsers sign in.
    pub authorization_endpoint: Option<String>,
    /// The address at which codes are exchanged.
    pub token_endpoint: Option<String>,
    /// The address of further claims about a user.
    pub userinfo_endpoint: Option<String>,
    /// The address of the keys.
    pub jwks_uri: String,
    /// The address at which browsers sign out.
    pub end_session_endpoint: Option<String>,
    /// The address at which devices sign in (RFC 8628).
    pub device_authorization_endpoint: Option<String>,
    /// The methods by which clients may authenticate; only `client_secret_basic` if absent.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether responses to browsers name the issuer (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl Document {
    pub fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Reads the document of `issuer` from its address.
    ///
    /// # Errors
    /// A field is missing, the issuer is not the configured one, or an address has neither `https` nor a loopback host.
    pub fn parse(issuer: &str, fields: Map<String, Value>) -> Result<Document, ProviderError> {
        let error = |reason: String| ProviderError::new(&Document::address(issuer), reason);
        let document: Document = serde_json::from_value(Value::Object(fields))
            .map_err(|problem| error(format!("not a discovery document: {problem}")))?;
        if document.issuer != issuer {
            let named: String = document.issuer.chars().take(200).collect();
            return Err(error(format!(
                "the document names the issuer '{named}', and the configuration '{issuer}'; both must be equal, \
                 including a slash at the end"
            )));
        }
        let addresses = [
            ("jwks_uri", Some(&document.jwks_uri)),
            ("authorization_endpoint", document.authorization_endpoint.as_ref()),
            ("token_endpoint", document.token_endpoint.as_ref()),
            ("userinfo_endpoint", document.userinfo_endpoint.as_ref()),
            ("end_session_endpoint", document.end_session_endpoint.as_ref()),
            ("device_authorization_endpoint", document.device_authorization_endpoint.as_ref()),
        ];
        let is_insecure = |address: Option<&String>| address.is_some_and(|address| !is_secure(address));
        if let Some((name, _)) = addresses.into_iter().find(|(_, address)| is_insecure(*address)) {
            return Err(error(format!("{name} must begin with https:// (http:// only on this machine)")));
        }
        Ok(document)
    }

    /// Returns whether a client may send its secret in the header field `Authorization`.
    pub fn accepts_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| {
            methods.iter().any(|method| method == "client_secret_basic")
                || !methods.iter().any(|method| method == "client_secret_post")
        })
    }
}

/// Returns true for an `https` address, and for an `http` address with a loopback host.
pub(super) fn is_secure(address: &str) -> bool {
    let is_secure = |url: Url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    Url::parse(address).is_ok_and(is_secure)
}

const MAX_KEYS: usize = 100;

pub(super) struct KeySet(Vec<PublicKey>);

struct PublicKey {
    id: Option<String>,
    /// The only algorithm with which the key may be used; `None` for all algorithms of its family.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Parses keys; omits keys for encryption, symmetric and unknown ones. `None` without a list of keys.
    pub(super) fn parse(fields: &Map<String, Value>) -> Option<KeySet> {
        let keys = fields.get("keys")?.as_array()?;
        Some(KeySet(keys.iter().take(MAX_KEYS).filter_map(PublicKey::parse).collect()))
    }

    /// Returns the keys with which a token may be verified: the keys with the `kid` of its header, or all keys if
    /// the header has no `kid`. Several keys may have the same id.
    pub(super) fn candidates(&self, header: &Header) -> impl Iterator<Item = &DecodingKey> {
        let is_candidate = move |key: &&PublicKey| {
            key.key.family() == header.alg.family()
                && key.algorithm.is_none_or(|algorithm| algorithm == header.alg)
                && header.kid.as_ref().is_none_or(|id| key.id.as_ref() == Some(id))
        };
        self.0.iter().filter(is_candidate).map(|key| &key.key)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

impl PublicKey {
    fn parse(value: &Value) -> Option<PublicKey> {
        if value.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match value.get("alg") {
            None => None,
            Some(name) => Some(name.as_str()?.parse().ok()?),
        };
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let id = jwk.common.key_id;
        (key.family() != AlgorithmFamily::Hmac).then_some(PublicKey { id, algorithm, key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Document, ProviderError> {
        Document::parse("https://i/t", value.as_object().expect("an object").clone())
    }

    #[test]
    fn the_issuer_of_a_document_equals_the_configured_one() {
        assert_eq!(Document::address("https://i/t/"), "https://i/t/.well-known/openid-configuration");
        let document = parse(&json!({"issuer": "https://i/t", "jwks_uri": "https://i/k"})).expect("valid");
        assert!(document.accepts_basic() && document.token_endpoint.is_none());
        let error =
            parse(&json!({"issuer": "https://i/t/", "jwks_uri": "https://i/k"})).expect_err("another");
        assert!(error.reason.contains("'https://i/t/'") && error.reason.contains("'https://i/t'"), "{error}");
        assert!(parse(&json!({"issuer": "https://i/t"})).is_err());
    }

    #[test]
    fn addresses_are_https_or_on_this_machine() {
        for (address, expected) in [
            ("https://k", true),
            ("http://127.0.0.1:8/k", true),
            ("http://[::1]/k", true),
            ("http://localhost/k", true),
            ("http://k", false),
            ("http://localhost.example/k", false),
            ("file:///etc/passwd", false),
            ("k", false),
        ] {
            assert_eq!(is_secure(address), expected, "{address}");
            let document = parse(&json!({"issuer": "https://i/t", "jwks_uri": address}));
            assert_eq!(document.is_ok(), expected, "{address}");
        }
    }
}
