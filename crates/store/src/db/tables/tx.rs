//! Transactions: the log of publishes, with time, actor and counts.

use std::collections::BTreeSet;

use super::audit::AuditRow;
use super::repo::NewRepoStep;
use super::{Conn, DbError};
use crate::db::engine::columns::{column, insert, row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::change::Counts;
use base::model::ids::{RepoId, SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use base::words;

/// A publish: one transaction over any number of trees and repositories.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The time of the publisher's clock.
    pub now: Timestamp,
    /// The instant from which on the steps of the trees are served, if it is in the past: that of an import. The transaction
    /// gets this instant, or the first free one that is later than every step of its trees.
    pub at: Option<Timestamp>,
    /// The source that changed, if any.
    pub source: Option<SourceId>,
    /// The repository that changed, if any.
    pub repo: Option<RepoId>,
    pub kind: TxKind,
    pub started_at: Timestamp,
    pub published_from: Option<Timestamp>,
    pub published_to: Option<Timestamp>,
    pub counts: Counts,
    /// The user who published: a user name, `uid 1000`, `schedule`.
    pub actor: String,
    pub comment: String,
    /// The published content, for the audit trail: names of files or packages.
    pub subject: String,
    /// Names of the packages with new releases, if the source is a local or git one: they are guarded.
    pub new_names: BTreeSet<String>,
    /// Trees whose pending step becomes their head.
    pub trees: Vec<TreeId>,
    /// Repositories that get a new list of subscriptions.
    pub repo_steps: Vec<NewRepoStep>,
    /// What the same write did before, for the audit trail: rows that precede that of the publish.
    pub preceding: Vec<AuditRow>,
}

impl Publish {
    /// Returns the time of the content: that of its origin, or now.
    pub fn date(&self) -> Timestamp {
        self.at.unwrap_or(self.now)
    }

    /// Returns the row of its transaction.
    pub(in crate::db) fn row(&self, id: TxId, at: Timestamp) -> Tx {
        Tx {
            id,
            at,
            source: self.source,
            repo: self.repo,
            kind: self.kind,
            started_at: self.started_at,
            published_from: self.published_from,
            published_to: self.published_to,
            counts: self.counts,
            actor: self.actor.clone(),
            comment: self.comment.clone(),
        }
    }

    /// Creates a publish without changes.
    pub fn new(kind: TxKind, now: Timestamp, started_at: Timestamp, actor: &str) -> Publish {
        Publish {
            now,
            at: None,
            source: None,
            repo: None,
            kind,
            started_at,
            published_from: None,
            published_to: None,
            counts: Counts::default(),
            actor: actor.to_owned(),
            comment: String::new(),
            subject: String::new(),
            new_names: BTreeSet::new(),
            trees: Vec::new(),
            repo_steps: Vec::new(),
            preceding: Vec::new(),
        }
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum TxKind {
        /// A sync with an upstream.
        Sync = "sync",
        /// Packages were added by an administrator.
        Add = "add",
        /// Packages were removed or archived by an administrator.
        Remove = "remove",
        /// Files were yanked by an administrator, or the yank was undone.
        Yank = "yank",
        /// A repository's list of sources changed.
        Subscribe = "subscribe",
        /// A repository got the state of another one.
        Promote = "promote",
        /// A step of the past was added: before the first sync, or by an import.
        Backfill = "backfill",
    }
    else "kind of transaction"
}

column! {
    TxKind = "a kind of transaction",
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Tx from "tx" {
        /// Its id, which is also its label in URLs and logs.
        pub id: TxId,
        pub at: Timestamp,
        pub source: Option<SourceId> = "source_id",
        pub repo: Option<RepoId> = "repo_id",
        pub kind: TxKind,
        pub started_at: Timestamp,
        pub published_from: Option<Timestamp>,
        pub published_to: Option<Timestamp>,
        pub counts: Counts = "added, updated, archived, removed",
        pub actor: String,
        pub comment: String,
    }
}

impl Columns for Counts {
    fn decode(cells: &mut Cells) -> Result<Counts, DbError> {
        let (added, updated, archived, removed) = Columns::decode(cells)?;
        Ok(Counts { added, updated, archived, removed })
    }
}

pub fn get(c: &mut dyn Conn, id: TxId) -> Result<Option<Tx>, DbError> {
    c.first(select!(Tx, "WHERE id = $1"), &[id.into()])
}

/// Returns the newest `limit` transactions of a source, newest first.
pub fn list(c: &mut dyn Conn, source: SourceId, limit: i64) -> Result<Vec<Tx>, DbError> {
    const LIST: &str = select!(Tx, "WHERE source_id = $1 ORDER BY at DESC LIMIT $2");
    c.all(LIST, &[source.into(), limit.into()])
}

/// Returns the instant of the first transaction of a source; `None` if there is none.
pub fn first_instant(c: &mut dyn Conn, source: SourceId) -> Result<Option<Timestamp>, DbError> {
    Ok(c.first("SELECT min(at) FROM tx WHERE source_id = $1", &[source.into()])?.flatten())
}

/// Returns the newest `limit` transactions of a source before an instant, newest first.
pub fn list_before(
    c: &mut dyn Conn,
    source: SourceId,
    end: Timestamp,
    limit: i64,
) -> Result<Vec<Tx>, DbError> {
    const LIST: &str = select!(Tx, "WHERE source_id = $1 AND at < $2 ORDER BY at DESC LIMIT $3");
    c.all(LIST, &[source.into(), end.into(), limit.into()])
}

/// Returns the numbers of packages that the transactions of a source added, updated and removed on each day from an
/// instant on, by the number of the day since the epoch.
pub fn changes_by_day(
    c: &mut dyn Conn,
    source: SourceId,
    from: Timestamp,
) -> Result<Vec<(i64, i64)>, DbError> {
    const SUMS: &str = "SELECT at / 86400000000, CAST(sum(added + updated + removed) AS BIGINT) FROM tx \
        WHERE source_id = $1 AND at >= $2 GROUP BY at / 86400000000";
    c.all(SUMS, &[source.into(), from.into()])
}

/// Returns the newest `limit` transactions of all sources and repositories, newest first.
pub fn list_all(c: &mut dyn Conn, limit: i64) -> Result<Vec<Tx>, DbError> {
    c.all(select!(Tx, "ORDER BY at DESC LIMIT $1"), &[limit.into()])
}

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TxInstants from "tx" {
        pub id: TxId,
        pub at: Timestamp,
        /// The time at which it was begun; later than `at` for a transaction with a time in the past.
        pub started_at: Timestamp,
    }
}

/// Returns the instants of every transaction after `tx`, by id.
pub fn instants(c: &mut dyn Conn, tx: TxId) -> Result<Vec<TxInstants>, DbError> {
    c.all(select!(TxInstants, "WHERE id > $1 ORDER BY id"), &[tx.into()])
}

pub fn instant(c: &mut dyn Conn, tx: TxId) -> Result<Option<Timestamp>, DbError> {
    c.first("SELECT at FROM tx WHERE id = $1", &[tx.into()])
}

pub(in crate::db) fn insert(c: &mut dyn Conn, rows: &[Tx]) -> Result<(), DbError> {
    insert!(c, "tx", rows.iter(), |tx| {
        id: tx.id,
        at: tx.at,
        source_id: tx.source,
        repo_id: tx.repo,
        kind: tx.kind.as_str(),
        started_at: tx.started_at,
        published_from: tx.published_from,
        published_to: tx.published_to,
        added: tx.counts.added,
        updated: tx.counts.updated,
        archived: tx.counts.archived,
        removed: tx.counts.removed,
        actor: tx.actor.as_str(),
        comment: tx.comment.as_str(),
    })
}
