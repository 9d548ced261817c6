//! Buffer of a file during its download: in memory while all files together stay within a budget, otherwise on disk, so
//! that neither large nor many files exceed the budget.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Hasher};
use tempfile::NamedTempFile;

use super::place::Place;
use crate::model::digest::{Md5, Sha256};
use crate::upstream::{Taker, UpstreamError};

/// Memory budget of all downloads together, in bytes.
pub(super) const BUDGET: usize = 64 << 20;
/// Maximum size in bytes of a file in memory.
const FILE: usize = 4 << 20;
/// Bytes buffered between two writes of a file on disk.
const PIECE: usize = 1 << 20;
/// Chunk size in bytes for both digests, so that a chunk stays in the processor's cache.
const CACHED: usize = 32 << 10;

/// The unused part of the memory budget, in bytes.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget(AtomicUsize::new(bytes)))
    }

    /// Reserves bytes without waiting; on false the caller writes its buffer to disk and releases its bytes.
    fn take(&self, bytes: usize) -> bool {
        let (order, all) = (Ordering::Relaxed, |left: usize| left.checked_sub(bytes));
        self.0.fetch_update(order, order, all).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes in memory and their share of the budget.
#[derive(Debug)]
struct Held {
    budget: Arc<Budget>,
    bytes: Vec<u8>,
    share: usize,
}

impl Held {
    fn none(budget: Arc<Budget>) -> Held {
        Held { budget, bytes: Vec::new(), share: 0 }
    }

    /// Reserves memory for `more` bytes, up to `limit` in total; false if the budget does not suffice.
    fn room(&mut self, more: usize, limit: usize) -> bool {
        let needed = self.bytes.len().saturating_add(more);
        if needed <= self.share {
            return true;
        }
        // Doubles the share, so that a file of unknown size is not copied for each of its pieces.
        let share = needed.max(2 * self.share).min(limit);
        if needed > limit || !self.budget.take(share - self.share) {
            return false;
        }
        self.share = share;
        self.bytes.reserve_exact(share - self.bytes.len());
        true
    }

    fn clear(&mut self) {
        self.bytes = Vec::new();
        self.budget.give(std::mem::take(&mut self.share));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A file during its download.
pub(super) struct Body {
    /// Directory of the file on disk.
    dir: PathBuf,
    held: Held,
    /// Number of bytes in memory at which they are written to disk.
    limit: usize,
    written: Option<Written>,
    failed: Option<io::Error>,
}

/// The part of a file that is on disk.
struct Written {
    file: NamedTempFile,
    size: u64,
    digests: Digests,
}

#[derive(Default)]
struct Digests {
    sha256: Hasher,
    md5: Md5Hasher,
}

impl Digests {
    fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(CACHED) {
            self.sha256.update(piece);
            self.md5.update(piece);
        }
    }
}

impl Body {
    /// Creates an empty buffer; `dir` is the directory of the file if it is written to disk.
    pub(super) fn new(dir: PathBuf, budget: Arc<Budget>) -> Body {
        Body { dir, held: Held::none(budget), limit: FILE, written: None, failed: None }
    }

    /// Returns a write error and the directory: the destination failed, not the mirror.
    pub(super) fn failed(&mut self) -> Option<(io::Error, PathBuf)> {
        Some((self.failed.take()?, self.dir.clone()))
    }

    /// Writes the bytes in memory, then `more`, to disk.
    fn write(&mut self, more: &[u8]) -> io::Result<()> {
        let mut written = match self.written.take() {
            Some(written) => written,
            None => Written {
                file: std::fs::create_dir_all(&self.dir).and_then(|()| Place::unfinished(&self.dir))?,
                size: 0,
                digests: Digests::default(),
            },
        };
        for bytes in [&self.held.bytes, more] {
            written.file.write_all(bytes)?;
            written.digests.update(bytes);
            written.size += bytes.len() as u64;
        }
        self.held.clear();
        self.limit = PIECE;
        self.written = Some(written);
        Ok(())
    }

    /// Completes the file after its last piece.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub(super) fn end(mut self) -> io::Result<Whole> {
        if self.written.is_some() && !self.held.bytes.is_empty() {
            self.write(&[])?;
        }
        let (digests, size, kept) = match self.written {
            Some(Written { file, size, digests }) => (digests, size, Kept::Written(file)),
            None => {
                let mut digests = Digests::default();
                digests.update(&self.held.bytes);
                (digests, self.held.bytes.len() as u64, Kept::Held(self.held))
            }
        };
        let Digests { sha256, md5 } = digests;
        Ok(Whole { sha256: Sha256(sha256.finalize().into()), md5: Md5(md5.finalize().into()), size, kept })
    }
}

impl Taker for Body {
    fn begin(&mut self, size: Option<u64>) {
        self.held.clear();
        self.written = None;
        let size = size.map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX));
        self.limit = if size > FILE { PIECE } else { FILE };
        // Allocates all memory at once if the size is known; otherwise it grows.
        self.held.room(size, self.limit);
    }

    async fn take(&mut self, piece: Bytes) -> Result<(), UpstreamError> {
        if self.held.room(piece.len(), self.limit) {
            self.held.bytes.extend_from_slice(&piece);
            return Ok(());
        }
        let none = Held::none(self.held.budget.clone());
        let mut moved = Body {
            dir: self.dir.clone(),
            held: std::mem::replace(&mut self.held, none),
            limit: PIECE,
            written: self.written.take(),
            failed: None,
        };
        let work = tokio::task::spawn_blocking(move || {
            let done = moved.write(&piece);
            (moved, done)
        });
        let done = match work.await {
            Ok((moved, done)) => {
                *self = Body { failed: None, ..moved };
                done
            }
            Err(e) => Err(io::Error::other(e)),
        };
        done.map_err(|e| {
            // Ends the download; the caller reads the error itself from `failed`.
            let refused =
                UpstreamError::Refused { url: self.dir.display().to_string(), reason: e.to_string() };
            self.failed = Some(e);
            refused
        })
    }
}

