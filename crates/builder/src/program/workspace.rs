//! The files of a job: its directory, which is a file system of the sandbox or an empty directory that the server created,
//! and its result, which it writes into a file of the server.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;
use sha2::{Digest, Sha256};

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

/// The result of a job in the file of the server, limited in size, with its digest.
pub(super) struct ResultFile {
    file: File,
    digest: Sha256,
    size: u64,
    limit: u64,
}

impl ResultFile {
    /// Creates a result of at most `limit` bytes.
    pub(super) fn new(file: File, limit: u64) -> ResultFile {
        ResultFile { file, digest: Sha256::new(), size: 0, limit }
    }

    /// Returns the size in bytes and the SHA-256 of the written bytes.
    pub(super) fn finish(self) -> (u64, String) {
        (self.size, hex::encode(self.digest.finalize()))
    }
}

impl Write for ResultFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        // Checked before the write, because the kernel would end the builder at the process's limit.
        if self.size + bytes.len() as u64 > self.limit {
            let reason = format!("the result is larger than {} bytes", self.limit);
            return Err(Error::new(ErrorKind::FileTooLarge, reason));
        }
        let count = self.file.write(bytes).map_err(|error| match error.kind() {
            // This is not reported as a limit that the build reached, because another attempt may succeed.
            ErrorKind::StorageFull => {
                Error::other(format!("the server has no space for the result: {error}"))
            }
            _ => error,
        })?;
        self.digest.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_of_the_server_is_not_a_limit_of_the_build() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = ResultFile::new(full, 10).write(b"x").unwrap_err();
        assert!(error.kind() == ErrorKind::Other && error.to_string().contains("no space"), "{error}");
        let limited = ResultFile::new(tempfile::tempfile().unwrap(), 1).write(b"xx").unwrap_err();
        assert_eq!(limited.kind(), ErrorKind::FileTooLarge);
    }
}
