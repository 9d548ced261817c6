//! History of sweeps: recently removed objects, and the days on which sweeps ran.

use super::{Conn, DbError};
use base::model::time::{SECOND, Timestamp};

/// The window in which removed objects are counted, in microseconds.
const WINDOW: i64 = 86_400 * SECOND;
/// Number of days for which sweeps are recorded.
const DAYS: i64 = 60;

/// Returns the number of objects of a class that were removed without a confirmation since the start of the
/// window, which is at most a day ago.
pub fn recent_removals(c: &mut dyn Conn, class: &str, now: Timestamp) -> Result<u64, DbError> {
    const GET: &str = "SELECT removed FROM storage_class WHERE class = $1 AND removed_since > $2 \
        AND removed_since <= $3";
    let since = Timestamp(now.0.saturating_sub(WINDOW));
    let removed: Option<i64> = c.first(GET, &[class.into(), since.into(), now.into()])?;
    Ok(removed.and_then(|removed| u64::try_from(removed).ok()).unwrap_or(0))
}

/// Counts objects that are about to be removed; a negative number subtracts objects that were counted and then not
/// removed. If the window has ended, or its start is in the future, a new window begins now.
pub fn record_removed(c: &mut dyn Conn, class: &str, objects: i64, now: Timestamp) -> Result<(), DbError> {
    const ADD: &str = "UPDATE storage_class SET removed = $1, removed_since = CASE WHEN removed_since > $2 \
        AND removed_since <= $3 THEN removed_since ELSE $3 END WHERE class = $4";
    let before = i64::try_from(recent_removals(c, class, now)?).unwrap_or(i64::MAX);
    let total = before.saturating_add(objects).max(0);
    let since = Timestamp(now.0.saturating_sub(WINDOW));
    c.execute(ADD, &[total.into(), since.into(), now.into(), class.into()]).map(drop)
}

/// Records that a sweep runs on this day, counted from the epoch, and deletes old and future days.
pub fn record_day(c: &mut dyn Conn, today: i64) -> Result<(), DbError> {
    c.execute("INSERT INTO sweep_day (day) VALUES ($1) ON CONFLICT (day) DO NOTHING", &[today.into()])?;
    c.execute("DELETE FROM sweep_day WHERE day < $1 OR day > $2", &[(today - DAYS).into(), today.into()])
        .map(drop)
}

/// Returns the days on which sweeps ran, in order.
pub fn days(c: &mut dyn Conn) -> Result<Vec<i64>, DbError> {
    c.all("SELECT day FROM sweep_day ORDER BY day", &[])
}
