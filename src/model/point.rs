//! A point: a resolved snapshot, one step for each tree, in the order of the subscriptions.

use super::ids::{RepoId, Seq, SourceId, TreeId};
use super::time::Timestamp;

/// One tree at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PointTree {
    /// The source the tree belongs to.
    pub source: SourceId,
    /// The tree.
    pub tree: TreeId,
    /// Its state: rows with `from_seq ≤ seq < to_seq` are alive.
    pub seq: Seq,
}

/// What a snapshot of a repository means, decided without the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The repository.
    pub repo: RepoId,
    /// The trees, the winner of a name first.
    pub trees: Vec<PointTree>,
    /// True when the answer may still change: `latest`, today, a day nobody has closed yet.
    pub open: bool,
    /// When the newest of the steps was published: the point's `Last-Modified`.
    pub modified: Option<Timestamp>,
}
