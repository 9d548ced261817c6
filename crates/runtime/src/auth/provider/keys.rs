//! The public keys of an issuer (RFC 7517). Pure.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header};
use serde_json::{Map, Value};

const MAX_KEYS: usize = 100;

/// The keys of an issuer.
pub(super) struct KeySet(Vec<PublicKey>);

struct PublicKey {
    id: Option<String>,
    /// The only algorithm with which the key may be used; `None` for all algorithms of its family.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Parses a set of keys. Omits keys for encryption, symmetric keys and keys of unknown kinds. `None` if there
    /// is no list of keys.
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
