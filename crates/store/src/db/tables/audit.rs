//! The audit trail, with digests and their verification: a row for each change by an administrator, written in the
//! transaction of the change. Each row contains the digest of the row before it, so that a changed, removed or moved
//! row is detected. A write calls `record`, or `record_all` for many changes.

use super::{Conn, DbError, Value};
use crate::db::engine::author::{self, Author};
use crate::db::engine::columns::{insert, row, select};
use base::model::digest::digest_of_row;
use base::model::time::Timestamp;

pub const SUCCESS: &str = "success";
pub const REFUSED: &str = "refused";
/// The detail of the revocation of a token that this server signed, which is in no table.
pub const SIGNED: &str = "signed by this server";

pub const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Maximum length of a text in a row, in characters.
const MAX_TEXT: usize = 2_000;
/// Maximum number of problems in the result of a verification.
const MAX_PROBLEMS: usize = 100;

row! {
    /// A row of the table. Its digests are not verified: see [`verify`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AuditRow from "audit" {
        /// Number of the row, from 1, without gaps.
        pub id: i64,
        /// Time of the request for the change.
        pub at: Timestamp,
        /// How the server identified the author: `socket`, `token`, `session` or `job`.
        pub actor_kind: String,
        pub actor: String,
        /// Network address of the author; empty on the admin socket, and for work of the server.
        pub address: String,
        /// The action: `create source`.
        pub action: String,
        /// The kind of the object: `source`, `repository`, `token` ….
        pub object_kind: String,
        /// Name of the object at the time of the change.
        pub object: String,
        /// `success` or `refused`.
        pub outcome: String,
        pub detail: String,
        /// The digest of the previous row; [`NO_DIGEST`] in the first row.
        pub previous: String,
        pub sha256: String,
    }
}

impl AuditRow {
    /// Returns the SHA-256 of all other columns: see [`digest_of_row`].
    pub fn digest(&self) -> String {
        let (id, at) = (self.id.to_string(), self.at.to_string());
        digest_of_row([
            &self.previous,
            &id,
            &at,
            &self.actor_kind,
            &self.actor,
            &self.address,
            &self.action,
            &self.object_kind,
            &self.object,
            &self.outcome,
            &self.detail,
        ])
        .to_string()
    }
}

/// Records a successful change by the author of the current write. Call it in the write that makes the change.
pub fn record(
    c: &mut dyn Conn,
    action: &str,
    object_kind: &str,
    object: &str,
    detail: &str,
) -> Result<(), DbError> {
    record_all(c, vec![row(action, object_kind, object, detail)])
}

/// Records a change by `author`, with its outcome. Call it in the write that makes the change.
pub fn record_by(
    c: &mut dyn Conn,
    author: &Author,
    action: &str,
    object_kind: &str,
    object: &str,
    outcome: &str,
    detail: &str,
) -> Result<(), DbError> {
    record_all(c, vec![row_by(author, action, object_kind, object, outcome, detail)])
}

/// Returns the row of a successful change by the author of the current write, for [`record_all`].
pub fn row(action: &str, object_kind: &str, object: &str, detail: &str) -> AuditRow {
    let author = author::of_write()
        .unwrap_or_else(|| Author::job("server", Timestamp(jiff::Timestamp::now().as_microsecond())));
    row_by(&author, action, object_kind, object, SUCCESS, detail)
}

/// Returns the row of a change by `author`, with its outcome, for [`record_all`].
pub(in crate::db) fn row_by(
    author: &Author,
    action: &str,
    object_kind: &str,
    object: &str,
    outcome: &str,
    detail: &str,
) -> AuditRow {
    AuditRow {
        id: 0,
        at: author.at,
        actor_kind: author.kind.as_str().to_owned(),
        actor: text(&author.name),
        address: text(&author.address),
        action: text(action),
        object_kind: text(object_kind),
        object: text(object),
        outcome: outcome.to_owned(),
        detail: text(detail),
        previous: String::new(),
        sha256: String::new(),
    }
}

