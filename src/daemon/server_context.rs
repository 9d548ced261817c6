//! The server that `--check-config` checks: its configuration, its user and its sandbox.

use std::path::{Path, PathBuf};

use super::service_user::ServiceUser;
use crate::config::Loaded;

/// What the checks of a valid configuration use.
pub(super) struct ServerContext<'a> {
    pub(super) file: &'a Path,
    pub(super) loaded: &'a Loaded,
    pub(super) user: ServiceUser,
    /// Why the sandbox of the service could not be repeated.
    pub(super) without_sandbox: Option<String>,
    /// Missing paths that root creates for the user.
    created_by_root: Vec<PathBuf>,
}

impl<'a> ServerContext<'a> {
    pub(super) fn new(file: &'a Path, loaded: &'a Loaded) -> ServerContext<'a> {
        let user = ServiceUser::of(file);
        let without_sandbox = user.enter_sandbox(&loaded.config);
        let created_by_root = user.created_by_root(file, &loaded.config);
        ServerContext { file, loaded, user, without_sandbox, created_by_root }
    }

    /// Whether root creates a path, or a directory above it, before the server uses it.
    pub(super) fn creates(&self, path: &Path) -> bool {
        self.created_by_root.iter().any(|created| path.starts_with(created))
    }
}
