//! Leases: which node does a job. The fence rises with every claim, so a stalled node detects that its lease is lost.

use super::{Conn, DbError};
use crate::model::time::Timestamp;

/// The fencing token of a claimed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub i64);

/// Claims a lease until `until`; returns `None` while another holder has it.
pub fn claim(
    c: &mut dyn Conn,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Fence>, DbError> {
    const CLAIM: &str = "INSERT INTO lease (name, holder, fence, until) VALUES ($1, $2, 1, CAST($3 AS BIGINT)) \
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = lease.fence + 1, \
        until = excluded.until WHERE lease.until <= CAST($4 AS BIGINT) OR lease.holder = excluded.holder \
        RETURNING fence";
    let rows = c.query(CLAIM, &[name.into(), holder.into(), until.into(), now.into()])?;
    rows.first().map(|row| row.int(0).map(Fence)).transpose()
}

/// Extends a lease. Returns false if another holder has claimed it.
pub fn renew(c: &mut dyn Conn, name: &str, fence: Fence, until: Timestamp) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE lease SET until = CAST($1 AS BIGINT) WHERE name = $2 AND fence = $3";
    Ok(c.execute(RENEW, &[until.into(), name.into(), fence.0.into()])? == 1)
}

/// Returns true if the lease was not claimed after `fence`. Check it in the closure that publishes.
pub fn holds(c: &mut dyn Conn, name: &str, fence: Fence) -> Result<bool, DbError> {
    let rows = c.query("SELECT fence FROM lease WHERE name = $1", &[name.into()])?;
    rows.first().map_or(Ok(false), |row| Ok(row.int(0)? == fence.0))
}

/// Releases a lease. The row stays, so that fences never decrease.
pub fn release(c: &mut dyn Conn, name: &str, fence: Fence) -> Result<(), DbError> {
    const RELEASE: &str = "UPDATE lease SET until = 0, holder = '' WHERE name = $1 AND fence = $2";
    c.execute(RELEASE, &[name.into(), fence.0.into()]).map(drop)
}
