//! Clock skew between a machine and the clock row, and its repair.

use super::{Conn, DbError, clock};
use crate::model::ids::TxId;
use crate::model::time::{SECOND, Timestamp};

/// Maximum lead of the clock row over a machine's clock, in microseconds: servers of one database differ by seconds.
pub const TOLERANCE: i64 = 300 * SECOND;
/// Maximum lead of a machine's clock over the clock row, in microseconds. A running server closes each day, which moves
/// the row.
pub const LONGEST_PAUSE: i64 = 31 * 86_400 * SECOND;

/// Maximum pause, in microseconds, that is treated as an outage without confirmation by an administrator: beyond it,
/// even a synchronised clock may follow a wrong time server.
pub const LONGEST_OUTAGE: i64 = 366 * 86_400 * SECOND;

/// A difference between a machine's clock and the clock row that is too large to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skew {
    /// A transaction or a closed day is in the future.
    #[error(
        "nothing can be published, because this machine's clock says {now} and the database has transactions or closed \
         days up to {row}"
    )]
    Behind {
        /// The machine's clock.
        now: Timestamp,
        /// The clock row.
        row: Timestamp,
    },
    /// The clock may be wrong, and a publish would make that permanent.
    #[error(
        "nothing can be published, because this machine's clock says {now}, over a month after the last publish or closed \
         day ({row})"
    )]
    Ahead {
        /// The machine's clock.
        now: Timestamp,
        /// The clock row.
        row: Timestamp,
    },
}

impl Skew {
    /// Returns true if the machine, or its server, may have been off since the last publish.
    #[must_use]
    pub fn may_be_an_outage(&self) -> bool {
        match self {
            Skew::Ahead { now, row } => now.0.saturating_sub(row.0) <= LONGEST_OUTAGE,
            Skew::Behind { .. } => false,
        }
    }

    /// Returns the command that accepts the machine's clock.
    #[must_use]
    pub fn command(&self) -> String {
        let (Skew::Behind { now, .. } | Skew::Ahead { now, .. }) = self;
        format!("rspm repair clock --today={}", now.day())
    }
}

/// Returns the difference if it is too large to publish. A row that never moved agrees with every clock.
#[must_use]
pub fn between(row: Timestamp, now: Timestamp) -> Option<Skew> {
    if row.0 > now.0.saturating_add(TOLERANCE) {
        Some(Skew::Behind { now, row })
    } else if row.0 > 0 && now.0 > row.0.saturating_add(LONGEST_PAUSE) {
        Some(Skew::Ahead { now, row })
    } else {
        None
    }
}

/// The changes of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The skew that was repaired.
    pub skew: Skew,
    /// The clock row afterwards.
    pub row: Timestamp,
    /// Transactions that get another time, by id: the id, the time before, the time afterwards.
    pub transactions: Vec<(TxId, Timestamp, Timestamp)>,
}

/// Sets the clock row to `now`, which an administrator or another clock has confirmed; `None` if it already agrees.
///
/// Transactions after `now` get the last microseconds up to it, in their order and after all others: every past day
/// stays as it was served. With `dry_run` nothing is changed.
///
/// # Errors
/// [`DbError::ClockAhead`] if the clock of the database's host differs.
pub fn repair(c: &mut dyn Conn, now: Timestamp, dry_run: bool) -> Result<Option<Repair>, DbError> {
    const AHEAD: &str = "SELECT id, at FROM tx WHERE at > CAST($1 AS BIGINT) ORDER BY at";
    const LAST: &str = "SELECT COALESCE(MAX(at), 0) FROM tx WHERE at <= CAST($1 AS BIGINT)";
    const ROW: &str = "UPDATE clock SET at = CAST($1 AS BIGINT), catalog = catalog + 1 WHERE id = 1";
    clock::check_host_time(c, now)?;
    clock::lock(c)?;
    let Some(skew) = between(clock::get(c)?.at, now) else { return Ok(None) };
    let rows = c.query(AHEAD, &[now.into()])?;
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let last = c.query(LAST, &[now.into()])?.first().map_or(Ok(0), |row| row.int(0))?;
    let first = (now.0 - count + 1).max(last + 1);
    let mut transactions = Vec::with_capacity(rows.len());
    for (place, row) in (0..).zip(&rows) {
        transactions.push((TxId(row.int(0)?), row.time(1)?, Timestamp(first + place)));
    }
    let row = transactions.last().map_or(now, |(_, _, to)| now.max(*to));
    if !dry_run {
        for (id, _, to) in &transactions {
            set_time(c, *id, *to)?;
        }
        reset_future_times(c, now)?;
        c.execute(ROW, &[row.into()])?;
        c.announce()?;
    }
    transactions.sort_unstable_by_key(|(id, ..)| *id);
    Ok(Some(Repair { skew, row, transactions }))
}

/// Sets the time of a transaction and of everything it published.
fn set_time(c: &mut dyn Conn, id: TxId, at: Timestamp) -> Result<(), DbError> {
    const STATEMENTS: [&str; 4] = [
        "UPDATE tx SET at = CAST($1 AS BIGINT) WHERE id = $2",
        "UPDATE tx SET started_at = CAST($1 AS BIGINT) WHERE started_at > CAST($1 AS BIGINT) AND id = $2",
        "UPDATE step SET at = CAST($1 AS BIGINT) WHERE tx_id = $2",
        "UPDATE repo_step SET at = CAST($1 AS BIGINT) WHERE tx_id = $2",
    ];
    STATEMENTS.iter().try_for_each(|sql| c.execute(sql, &[at.into(), id.into()]).map(drop))
}

/// Resets rows with a time in the future: leases that no node renews, and times of last success, which delay schedules.
fn reset_future_times(c: &mut dyn Conn, now: Timestamp) -> Result<(), DbError> {
    const LEASES: &str = "UPDATE lease SET until = 0, holder = '' WHERE until > CAST($1 AS BIGINT)";
    const FETCHED: &str =
        "UPDATE upstream SET fetched_at = CAST($1 AS BIGINT) WHERE fetched_at > CAST($1 AS BIGINT)";
    let soon = Timestamp(now.0.saturating_add(86_400 * SECOND));
    c.execute(LEASES, &[soon.into()])?;
    c.execute(FETCHED, &[now.into()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_minutes_and_pauses_may_last_a_month() {
        let row = Timestamp(1_795_132_800 * SECOND);
        let at = |difference: i64| between(row, Timestamp(row.0 + difference));
        for fine in [0, -TOLERANCE, LONGEST_PAUSE] {
            assert_eq!(at(fine), None, "{fine}");
        }
        assert!(matches!(at(-TOLERANCE - 1), Some(Skew::Behind { .. })));
        assert!(matches!(at(LONGEST_PAUSE + 1), Some(Skew::Ahead { .. })));
        assert_eq!(between(Timestamp(0), row), None, "nothing was published yet");
    }

    #[test]
    fn outages_may_last_a_year_and_the_command_has_the_day() {
        let row = Timestamp(1_795_132_800 * SECOND);
        let after = |pause: i64| between(row, Timestamp(row.0 + pause)).expect("too large");
        assert!(after(LONGEST_PAUSE + 1).may_be_an_outage() && after(LONGEST_OUTAGE).may_be_an_outage());
        assert!(!after(LONGEST_OUTAGE + 1).may_be_an_outage() && !after(-TOLERANCE - 1).may_be_an_outage());
        assert_eq!(after(LONGEST_PAUSE + SECOND).command(), "rspm repair clock --today=2026-12-21");
    }
}
