//! The exchange of a token of another issuer for a token of this server (RFC 8693).

use std::time::Duration;

use super::matching::{self, Match};
use crate::auth::jwt::{Claims, Invalid, UnverifiedToken};
use crate::auth::named_grant::named_grant;
use crate::auth::provider::{ProviderError, Providers, VerifyError};
use crate::auth::signed::{self, NewSignedToken, NoKey, Purpose, SignInKind, SignedToken};
use crate::auth::tokens::Tokens;
use crate::auth::trusted_publisher;
use crate::state::State;
use base::access::{NamedScope, Names, ScopeKind};
use base::config::Federation;
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use store::db::author::{Author, AuthorKind};
use store::db::{DbError, audit, token};

/// Maximum lifetime of a token for publishing packages.
const PUBLISH_LIFETIME: Duration = Duration::from_secs(900);
/// Time for which the use of a token is recorded after its `exp`: longer than the accepted clock difference.
const USE_RETENTION: Duration = Duration::from_secs(300);

/// The intended use of the new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// Access with all scopes of the matching sections, for their lifetime.
    Access,
    /// Only changes of sources, for at most 15 minutes: trusted publishing of Python packages.
    Publish,
}

#[derive(Debug)]
pub struct ExchangedToken {
    pub token: SignedToken,
    pub lifetime: Duration,
}

