//! Access tokens: their digests, scopes and lifetimes. The tokens themselves are not stored. Also the proofs that are accepted
//! only once by all servers of the database: signed requests and identity tokens, of which only the digests are stored.

use std::collections::HashMap;

use super::{Conn, DbError, Value, audit, clock, ids};
use crate::db::engine::author::{Author, AuthorKind};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::digest::Sha256;
use base::model::ids::{Identity, TokenId};
use base::model::time::{DAY, Day, Timestamp};

/// Maximum number of tokens that one statement of [`changed_since`] returns.
const BATCH_SIZE: i64 = 2_000;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Token from "token t LEFT JOIN token_use u ON u.token_id = t.id" {
        pub id: TokenId = "t.id",
        /// The public identifier, used in lists and by `revoke`.
        pub guid: Identity = "t.guid",
        /// The digest of the whole token.
        pub digest: Sha256 = "t.digest",
        /// The first and last characters of the token, for display.
        pub excerpt: String = "t.excerpt",
        /// The person or service that uses the token.
        pub user: String = "t.user_name",
        pub description: String = "t.description",
        pub created_by: String = "t.created_by",
        pub created_at: Timestamp = "t.created_at",
        pub expires_at: Option<Timestamp> = "t.expires_at",
        pub revoked_at: Option<Timestamp> = "t.revoked_at",
        /// The last day on which it was used.
        pub used_on: Option<Day> = "u.day" => day,
        pub scopes: Vec<ScopeRow> = _,
    }
}

row! {
    /// The properties of a changed token that are needed to check requests.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ChangedToken {
        pub id: TokenId,
        pub guid: Identity,
        pub digest: Sha256,
        pub user: Box<str> => |cells| String::decode(cells).map(String::into_boxed_str),
        pub expires_at: Option<Timestamp>,
        pub revoked_at: Option<Timestamp>,
        /// Its scopes, in the order of their kinds and objects.
        pub scopes: Vec<ScopeRow> = _,
    }
}

row! {
    /// One scope, for one object.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub struct ScopeRow {
        /// The kind of the scope, as text.
        pub scope: String,
        /// The id of a repository or source; 0 for all, and for a scope without objects.
        pub object: i64,
    }
}

#[derive(Clone, Debug)]
pub struct NewToken {
    pub guid: Identity,
    pub digest: Sha256,
    pub excerpt: String,
    pub user: String,
    pub description: String,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub scopes: Vec<ScopeRow>,
}

/// Creates a token and bumps the catalog, so that every server reads it.
///
/// # Errors
/// [`DbError::Conflict`] if the digest or the guid exists.
pub fn create(c: &mut dyn Conn, token: &NewToken, now: Timestamp) -> Result<(), DbError> {
    const CREATE: &str = "INSERT INTO token (id, guid, digest, excerpt, user_name, description, created_by, \
        created_at, expires_at, revoked_at, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, $10)";
    const SCOPE: &str = "INSERT INTO token_scope (token_id, scope, object) VALUES ($1, $2, $3)";
    let revision = next_revision(c)?;
    let id = TokenId(ids::reserve(c, ids::Sequence::Token, 1)?);
    let params: [Value; 10] = [
        id.into(),
        token.guid.to_string().into(),
        token.digest.to_string().into(),
        token.excerpt.as_str().into(),
        token.user.as_str().into(),
        token.description.as_str().into(),
        token.created_by.as_str().into(),
        now.into(),
        token.expires_at.into(),
        revision.into(),
    ];
    c.execute(CREATE, &params)?;
    for ScopeRow { scope, object } in &token.scopes {
        c.execute(SCOPE, &[id.into(), scope.as_str().into(), (*object).into()])?;
    }
    Ok(())
}

/// Revokes a token and bumps the catalog, so that every server reads the change. The revocation time of a token
/// that is already revoked does not change.
pub fn revoke(c: &mut dyn Conn, id: TokenId, now: Timestamp) -> Result<(), DbError> {
    const REVOKE: &str =
        "UPDATE token SET revoked_at = $1, revision = $2 WHERE id = $3 AND revoked_at IS NULL";
    let revision = next_revision(c)?;
    c.execute(REVOKE, &[now.into(), revision.into(), id.into()]).map(drop)
}

/// Takes the next value of `clock.catalog`. The row of the clock stays locked until the commit, so the order of
/// revisions is the order of commits.
fn next_revision(c: &mut dyn Conn) -> Result<i64, DbError> {
    clock::bump_catalog(c, clock::Change::Nothing)?;
    Ok(clock::get(c)?.catalog)
}

/// Minimum lifetime of a token whose end is announced: a shorter one is not expected to be replaced by hand.
const ANNOUNCED_LIFETIME: i64 = 28 * DAY;

/// Returns the valid tokens that end until a time, the first one first, at most `limit`, without their scopes. Those with a
/// lifetime of less than four weeks are left out.
pub fn ending(c: &mut dyn Conn, now: Timestamp, until: Timestamp, limit: i64) -> Result<Vec<Token>, DbError> {
    const ENDING: &str = select!(
        Token,
        "WHERE t.revoked_at IS NULL AND t.expires_at > $1 AND t.expires_at <= $2 \
        AND t.expires_at - t.created_at >= $3 ORDER BY t.expires_at, t.id LIMIT $4"
    );
    c.all(ENDING, &[now.into(), until.into(), ANNOUNCED_LIFETIME.into(), limit.into()])
}

