//! The writing end of a flight: bytes go to the spool and through both digests, off the async threads.

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
    /// `None` once the disk was full: what follows is kept in memory and nothing is stored.
    open: Option<Spool>,
    /// For reading what was written.
    file: Option<Arc<File>>,
    /// Bytes in the file.
    spooled: u64,
    sha256: Sha256Hasher,
    md5: Md5Hasher,
    written: u64,
    /// Bytes that may be kept in memory by all flights together.
    memory: u64,
}

/// A spool that is complete.
pub(super) struct Complete {
    /// What it holds.
    pub(super) brought: Brought,
    /// The spool, unless the disk was full.
    pub(super) spool: Option<Spool>,
    /// For reading it again, up to `spooled`; what follows is the flight's tail.
    pub(super) file: Option<Arc<File>>,
    /// Bytes in the file.
    pub(super) spooled: u64,
}

impl Writer {
    /// On a fresh spool, or on none when the disk is full already. Blocking.
    pub(super) fn new(spool: Option<Spool>, memory: u64) -> Result<Writer, FlightError> {
        let open = |spool: &Spool| {
            File::open(spool.path())
                .map(Arc::new)
                .map_err(|e| FlightError::Storage(format!("opening {}: {e}", spool.path().display())))
        };
        let file = spool.as_ref().map(open).transpose()?;
        let (sha256, md5) = (Sha256Hasher::new(), Md5Hasher::new());
        Ok(Writer { open: spool, file, spooled: 0, sha256, md5, written: 0, memory })
    }

    /// For reading what is in the spool.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// Bytes taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether a file of `size` bytes, some of which are in the spool already, leaves room for as many again; a file that may
    /// be kept in memory does. Blocking.
    pub(super) fn leaves_room(&self, size: u64) -> bool {
        let free = self.open.as_ref().and_then(Spool::free);
        size <= self.memory
            || free.is_none_or(|free| size.saturating_mul(2).saturating_sub(self.spooled) <= free)
    }

    /// Takes chunks and tells the readers. Blocking.
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
            // What was written stays readable through `file`; the name goes, and with the last reader the space.
            self.open = None;
        }
        if flight.tail.keep(chunk.clone(), self.memory) {
            return Ok(());
        }
        Err(FlightError::Storage(format!(
            "the disk is full, and packages being passed through take more than the {} MB of memory set aside for \
             that; make room on the disk",
            self.memory >> 20
        )))
    }

    /// The digests of all that was taken.
    pub(super) fn finish(self) -> Complete {
        let brought = Brought {
            size: self.written,
            md5: Md5(self.md5.finalize().into()),
            sha256: Sha256(self.sha256.finalize().into()),
        };
        Complete { brought, spool: self.open, file: self.file, spooled: self.spooled }
    }
}
