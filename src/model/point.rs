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
    /// Its step: the lives with `from_seq ≤ seq < to_seq` are listed or archived. In the tree of an index it is a time
    /// in microseconds since the epoch.
    pub seq: Seq,
    /// The state from which the definition of a curated source selects.
    pub base: Option<Base>,
    /// The block rules in force for its repository; `None` if there are none.
    pub rules: Option<PointRules>,
}

/// The block rules that apply to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PointRules {
    /// A number that this process gave to them: other rules, and other advisories that they depend on, have another one.
    pub number: u64,
    /// The instant at which they measure the age of releases; the epoch if none of them does.
    pub at: Timestamp,
}

/// The state of a list of packages from which a curated source selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// The source of the tree.
    pub source: SourceId,
    /// The tree.
    pub tree: TreeId,
    /// Its step, or a time in microseconds since the epoch, as in [`PointTree`].
    pub seq: Seq,
    /// Whether all packages of that state are selected.
    pub is_whole: bool,
}

impl PointTree {
    /// Returns the source that releases come from: that of the base of a curated source, otherwise the source itself.
    #[must_use]
    pub fn origin(&self) -> SourceId {
        self.base.map_or(self.source, |base| base.source)
    }

    /// Returns the tree from whose packages a curated source selects, or the tree itself.
    #[must_use]
    pub fn listing(&self) -> PointTree {
        match self.base {
            Some(Base { source, tree, seq, .. }) => {
                PointTree { source, tree, seq, base: None, rules: self.rules }
            }
            None => *self,
        }
    }
}

/// A resolved snapshot of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The repository.
    pub repo: RepoId,
    /// The trees in order of precedence: the first one that has a package serves it.
    pub trees: Vec<PointTree>,
    /// Whether the point may still change: `latest`, today, a day that is not closed yet.
    pub open: bool,
    /// Publication time of the newest of the steps and of the subscription list: the point's `Last-Modified`. `None`
    /// if nothing is published, or if sequence numbers of a tree are times.
    pub modified: Option<Timestamp>,
}
