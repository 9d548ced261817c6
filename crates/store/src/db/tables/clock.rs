//! The clock row: it orders all publishes, so that ids, times and commits have the same order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::audit::AuditRow;
use super::repo::{CurrentList, PublishedStep, Subscription};
use super::tx::Publish;
use super::{Conn, DbError, Value, audit, name_guard, name_overlap, repo, source, tree, tx};
use crate::db::engine::author::{self, Author};
use crate::db::engine::columns::{row, select};
use crate::db::engine::skew;
use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClockRow from "clock" {
        /// The newest transaction, 0 before the first.
        pub tx: TxId,
        /// Nothing can be published at or before this instant.
        pub at: Timestamp,
        /// Number of changes of the data in the in-memory catalog.
        pub catalog: i64,
        /// Identifies the history of transactions. A restored database has another history.
        pub history: String,
    }
}

/// What a change of `clock.catalog` changed besides transactions and steps, rules, guards and fixed URLs, which have numbers
/// of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// A source or its trees.
    Source(SourceId),
    /// A repository or its list of subscriptions.
    Repo(RepoId),
    /// What Bioconductor's mirror declares about its versions.
    Bioconductor,
}

impl Change {
    /// Returns the part and the object of the record.
    fn columns(self) -> [i64; 2] {
        match self {
            Change::Nothing => [0, 0],
            Change::Source(source) => [1, source.0],
            Change::Repo(repo) => [2, repo.0],
            Change::Bioconductor => [3, 0],
        }
    }

    /// Returns the change of a record; `None` for a part that only a later version knows.
    fn of_columns(part: i64, object: i64) -> Option<Change> {
        Some(match part {
            0 => Change::Nothing,
            1 => Change::Source(SourceId(object)),
            2 => Change::Repo(RepoId(object)),
            3 => Change::Bioconductor,
            _ => return None,
        })
    }
}

/// Number of changes of the catalog whose records are stored, at least. A server that missed more of them reads everything.
const STORED_CHANGES: i64 = 1000;
/// Records are deleted when the number of a change is a multiple of this.
const EXPIRY_INTERVAL: i64 = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishResult {
    pub tx: TxId,
    pub at: Timestamp,
    pub steps: Vec<(TreeId, Seq)>,
}

/// Maximum lead of a publisher's clock over that of the database's host. Below [`skew::TOLERANCE`], so
/// that a publish never moves the clock row so far ahead that nodes with a correct clock refuse to publish.
const MAX_LEAD: Duration = Duration::from_secs(240);

const _: () = assert!(
    MAX_LEAD.as_secs() < skew::TOLERANCE.as_secs(),
    "a publisher must not move the row beyond the tolerance of others"
);

pub fn get(c: &mut dyn Conn) -> Result<ClockRow, DbError> {
    c.first(select!(ClockRow, "WHERE id = 1"), &[])?.ok_or_else(missing_row)
}

/// Blocks every other publisher until the end of this transaction. Call it before reading rows of the publish.
pub fn lock(c: &mut dyn Conn) -> Result<(), DbError> {
    c.execute("UPDATE clock SET catalog = catalog WHERE id = 1", &[]).map(drop)
}

/// Publishes: takes the next transaction id and an instant after every earlier one, or that of [`Publish::at`], moves each
/// tree's head to its pending step, writes each repository's new list. Call it last in the closure: it blocks other
/// publishers.
///
/// # Errors
/// [`DbError::ClockAhead`], [`DbError::Skew`], [`DbError::NothingPending`]; [`DbError::SourceDeleted`] for a tree, or a
/// new subscription, of a deleted source; [`DbError::NoRepo`].
pub fn publish(c: &mut dyn Conn, publish: &Publish) -> Result<PublishResult, DbError> {
    publish_all(c, std::slice::from_ref(publish))?.pop().ok_or_else(missing_row)
}

