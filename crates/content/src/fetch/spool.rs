//! Writes the received bytes of a fetch to its spool and hashes them, outside of the async threads.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Sha256Hasher};
use tokio::sync::watch;

use super::verify::ReceivedFile;
use super::{Fetch, FetchError, Progress};
use base::model::digest::{Md5, Sha256};
use store::storage::{Spool, StorageError};

/// The reason why a fetched file is only sent to clients and not stored, with the remedy.
#[derive(Clone, Debug)]
pub(super) struct NotStoredReason(String);

impl NotStoredReason {
    /// Creates the reason from an error: a full disk, or a storage class in which nothing may be stored.
    pub(super) fn new(error: &StorageError) -> NotStoredReason {
        match error {
            StorageError::Full(_) => NotStoredReason(format!("{error}; free space on the disk")),
            error => NotStoredReason(error.to_string()),
        }
    }
}

impl fmt::Display for NotStoredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) struct Writer {
    /// The spool, or the reason why nothing can be stored; further bytes are then in memory only.
    spool: Result<Spool, NotStoredReason>,
    file: Option<Arc<File>>,
    spooled_bytes: u64,
    sha256: Sha256Hasher,
    md5: Md5Hasher,
    written_bytes: u64,
    memory_limit: u64,
}

pub(super) struct CompleteFile {
    pub(super) received_file: ReceivedFile,
    pub(super) spool: Result<Spool, NotStoredReason>,
    /// The spool opened for reading, up to `spooled_bytes`; the rest is in the overflow of the fetch.
    pub(super) file: Option<Arc<File>>,
    pub(super) spooled_bytes: u64,
}

impl Writer {
    /// Creates a writer to a new spool, or to none if nothing can be stored. Blocking.
    pub(super) fn new(
        spool: Result<Spool, NotStoredReason>,
        memory_limit: u64,
    ) -> Result<Writer, FetchError> {
        let open_spool = |spool: &Spool| {
            File::open(spool.path())
                .map(Arc::new)
                .map_err(|e| FetchError::Storage(format!("could not open {}: {e}", spool.path().display())))
        };
        let file = spool.as_ref().ok().map(open_spool).transpose()?;
        let (sha256, md5) = (Sha256Hasher::new(), Md5Hasher::new());
        Ok(Writer { spool, file, spooled_bytes: 0, sha256, md5, written_bytes: 0, memory_limit })
    }

    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Returns whether a file of `size` bytes leaves half of the free disk space, or fits into memory. Blocking.
    pub(super) fn leaves_space(&self, size: u64) -> bool {
        let free = self.spool.as_ref().ok().and_then(Spool::available_bytes);
        size <= self.memory_limit
            || free.is_none_or(|free| size.saturating_mul(2).saturating_sub(self.spooled_bytes) <= free)
    }

    /// Notifies the readers of the chunks. Blocking.
    pub(super) fn write_chunks(
        &mut self,
        chunks: &[Bytes],
        fetch: &Fetch,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), FetchError> {
        for chunk in chunks {
            self.sha256.update(chunk);
            self.md5.update(chunk);
            self.write_chunk(chunk, fetch)?;
            self.written_bytes += chunk.len() as u64;
        }
        progress
            .send_modify(|p| (p.written_bytes, p.spooled_bytes) = (self.written_bytes, self.spooled_bytes));
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &Bytes, fetch: &Fetch) -> Result<(), FetchError> {
        if let Ok(spool) = &mut self.spool {
            let Err(error) = spool.write_all(chunk) else {
                self.spooled_bytes = spool.size();
                return Ok(());
            };
            let error = StorageError::io("write", spool.path(), error);
            if !matches!(error, StorageError::Full(_)) {
                return Err(FetchError::Storage(error.to_string()));
            }
            fetch.overflow_budget.log_disk_full(&error.to_string());
            // The written bytes are still readable through `file`; the last reader frees their disk space.
            self.spool = Err(NotStoredReason::new(&error));
        }
        match &self.spool {
            Err(reason) if !fetch.overflow.push(chunk.clone(), self.memory_limit) => {
                Err(FetchError::Storage(format!(
                    "packages that cannot be stored need more than the {} MB of memory reserved for them while they are \
                 fetched: {reason}",
                    self.memory_limit >> 20
                )))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn finish(self) -> CompleteFile {
        let received_file = ReceivedFile {
            size: self.written_bytes,
            md5: Md5(self.md5.finalize().into()),
            sha256: Sha256(self.sha256.finalize().into()),
        };
        CompleteFile { received_file, spool: self.spool, file: self.file, spooled_bytes: self.spooled_bytes }
    }
}
