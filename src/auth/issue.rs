//! Creates, lists and revokes tokens.

use super::secret::{self, Secret};
use super::tokens::{self, Tokens};
use crate::access::Grant;
use crate::db;
use crate::db::DbError;
use crate::db::audit;
use crate::db::token::Token as Row;
use crate::model::identity::Identity;
use crate::model::ids::TokenId;
use crate::model::time::Timestamp;
use crate::publish::edit::apply_edit;
use crate::state::State;

/// The properties of a new token.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The person or service that uses it.
    pub user: String,
    /// Its purpose.
    pub description: String,
    /// The administrator.
    pub created_by: String,
    /// Its scopes.
    pub grant: Grant,
    /// It is valid before this time.
    pub expires_at: Option<Timestamp>,
}

/// Creates a token and returns it with its identity; it cannot be read again. It is valid on this server at once.
///
/// # Errors
/// Those of the database.
pub async fn create(state: &State, tokens: &Tokens, new: NewToken) -> Result<(Secret, Identity), DbError> {
    let secret = Secret::generate().map_err(|error| DbError::Lost(error.into()))?;
    let guid = Identity(rand::random());
    let row = db::token::NewToken {
        guid,
        digest: secret.digest(),
        excerpt: secret.excerpt(),
        user: new.user,
        description: new.description,
        created_by: new.created_by,
        expires_at: new.expires_at,
        scopes: tokens::rows(&new.grant),
    };
    let now = (state.clock)();
    let detail = describe(&row);
    apply_edit(state, move |c| {
        db::token::create(c, &row, now)?;
        audit::record(c, "create token", ("token", &row.guid.to_string()), &detail)
    })
    .await?;
    tokens.refresh().await?;
    Ok((secret, guid))
}

/// The properties of a token, for the audit trail.
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
    format!("{}; for {}; {}; expires: {expires}", scopes.join(" "), row.user, row.description)
}

/// Every token, also expired and revoked ones, with its grant, by creation.
///
/// # Errors
/// Those of the database.
pub async fn list(state: &State) -> Result<Vec<(Row, Grant)>, DbError> {
    let (rows, _) = state.db.read(|c| db::token::changed_since(c, i64::MIN)).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let grant = tokens::grant(&row.scopes);
            (row, grant)
        })
        .collect())
}

/// Finds a token by its identity or by itself.
///
/// # Errors
/// Those of the database.
pub async fn find(state: &State, name: &str) -> Result<Option<Row>, DbError> {
    let (guid, digest) = (name.parse::<Identity>().ok(), secret::digest(name));
    let is_named = |row: &Row| Some(row.guid) == guid || row.digest == digest;
    Ok(list(state).await?.into_iter().map(|(row, _)| row).find(is_named))
}

/// Revokes a token: at once on this server, on others with the news of the change.
///
/// # Errors
/// Those of the database.
pub async fn revoke(state: &State, tokens: &Tokens, (id, guid): (TokenId, Identity)) -> Result<(), DbError> {
    let now = (state.clock)();
    apply_edit(state, move |c| {
        db::token::revoke(c, id, now)?;
        audit::record(c, "revoke token", ("token", &guid.to_string()), "")
    })
    .await?;
    tokens.refresh().await
}
