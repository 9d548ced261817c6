//! Repositories: indexes, files, lazy fetches, and every edit an administrator makes. Holds no HTTP types.

pub mod edit;
pub mod error;
pub mod file;
pub mod index;

pub use error::RepoError;

use std::sync::Arc;

use crate::state::State;

/// Answers for repositories; cloning shares it.
#[derive(Clone)]
pub struct Repo {
    state: Arc<State>,
}

impl Repo {
    /// On the shared handles.
    #[must_use]
    pub fn new(state: Arc<State>) -> Repo {
        Repo { state }
    }
}
