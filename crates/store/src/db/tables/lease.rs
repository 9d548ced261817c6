//! Leases: each selects one node for a job. Every claim increases the fence, so that a stalled node detects its loss.

use std::time::Duration;

use super::{Conn, DbError};
use base::model::time::Timestamp;

/// The fencing token of a claimed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub i64);

/// Maximum time until the end of a lease. A lease that ends later was claimed before the clock was set
/// back; it counts as expired. Twice the longest term, so that a clock that is set back a little does not end a lease.
pub const MAX_AHEAD: Duration = Duration::from_secs(150);

/// Returns the time of the database's clock, with which all servers compare leases. Read it before the statement that uses
/// it: a server that is suspended in between compares with an earlier time, which makes no lease expire early.
pub fn now(c: &mut dyn Conn) -> Result<Timestamp, DbError> {
    c.host_time()?.ok_or(DbError::Shape { column: 0, found: "nothing", expected: "the time of the database" })
}

/// Claims a lease until `until`; returns `None` while another holder has it.
pub fn claim(
    c: &mut dyn Conn,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Fence>, DbError> {
    const CLAIM: &str = "INSERT INTO lease (name, holder, fence, until) VALUES ($1, $2, 1, $3) ON CONFLICT (name) \
        DO UPDATE SET holder = excluded.holder, fence = lease.fence + 1, until = excluded.until \
        WHERE lease.until <= $4 OR lease.until > $5 OR lease.holder = excluded.holder RETURNING fence";
    let params = [name.into(), holder.into(), until.into(), now.into(), (now + MAX_AHEAD).into()];
    Ok(c.first(CLAIM, &params)?.map(Fence))
}

/// Extends a lease. Returns false if it was claimed again.
pub fn renew(c: &mut dyn Conn, name: &str, fence: Fence, until: Timestamp) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE lease SET until = $1 WHERE name = $2 AND fence = $3";
    Ok(c.execute(RENEW, &[until.into(), name.into(), fence.0.into()])? == 1)
}

/// Returns whether the lease was not claimed again since the claim that returned `fence`; no other server can claim it
/// until the end of this transaction. Call it in the closure that publishes.
pub fn is_held(c: &mut dyn Conn, name: &str, fence: Fence) -> Result<bool, DbError> {
    const LOCK: &str = "UPDATE lease SET fence = fence WHERE name = $1 AND fence = $2";
    Ok(c.execute(LOCK, &[name.into(), fence.0.into()])? == 1)
}

/// Returns the holder of a lease that has not expired.
pub fn holder(c: &mut dyn Conn, name: &str, now: Timestamp) -> Result<Option<String>, DbError> {
    const HOLDER: &str = "SELECT holder FROM lease WHERE name = $1 AND until > $2 AND until <= $3";
    c.first(HOLDER, &[name.into(), now.into(), (now + MAX_AHEAD).into()])
}

/// Releases a lease. The row stays, so that fences never decrease.
pub fn release(c: &mut dyn Conn, name: &str, fence: Fence) -> Result<(), DbError> {
    const RELEASE: &str = "UPDATE lease SET until = 0, holder = '' WHERE name = $1 AND fence = $2";
    c.execute(RELEASE, &[name.into(), fence.0.into()]).map(drop)
}

/// Releases all leases of a holder that has ended.
pub fn release_all(c: &mut dyn Conn, holder: &str) -> Result<(), DbError> {
    const RELEASE: &str = "UPDATE lease SET until = 0, holder = '' WHERE holder = $1";
    c.execute(RELEASE, &[holder.into()]).map(drop)
}