/// Records changes, in this order, and gives the rows their numbers and digests. Call it in the write that makes the changes.
pub fn record_all(c: &mut dyn Conn, rows: Vec<AuditRow>) -> Result<(), DbError> {
    const LOCK: &str = "UPDATE clock SET catalog = catalog WHERE id = 1";
    const NEXT: &str = "UPDATE audit_head SET last = last + $1 WHERE id = 1 RETURNING last, sha256";
    const HEAD: &str = "UPDATE audit_head SET sha256 = $1 WHERE id = 1";
    if rows.is_empty() {
        return Ok(());
    }
    // Every write locks the clock (`clock::lock`) before `audit_head`; otherwise two writes could deadlock. The lock of
    // `audit_head` lasts until the commit, so the order of rows is the order of commits.
    c.execute(LOCK, &[])?;
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let (last, mut sha256): (i64, String) = c.first(NEXT, &[count.into()])?.ok_or_else(missing_head)?;
    let numbered = (last - count + 1..).zip(rows).map(|(id, row)| {
        let mut row = AuditRow { id, previous: std::mem::take(&mut sha256), ..row };
        row.sha256 = row.digest();
        sha256.clone_from(&row.sha256);
        row
    });
    insert!(c, "audit", numbered, |row| {
        id: row.id,
        at: row.at,
        actor_kind: row.actor_kind,
        actor: row.actor,
        address: row.address,
        action: row.action,
        object_kind: row.object_kind,
        object: row.object,
        outcome: row.outcome,
        detail: row.detail,
        previous: row.previous,
        sha256: row.sha256,
    })?;
    c.execute(HEAD, &[sha256.into()]).map(drop)
}

/// Returns a text as one line of limited length: PostgreSQL stores no NUL, and readers expect one line.
fn text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

fn missing_head() -> DbError {
    DbError::Shape { column: 0, found: "no row", expected: "the head of the audit trail" }
}

/// The criteria of [`list`]; an empty text matches every row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rows with a higher number; with [`Filter::newest_first`], rows with a lower one, or all if it is 0.
    pub after: i64,
    /// Rows of this time and later, in microseconds since the epoch.
    pub since: i64,
    /// Rows before this time, in microseconds since the epoch.
    pub until: i64,
    /// The author, with or without the text in parentheses: `alice (uid 1000)`, `alice`.
    pub actor: String,
    pub action: String,
    pub object: String,
    pub outcome: String,
    pub limit: i64,
    /// Whether the newest rows come first.
    pub newest_first: bool,
}

/// Returns the rows that match a filter, by number.
pub fn list(c: &mut dyn Conn, filter: &Filter) -> Result<Vec<AuditRow>, DbError> {
    const OLDEST: &str = select!(
        AuditRow,
        "WHERE id > $1 AND at >= $2 AND at < $3 AND ($4 = '' OR actor = $4 OR (actor >= $4 || ' (' AND actor < $4 || ' \
        )')) AND ($5 = '' OR action = $5) AND ($6 = '' OR object = $6) AND ($7 = '' OR outcome = $7) ORDER BY id \
        LIMIT $8"
    );
    const NEWEST: &str = select!(
        AuditRow,
        "WHERE id < $1 AND at >= $2 AND at < $3 AND ($4 = '' OR actor = $4 OR (actor >= $4 || ' (' AND actor < $4 || ' \
        )')) AND ($5 = '' OR action = $5) AND ($6 = '' OR object = $6) AND ($7 = '' OR outcome = $7) ORDER BY id DESC \
        LIMIT $8"
    );
    let position = match filter.newest_first && filter.after == 0 {
        true => i64::MAX,
        false => filter.after,
    };
    let params: [Value; 8] = [
        position.into(),
        filter.since.into(),
        filter.until.into(),
        filter.actor.as_str().into(),
        filter.action.as_str().into(),
        filter.object.as_str().into(),
        filter.outcome.as_str().into(),
        filter.limit.into(),
    ];
    let sql = if filter.newest_first { NEWEST } else { OLDEST };
    c.all(sql, &params)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    pub rows: i64,
    /// The number of the newest row; 0 if there is none.
    pub last: i64,
    pub sha256: String,
    /// The problems, as sentences, in the order of the rows; at most 100.
    pub problems: Vec<String>,
}

