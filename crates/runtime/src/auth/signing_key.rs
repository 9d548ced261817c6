//! The key of the tokens that this server signs, derived from the encryption key of all servers of a database.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::jwt::{self, UnverifiedToken};
use base::encryption::key::Key;

/// The header of all signed tokens, in base64url: `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// The key. `Debug` of the types of its fields prints no part of it.
pub(super) struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKey {
    pub(super) fn derive(key: &Key) -> jsonwebtoken::errors::Result<SigningKey> {
        let secret = key.derive("token v1");
        let (encoding, decoding) = (EncodingKey::from_secret(&*secret)?, DecodingKey::from_secret(&*secret)?);
        Ok(SigningKey { encoding, decoding })
    }

    /// Returns a token with this payload, in base64url.
    pub(super) fn sign(&self, payload: &str) -> Option<String> {
        let message = format!("{HEADER}.{payload}");
        let signature = jwt::sign(&self.encoding, &message).ok()?;
        Some(format!("{message}.{signature}"))
    }

    pub(super) fn verifies(&self, token: &UnverifiedToken<'_>) -> bool {
        token.header.alg == Algorithm::HS256
            && jwt::is_signed_by(&self.decoding, Algorithm::HS256, token.message, token.signature)
    }
}