/// The reason why a token is not exchanged. The texts are for the client: they contain no part of the configuration,
/// and only the issuer and the audience of the token.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("the token is not valid: {0}")]
    Invalid(#[from] Invalid),
    #[error("{0}")]
    NoMatch(String),
    #[error("the matching [IdentityFederation] section grants {0}")]
    NoScope(&'static str),
    #[error("the token was used before; request a new one for each exchange")]
    Used,
    #[error("the keys of the token's issuer are unavailable; the server log has the reason")]
    Unavailable(#[from] ProviderError),
    /// The server cannot sign tokens.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    #[error("the database is unavailable")]
    Database(#[from] DbError),
}

impl ExchangeError {
    /// Returns whether the cause is the server or the provider, not the request.
    pub fn is_failure_of_server(&self) -> bool {
        match self {
            ExchangeError::Unavailable(_) | ExchangeError::NoKey(_) | ExchangeError::Database(_) => true,
            ExchangeError::Invalid(_)
            | ExchangeError::NoMatch(_)
            | ExchangeError::NoScope(_)
            | ExchangeError::Used => false,
        }
    }
}

/// The parts of the server that an exchange needs.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    pub state: &'a State,
    pub tokens: &'a Tokens,
    pub providers: &'a Providers,
    /// The issuer of the new token: the address of this server.
    pub issuer: &'a str,
    /// The address of the client, for the audit trail.
    pub address: &'a str,
}

/// Exchanges `subject_token` for a token of this server with the scopes of all sections that it matches. A token whose
/// scopes permit changes can be exchanged only once on all servers of the database together. Other tokens can be
/// exchanged any number of times until they expire, because several programs of a job exchange the same token.
pub async fn exchange(
    server: Exchange<'_>,
    sections: &[Federation],
    subject_token: &str,
    kind: ExchangeKind,
) -> Result<ExchangedToken, ExchangeError> {
    let now = (server.state.clock)();
    let claims = verify(server, sections, subject_token, now).await?;
    let mut found = matching::find_match(sections, &claims).map_err(|error| {
        tracing::info!("refused a federated token: {}", error.for_log());
        ExchangeError::NoMatch(error.for_client())
    })?;
    if kind == ExchangeKind::Publish {
        restrict(&mut found);
    }
    let (grant, unknown_names) = named_grant(&server.state.catalog.get(), &found.scopes);
    let names = found.sections.join(", ");
    if !unknown_names.is_empty() {
        tracing::warn!(
            "[IdentityFederation] {names}: Scope names repositories or sources that do not exist: {}",
            unknown_names.join(", ")
        );
    }
    if grant.scopes().is_empty() {
        return Err(ExchangeError::NoScope(match kind {
            ExchangeKind::Access => "nothing on this server; the server log has the reason",
            ExchangeKind::Publish => "no sources:write on this server",
        }));
    }
    if let Err(error) = signed::check_newer(server.tokens, &found.user, &claims) {
        tracing::info!("refused a federated token for {}: {error}", found.user);
        return Err(error.into());
    }
    let properties = NewSignedToken {
        user: found.user.clone(),
        unique_id: found.id.clone(),
        grant,
        kind: SignInKind::Federation,
        lifetime: found.lifetime,
        purpose: Purpose::Access,
        publisher: if found.writes() { trusted_publisher::of_issuer(&claims) } else { None },
    };
    let token = signed::issue(server.tokens, server.issuer, &properties, now)?;
    record(server, &found, &claims, subject_token, &token, now).await?;
    if sections.iter().any(|section| section.logging && found.sections.contains(&section.name)) {
        tracing::info!("[IdentityFederation] {names}: issued token {} for {}", token.guid, found.user);
    }
    Ok(ExchangedToken { token, lifetime: found.lifetime })
}

/// Verifies a token with the keys of its issuer.
async fn verify(
    server: Exchange<'_>,
    sections: &[Federation],
    token: &str,
    now: Timestamp,
) -> Result<Claims, ExchangeError> {
    let unverified = UnverifiedToken::parse(token)?;
    let issuer = unverified.claims.text("iss").ok_or(Invalid::Missing("iss"))?;
    let of_issuer = sections.iter().filter(|section| section.issuer == issuer);
    let audiences: Vec<String> = of_issuer.map(|section| section.audience.clone()).collect();
    let no_match = || match matching::find_match(sections, &unverified.claims) {
        Err(error) => {
            tracing::info!("refused a federated token: {}", error.for_log());
            ExchangeError::NoMatch(error.for_client())
        }
        Ok(_) => ExchangeError::Invalid(Invalid::Audience),
    };
    // SECURITY: requests are sent only to issuers in the configuration, never to an address in the token.
    if audiences.is_empty() {
        return Err(no_match());
    }
    match server.providers.verify(issuer, &audiences, token, now).await {
        Ok(claims) => Ok(claims),
        Err(VerifyError::Invalid(Invalid::Audience)) => Err(no_match()),
        Err(VerifyError::Invalid(error)) => {
            tracing::info!("refused a federated token of {issuer}: {error}");
            Err(error.into())
        }
        Err(VerifyError::Unavailable(error)) => {
            tracing::warn!("could not verify a federated token of {issuer}: {error}");
            Err(error.into())
        }
    }
}

/// Restricts a match to changes of sources, for at most 15 minutes.
fn restrict(found: &mut Match) {
    found.lifetime = found.lifetime.min(PUBLISH_LIFETIME);
    found.scopes.retain(|scope| matches!(scope.kind, ScopeKind::SourcesWrite | ScopeKind::GlobalAdmin));
    for scope in &mut found.scopes {
        if scope.kind == ScopeKind::GlobalAdmin {
            *scope = NamedScope { kind: ScopeKind::SourcesWrite, objects: Names::All };
        }
    }
}

/// Records the new token in the audit trail, and the use of `subject_token` if its scopes permit changes.
async fn record(
    server: Exchange<'_>,
    found: &Match,
    claims: &Claims,
    subject_token: &str,
    token: &SignedToken,
    now: Timestamp,
) -> Result<(), ExchangeError> {
    let expires_at = claims.time("exp")?.ok_or(Invalid::Missing("exp"))?;
    let proof = found.writes().then(|| digest(claims, subject_token));
    let author = Author {
        kind: AuthorKind::Token,
        name: format!("{} (federation {})", found.user, found.sections.join(", ")),
        address: server.address.to_owned(),
        at: now,
    };
    let scopes: Vec<String> = found.scopes.iter().map(ToString::to_string).collect();
    let issuer = claims.text("iss").unwrap_or_default();
    let detail =
        format!("{}; for {} of {issuer}; {} s", scopes.join(" "), found.id, found.lifetime.as_secs());
    let guid = token.guid.to_string();
    let write = server.state.db.write(move |c| {
        if let Some(proof) = &proof
            && !token::record_proof(c, proof, expires_at + USE_RETENTION, now)?
        {
            let reason = "the token of the issuer was used before";
            audit::record_by(c, &author, "exchange token", "token", "", audit::REFUSED, reason)?;
            return Ok(false);
        }
        audit::record_by(c, &author, "exchange token", "token", &guid, audit::SUCCESS, &detail)?;
        Ok(true)
    });
    if write.await? { Ok(()) } else { Err(ExchangeError::Used) }
}

/// Returns a digest that identifies a token: the digest of its issuer and `jti`, or, if it has no `jti`, of the text
/// that is signed. The signature is not included, because some signatures can be changed without becoming invalid.
fn digest(claims: &Claims, token: &str) -> Sha256 {
    let message = token.rsplit_once('.').map_or(token, |(message, _)| message);
    let text = match (claims.text("iss"), claims.text("jti")) {
        (Some(issuer), Some(id)) => format!("jti\n{issuer}\n{id}"),
        _ => format!("token\n{message}"),
    };
    Sha256::of(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_identified_by_its_jti_or_by_all_that_is_signed() {
        let claims = |value: serde_json::Value| Claims::new(value.as_object().expect("an object").clone());
        let with = |jti: &str| digest(&claims(json!({"iss": "https://i", "jti": jti})), "a.b.c");
        assert_eq!(with("1"), with("1"));
        assert_ne!(with("1"), with("2"));
        assert_ne!(with("1"), digest(&claims(json!({"iss": "https://j", "jti": "1"})), "a.b.c"));
        let without = |token: &str| digest(&claims(json!({"iss": "https://i"})), token);
        assert_eq!(without("a.b.c"), without("a.b.d"), "another signature of the same token");
        assert_ne!(without("a.b.c"), without("a.x.c"));
    }

    #[test]
    fn publishing_has_no_more_than_the_right_to_change_sources() {
        let scope = |kind| NamedScope { kind, objects: Names::All };
        let mut found = Match {
            sections: vec!["ci".to_owned()],
            scopes: vec![scope(ScopeKind::ReposRead), scope(ScopeKind::GlobalAdmin)],
            lifetime: Duration::from_secs(3_600),
            id: "1".to_owned(),
            user: "1".to_owned(),
        };
        restrict(&mut found);
        assert_eq!((found.scopes, found.lifetime), (vec![scope(ScopeKind::SourcesWrite)], PUBLISH_LIFETIME));
    }
}
