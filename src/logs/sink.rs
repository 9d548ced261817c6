//! A log file that may be renamed under its writer: one thread per file, a bounded queue, `reopen` after a rotation.

use std::path::{Path, PathBuf};

/// What a writer does when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Count the line as dropped (access log: a slow disk must not slow requests).
    Drop,
    /// Wait (server and service logs).
    Wait,
}

/// A log file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log file {}: {source}; its directory must exist and be writable for this user", path.display())]
pub struct SinkError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// The writing end of one file; cloning shares it.
#[derive(Clone, Debug)]
pub struct Sink {}

impl Sink {
    /// Opens (creates with mode 0600) the file and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(path: &Path, full: Full) -> Result<Sink, SinkError> {
        let _ = (path, full);
        todo!()
    }

    /// Queues bytes that end with a line feed.
    pub fn write(&self, line: Vec<u8>) {
        let _ = line;
        todo!()
    }

    /// Writes what is queued to the old file, then opens the path anew. Returns when that is done.
    ///
    /// # Errors
    /// The path cannot be opened; the old file stays in use.
    pub fn reopen(&self) -> Result<(), SinkError> {
        todo!()
    }

    /// Writes what is queued and flushes. Returns when that is done.
    pub fn flush(&self) {
        todo!()
    }

    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        todo!()
    }
}
