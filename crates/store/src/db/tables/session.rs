//! Sessions of browsers, sign-ins in progress, sign-ins of devices, and users whose tokens and sessions were revoked.
//! The secrets of browsers and devices are not stored, only their digests.

use super::{Conn, DbError, audit, clock};
use crate::db::engine::columns::{column, row, select};
use base::model::digest::Sha256;
use base::model::ids::Identity;
use base::model::time::Timestamp;
use base::words;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Session from "session" {
        /// The digest of the cookie.
        pub digest: Sha256,
        pub guid: Identity,
        pub user: String = "user_name",
        /// The identity of the user at the provider.
        pub unique_id: String,
        /// The scopes, encoded as in the column.
        pub scopes: String,
        /// The newest change of tokens that the server knew when it created the session.
        pub revision: i64,
        pub created_at: Timestamp,
        /// Time of its last use, with a precision of minutes.
        pub last_used_at: Timestamp = "seen_at",
        /// The time at which it ends at the latest.
        pub expires_at: Timestamp,
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DeviceState {
        Pending = "pending",
        Allowed = "allowed",
        Denied = "denied",
    }
}

column! {
    DeviceState: |row, column| Ok(DeviceState::parse(&row.text(column)?).unwrap_or(DeviceState::Denied)),
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DeviceLogin from "device_login" {
        /// The digest of the device code.
        pub digest: Sha256,
        /// The code that the user enters; `None` if it is the provider's.
        pub user_code: Option<String>,
        /// The PKCE challenge (S256); empty without one.
        pub challenge: String,
        pub address: String,
        /// The decision of the user.
        pub state: DeviceState,
        /// The user who allowed it.
        pub user: String = "user_name",
        pub unique_id: String,
        /// The scopes of the user, encoded as in the column.
        pub scopes: String,
        /// The minimum interval between polls, in microseconds.
        pub pause: i64,
        /// Time of the last poll of the device.
        pub polled_at: Timestamp,
        pub expires_at: Timestamp,
    }
}

pub fn create(c: &mut dyn Conn, session: &Session) -> Result<(), DbError> {
    const CREATE: &str = "INSERT INTO session (digest, guid, user_name, unique_id, scopes, revision, created_at, \
        seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let Session { digest, guid, user, unique_id, scopes, revision, created_at, last_used_at, expires_at } =
        session;
    c.execute(
        CREATE,
        &[
            digest.to_string().into(),
            guid.to_string().into(),
            user.as_str().into(),
            unique_id.as_str().into(),
            scopes.as_str().into(),
            (*revision).into(),
            (*created_at).into(),
            (*last_used_at).into(),
            (*expires_at).into(),
        ],
    )
    .map(drop)
}

/// Returns a session, expired or not.
pub fn find(c: &mut dyn Conn, digest: Sha256) -> Result<Option<Session>, DbError> {
    c.first(select!(Session, "WHERE digest = $1"), &[digest.to_string().into()])
}

pub fn record_use(c: &mut dyn Conn, digest: Sha256, at: Timestamp) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE session SET seen_at = $1 WHERE digest = $2 AND seen_at < $1";
    c.execute(UPDATE, &[at.into(), digest.to_string().into()]).map(drop)
}

pub fn delete(c: &mut dyn Conn, digest: Sha256) -> Result<(), DbError> {
    c.execute("DELETE FROM session WHERE digest = $1", &[digest.to_string().into()]).map(drop)
}

/// Removes sessions and sign-ins that are expired at `now`, and sessions that were not used since `unused_since`.
pub fn sweep(c: &mut dyn Conn, now: Timestamp, unused_since: Timestamp) -> Result<(), DbError> {
    const SESSIONS: &str = "DELETE FROM session WHERE expires_at <= $1 OR seen_at <= $2";
    c.execute(SESSIONS, &[now.into(), unused_since.into()])?;
    c.execute("DELETE FROM login WHERE expires_at <= $1", &[now.into()])?;
    c.execute("DELETE FROM device_login WHERE expires_at <= $1", &[now.into()]).map(drop)
}

