//! Writes the received bytes of a fetch to its spool and hashes them, off the async threads.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Sha256Hasher};
use tokio::sync::watch;

use super::verify::Brought;
use super::{Flight, FlightError, Progress};
use crate::model::digest::{Md5, Sha256};
use crate::storage::{Spool, StorageError};

/// A spool being written.
pub(super) struct Writer {
    /// `None` once the disk was full: further bytes are kept in memory and nothing is stored.
    open: Option<Spool>,
    /// The spool, opened for reading.
    file: Option<Arc<File>>,
    /// Bytes in the spool.
    spooled: u64,
    sha256: Sha256Hasher,
    md5: Md5Hasher,
    written: u64,
    /// Bytes that all fetches together may keep in memory.
    memory: u64,
}

/// A completely received file.
pub(super) struct Complete {
    /// Its size and digests.
    pub(super) brought: Brought,
    /// The spool, unless the disk was full.
    pub(super) spool: Option<Spool>,
    /// The spool opened for reading, up to `spooled`; the rest is in the overflow of the fetch.
    pub(super) file: Option<Arc<File>>,
    /// Bytes in the spool.
    pub(super) spooled: u64,
}

impl Writer {
    /// Creates a writer to a new spool, or to none when the disk is full already. Blocking.
    pub(super) fn new(spool: Option<Spool>, memory: u64) -> Result<Writer, FlightError> {
        let open = |spool: &Spool| {
            File::open(spool.path())
                .map(Arc::new)
                .map_err(|e| FlightError::Storage(format!("could not open {}: {e}", spool.path().display())))
        };
        let file = spool.as_ref().map(open).transpose()?;
        let (sha256, md5) = (Sha256Hasher::new(), Md5Hasher::new());
        Ok(Writer { open: spool, file, spooled: 0, sha256, md5, written: 0, memory })
    }

    /// The spool, opened for reading.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether a file of `size` bytes, some of which are in the spool already, leaves free disk space for as many
    /// again; a file that fits into memory does. Blocking.
    pub(super) fn leaves_room(&self, size: u64) -> bool {
        let free = self.open.as_ref().and_then(Spool::free);
        size <= self.memory
            || free.is_none_or(|free| size.saturating_mul(2).saturating_sub(self.spooled) <= free)
    }

    /// Writes chunks and notifies the readers. Blocking.
    pub(super) fn take(
        &mut self,
        chunks: &[Bytes],
        flight: &Flight,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), FlightError> {
        for chunk in chunks {
            self.sha256.update(chunk);
            self.md5.update(chunk);
            self.keep(chunk, flight)?;
            self.written += chunk.len() as u64;
        }
        progress.send_modify(|p| (p.written, p.spooled) = (self.written, self.spooled));
        Ok(())
    }

    fn keep(&mut self, chunk: &Bytes, flight: &Flight) -> Result<(), FlightError> {
        if let Some(spool) = &mut self.open {
            let Err(error) = spool.write_all(chunk) else {
                self.spooled = spool.written();
                return Ok(());
            };
            let error = StorageError::io("write", spool.path(), error);
            if !matches!(error, StorageError::Full(_)) {
                return Err(FlightError::Storage(error.to_string()));
            }
            flight.memory.disk_is_full(&error.to_string());
            // The written bytes stay readable through `file`; dropping the spool removes its name, and the last reader
            // frees its disk space.
            self.open = None;
        }
        if flight.tail.keep(chunk.clone(), self.memory) {
            return Ok(());
        }
        Err(FlightError::Storage(format!(
            "the disk is full, and packages being fetched need more than the {} MB of memory reserved for that; make \
            room on the disk",
            self.memory >> 20
        )))
    }

    /// Completes the digests.
    pub(super) fn finish(self) -> Complete {
        let brought = Brought {
            size: self.written,
            md5: Md5(self.md5.finalize().into()),
            sha256: Sha256(self.sha256.finalize().into()),
        };
        Complete { brought, spool: self.open, file: self.file, spooled: self.spooled }
    }
}