/// Returns all tokens, in order of creation.
pub fn list(c: &mut dyn Conn) -> Result<Vec<Token>, DbError> {
    const SCOPES: &str = "SELECT token_id, scope, object FROM token_scope ORDER BY token_id, scope, object";
    let mut tokens: Vec<Token> = c.all(select!(Token, "ORDER BY t.id"), &[])?;
    let mut index = 0;
    for (id, scope) in c.all::<(TokenId, ScopeRow)>(SCOPES, &[])? {
        while tokens.get(index).is_some_and(|token| token.id < id) {
            index += 1;
        }
        if let Some(token) = tokens.get_mut(index).filter(|token| token.id == id) {
            token.scopes.push(scope);
        }
    }
    Ok(tokens)
}

/// Calls `apply` with each token that changed after a revision, in the order of revisions; returns the newest revision.
/// Call it in a read transaction, all statements of which read the same state of the database: each token is passed
/// once, in its latest state.
///
/// # Errors
/// `apply` was then called for some of the tokens only.
pub fn changed_since(
    c: &mut dyn Conn,
    revision: i64,
    apply: &mut dyn FnMut(ChangedToken),
) -> Result<i64, DbError> {
    changed_in_batches(c, revision, BATCH_SIZE, apply)
}

/// Like [`changed_since`], with at most `batch_size` tokens in the result of each statement, so that the memory for
/// rows does not grow with the number of tokens.
pub fn changed_in_batches(
    c: &mut dyn Conn,
    revision: i64,
    batch_size: i64,
    apply: &mut dyn FnMut(ChangedToken),
) -> Result<i64, DbError> {
    const TOKENS: &str = "SELECT id, guid, digest, user_name, expires_at, revoked_at, revision FROM token \
        WHERE revision >= $1 AND (revision > $1 OR id > $2) ORDER BY revision, id LIMIT $3";
    const SCOPES: &str = "SELECT s.token_id, s.scope, s.object FROM token_scope s JOIN token t ON t.id = s.token_id \
        WHERE t.revision >= $1 AND (t.revision > $1 OR t.id > $2) AND t.revision <= $3 AND (t.revision < $3 \
        OR t.id <= $4) ORDER BY s.token_id, s.scope, s.object";
    // The revision and id of the last token that was read: at first, after all tokens of `revision`.
    let mut last = (revision, i64::MAX);
    loop {
        let (previous, mut tokens) = (last, Vec::new());
        let params = [previous.0.into(), previous.1.into(), batch_size.into()];
        for (token, revision) in c.all::<(ChangedToken, i64)>(TOKENS, &params)? {
            last = (revision, token.id.0);
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Ok(last.0);
        }
        let mut scopes: HashMap<TokenId, Vec<ScopeRow>> = HashMap::new();
        let range: [Value; 4] = [previous.0.into(), previous.1.into(), last.0.into(), last.1.into()];
        for (id, scope) in c.all::<(TokenId, ScopeRow)>(SCOPES, &range)? {
            scopes.entry(id).or_default().push(scope);
        }
        for token in tokens {
            let scopes = scopes.remove(&token.id).unwrap_or_default();
            apply(ChangedToken { scopes, ..token });
        }
    }
}

/// Records that a token was used on the day of `at`. The first use is recorded in the audit trail.
pub fn record_use(
    c: &mut dyn Conn,
    id: TokenId,
    guid: Identity,
    user: &str,
    at: Timestamp,
) -> Result<(), DbError> {
    const PUT: &str = "INSERT INTO token_use (token_id, day) VALUES ($1, $2) ON CONFLICT (token_id) \
        DO UPDATE SET day = excluded.day WHERE token_use.day < excluded.day";
    if !c.finds("SELECT day FROM token_use WHERE token_id = $1", &[id.into()])? {
        let name = format!("{user} (token {guid})");
        let author = Author { kind: AuthorKind::Token, name, address: String::new(), at };
        let guid = guid.to_string();
        audit::record_by(c, &author, "first use of token", "token", &guid, audit::SUCCESS, "")?;
    }
    c.execute(PUT, &[id.into(), at.0.div_euclid(DAY).into()]).map(drop)
}

/// Decodes a number of days since the epoch.
fn day(cells: &mut Cells) -> Result<Option<Day>, DbError> {
    let day = Option::<i64>::decode(cells)?;
    Ok(day.map(|day| Timestamp(day.saturating_mul(DAY)).day()))
}

/// Records the use of a proof that is accepted until `expires_at`. Returns false if it was used before. Also removes
/// the rows of proofs that are expired at `now`.
pub fn record_proof(
    c: &mut dyn Conn,
    proof: &Sha256,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    const DELETE_EXPIRED: &str = "DELETE FROM used_proof WHERE expires_at < $1";
    const INSERT: &str =
        "INSERT INTO used_proof (sha256, expires_at) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING";
    c.execute(DELETE_EXPIRED, &[now.into()])?;
    Ok(c.execute(INSERT, &[proof.to_string().into(), expires_at.into()])? == 1)
}
