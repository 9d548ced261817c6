//! From what a URL asks for to a point: pure, over the in-memory catalog (data model, section 3).

use super::{Catalog, Repository};
use crate::model::point::Point;
use crate::model::snapshot::Snapshot;
use crate::model::time::{Day, Timestamp};

/// Why a snapshot means nothing here; each is a 404 with a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The day is after today.
    #[error("{asked} is in the future; the newest snapshot is {today}")]
    Future {
        /// The day asked for.
        asked: Day,
        /// Today in UTC.
        today: Day,
    },
    /// No tree of the repository has a state that early.
    #[error("no snapshot of this repository is as old as {asked}; its history starts at {first}")]
    BeforeHistory {
        /// As the URL names it.
        asked: String,
        /// The first day with a state.
        first: Day,
    },
    /// The repository has nothing published at all.
    #[error("this repository has no snapshot yet: subscribe a source, then sync or add packages")]
    Empty,
    /// No such transaction.
    #[error("there is no transaction {0}")]
    UnknownTransaction(i64),
}

/// The point `snapshot` of `repo` means at `now`.
pub fn resolve(
    catalog: &Catalog,
    repo: &Repository,
    snapshot: Snapshot,
    now: Timestamp,
) -> Result<Point, Unresolved> {
    let _ = (catalog, repo, snapshot, now);
    todo!()
}
