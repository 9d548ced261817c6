//! Revocations that are newer than a backup, which a restored database has lost. They are known if the
//! replaced database or the file of `Logging.AuditLog` still has them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use base::config::{Config, Provider};
use base::model::time::Timestamp;
use store::db::transfer::source::TransferSource;
use store::db::{Conn, DbError, audit, identity};

/// The actions of revocations in the audit trail.
const ACTIONS: [&str; 2] = ["revoke token", "revoke all tokens"];
/// Maximum number of revocations that are read.
const MAX_ROWS: i64 = 100_000;
/// Maximum length of a line of the file, in bytes; rows are shorter.
const MAX_LINE: u64 = 256 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The number of its row in the audit trail.
    id: i64,
    pub at: Timestamp,
    /// What was revoked: `token` or `user`.
    pub kind: String,
    /// The GUID of the token, or the name of the user.
    pub object: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaterRevocations {
    /// Where they were read, for messages; `None` if nothing could be read.
    pub origin: Option<String>,
    /// The revocations, in the order of the audit trail; of several of one object, the last.
    pub rows: Vec<Revocation>,
}

/// Reads the revocations in the database that a restore replaces, otherwise in the file of
/// `Logging.AuditLog`, as far as these can be read.
pub(super) fn recorded(config: &Config, replaces_database: bool) -> LaterRevocations {
    if replaces_database
        && config.database.provider == Provider::Sqlite
        && let Ok(rows) = of_database(config)
    {
        return LaterRevocations { origin: Some("the previous database".to_owned()), rows };
    }
    let file = config.logging.audit_log.as_deref();
    match file.and_then(|path| Some((path, of_file(path).ok()?))) {
        Some((path, rows)) => LaterRevocations { origin: Some(path.display().to_string()), rows },
        None => LaterRevocations { origin: None, rows: Vec::new() },
    }
}

impl LaterRevocations {
    /// Retains the revocations that the restored database `c` lacks; the trail of another history has lower
    /// numbers for rows after `created`, the time of the backup.
    pub(super) fn newer_than(
        mut self,
        c: &mut dyn Conn,
        created: Timestamp,
    ) -> Result<LaterRevocations, DbError> {
        let last = identity::last_audit_row(c)?;
        let mut known = HashSet::new();
        self.rows.retain(|row| row.id > last || row.at > created);
        // The last one of each object.
        self.rows.reverse();
        self.rows.retain(|row| known.insert((row.kind.clone(), row.object.clone())));
        self.rows.reverse();
        Ok(self)
    }
}

fn of_database(config: &Config) -> Result<Vec<Revocation>, DbError> {
    let mut source = TransferSource::open(config, Provider::Sqlite, Provider::Sqlite)?;
    let mut rows = Vec::new();
    for action in ACTIONS {
        let filter = audit::Filter {
            action: action.to_owned(),
            since: i64::MIN,
            until: i64::MAX,
            limit: MAX_ROWS,
            newest_first: true,
            ..audit::Filter::default()
        };
        for row in audit::list(source.conn()?, &filter)? {
            if is_effective(&row.outcome, &row.detail) {
                rows.push(Revocation { id: row.id, at: row.at, kind: row.object_kind, object: row.object });
            }
        }
    }
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// Reads the lines of a file that are rows of revocations.
fn of_file(path: &Path) -> std::io::Result<Vec<Revocation>> {
    let (mut reader, mut line, mut rows) = (BufReader::new(File::open(path)?), Vec::new(), Vec::new());
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(rows);
        }
        let Ok(row) = serde_json::from_slice::<Value>(&line) else { continue };
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        if !ACTIONS.contains(&text("action")) || !is_effective(text("outcome"), text("detail")) {
            continue;
        }
        let (Some(id), Ok(at)) = (row["id"].as_i64(), text("time").parse()) else { continue };
        rows.push(Revocation {
            id,
            at,
            kind: text("object_kind").to_owned(),
            object: text("object").to_owned(),
        });
    }
}

/// Returns whether a revocation has to be repeated: not a refused one, nor of a signed token, which a restore ends.
fn is_effective(outcome: &str, detail: &str) -> bool {
    outcome == audit::SUCCESS && detail != audit::SIGNED
}
