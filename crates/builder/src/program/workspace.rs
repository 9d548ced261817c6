//! The directory of a job: a file system of the sandbox, or an empty directory that the server created.

use std::fs;
use std::io::Result;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;

pub(super) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Creates the directories, which must not exist yet.
    pub(super) fn create(root: &Path) -> Result<Workspace> {
        for name in ["home", "tmp", "sources", "result", "library"] {
            fs::DirBuilder::new().mode(0o700).create(root.join(name))?;
        }
        Ok(Workspace { root: root.to_owned() })
    }

    /// Returns the root directory, which contains the others.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Returns the directory of the sources: a checked out commit, or the unpacked tar file.
    pub(super) fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// Returns the directory for temporary files.
    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Returns the directory to which a build writes its result.
    pub(super) fn result(&self) -> PathBuf {
        self.root.join("result")
    }

    /// Returns the R library to which a build installs packages.
    pub(super) fn library(&self) -> PathBuf {
        self.root.join("library")
    }

    /// Returns whether less than one percent of the file system is free.
    pub(super) fn is_full(&self) -> bool {
        statvfs(&self.root).is_ok_and(|fs| fs.f_bavail < fs.f_blocks / 100)
    }

    /// Returns a command with a minimal environment.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(&self.root)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home())
            .env("TMPDIR", self.root.join("tmp"))
            .env("TZ", "UTC");
        command
    }
}
