//! The marker of each storage class, as recorded by this database, and the history of sweeps: recently removed
//! objects, and the days on which sweeps ran.
//!
//! A marker contains a generation: a random identity that is renewed at each start and sweep and recorded here. So a
//! copy of the database, or a restored backup, does not contain the generations that were written after it was made.

use std::time::Duration;

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::ids::Identity;
use base::model::time::Timestamp;

/// Maximum number of recorded generations: limits the starts and sweeps between a backup and its restore.
const MAX_GENERATIONS: usize = 64;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StorageClassRow from "storage_class" {
        pub class: String,
        /// Its directory, or `s3://bucket/prefix`.
        pub place: String,
        /// Whether the marker was written or found in `place`.
        pub marked: bool,
        /// The token of the last adoption of the class by this database; `None` if it was never adopted.
        pub adoption: Option<Identity> = "nullif(adoption, '')",
        /// The generations written into the marker, newest first.
        pub generations: Vec<Identity> => generations,
    }
}

impl StorageClassRow {
    /// Returns the newest generation, which the marker contains or is about to contain; `None` if there is none.
    pub fn newest(&self) -> Option<Identity> {
        self.generations.first().copied()
    }

    /// Returns the place in which the marker was written, if it is not `location`.
    pub fn former_place(&self, location: &str) -> Option<&str> {
        (self.marked && self.place != location).then_some(self.place.as_str())
    }

    /// Returns whether this database wrote a marker of this generation. A marker without a generation
    /// counts as written by this database until `marked` is set.
    pub fn has_written(&self, generation: Option<Identity>) -> bool {
        generation.map_or(!self.marked, |generation| self.generations.contains(&generation))
    }
}

fn generations(cells: &mut Cells) -> Result<Vec<Identity>, DbError> {
    let text = String::decode(cells)?;
    let all: Result<_, _> = text.split_ascii_whitespace().map(str::parse).collect();
    all.map_err(|_| cells.shape("text", "generations of a marker"))
}

/// Returns the newest generations as the text of their column.
fn generations_text(generations: &[Identity]) -> Value {
    let newest = generations.iter().take(MAX_GENERATIONS);
    newest.map(ToString::to_string).collect::<Vec<_>>().join(" ").into()
}

pub fn all(c: &mut dyn Conn) -> Result<Vec<StorageClassRow>, DbError> {
    c.all(select!(StorageClassRow, "ORDER BY class"), &[])
}

pub fn get(c: &mut dyn Conn, class: &str) -> Result<Option<StorageClassRow>, DbError> {
    c.first(select!(StorageClassRow, "WHERE class = $1"), &[class.into()])
}

/// Returns the row of a class, and creates it with this generation if it is missing. If the row names another place, it
/// gets the new place and is no longer `marked`. Call it before writing a marker.
pub fn begin(
    c: &mut dyn Conn,
    class: &str,
    place: &str,
    generation: Identity,
) -> Result<StorageClassRow, DbError> {
    const INSERT: &str = "INSERT INTO storage_class (class, place, marked, adoption, generations, removed, removed_since) \
        VALUES ($1, $2, 0, '', $3, 0, 0) ON CONFLICT (class) DO NOTHING";
    const MOVE: &str = "UPDATE storage_class SET place = $1, marked = 0 WHERE class = $2 AND place <> $1";
    c.execute(INSERT, &[class.into(), place.into(), generations_text(&[generation])])?;
    c.execute(MOVE, &[place.into(), class.into()])?;
    get(c, class)?.ok_or(DbError::Shape { column: 0, found: "no row", expected: "a storage class" })
}

/// Records that the marker is in `place`. Call it after the marker was written.
pub fn set_marked(c: &mut dyn Conn, class: &str, place: &str) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE storage_class SET place = $1, marked = 1 WHERE class = $2";
    c.execute(UPDATE, &[place.into(), class.into()]).map(drop)
}

/// Prepends a generation; returns false if another server has changed the generations since `row` was read.
pub fn renew(c: &mut dyn Conn, row: &StorageClassRow, generation: Identity) -> Result<bool, DbError> {
    const RENEW: &str = "UPDATE storage_class SET generations = $1 WHERE class = $2 AND generations = $3";
    let mut generations = vec![generation];
    generations.extend(&row.generations);
    let class = row.class.as_str().into();
    Ok(c.execute(RENEW, &[generations_text(&generations), class, generations_text(&row.generations)])? == 1)
}

/// Resets the row of a class and records an adoption token, which no copy of this database has.
pub fn adopt(
    c: &mut dyn Conn,
    class: &str,
    place: &str,
    adoption: Identity,
    generation: Identity,
) -> Result<(), DbError> {
    const ADOPT: &str =
        "UPDATE storage_class SET marked = 0, adoption = $1, generations = $2 WHERE class = $3";
    begin(c, class, place, generation)?;
    c.execute(ADOPT, &[adoption.to_string().into(), generations_text(&[generation]), class.into()]).map(drop)
}

/// The window in which removed objects are counted.
const REMOVAL_WINDOW: Duration = Duration::from_secs(86_400);
/// Number of days for which sweeps are recorded.
const SWEEP_DAYS: i64 = 60;

/// Returns the number of objects of a class that were removed without a confirmation since the start of the
/// window, which is at most a day ago.
pub fn recent_removals(c: &mut dyn Conn, class: &str, now: Timestamp) -> Result<u64, DbError> {
    const GET: &str = "SELECT removed FROM storage_class WHERE class = $1 AND removed_since > $2 \
        AND removed_since <= $3";
    let since = now - REMOVAL_WINDOW;
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
    let since = now - REMOVAL_WINDOW;
    c.execute(ADD, &[total.into(), since.into(), now.into(), class.into()]).map(drop)
}

/// Records that a sweep runs on this day, counted from the epoch, and deletes old and future days.
pub fn record_sweep_day(c: &mut dyn Conn, today: i64) -> Result<(), DbError> {
    c.execute("INSERT INTO sweep_day (day) VALUES ($1) ON CONFLICT (day) DO NOTHING", &[today.into()])?;
    c.execute(
        "DELETE FROM sweep_day WHERE day < $1 OR day > $2",
        &[(today - SWEEP_DAYS).into(), today.into()],
    )
    .map(drop)
}

/// Returns the days on which sweeps ran, in order.
pub fn sweep_days(c: &mut dyn Conn) -> Result<Vec<i64>, DbError> {
    c.all("SELECT day FROM sweep_day ORDER BY day", &[])
}