/// Like [`publish`], for several transactions in this order, with the same `now` and without an `at`, each of other trees
/// and repositories.
pub fn publish_all(c: &mut dyn Conn, publishes: &[Publish]) -> Result<Vec<PublishResult>, DbError> {
    let Some(first) = publishes.first() else { return Ok(Vec::new()) };
    let count = i64::try_from(publishes.len()).unwrap_or(i64::MAX);
    let changes: Vec<Change> = publishes.iter().flat_map(changes_of).collect();
    let (last_tx, newest) = advance(c, Timestamp(first.now.0.saturating_add(count - 1)), count, &changes)?;
    c.announce()?;
    let mut results = Vec::with_capacity(publishes.len());
    for (number, publish) in (1 - count..).zip(publishes) {
        let (tx, now) = (TxId(last_tx.0 + number), Timestamp(newest.0 + number));
        let at = match publish.at {
            Some(at) => past_instant(c, &publish.trees, at)?.min(now),
            None => now,
        };
        results.push(PublishResult { tx, at, steps: Vec::with_capacity(publish.trees.len()) });
    }
    let rows = publishes.iter().zip(&results).map(|(publish, result)| publish.row(result.tx, result.at));
    tx::insert(c, &rows.collect::<Vec<_>>())?;
    for (publish, PublishResult { tx, at, steps }) in publishes.iter().zip(&mut results) {
        for &tree in &publish.trees {
            let (seq, source) = tree::publish(c, tree, *at, *tx)?;
            // Local and git sources have own names, curated ones and snapshots their mirror's. Mirrors cannot be deleted.
            if source.is_mirror() {
                name_overlap::record_published(c, tree, seq, *at)?;
            } else {
                source::check_exist(c, [source])?;
            }
            steps.push((tree, seq));
        }
        if let Some(source) = publish.source {
            name_guard::guard_names(c, source, &publish.new_names, *at)?;
        }
    }
    let steps = publishes.iter().zip(&results).flat_map(|(publish, result)| {
        let (tx, at) = (result.tx, result.at);
        publish.repo_steps.iter().map(move |step| PublishedStep { step, tx, at })
    });
    let repos = repo::add_steps(c, &steps.collect::<Vec<_>>())?;
    let rows = audited(c, publishes, &results, newest, &repos)?;
    audit::record_all(c, rows)?;
    Ok(results)
}

/// Returns the changes of a publish, at least one.
fn changes_of(publish: &Publish) -> Vec<Change> {
    // An index without steps has a new head.
    let index = publish.source.filter(|_| publish.trees.is_empty()).map(Change::Source);
    let changes: Vec<Change> =
        publish.repo_steps.iter().map(|step| Change::Repo(step.repo)).chain(index).collect();
    if changes.is_empty() { vec![Change::Nothing] } else { changes }
}

/// Returns the first instant from `at` on that no transaction has and that is later than the newest step of each tree.
fn past_instant(c: &mut dyn Conn, trees: &[TreeId], at: Timestamp) -> Result<Timestamp, DbError> {
    const IS_TAKEN: &str = "SELECT 1 FROM tx WHERE at = $1";
    const NEXT_FREE: &str = "SELECT t.at + 1 FROM tx t WHERE t.at >= $1 \
        AND NOT EXISTS (SELECT 1 FROM tx n WHERE n.at = t.at + 1) ORDER BY t.at LIMIT 1";
    let mut free = at;
    for tree in trees {
        let newest = tree::newest_instant(c, *tree)?;
        free = newest.map_or(free, |newest| free.max(Timestamp(newest.0.saturating_add(1))));
    }
    if c.finds(IS_TAKEN, &[free.into()])? {
        free = c.first(NEXT_FREE, &[free.into()])?.unwrap_or(free);
    }
    Ok(free)
}

