//! Creates, lists and revokes tokens.

use super::secret::{self, Secret};
use super::tokens::{self, Token, Tokens};
use crate::publish::edit::apply_edit;
use crate::state::State;
use base::access::Grant;
use base::access::person::is_same;
use base::model::ids::{Identity, TokenId};
use base::model::time::Timestamp;
use store::db;
use store::db::session::EndedByUser;
use store::db::token::Token as Row;
use store::db::{DbError, audit};

#[derive(Clone, Debug)]
pub struct NewToken {
    /// The person or service that uses it.
    pub user: String,
    pub description: String,
    pub created_by: String,
    pub grant: Grant,
    /// End of its validity; `None` if it never expires.
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    #[error("the operating system provides no random numbers: {0}")]
    Random(#[source] std::io::Error),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Creates a token and returns it with its identity. The text of the token is not stored, so it cannot be returned
/// again. This server accepts the token immediately.
///
/// # Errors
/// The operating system provides no random numbers, or the database fails.
pub async fn create(
    state: &State,
    tokens: &Tokens,
    properties: NewToken,
) -> Result<(Secret, Identity), CreateTokenError> {
    let secret = Secret::generate().map_err(CreateTokenError::Random)?;
    let guid = Identity(rand::random());
    let row = db::token::NewToken {
        guid,
        digest: secret.digest(),
        excerpt: secret.excerpt(),
        user: properties.user,
        description: properties.description,
        created_by: properties.created_by,
        expires_at: properties.expires_at,
        scopes: tokens::rows(&properties.grant),
    };
    let now = (state.clock)();
    let detail = describe(&row);
    apply_edit(state, move |c| {
        db::token::create(c, &row, now)?;
        audit::record(c, "create token", "token", &row.guid.to_string(), &detail)
    })
    .await?;
    tokens.refresh().await?;
    Ok((secret, guid))
}

/// Returns the properties of a token as text, for the audit trail.
fn describe(row: &db::token::NewToken) -> String {
    let scopes: Vec<String> = row
        .scopes
        .iter()
        .map(|row| match (row.scope.as_str(), row.object) {
            ("global:admin", _) => row.scope.clone(),
            (scope, 0) => format!("{scope}:*"),
            (scope, object) => format!("{scope}:#{object}"),
        })
        .collect();
    let expires = row.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let user = if row.user.is_empty() { String::new() } else { format!("for {}; ", row.user) };
    format!("{}; {user}{}; expires: {expires}", scopes.join(" "), row.description)
}

/// Lists all tokens with their grants, including expired and revoked ones, in order of creation.
pub async fn list(state: &State) -> Result<Vec<(Row, Grant)>, DbError> {
    let rows = state.db.read(db::token::list).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let grant = tokens::grant(&row.scopes);
            (row, grant)
        })
        .collect())
}

/// Finds a token by its identity or by its text.
pub async fn find(state: &State, name: &str) -> Result<Option<Row>, DbError> {
    let (guid, digest) = (name.parse::<Identity>().ok(), secret::digest(name));
    let is_named = |row: &Row| Some(row.guid) == guid || row.digest == digest;
    Ok(list(state).await?.into_iter().map(|(row, _)| row).find(is_named))
}

/// Revokes a token: immediately on this server, on other servers when they read the change.
pub async fn revoke(state: &State, tokens: &Tokens, id: TokenId, guid: Identity) -> Result<(), DbError> {
    let now = (state.clock)();
    apply_edit(state, move |c| {
        db::token::revoke(c, id, now)?;
        audit::record(c, "revoke token", "token", &guid.to_string(), "")
    })
    .await?;
    tokens.refresh().await
}

/// Revokes a token that this server signed: immediately on this server, on other servers when they read the change.
pub async fn revoke_signed(state: &State, tokens: &Tokens, token: &Token) -> Result<(), DbError> {
    let (now, guid) = ((state.clock)(), token.guid);
    let expires_at = token.expires_at.unwrap_or(Timestamp(i64::MAX));
    apply_edit(state, move |c| db::session::revoke_signed(c, guid, expires_at, now)).await?;
    tokens.refresh().await
}

/// Revokes all tokens of a user, stored and signed ones, and ends the user's sessions: immediately on this server, on
/// other servers when they read the change. Also returns the other users whose names are the same to a reader.
pub async fn revoke_user(
    state: &State,
    tokens: &Tokens,
    user: &str,
) -> Result<(EndedByUser, Vec<String>), DbError> {
    let (now, user) = ((state.clock)(), user.to_owned());
    let result = apply_edit(state, move |c| {
        let mut similar = db::session::users(c)?;
        similar.retain(|other| *other != user && is_same(other, &user));
        Ok((db::session::revoke_user(c, &user, now)?, similar))
    });
    let result = result.await?;
    tokens.refresh().await?;
    Ok(result)
}
