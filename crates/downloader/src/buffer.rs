//! Buffer of a file during its download: in memory while all buffers together are within a budget, otherwise on
//! disk. Neither a large file nor many files together exceed the budget.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use md5::Md5 as Md5Hasher;
use sha2::{Digest, Sha256 as Hasher};
use tempfile::NamedTempFile;

use super::destination::Destination;
use base::model::digest::{Md5, Sha256};
use upstream::{ByteSink, UpstreamError};

/// Memory budget of all downloads together, in bytes.
pub(super) const BUDGET: usize = 64 << 20;
/// Maximum size in bytes of a file in memory.
const MAX_IN_MEMORY: usize = 4 << 20;
/// Bytes buffered between two writes of a file on disk.
const WRITE_SIZE: usize = 1 << 20;
/// Chunk size in bytes for both digests, so that a chunk stays in the processor's cache.
const DIGEST_CHUNK: usize = 32 << 10;

/// The unused part of the memory budget, in bytes.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget(AtomicUsize::new(bytes)))
    }

    /// Reserves bytes without waiting. Returns false if fewer bytes are unused: the caller then writes its buffer
    /// to disk and releases its share.
    fn reserve(&self, bytes: usize) -> bool {
        let (order, subtract) = (Ordering::Relaxed, |unused: usize| unused.checked_sub(bytes));
        self.0.fetch_update(order, order, subtract).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes in memory and their share of the budget.
#[derive(Debug)]
struct MemoryBuffer {
    budget: Arc<Budget>,
    bytes: Vec<u8>,
    /// Size of the share of the budget, in bytes.
    share: usize,
}

impl MemoryBuffer {
    fn new(budget: Arc<Budget>) -> MemoryBuffer {
        MemoryBuffer { budget, bytes: Vec::new(), share: 0 }
    }

    /// Reserves memory for `additional` bytes; returns false if over `limit` bytes or the budget.
    fn reserve(&mut self, additional: usize, limit: usize) -> bool {
        let required_len = self.bytes.len().saturating_add(additional);
        if required_len <= self.share {
            return true;
        }
        // Doubles the share, so that not every piece of a file of unknown size causes a reallocation.
        let share = required_len.max(2 * self.share).min(limit);
        if required_len > limit || !self.budget.reserve(share - self.share) {
            return false;
        }
        self.share = share;
        self.bytes.reserve_exact(share - self.bytes.len());
        true
    }

    fn clear(&mut self) {
        self.bytes = Vec::new();
        self.budget.release(std::mem::take(&mut self.share));
    }
}

impl Drop for MemoryBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A file during its download.
pub(super) struct FileBuffer {
    /// Directory for the temporary file.
    dir: PathBuf,
    memory: MemoryBuffer,
    /// Number of bytes in memory at which they are written to disk.
    limit: usize,
    disk: Option<DiskBuffer>,
    /// The error of a write to disk.
    error: Option<io::Error>,
}

/// The part of a file that is on disk.
struct DiskBuffer {
    file: NamedTempFile,
    /// Number of written bytes.
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
        for piece in bytes.chunks(DIGEST_CHUNK) {
            self.sha256.update(piece);
            self.md5.update(piece);
        }
    }
}

impl FileBuffer {
    /// Creates an empty buffer; `dir` is the directory for the temporary file if one is needed.
    pub(super) fn new(dir: PathBuf, budget: Arc<Budget>) -> FileBuffer {
        FileBuffer { dir, memory: MemoryBuffer::new(budget), limit: MAX_IN_MEMORY, disk: None, error: None }
    }

    /// Returns the write error and the directory if the download failed because of the destination, not of the mirror.
    pub(super) fn take_error(&mut self) -> Option<(io::Error, PathBuf)> {
        Some((self.error.take()?, self.dir.clone()))
    }

    /// Writes the bytes in memory, and after them `piece`, to disk.
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut buffer = match self.disk.take() {
            Some(buffer) => buffer,
            None => DiskBuffer {
                file: std::fs::create_dir_all(&self.dir).and_then(|()| Destination::temp_file(&self.dir))?,
                size: 0,
                digests: Digests::default(),
            },
        };
        for bytes in [&self.memory.bytes, piece] {
            buffer.file.write_all(bytes)?;
            buffer.digests.update(bytes);
            buffer.size += bytes.len() as u64;
        }
        self.memory.clear();
        self.limit = WRITE_SIZE;
        self.disk = Some(buffer);
        Ok(())
    }

    /// Completes the file after its last piece. Fails if the bytes in memory cannot be written to disk.
    pub(super) fn finish(mut self) -> io::Result<CompleteFile> {
        if self.disk.is_some() && !self.memory.bytes.is_empty() {
            self.write(&[])?;
        }
        let (digests, size, backing) = match self.disk {
            Some(DiskBuffer { file, size, digests }) => (digests, size, Backing::Disk(file)),
            None => {
                let mut digests = Digests::default();
                digests.update(&self.memory.bytes);
                (digests, self.memory.bytes.len() as u64, Backing::Memory(self.memory))
            }
        };
        let Digests { sha256, md5 } = digests;
        Ok(CompleteFile {
            sha256: Sha256(sha256.finalize().into()),
            md5: Md5(md5.finalize().into()),
            size,
            backing,
        })
    }
}