/// Returns the rows of publishes in the audit trail. `now` is the newest time of the clock row, `repos` are those with new
/// lists.
fn audited(
    c: &mut dyn Conn,
    publishes: &[Publish],
    results: &[PublishResult],
    now: Timestamp,
    repos: &BTreeMap<RepoId, CurrentList>,
) -> Result<Vec<AuditRow>, DbError> {
    let entries =
        publishes.iter().flat_map(|publish| &publish.repo_steps).flat_map(|step| &step.subscriptions);
    let changed = publishes.iter().filter(|publish| publish.repo.is_none()).filter_map(|it| it.source);
    let names = source::names(c, entries.map(|entry| entry.source).chain(changed))?;
    let name = |id: &SourceId| names.get(id).map(String::as_str).unwrap_or_default();
    let mut rows = Vec::with_capacity(publishes.len());
    for (publish, result) in publishes.iter().zip(results) {
        let at = if publish.at.is_some() { now } else { result.at };
        let author = author::of_write().unwrap_or_else(|| Author::job(&publish.actor, at));
        let (kind, object) = match (&publish.source, &publish.repo) {
            (_, Some(repo)) => ("repository", repos.get(repo).map_or("", |repo| repo.name.as_str())),
            (Some(source), None) => ("source", name(source)),
            (None, None) => ("server", ""),
        };
        let mut detail = format!("transaction {}", result.tx);
        for (count, word) in [
            (publish.counts.added, "added"),
            (publish.counts.updated, "updated"),
            (publish.counts.archived, "archived"),
            (publish.counts.removed, "removed"),
        ] {
            if count != 0 {
                detail += &format!(", {count} {word}");
            }
        }
        for step in &publish.repo_steps {
            let source = |entry: &Subscription| match entry.label.as_str() {
                "" => name(&entry.source).to_owned(),
                label => format!("{} {label}", name(&entry.source)),
            };
            let sources: Vec<String> = step.subscriptions.iter().map(source).collect();
            detail += &format!("; the list of sources: {}", sources.join(", "));
        }
        for text in [&publish.subject, &publish.comment].into_iter().filter(|text| !text.is_empty()) {
            detail += &format!("; {text}");
        }
        rows.extend_from_slice(&publish.preceding);
        rows.push(audit::row_by(&author, publish.kind.as_str(), kind, object, audit::SUCCESS, &detail));
    }
    Ok(rows)
}

/// Takes the next `count` transaction ids and as many later instants; returns the last id and the last instant.
pub(in crate::db) fn advance(
    c: &mut dyn Conn,
    now: Timestamp,
    count: i64,
    changes: &[Change],
) -> Result<(TxId, Timestamp), DbError> {
    const ADVANCE: &str = "UPDATE clock SET tx = tx + $1, at = CASE WHEN at + $1 > $2 THEN at + $1 ELSE $2 END, \
        catalog = catalog + $3 WHERE id = 1 RETURNING tx, at, catalog";
    check_host_time(c, now)?;
    lock(c)?;
    check_skew(c, now)?;
    let params = [count.into(), now.into(), number_of(changes).into()];
    let (tx, at, revision) = c.first(ADVANCE, &params)?.ok_or_else(missing_row)?;
    record(c, revision, changes)?;
    Ok((tx, at))
}

/// Closes a day: nothing can be published before `end` (the first instant after the day) from then on, even by a node
/// with a slow clock. Returns true if the day was still open.
pub fn close_day(c: &mut dyn Conn, end: Timestamp) -> Result<bool, DbError> {
    const CLOSE: &str =
        "UPDATE clock SET at = $1, catalog = catalog + 1 WHERE id = 1 AND at < $1 RETURNING catalog";
    check_host_time(c, end)?;
    lock(c)?;
    // `Skew::Behind` is not an error here: a clock row after `end` means that the day is closed already.
    if let Some(skew @ skew::Skew::Ahead { .. }) = skew::between(get(c)?.at, end) {
        return Err(skew.into());
    }
    let Some(revision) = c.first(CLOSE, &[end.into()])? else { return Ok(false) };
    record(c, revision, &[Change::Nothing])?;
    c.announce()?;
    Ok(true)
}