/// A completely downloaded file with its digests.
pub(super) struct Whole {
    pub(super) sha256: Sha256,
    pub(super) md5: Md5,
    pub(super) size: u64,
    kept: Kept,
}

enum Kept {
    Held(Held),
    Written(NamedTempFile),
}

/// Reader of a complete file from its beginning.
pub(super) enum Reader<'a> {
    Held(Cursor<&'a [u8]>),
    Written(File),
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Held(bytes) => bytes.read(out),
            Reader::Written(file) => file.read(out),
        }
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Reader::Held(bytes) => bytes.seek(to),
            Reader::Written(file) => file.seek(to),
        }
    }
}

impl Whole {
    /// Opens the file for reading; may be called repeatedly.
    pub(super) fn open(&self) -> io::Result<Reader<'_>> {
        match &self.kept {
            Kept::Held(held) => Ok(Reader::Held(Cursor::new(&held.bytes))),
            Kept::Written(file) => file.reopen().map(Reader::Written),
        }
    }

    /// Converts to a temporary file in a folder of the same file system, which is created if missing.
    pub(super) fn into_file(self, dir: &Path) -> io::Result<NamedTempFile> {
        match self.kept {
            Kept::Written(file) => std::fs::create_dir_all(dir).map(|()| file),
            Kept::Held(held) => {
                let mut file = match Place::unfinished(dir) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        std::fs::create_dir_all(dir)?;
                        Place::unfinished(dir)?
                    }
                    made => made?,
                };
                file.write_all(&held.bytes)?;
                Ok(file)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::seal;

    /// Returns `size` bytes without repeating pieces.
    fn bytes(size: usize) -> Vec<u8> {
        (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(size).collect()
    }

    async fn taken(body: &mut Body, bytes: &[u8], sized: bool) {
        body.begin(sized.then_some(bytes.len() as u64));
        for piece in bytes.chunks(100_000) {
            body.take(Bytes::copy_from_slice(piece)).await.expect("a disk");
        }
    }

    #[tokio::test]
    async fn a_file_is_the_same_whether_it_is_held_or_written() {
        let dir = tempfile::tempdir().unwrap();
        for (size, budget, sized, is_written) in [
            (0, BUDGET, true, false),
            (300_000, BUDGET, true, false),
            (300_000, BUDGET, false, false),
            (FILE, BUDGET, true, false),
            (FILE + 1, BUDGET, true, true),
            (3 * FILE + 7, BUDGET, false, true),
            (300_000, 150_000, true, true),
            (300_000, 0, false, true),
        ] {
            let (budget, all) = (Budget::new(budget), bytes(size));
            let mut body = Body::new(dir.path().join("obj"), budget.clone());
            // Bytes from before the restart of the file are dropped.
            taken(&mut body, &all[..size / 2], sized).await;
            taken(&mut body, &all, sized).await;
            let whole = body.end().unwrap();
            assert_eq!((whole.size, whole.sha256), (size as u64, seal::digest(&all)), "{size}");
            assert_eq!(whole.md5, Md5(Md5Hasher::digest(&all).into()));
            assert_eq!(matches!(whole.kept, Kept::Written(_)), is_written, "{size} {sized}");
            let mut read = Vec::new();
            whole.open().unwrap().read_to_end(&mut read).unwrap();
            let file = whole.into_file(&dir.path().join("obj/ab")).unwrap();
            assert!(read == all && std::fs::read(file.path()).unwrap() == all, "{size}");
        }
    }

    #[tokio::test]
    async fn all_files_together_hold_no_more_than_the_budget_and_give_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let (budget, all) = (Budget::new(1 << 20), bytes(400_000));
        let mut bodies = Vec::new();
        for _ in 0..5 {
            let mut body = Body::new(dir.path().to_owned(), budget.clone());
            taken(&mut body, &all, true).await;
            bodies.push(body);
        }
        let held: Vec<usize> = bodies.iter().map(|body| body.held.share).collect();
        assert_eq!(held[..2], [400_000, 400_000]);
        assert!(held.iter().sum::<usize>() <= 1 << 20, "{held:?}");
        for body in bodies {
            assert_eq!(body.end().unwrap().sha256, seal::digest(&all));
        }
        assert_eq!(budget.0.load(Ordering::Relaxed), 1 << 20);
    }
}
