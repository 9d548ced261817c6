//! Repositories: indexes, files, lazy fetches, and every edit an administrator makes. Holds no HTTP types.

pub mod edit;
pub mod error;
pub mod file;
mod find;
pub mod gc;
pub mod index;
pub mod info;
mod owner;
mod point;
mod render;

pub use error::RepoError;

use std::sync::Arc;

use crate::state::State;

/// Answers for repositories; cloning shares it.
#[derive(Clone)]
pub struct Repo {
    state: Arc<State>,
    /// One closing of a day at a time.
    closing: Arc<tokio::sync::Mutex<()>>,
    indexes: Arc<index::Cache>,
    uploads: Arc<edit::Uploads>,
}

impl Repo {
    /// On the shared handles.
    #[must_use]
    pub fn new(state: Arc<State>) -> Repo {
        Repo { state, closing: Arc::default(), indexes: Arc::default(), uploads: Arc::default() }
    }
}
