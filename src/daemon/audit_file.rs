//! Copies the audit trail to the file of `Logging.AuditLog`: one JSON object for each row, as `rspm audit
//! export` prints it. The rows are read after their commit, so an error of the file does not delay a change.
//! Each server of a database writes the whole trail to its own file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use crate::http::api::admin::audit_row;
use api::audit::AuditRow;
use store::db::audit::{self, Filter};
use store::db::{Db, DbError};
use store::logs::OptionalLog;

const INTERVAL: Duration = Duration::from_secs(1);
const PAGE: i64 = 1000;
/// Number of bytes at the end of the file that are searched for its last row. It exceeds the length of every row.
const TAIL: u64 = 256 << 10;

/// Copies new rows until the future is dropped.
pub(super) async fn follow(db: &Db, log: &OptionalLog) {
    let (mut position, mut is_failing) = (None, false);
    loop {
        match copy(db, log, &mut position).await {
            Ok(true) => continue,
            Ok(false) => is_failing = false,
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "could not read the audit trail for its file; trying again");
                }
                is_failing = true;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Copies at most [`PAGE`] rows after `position`, or after the last row in the file. Returns whether there may be more.
async fn copy(db: &Db, log: &OptionalLog, position: &mut Option<i64>) -> Result<bool, DbError> {
    let Some(sink) = log.sink() else {
        *position = None;
        return Ok(false);
    };
    let after = match *position {
        Some(row) => row,
        None => {
            let path = sink.path().to_owned();
            let last = tokio::task::spawn_blocking(move || last_copied_row(&path)).await.ok().flatten();
            let newest = newest(db).await?;
            // Begins after the newest row without an earlier file, and if the last copied row is of another database.
            last.filter(|row| *row <= newest).unwrap_or(newest)
        }
    };
    *position = Some(after);
    let filter = Filter {
        after,
        since: i64::MIN,
        until: i64::MAX,
        limit: PAGE,
        newest_first: false,
        ..Filter::default()
    };
    let rows = db.read(move |c| audit::list(c, &filter)).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == PAGE);
    let dropped_lines = sink.dropped_lines();
    for row in rows {
        let id = row.id;
        // A struct of texts and numbers is always valid JSON.
        if let Ok(mut line) = serde_json::to_vec(&audit_row(row)) {
            line.push(b'\n');
            log.write(&line);
        }
        *position = Some(id);
    }
    // A line is lost while the disk is full. The next read begins after the last complete row in the file; a row
    // that was partly written may then occur twice.
    let written = tokio::task::spawn_blocking(move || {
        sink.flush();
        if sink.dropped_lines() == dropped_lines { Ok(()) } else { Err(last_row(sink.path())) }
    });
    if let Ok(Err(last)) = written.await {
        *position = Some(last.filter(|row| *row >= after).unwrap_or(after));
        return Ok(false);
    }
    Ok(is_full)
}

async fn newest(db: &Db) -> Result<i64, DbError> {
    let filter =
        Filter { since: i64::MIN, until: i64::MAX, limit: 1, newest_first: true, ..Filter::default() };
    let rows = db.read(move |c| audit::list(c, &filter)).await?;
    Ok(rows.first().map_or(0, |row| row.id))
}

/// Returns the number of the last row copied to this file or, after a rotation, to the file before it.
fn last_copied_row(path: &Path) -> Option<i64> {
    last_row(path).or_else(|| last_row(&path.with_added_extension("1")))
}

/// Returns the number of the last complete row of a file.
fn last_row(path: &Path) -> Option<i64> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let id = |line: &[u8]| serde_json::from_slice::<AuditRow>(line).ok().map(|row| row.id);
    bytes.split(|byte| *byte == b'\n').rev().find_map(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_continued_after_its_last_complete_row() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        assert_eq!(last_row(&path), None);
        let row = |id: i64| {
            let row = AuditRow {
                id,
                time: "2026-11-22T12:00:00Z".to_owned(),
                actor_kind: "socket".to_owned(),
                actor: "alice (uid 1000)".to_owned(),
                address: String::new(),
                action: "create source".to_owned(),
                object_kind: "source".to_owned(),
                object: "team".to_owned(),
                outcome: "success".to_owned(),
                detail: "x".repeat(8000),
                previous: String::new(),
                sha256: String::new(),
            };
            serde_json::to_string(&row).expect("JSON") + "\n"
        };
        for (text, expected) in [
            (String::new(), None),
            (row(1) + &row(2), Some(2)),
            (row(1) + &row(2)[..40], Some(1)),
            ((1..100).map(row).collect(), Some(99)),
            ("not of this program\n".to_owned(), None),
        ] {
            std::fs::write(&path, &text).expect("written");
            assert_eq!(last_row(&path), expected, "{} bytes", text.len());
        }
        assert_eq!(last_row(Path::new("/dev/zero")), None);
        std::fs::write(&path, row(1) + &row(2)).expect("written");
        std::fs::rename(&path, directory.path().join("audit.log.1")).expect("rotated");
        assert_eq!(last_copied_row(&path), Some(2));
        std::fs::write(&path, "").expect("written");
        assert_eq!(last_copied_row(&path), Some(2), "an empty file continues the rotated one");
        std::fs::write(&path, row(3)).expect("written");
        assert_eq!(last_copied_row(&path), Some(3));
    }
}