/// Begins a sign-in. Returns false if `limit` sign-ins are in progress at `now`. `digest` is the digest of the cookie.
pub fn begin_login(
    c: &mut dyn Conn,
    digest: Sha256,
    return_to: &str,
    now: Timestamp,
    expires_at: Timestamp,
    limit: i64,
) -> Result<bool, DbError> {
    const BEGIN: &str = "INSERT INTO login (digest, return_to, expires_at) VALUES ($1, $2, $3)";
    c.execute("DELETE FROM login WHERE expires_at <= $1", &[now.into()])?;
    if c.first("SELECT COUNT(*) FROM login", &[])?.unwrap_or(0) >= limit {
        return Ok(false);
    }
    c.execute(BEGIN, &[digest.to_string().into(), return_to.into(), expires_at.into()])?;
    Ok(true)
}

/// Ends a sign-in and returns the path to which the browser returns; `None` if no sign-in with this digest is valid
/// at `now`. Only the first call returns it.
pub fn end_login(c: &mut dyn Conn, digest: Sha256, now: Timestamp) -> Result<Option<String>, DbError> {
    const END: &str = "DELETE FROM login WHERE digest = $1 RETURNING return_to, expires_at";
    let ended: Option<(String, Timestamp)> = c.first(END, &[digest.to_string().into()])?;
    Ok(ended.filter(|(_, expires_at)| *expires_at > now).map(|(return_to, _)| return_to))
}

/// Begins the sign-in of a device. Returns false if `limit` such sign-ins are in progress at `now`.
///
/// # Errors
/// [`DbError::Conflict`] if another one has the same user code.
pub fn begin_device(
    c: &mut dyn Conn,
    login: &DeviceLogin,
    now: Timestamp,
    limit: i64,
) -> Result<bool, DbError> {
    const BEGIN: &str = "INSERT INTO device_login (digest, user_code, challenge, address, state, user_name, unique_id, \
        scopes, pause, polled_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    c.execute("DELETE FROM device_login WHERE expires_at <= $1", &[now.into()])?;
    if c.first("SELECT COUNT(*) FROM device_login", &[])?.unwrap_or(0) >= limit {
        return Ok(false);
    }
    c.execute(
        BEGIN,
        &[
            login.digest.to_string().into(),
            login.user_code.as_deref().into(),
            login.challenge.as_str().into(),
            login.address.as_str().into(),
            login.state.as_str().into(),
            login.user.as_str().into(),
            login.unique_id.as_str().into(),
            login.scopes.as_str().into(),
            login.pause.into(),
            login.polled_at.into(),
            login.expires_at.into(),
        ],
    )?;
    Ok(true)
}

/// Returns the sign-in of a device by its device code.
pub fn device(c: &mut dyn Conn, digest: Sha256) -> Result<Option<DeviceLogin>, DbError> {
    c.first(select!(DeviceLogin, "WHERE digest = $1"), &[digest.to_string().into()])
}

/// Returns the sign-in of a device by its user code.
pub fn device_by_code(c: &mut dyn Conn, user_code: &str) -> Result<Option<DeviceLogin>, DbError> {
    c.first(select!(DeviceLogin, "WHERE user_code = $1"), &[user_code.into()])
}

pub fn record_poll(c: &mut dyn Conn, digest: Sha256, at: Timestamp, pause: i64) -> Result<(), DbError> {
    const POLLED: &str = "UPDATE device_login SET polled_at = $1, pause = $2 WHERE digest = $3";
    c.execute(POLLED, &[at.into(), pause.into(), digest.to_string().into()]).map(drop)
}

/// Records a user's decision about a pending sign-in; returns false if it is no longer pending, or the user's session
/// has ended. Servers cache sessions for a second: without this check, a decision after a revocation would outlast it.
pub fn decide(
    c: &mut dyn Conn,
    digest: Sha256,
    state: DeviceState,
    user: &str,
    unique_id: &str,
    scopes: &str,
    session: Sha256,
) -> Result<bool, DbError> {
    const DECIDE: &str = "UPDATE device_login SET state = $1, user_name = $2, unique_id = $3, scopes = $4 \
        WHERE digest = $5 AND state = 'pending' AND EXISTS (SELECT 1 FROM session s WHERE s.digest = $6)";
    // Because of the lock, a revocation either precedes this decision or removes its row.
    clock::lock(c)?;
    let (digest, session) = (digest.to_string(), session.to_string());
    let params =
        [state.as_str().into(), user.into(), unique_id.into(), scopes.into(), digest.into(), session.into()];
    Ok(c.execute(DECIDE, &params)? > 0)
}

