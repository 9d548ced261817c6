//! The server that `--check-config` checks: configuration, user and sandbox.

use std::path::{Path, PathBuf};

use super::service_user::ServiceUser;
use crate::config::Loaded;

/// The server of a valid configuration, as the checks use it.
pub(super) struct CheckedServer<'a> {
    pub(super) file: &'a Path,
    pub(super) loaded: &'a Loaded,
    pub(super) user: ServiceUser,
    /// Why the sandbox of the service could not be repeated.
    pub(super) sandbox_error: Option<String>,
    /// Missing paths that root creates for the user.
    created_by_root: Vec<PathBuf>,
}

impl<'a> CheckedServer<'a> {
    pub(super) fn new(file: &'a Path, loaded: &'a Loaded) -> CheckedServer<'a> {
        let user = ServiceUser::find(file);
        let sandbox_error = user.enter_sandbox(&loaded.config);
        let created_by_root = user.created_by_root(file, &loaded.config);
        CheckedServer { file, loaded, user, sandbox_error, created_by_root }
    }

    /// Whether root creates a path, or a directory above it, before the server uses it.
    pub(super) fn creates(&self, path: &Path) -> bool {
        self.created_by_root.iter().any(|created| path.starts_with(created))
    }
}
