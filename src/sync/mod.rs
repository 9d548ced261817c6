//! From what a mirror declares to one published transaction: plan (pure), fetch, apply.

pub mod error;

pub use error::SyncError;

use std::sync::Arc;

use crate::jobs::Started;
use crate::model::source::SourceKind;
use crate::state::State;

/// Syncs sources from their mirrors; cloning shares it.
#[derive(Clone)]
pub struct Sync {
    state: Arc<State>,
}

impl Sync {
    /// On the shared handles.
    #[must_use]
    pub fn new(state: Arc<State>) -> Sync {
        Sync { state }
    }

    /// Starts (or attaches to) the sync of the built-in source of `kind`.
    pub fn start(&self, kind: SourceKind) -> Result<Started, SyncError> {
        let _ = (kind, &self.state);
        todo!()
    }

    /// Runs schedules until the task is dropped; syncs missed while the server was down run at once.
    pub async fn run_schedules(&self) {
        todo!()
    }
}