/// Makes every node reload its catalog after a change without a transaction (a description, a new source).
pub fn bump_catalog(c: &mut dyn Conn, change: Change) -> Result<(), DbError> {
    bump_catalog_for(c, &[change])
}

/// Like [`bump_catalog`], for several changes; does nothing if there are none.
pub fn bump_catalog_for(c: &mut dyn Conn, changes: &[Change]) -> Result<(), DbError> {
    const COUNT: &str = "UPDATE clock SET catalog = catalog + $1 WHERE id = 1 RETURNING catalog";
    if changes.is_empty() {
        return Ok(());
    }
    let revision = c.first(COUNT, &[number_of(changes).into()])?.ok_or_else(missing_row)?;
    record(c, revision, changes)?;
    c.announce()
}

fn number_of(changes: &[Change]) -> i64 {
    i64::try_from(changes.len()).unwrap_or(i64::MAX)
}

/// Records the changes that made `clock.catalog` equal to `last`. More changes than are stored are not recorded.
fn record(c: &mut dyn Conn, last: i64, changes: &[Change]) -> Result<(), DbError> {
    const RECORD: &str = "INSERT INTO catalog_change (revision, part, object) VALUES ($1, $2, $3) \
        ON CONFLICT (revision) DO UPDATE SET part = excluded.part, object = excluded.object";
    const EXPIRE: &str = "DELETE FROM catalog_change WHERE revision <= $1";
    let count = number_of(changes);
    if count > STORED_CHANGES {
        return c.execute(EXPIRE, &[last.into()]).map(drop);
    }
    let row = |(revision, change): (i64, &Change)| -> Vec<Value> {
        let [part, object] = change.columns();
        vec![revision.into(), part.into(), object.into()]
    };
    c.execute_many(RECORD, &(last - count + 1..).zip(changes).map(row).collect::<Vec<_>>())?;
    if last / EXPIRY_INTERVAL > (last - count) / EXPIRY_INTERVAL {
        c.execute(EXPIRE, &[(last - STORED_CHANGES).into()])?;
    }
    Ok(())
}

/// Returns the changes after one value of `clock.catalog`, up to another one, in order. Returns `None` if the record of one
/// of them is missing (it is too old, or an earlier version of the program made the change, or a repair) or unknown.
pub fn changes(c: &mut dyn Conn, from: i64, to: i64) -> Result<Option<Vec<Change>>, DbError> {
    const LIST: &str =
        "SELECT part, object FROM catalog_change WHERE revision > $1 AND revision <= $2 ORDER BY revision";
    let rows: Vec<(i64, i64)> = c.all(LIST, &[from.into(), to.into()])?;
    let is_complete = i64::try_from(rows.len()).ok() == to.checked_sub(from);
    let changes: Option<Vec<Change>> =
        rows.into_iter().map(|(part, object)| Change::of_columns(part, object)).collect();
    Ok(changes.filter(|_| is_complete))
}

/// Checks that a publish at `now` would be accepted, as before data is removed by its age.
///
/// # Errors
/// [`DbError::ClockAhead`], [`DbError::Skew`].
pub fn check(c: &mut dyn Conn, now: Timestamp) -> Result<(), DbError> {
    check_host_time(c, now)?;
    check_skew(c, now)
}

/// Refuses a clock that is over [`MAX_LEAD`] ahead of that of the database's host. With SQLite there is no other host.
pub(in crate::db) fn check_host_time(c: &mut dyn Conn, now: Timestamp) -> Result<(), DbError> {
    match c.host_time()? {
        Some(database) if now > database + MAX_LEAD => {
            Err(DbError::ClockAhead { now, database, minutes: MAX_LEAD.as_secs() / 60 })
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a clock that differs too much from the clock row.
fn check_skew(c: &mut dyn Conn, now: Timestamp) -> Result<(), DbError> {
    skew::between(get(c)?.at, now).map_or(Ok(()), |skew| Err(skew.into()))
}

fn missing_row() -> DbError {
    DbError::Shape { column: 0, found: "no row", expected: "the clock" }
}
