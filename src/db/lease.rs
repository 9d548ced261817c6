//! Leases: which node does a job. The fence rises with every claim, so a node that slept is found out.

use super::{Conn, DbError};
use crate::model::time::Timestamp;

/// The right to do a job, until it runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub i64);

/// Claims a lease until `until`; `None` while another holder has it.
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

/// Prolongs a lease. False when it was lost to another claim.
pub fn renew(c: &mut dyn Conn, name: &str, fence: Fence, until: Timestamp) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE lease SET until = CAST($1 AS BIGINT) WHERE name = $2 AND fence = $3";
    Ok(c.execute(RENEW, &[until.into(), name.into(), fence.0.into()])? == 1)
}

/// True while nobody claimed the lease after `fence`: ask in the closure that publishes.
pub fn holds(c: &mut dyn Conn, name: &str, fence: Fence) -> Result<bool, DbError> {
    let rows = c.query("SELECT fence FROM lease WHERE name = $1", &[name.into()])?;
    rows.first().map_or(Ok(false), |row| Ok(row.int(0)? == fence.0))
}

/// Gives a lease back. The row stays, so that fences never fall.
pub fn release(c: &mut dyn Conn, name: &str, fence: Fence) -> Result<(), DbError> {
    const RELEASE: &str = "UPDATE lease SET until = 0, holder = '' WHERE name = $1 AND fence = $2";
    c.execute(RELEASE, &[name.into(), fence.0.into()]).map(drop)
}
