//! The writing end of a flight: bytes go to the spool and through both digests, on a blocking thread of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Sha256Hasher};
use tokio::sync::{mpsc, watch};

use super::verify::Brought;
use super::{Flight, FlightError, Progress};
use crate::model::digest::{Md5, Sha256};
use crate::storage::Spool;

/// Bytes kept in memory for those who wait, when the disk is full; beyond, the flight fails.
const TAIL: u64 = 64 << 20;

/// A spool being written.
pub(super) struct Writer {
    spool: Spool,
    /// For reading what was written.
    pub(super) file: Arc<File>,
    sha256: Sha256Hasher,
    md5: Md5Hasher,
    written: u64,
    /// True once the disk was full: what follows is kept in memory and nothing is stored.
    full: bool,
}

/// A spool that is complete.
pub(super) struct Complete {
    /// What it holds.
    pub(super) brought: Brought,
    /// The spool, unless the disk was full.
    pub(super) spool: Option<Spool>,
    /// For reading it again.
    pub(super) file: Arc<File>,
}

impl Writer {
    /// On a fresh spool. Blocking.
    pub(super) fn new(spool: Spool) -> Result<Writer, FlightError> {
        let file = File::open(spool.path())
            .map_err(|e| FlightError::Storage(format!("opening {}: {e}", spool.path().display())))?;
        Ok(Writer {
            spool,
            file: Arc::new(file),
            sha256: Sha256Hasher::new(),
            md5: Md5Hasher::new(),
            written: 0,
            full: false,
        })
    }

    /// Bytes taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes every chunk until the sender is gone. Blocking; returns itself, so that a flight can be resumed.
    pub(super) fn take(
        mut self,
        mut chunks: mpsc::Receiver<Bytes>,
        flight: &Flight,
        progress: &watch::Sender<Progress>,
    ) -> Result<Writer, FlightError> {
        while let Some(chunk) = chunks.blocking_recv() {
            self.sha256.update(&chunk);
            self.md5.update(&chunk);
            self.keep(&chunk, flight)?;
            self.written += chunk.len() as u64;
            let spooled = self.spool.written();
            progress.send_modify(|p| {
                p.written = self.written;
                p.spooled = if self.full { p.spooled } else { spooled };
            });
        }
        Ok(self)
    }

    fn keep(&mut self, chunk: &Bytes, flight: &Flight) -> Result<(), FlightError> {
        if !self.full {
            match self.spool.write_all(chunk) {
                Ok(()) => return Ok(()),
                Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                    self.full = true;
                    tracing::error!(
                        spool = %self.spool.path().display(),
                        "the disk is full: packages pass through to those who ask, nothing is stored"
                    );
                }
                Err(e) => {
                    return Err(FlightError::Storage(format!(
                        "writing {}: {e}",
                        self.spool.path().display()
                    )));
                }
            }
        }
        let mut tail = flight.tail.lock();
        let kept: u64 = tail.iter().map(|b| b.len() as u64).sum();
        if kept + chunk.len() as u64 > TAIL {
            return Err(FlightError::Storage(format!(
                "the disk is full and more than {} MB are missing; make room on the file system of {}",
                TAIL >> 20,
                self.spool.path().display()
            )));
        }
        tail.push(chunk.clone());
        Ok(())
    }

    /// The digests of all that was taken.
    pub(super) fn finish(self) -> Complete {
        let brought = Brought {
            size: self.written,
            md5: Md5(self.md5.finalize().into()),
            sha256: Sha256(self.sha256.finalize().into()),
        };
        Complete { brought, spool: (!self.full).then_some(self.spool), file: self.file }
    }
}
