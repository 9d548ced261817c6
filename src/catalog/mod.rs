//! What resolving needs, in memory, swapped after each publish.
//!
//! [`Catalog`] is a value read from the database in one go; [`resolve`] is a pure function over it; [`Live`] holds
//! the newest one.

pub mod resolve;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::db::{Db, DbError};
use crate::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use crate::model::name::Name;
use crate::model::repository::RepoKind;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;

/// Sources, trees, steps, repositories and their subscription steps, as of one `clock.catalog`.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The value of `clock.catalog` this was read at.
    pub version: i64,
    /// `clock.at`: nothing is published at or before it any more.
    pub clock_at: Option<Timestamp>,
    /// Sources that are not deleted, by id.
    pub sources: Vec<Source>,
    /// Trees of those sources, by id, each with its steps.
    pub trees: Vec<Tree>,
    /// Repositories, by id.
    pub repos: Vec<Repository>,
}

/// A source.
#[derive(Debug, Clone)]
pub struct Source {
    /// Row id.
    pub id: SourceId,
    /// Unique among sources.
    pub name: Name,
    /// Where its packages come from.
    pub kind: SourceKind,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A tree and its published steps, oldest first.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Row id.
    pub id: TreeId,
    /// Its source.
    pub source: SourceId,
    /// `src/contrib`, or what tells it from the source's other trees.
    pub label: String,
    /// `source` or `binary`.
    pub role: String,
    /// Steps in order of `seq`.
    pub steps: Vec<Step>,
}

/// One published state of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its number.
    pub seq: Seq,
    /// When it was published.
    pub at: Timestamp,
    /// The transaction that published it.
    pub tx: TxId,
}

/// A repository and the history of its subscriptions.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Row id.
    pub id: RepoId,
    /// Unique among repositories.
    pub name: Name,
    /// R, Bioconductor or Python.
    pub kind: RepoKind,
    /// Free text.
    pub description: String,
    /// Not listed publicly.
    pub hidden: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Subscription lists, oldest first; the last one is in force.
    pub steps: Vec<RepoStep>,
}

/// The complete subscription list from one moment on.
#[derive(Debug, Clone)]
pub struct RepoStep {
    /// Its number.
    pub seq: Seq,
    /// When it came into force.
    pub at: Timestamp,
    /// The transaction that made it.
    pub tx: TxId,
    /// Sources in order: the earlier wins a name.
    pub sources: Vec<SourceId>,
}

/// The newest catalog; cloning shares it.
#[derive(Clone)]
pub struct Live {
    current: Arc<ArcSwap<Catalog>>,
}

impl Live {
    /// Reads the catalog from the database.
    pub async fn open(db: &Db) -> Result<Live, DbError> {
        let _ = db;
        todo!()
    }

    /// The newest catalog. Cheap.
    #[must_use]
    pub fn get(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Reads it again when `clock.catalog` moved, and swaps it. Called after every publish, before the answer.
    pub async fn refresh(&self, db: &Db) -> Result<(), DbError> {
        let _ = db;
        todo!()
    }
}