/// Removes the sign-in of a device; returns true for the call that removed it.
pub fn end_device(c: &mut dyn Conn, digest: Sha256) -> Result<bool, DbError> {
    Ok(c.execute("DELETE FROM device_login WHERE digest = $1", &[digest.to_string().into()])? > 0)
}

/// Revokes all tokens of a user, ends the sessions, and bumps the catalog, so that every server reads the change.
pub fn revoke_user(c: &mut dyn Conn, user: &str, now: Timestamp) -> Result<EndedByUser, DbError> {
    const TOKENS: &str =
        "UPDATE token SET revoked_at = $1, revision = $2 WHERE user_name = $3 AND revoked_at IS NULL";
    const USER: &str = "INSERT INTO revoked_user (user_name, revoked_at, revision) VALUES ($1, $2, $3) \
        ON CONFLICT (user_name) DO UPDATE SET revoked_at = excluded.revoked_at, revision = excluded.revision";
    clock::bump_catalog(c, clock::Change::Nothing)?;
    let revision = clock::get(c)?.catalog;
    let tokens = c.execute(TOKENS, &[now.into(), revision.into(), user.into()])?;
    c.execute(USER, &[user.into(), now.into(), revision.into()])?;
    let sessions = c.execute(
        "DELETE FROM session WHERE user_name = $1 AND expires_at > $2",
        &[user.into(), now.into()],
    )?;
    c.execute("DELETE FROM session WHERE user_name = $1", &[user.into()])?;
    c.execute("DELETE FROM device_login WHERE user_name = $1", &[user.into()])?;
    let ended = EndedByUser { tokens, sessions };
    let detail = format!("{tokens} tokens, {sessions} sessions");
    audit::record(c, "revoke all tokens", "user", user, &detail)?;
    Ok(ended)
}

/// What the revocation of a user ended, without the tokens that this server signed, which are in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedByUser {
    /// Number of tokens of `rspm create token`.
    pub tokens: u64,
    pub sessions: u64,
}

/// Returns the names of all users with tokens that are not revoked, or with sessions, in ascending order.
pub fn users(c: &mut dyn Conn) -> Result<Vec<String>, DbError> {
    const USERS: &str = "SELECT user_name FROM token WHERE revoked_at IS NULL UNION SELECT user_name FROM session \
        ORDER BY user_name";
    c.all(USERS, &[])
}

row! {
    /// The newest revocation of all tokens and sessions of a user.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RevokedUser from "revoked_user" {
        pub user: String = "user_name",
        /// The revision of the change.
        pub revision: i64,
        pub at: Timestamp = "revoked_at",
    }
}

/// Returns the users whose tokens and sessions were revoked after a revision.
pub fn revoked_since(c: &mut dyn Conn, revision: i64) -> Result<Vec<RevokedUser>, DbError> {
    const REVOKED: &str = select!(RevokedUser, "WHERE revision > $1");
    c.all(REVOKED, &[revision.into()])
}

/// Revokes a token that this server signed, until it expires, and bumps the catalog, so that every server reads the change.
pub fn revoke_signed(
    c: &mut dyn Conn,
    guid: Identity,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO revoked_signed_token (guid, expires_at, revision) VALUES ($1, $2, $3) \
        ON CONFLICT (guid) DO NOTHING";
    clock::bump_catalog(c, clock::Change::Nothing)?;
    let revision = clock::get(c)?.catalog;
    c.execute("DELETE FROM revoked_signed_token WHERE expires_at <= $1", &[now.into()])?;
    c.execute(INSERT, &[guid.to_string().into(), expires_at.into(), revision.into()])?;
    audit::record(c, "revoke token", "token", &guid.to_string(), audit::SIGNED)
}

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RevokedSignedToken from "revoked_signed_token" {
        pub guid: Identity,
        pub expires_at: Timestamp,
        pub revision: i64,
    }
}

/// Returns the signed tokens that were revoked after a revision.
pub fn signed_revoked_since(c: &mut dyn Conn, revision: i64) -> Result<Vec<RevokedSignedToken>, DbError> {
    c.all(select!(RevokedSignedToken, "WHERE revision > $1"), &[revision.into()])
}
