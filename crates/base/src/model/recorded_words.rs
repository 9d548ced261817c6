//! Words of the tables that the API has too: states of builds and promotions, and commands of backups.

use crate::words;

words! {
    /// The state of a build from git.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum BuildState {
        Queued = "queued",
        Fetching = "fetching",
        Building = "building",
        Published = "published",
        /// The build failed and is not retried.
        Failed = "failed",
        /// Not built: superseded by a newer commit, or one of the older tags of a new builder.
        Skipped = "skipped",
        /// Not built: the tag was built before and now names another commit.
        Moved = "moved",
    }
    else "state of a build"
}

impl BuildState {
    /// Returns whether the state does not change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, BuildState::Queued | BuildState::Fetching | BuildState::Building)
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum PromotionState {
        /// It waits for an approval.
        Requested = "requested",
        Applied = "applied",
        Rejected = "rejected",
        /// The repository changed before it was approved, or was deleted.
        Superseded = "superseded",
    }
    else "state of a promotion"
}

words! {
    /// A command of `rspm backup` whose last result is recorded.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RecordedCommand {
        Create = "create",
        Test = "test",
    }
    else "command of a backup"
}
