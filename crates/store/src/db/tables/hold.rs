//! Holds: while a hold has not expired, no object is removed from storage, because a backup reads the objects that the
//! rows of its snapshot refer to. Times are those of the database host's clock; with SQLite, of the server's clock. The
//! row is checked in the transaction that removes the row of an object.

use super::{Conn, DbError};
use base::model::identity::Identity;
use base::model::time::{SECOND, Timestamp};

/// Duration of a hold without renewal, in microseconds.
const TERM: i64 = 600 * SECOND;
/// Maximum time until the end of a hold, in microseconds. A hold that ends later was taken before the clock was set
/// back; it counts as expired.
const MAX_AHEAD: i64 = 2 * TERM;

/// Takes a hold, and removes those that have expired.
pub fn take(c: &mut dyn Conn, id: Identity, clock: Timestamp) -> Result<(), DbError> {
    const TAKE: &str = "INSERT INTO hold (id, until) VALUES ($1, $2)";
    const EXPIRED: &str = "DELETE FROM hold WHERE until <= $1 OR until > $2";
    let now = now(c, clock)?;
    c.execute(EXPIRED, &[now.into(), latest(now).into()])?;
    c.execute(TAKE, &[id.to_string().into(), expiry(now).into()]).map(drop)
}

/// Renews a hold. Returns false if it has expired: objects may have been removed since.
pub fn renew(c: &mut dyn Conn, id: Identity, clock: Timestamp) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE hold SET until = $1 WHERE id = $2 AND until > $3 AND until <= $4";
    let now = now(c, clock)?;
    let params = [expiry(now).into(), id.to_string().into(), now.into(), latest(now).into()];
    Ok(c.execute(RENEW, &params)? == 1)
}

pub fn release(c: &mut dyn Conn, id: Identity) -> Result<(), DbError> {
    c.execute("DELETE FROM hold WHERE id = $1", &[id.to_string().into()]).map(drop)
}

/// Returns the time until which objects may not be removed; `None` if they may be removed now. Call it in the
/// transaction that removes the row of an object: interactive writes run one at a time, so no hold can be taken
/// between this check and the removal.
pub fn held_until(c: &mut dyn Conn, clock: Timestamp) -> Result<Option<Timestamp>, DbError> {
    const SELECT: &str =
        "SELECT until FROM hold WHERE until > $1 AND until <= $2 ORDER BY until DESC LIMIT 1";
    let now = now(c, clock)?;
    c.first(SELECT, &[now.into(), latest(now).into()])
}

/// Returns the time of the database's host; with SQLite, which has no other host, `clock`.
fn now(c: &mut dyn Conn, clock: Timestamp) -> Result<Timestamp, DbError> {
    Ok(c.host_time()?.unwrap_or(clock))
}

/// Returns the end of a hold that is taken or renewed now.
fn expiry(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_add(TERM))
}

/// Returns the latest end that a hold can have.
fn latest(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_add(MAX_AHEAD))
}
