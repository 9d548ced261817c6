//! A point: a resolved snapshot, one step for each tree, in the order of the subscriptions.

use super::ids::{RepoId, Seq, SourceId, TreeId};
use super::kind::Language;
use super::time::Timestamp;

/// One tree at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PointTree {
    pub source: SourceId,
    pub tree: TreeId,
    /// Its step. The state consists of the lives with `from_seq ≤ seq < to_seq`. In the tree of an index of Python
    /// packages, it is a time in microseconds since the epoch.
    pub seq: Seq,
    /// The state from which a curated source selects; `None` for other sources.
    pub base: Option<Base>,
    /// The block rules of the repository; `None` if there are none.
    pub rules: Option<PointRules>,
}

/// The block rules that apply to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PointRules {
    /// A number that this process assigned to the rules; it changes with them and with their advisories.
    pub number: u64,
    /// The instant at which the age of releases is measured; `None` if no rule depends on the age.
    pub aged_at: Option<Timestamp>,
    /// Whether the snapshot is dated, so that some rules do not apply. False if all rules apply to dated snapshots.
    pub is_dated: bool,
    /// The promotion whose state the point has; `None` for a state of the sources.
    pub promotion: Option<PromotedList>,
}

/// A list of subscriptions that a promotion made, or a policy that permits only promotions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PromotedList {
    /// The number of the list, if rules withheld versions when it was promoted.
    pub seq: Option<Seq>,
    /// The repository of the list, if it is another one: in a state that is being promoted, the one that it comes from.
    pub repo: Option<RepoId>,
    /// The instant of the promoted state, exclusive: ages are measured at it, and only fixes of vulnerabilities that were
    /// published before it admit a version early.
    pub at: Timestamp,
}

/// The state of a list of packages from which a curated source selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    pub source: SourceId,
    pub tree: TreeId,
    /// Its step, or a time in microseconds since the epoch, as in [`PointTree`].
    pub seq: Seq,
    /// Whether all packages of that state are selected.
    pub is_whole: bool,
}

impl Base {
    /// Returns the list as a tree of a point, without rules.
    pub fn point_tree(&self) -> PointTree {
        PointTree { source: self.source, tree: self.tree, seq: self.seq, base: None, rules: None }
    }
}

impl PointTree {
    /// Returns the source of the releases: for a curated source, the source of its base; otherwise the source itself.
    pub fn origin(&self) -> SourceId {
        self.base.map_or(self.source, |base| base.source)
    }

    /// Returns the tree whose packages are listed: that of the base for a curated source, or else this one.
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
    /// The repository; no repository has the number 0.
    pub repo: RepoId,
    /// The language of its packages.
    pub language: Language,
    /// The trees in order of precedence: a package is served from the first tree that lists it.
    pub trees: Vec<PointTree>,
    /// Whether the point may still change, such as `latest`, today, or a day that is not closed yet.
    pub open: bool,
    /// Whether the point is open only because block rules apply: without rules, it could not change any more.
    pub frozen: bool,
    /// The latest publication time of the steps and the subscription list, used as `Last-Modified`. `None` if nothing
    /// is published, or if the sequence numbers of a tree are times.
    pub modified: Option<Timestamp>,
    /// The promotion whose state this is; `None` for a state of the sources.
    pub promotion: Option<PromotedList>,
}

impl Point {
    /// Creates a point of trees that may change: of the sources, not of a snapshot or a promotion.
    pub fn of_trees(repo: RepoId, language: Language, trees: Vec<PointTree>) -> Point {
        Point { repo, language, trees, open: true, frozen: false, modified: None, promotion: None }
    }

    /// Returns whether its sources may still change. Otherwise only block rules change its content.
    pub fn follows_sources(&self) -> bool {
        self.open && !self.frozen
    }
}
