//! The server that `--check-config` checks: configuration, user and sandbox.

use std::path::{Path, PathBuf};

use super::service_user::ServiceUser;
use base::config::Loaded;

/// A server with a valid configuration, the subject of the checks.
pub(super) struct CheckedServer<'a> {
    pub(super) file: &'a Path,
    pub(super) loaded: &'a Loaded,
    pub(super) user: ServiceUser,
    /// The error if the sandbox of the service could not be recreated for the checks.
    pub(super) sandbox_error: Option<String>,
    /// Missing paths that root creates for the user.
    root_created_paths: Vec<PathBuf>,
}

impl<'a> CheckedServer<'a> {
    pub(super) fn new(file: &'a Path, loaded: &'a Loaded) -> CheckedServer<'a> {
        let user = ServiceUser::find(file);
        let sandbox_error = user.enter_sandbox(&loaded.config);
        let root_created_paths = user.root_created_paths(file, &loaded.config);
        CheckedServer { file, loaded, user, sandbox_error, root_created_paths }
    }

    /// Returns true if root creates a path, or a directory above it, before the server uses it.
    pub(super) fn creates(&self, path: &Path) -> bool {
        self.root_created_paths.iter().any(|parent| path.starts_with(parent))
    }
}