impl ByteSink for FileBuffer {
    fn begin(&mut self, size: Option<u64>) {
        self.memory.clear();
        self.disk = None;
        let size = size.map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX));
        self.limit = if size > MAX_IN_MEMORY { WRITE_SIZE } else { MAX_IN_MEMORY };
        // Allocates all memory at once if the size is known; otherwise it grows.
        self.memory.reserve(size, self.limit);
    }

    async fn take(&mut self, piece: Bytes) -> Result<(), UpstreamError> {
        if self.memory.reserve(piece.len(), self.limit) {
            self.memory.bytes.extend_from_slice(&piece);
            return Ok(());
        }
        let empty_buffer = MemoryBuffer::new(self.memory.budget.clone());
        let mut buffer = FileBuffer {
            dir: self.dir.clone(),
            memory: std::mem::replace(&mut self.memory, empty_buffer),
            limit: WRITE_SIZE,
            disk: self.disk.take(),
            error: None,
        };
        let task = tokio::task::spawn_blocking(move || {
            let result = buffer.write(&piece);
            (buffer, result)
        });
        let result = match task.await {
            Ok((buffer, result)) => {
                *self = FileBuffer { error: None, ..buffer };
                result
            }
            Err(e) => Err(io::Error::other(e)),
        };
        result.map_err(|e| {
            // This error ends the download; the caller gets the write error from `take_error`.
            let upstream_error =
                UpstreamError::Refused { url: self.dir.display().to_string(), reason: e.to_string() };
            self.error = Some(e);
            upstream_error
        })
    }
}

/// A completely downloaded file and its digests.
pub(super) struct CompleteFile {
    pub(super) sha256: Sha256,
    pub(super) md5: Md5,
    pub(super) size: u64,
    backing: Backing,
}

/// Location of the bytes of a complete file.
enum Backing {
    Memory(MemoryBuffer),
    Disk(NamedTempFile),
}

/// Reader of a complete file from its beginning.
pub(super) enum Reader<'a> {
    Memory(Cursor<&'a [u8]>),
    Disk(File),
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Memory(bytes) => bytes.read(out),
            Reader::Disk(file) => file.read(out),
        }
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Reader::Memory(bytes) => bytes.seek(to),
            Reader::Disk(file) => file.seek(to),
        }
    }
}

impl CompleteFile {
    /// Opens the file for reading; may be called repeatedly.
    pub(super) fn open(&self) -> io::Result<Reader<'_>> {
        match &self.backing {
            Backing::Memory(buffer) => Ok(Reader::Memory(Cursor::new(&buffer.bytes))),
            Backing::Disk(file) => file.reopen().map(Reader::Disk),
        }
    }

    /// Converts to a temporary file on the file system of `dir`, created if missing, to be renamed to its path there.
    pub(super) fn into_file(self, dir: &Path) -> io::Result<NamedTempFile> {
        match self.backing {
            Backing::Disk(file) => std::fs::create_dir_all(dir).map(|()| file),
            Backing::Memory(buffer) => {
                let mut file = match Destination::temp_file(dir) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        std::fs::create_dir_all(dir)?;
                        Destination::temp_file(dir)?
                    }
                    result => result?,
                };
                file.write_all(&buffer.bytes)?;
                Ok(file)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::bundle::self_digest;

    /// Returns `size` bytes without repeating pieces.
    fn bytes(size: usize) -> Vec<u8> {
        (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(size).collect()
    }

    async fn receive(buffer: &mut FileBuffer, bytes: &[u8], is_size_known: bool) {
        buffer.begin(is_size_known.then_some(bytes.len() as u64));
        for piece in bytes.chunks(100_000) {
            buffer.take(Bytes::copy_from_slice(piece)).await.expect("a disk");
        }
    }

    #[tokio::test]
    async fn a_file_in_memory_and_on_disk_has_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        for (size, budget, is_size_known, is_on_disk) in [
            (0, BUDGET, true, false),
            (300_000, BUDGET, true, false),
            (300_000, BUDGET, false, false),
            (MAX_IN_MEMORY, BUDGET, true, false),
            (MAX_IN_MEMORY + 1, BUDGET, true, true),
            (3 * MAX_IN_MEMORY + 7, BUDGET, false, true),
            (300_000, 150_000, true, true),
            (300_000, 0, false, true),
        ] {
            let (budget, content) = (Budget::new(budget), bytes(size));
            let mut buffer = FileBuffer::new(dir.path().join("obj"), budget.clone());
            // Bytes from before the restart of the file are dropped.
            receive(&mut buffer, &content[..size / 2], is_size_known).await;
            receive(&mut buffer, &content, is_size_known).await;
            let file = buffer.finish().unwrap();
            assert_eq!((file.size, file.sha256), (size as u64, self_digest::digest(&content)), "{size}");
            assert_eq!(file.md5, Md5(Md5Hasher::digest(&content).into()));
            assert_eq!(matches!(file.backing, Backing::Disk(_)), is_on_disk, "{size} {is_size_known}");
            let mut copy = Vec::new();
            file.open().unwrap().read_to_end(&mut copy).unwrap();
            let file = file.into_file(&dir.path().join("obj/ab")).unwrap();
            assert!(copy == content && std::fs::read(file.path()).unwrap() == content, "{size}");
        }
    }

    #[tokio::test]
    async fn all_files_together_stay_within_the_budget_and_return_it() {
        let dir = tempfile::tempdir().unwrap();
        let (budget, content) = (Budget::new(1 << 20), bytes(400_000));
        let mut buffers = Vec::new();
        for _ in 0..5 {
            let mut buffer = FileBuffer::new(dir.path().to_owned(), budget.clone());
            receive(&mut buffer, &content, true).await;
            buffers.push(buffer);
        }
        let shares: Vec<usize> = buffers.iter().map(|buffer| buffer.memory.share).collect();
        assert_eq!(shares[..2], [400_000, 400_000]);
        assert!(shares.iter().sum::<usize>() <= 1 << 20, "{shares:?}");
        for buffer in buffers {
            assert_eq!(buffer.finish().unwrap().sha256, self_digest::digest(&content));
        }
        assert_eq!(budget.0.load(Ordering::Relaxed), 1 << 20);
    }
}
