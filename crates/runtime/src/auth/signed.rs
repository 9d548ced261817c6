//! Tokens that this server signs (JWT, HS256): pak and other clients read `exp`, `iat`, `iss`, `sub` and `aud` of the
//! access token of a sign-in. They are not stored; [`revoke_user`](super::revoke_user) revokes all of a user.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::jwt::{Claims, Invalid, UnverifiedToken};
use super::tokens::{self, Token, TokenKind, Tokens};
use super::{secret, trusted_publisher};
use base::access::Grant;
use base::model::ids::Identity;
use base::model::time::Timestamp;
use base::model::trusted_publisher::TrustedPublisher;
use base::words;
use store::db;

/// The audience of access tokens.
const ACCESS: &str = "packagemanager";
/// The audience of the tokens that a device exchanges for an access token.
const DEVICE: &str = "packagemanager-device";

words! {
    /// The method by which the user of a signed token proved an identity.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SignInKind {
        OpenIdConnect = "oidc",
        /// With a token of a federated issuer.
        Federation = "federation",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Access,
    /// Proof of a device's sign-in, which only `POST /__api__/token` accepts.
    Device,
}

impl Purpose {
    fn audience(self) -> &'static str {
        match self {
            Purpose::Access => ACCESS,
            Purpose::Device => DEVICE,
        }
    }
}

#[derive(Clone, Debug)]
pub struct NewSignedToken {
    /// The user, as displayed and in the audit trail.
    pub user: String,
    /// The identity of the user at the issuer: claim `sub`.
    pub unique_id: String,
    pub grant: Grant,
    /// The method by which the user proved the identity.
    pub kind: SignInKind,
    pub lifetime: Duration,
    pub purpose: Purpose,
    /// The job of a CI system that uses the token.
    pub publisher: Option<TrustedPublisher>,
}

/// A signed token. `Debug` does not print it.
pub struct SignedToken {
    pub text: Zeroizing<String>,
    /// Its identity, claim `jti`.
    pub guid: Identity,
}

impl std::fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedToken").field("guid", &self.guid).finish_non_exhaustive()
    }
}

/// A server without an encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has no encryption key, and tokens are signed with it; create one: rspm encrypt")]
pub struct NoKey;

/// Signs a token. `issuer` is `Server.Address`.
///
/// # Errors
/// The server has no encryption key.
pub fn issue(
    tokens: &Tokens,
    issuer: &str,
    properties: &NewSignedToken,
    now: Timestamp,
) -> Result<SignedToken, NoKey> {
    let guid = Identity(rand::random());
    let issued_at = now.seconds();
    let lifetime = i64::try_from(properties.lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut scopes = Map::new();
    for row in tokens::rows(&properties.grant) {
        let objects = scopes.entry(row.scope).or_insert_with(|| json!([]));
        if let Some(objects) = objects.as_array_mut() {
            objects.push(row.object.into());
        }
    }
    let mut claims = json!({
        "iss": issuer,
        "sub": properties.unique_id,
        "aud": properties.purpose.audience(),
        "exp": issued_at.saturating_add(lifetime),
        "iat": issued_at,
        "jti": guid.to_string(),
        "name": properties.user,
        "kind": properties.kind.as_str(),
        "rev": tokens.revision(),
        "history": tokens.history(),
        "scopes": scopes,
    });
    if let Some(publisher) = &properties.publisher {
        claims["publisher"] = trusted_publisher::claim(publisher);
    }
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let text = tokens.signing_key().and_then(|key| key.sign(&payload)).ok_or(NoKey)?;
    Ok(SignedToken { text: Zeroizing::new(text), guid })
}

/// Verifies a token that this server, or another server with the same key and address, signed for `purpose`.
///
/// # Errors
/// The token is not valid at `now`, was made for another purpose or address, or is revoked.
pub fn verify(
    tokens: &Tokens,
    issuer: &str,
    text: &str,
    purpose: Purpose,
    now: Timestamp,
) -> Result<Arc<Token>, Invalid> {
    let unverified = UnverifiedToken::parse(text)?;
    if !tokens.signing_key().is_some_and(|key| key.verifies(&unverified)) {
        return Err(Invalid::Signature);
    }
    let claims = unverified.claims;
    claims.check_parties(issuer, &[purpose.audience().to_owned()])?;
    claims.check_times(now)?;
    let field = |name: &'static str| claims.text(name).ok_or(Invalid::Missing(name));
    // SECURITY: a restored database assigns ids of objects and revisions again, so its tokens must not be accepted.
    if field("history")? != tokens.history() {
        return Err(Invalid::Value("history"));
    }
    let guid = field("jti")?.parse::<Identity>().map_err(|_| Invalid::Type("jti"))?;
    let revision = claims.get("rev").and_then(Value::as_i64).ok_or(Invalid::Missing("rev"))?;
    let expires_at = claims.time("exp")?.ok_or(Invalid::Missing("exp"))?;
    let mut token = Token::without_row(
        TokenKind::Signed { revision },
        guid,
        secret::digest(text),
        field("name")?,
        field("sub")?,
        grant(&claims)?,
        expires_at,
    );
    token.publisher = claims.get("publisher").and_then(trusted_publisher::of_claim).map(Box::new);
    // The expiration time has no leeway, because servers of a database compare their clocks, unlike providers.
    if !tokens.is_valid(&token, now) {
        return Err(Invalid::Expired);
    }
    Ok(Arc::new(token))
}

/// Checks that another issuer's token was issued after the newest revocation of all tokens of its user. SECURITY: an
/// older token could otherwise be exchanged until it expires. Whole seconds are compared: `iat` has no fractions.
///
/// # Errors
/// The token is older, or has no `iat`.
pub fn check_newer(tokens: &Tokens, user: &str, claims: &Claims) -> Result<(), Invalid> {
    let Some(revoked_at) = tokens.revoked_at(user) else { return Ok(()) };
    match claims.time("iat")? {
        Some(issued_at) if issued_at.seconds() > revoked_at.seconds() => Ok(()),
        Some(_) | None => Err(Invalid::Revoked),
    }
}

fn grant(claims: &Claims) -> Result<Grant, Invalid> {
    let scopes = claims.get("scopes").and_then(Value::as_object).ok_or(Invalid::Missing("scopes"))?;
    let mut rows = Vec::new();
    for (scope, objects) in scopes {
        for object in objects.as_array().ok_or(Invalid::Type("scopes"))? {
            let object = object.as_i64().ok_or(Invalid::Type("scopes"))?;
            rows.push(db::token::ScopeRow { scope: scope.clone(), object });
        }
    }
    Ok(tokens::grant(&rows))
}