/// Returns number and digest of the newest row; 0 and [`NO_DIGEST`] without rows.
pub fn newest(c: &mut dyn Conn) -> Result<(i64, String), DbError> {
    const HEAD: &str = "SELECT last, sha256 FROM audit_head WHERE id = 1";
    Ok(c.first(HEAD, &[])?.unwrap_or_default())
}

/// Verifies the digests of all rows. `known` is the number and the digest of a row, recorded outside the database.
/// Without it, the replacement of the whole trail by an attacker who can write the database is not detected.
pub fn verify(c: &mut dyn Conn, known: Option<&(i64, String)>) -> Result<Verification, DbError> {
    const ALL: &str = select!(AuditRow, "ORDER BY id");
    let (head, head_digest) = newest(c)?;
    let mut result = Verification { rows: 0, last: 0, sha256: NO_DIGEST.to_owned(), problems: Vec::new() };
    let mut has_known_row = false;
    c.each(ALL, &[], &mut |row| {
        let row: AuditRow = row.decode()?;
        result.rows += 1;
        if row.id != result.last.saturating_add(1) {
            result.report(missing(result.last.saturating_add(1), row.id.saturating_sub(1)));
        } else if row.previous != result.sha256 {
            result.report(format!(
                "row {} does not continue the row before it: one of them was changed",
                row.id
            ));
        }
        if row.digest() != row.sha256 {
            result.report(format!("row {} was changed", row.id));
        }
        if let Some((_, digest)) = known.filter(|(id, _)| *id == row.id) {
            has_known_row = true;
            if *digest != row.sha256 {
                result.report(format!(
                    "row {} has a different digest than the given one: {}",
                    row.id, row.sha256
                ));
            }
        }
        result.last = row.id;
        result.sha256 = row.sha256;
        Ok(())
    })?;
    if head > result.last {
        result.report(missing(result.last.saturating_add(1), head));
    } else if head < result.last || head_digest != result.sha256 {
        result.report(format!(
            "the table audit_head names row {head} with the digest {head_digest} as the newest, but it is row {}",
            result.last
        ));
    }
    if let Some((id, _)) = known.filter(|_| !has_known_row) {
        result.report(format!("there is no row {id}"));
    }
    Ok(result)
}

/// Returns the problem of rows that do not exist, from `first` to `last`.
fn missing(first: i64, last: i64) -> String {
    match last.saturating_sub(first) {
        ..=0 => format!("row {first} is missing"),
        _ => format!("the rows {first} to {last} are missing"),
    }
}

impl Verification {
    fn report(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a digest with the output of `sha256sum` for the same bytes. If it changed, the audit trails of all
    /// databases would become invalid.
    #[test]
    fn the_digest_of_a_row_is_that_of_its_netstrings() {
        let row = AuditRow {
            id: 1,
            at: Timestamp(1_790_000_000_000_000),
            actor_kind: "socket".to_owned(),
            actor: "alice (uid 1000)".to_owned(),
            address: String::new(),
            action: "create source".to_owned(),
            object_kind: "source".to_owned(),
            object: "team".to_owned(),
            outcome: SUCCESS.to_owned(),
            detail: "é".to_owned(),
            previous: NO_DIGEST.to_owned(),
            sha256: String::new(),
        };
        assert_eq!(row.digest(), "8caf99d8f8f6439eb9950f7bdca73d95041240adbe662adb31058194ba23157c");
        let moved = AuditRow { id: 2, ..row.clone() };
        assert_ne!(moved.digest(), row.digest());
        // The lengths separate adjacent columns.
        let shifted = AuditRow { object_kind: "sourcet".to_owned(), object: "eam".to_owned(), ..row.clone() };
        assert_ne!(shifted.digest(), row.digest());
    }

    #[test]
    fn a_text_is_one_line_without_nul() {
        assert_eq!(text("a\0b\nc"), "a b c");
        assert_eq!(text(&"x".repeat(5_000)).len(), MAX_TEXT);
    }
}
