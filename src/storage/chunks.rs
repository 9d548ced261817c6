//! Streams of large files in chunks: from the page cache if it has them, else read on the blocking pool, one chunk ahead.
//! Reading starts with the first poll. With many slow clients, chunks are smaller and files are reopened for each, so that
//! memory and descriptors are bounded.

use super::{Content, StorageError};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use rustix::io::{ReadWriteFlags, preadv2};
use std::fs::{File, Metadata};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinHandle;

/// Bytes of one chunk: large enough to amortize the switch to the blocking pool, small enough for the CPU's cache.
pub(super) const PIECE: usize = 256 << 10;
/// Maximum number of pooled buffers (4 MB); others are freed.
const SPARE: usize = 16;
/// Sizes of chunks, in bytes, while the total of chunks that are read and not sent is below a limit.
const STEPS: [(usize, usize); 3] = [(16 << 20, PIECE), (32 << 20, 64 << 10), (48 << 20, 16 << 10)];
/// Bytes of a chunk above the last limit.
const SMALLEST: usize = 4 << 10;
/// Maximum total, in bytes, of objects held whole in memory; above it, objects are read in chunks.
const WHOLES: usize = 64 << 20;
/// Objects up to this size, in bytes, are always read whole: a chunk is no smaller.
const SMALL: u64 = 4 << 10;
/// Maximum number of files that streams keep open.
const FILES: usize = 256;

/// Buffers for reuse: avoids zeroing and page faults for each chunk.
static BUFFERS: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());
/// Bytes of chunks in memory.
static PIECES: Total = Total(AtomicUsize::new(0));
/// Bytes of whole objects in memory.
static WHOLE: Total = Total(AtomicUsize::new(0));
/// Number of files that streams keep open.
static OPEN: Total = Total(AtomicUsize::new(0));

/// A counter of resources in use; see [`Counted`].
struct Total(AtomicUsize);

/// An amount counted in a [`Total`] until it is dropped.
struct Counted(&'static Total, usize);

impl Total {
    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&'static self, count: usize) -> Counted {
        self.0.fetch_add(count, Ordering::Relaxed);
        Counted(self, count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// The first `length` bytes of a buffer, which returns to [`BUFFERS`] when the last `Bytes` of it is dropped.
struct Piece {
    buffer: Box<[u8]>,
    length: usize,
    _counted: Counted,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.buffer.len() == PIECE {
            let mut spare = BUFFERS.lock();
            if spare.len() < SPARE {
                spare.push(std::mem::take(&mut self.buffer));
            }
        }
    }
}

/// Bytes of an object that was read whole.
struct Whole(Box<[u8]>, #[allow(dead_code, reason = "dropped with the bytes")] Counted);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the size of the next chunk in bytes: the more unsent bytes there are, the smaller it is.
#[must_use]
pub fn piece_size() -> usize {
    let waiting = PIECES.now();
    STEPS.iter().find(|(below, _)| waiting < *below).map_or(SMALLEST, |(_, size)| *size)
}

/// Returns true if an object of `size` bytes may be read whole.
pub(super) fn may_be_whole(size: u64) -> bool {
    size <= SMALL || WHOLE.now() < WHOLES
}

/// A chunk to be read, counted before the read, because many reads may start at once.
struct Wanted {
    range: Range<u64>,
    length: usize,
    capacity: usize,
    counted: Counted,
}

impl Wanted {
    fn new(range: Range<u64>) -> Wanted {
        let length = usize::try_from(range.end - range.start).unwrap_or(PIECE).min(PIECE);
        // A chunk of more than half a buffer uses a pooled buffer; a smaller one would waste most of it.
        let capacity = if length > PIECE / 2 { PIECE } else { length };
        Wanted { range, length, capacity, counted: PIECES.add(capacity) }
    }

    /// Reads the chunk. Blocking.
    fn read(self, file: &File) -> io::Result<Bytes> {
        let mut piece = self.buffer();
        let start = self.range.start;
        file.read_exact_at(&mut piece[..self.length], start)?;
        Ok(self.filled(piece))
    }

    /// Like [`Wanted::read`], but never waits for a disk: `None` unless the page cache has the whole chunk.
    fn read_cached(self, file: &File) -> Option<Bytes> {
        let mut piece = self.buffer();
        let mut parts = [IoSliceMut::new(&mut piece[..self.length])];
        let read = preadv2(file, &mut parts, self.range.start, ReadWriteFlags::NOWAIT);
        if read == Ok(self.length) { Some(self.filled(piece)) } else { None }
    }

    fn buffer(&self) -> Box<[u8]> {
        let spare = if self.capacity == PIECE { BUFFERS.lock().pop() } else { None };
        spare.unwrap_or_else(|| vec![0; self.capacity].into_boxed_slice())
    }

    fn filled(self, buffer: Box<[u8]>) -> Bytes {
        Bytes::from_owner(Piece { buffer, length: self.length, _counted: self.counted })
    }
}

/// Counts a response of another server as one of the open files.
pub(super) struct OpenBody(#[allow(dead_code, reason = "counted until it is dropped")] Counted);

/// Counts a response as open; `None` at the limit of files and responses that streams keep open.
pub(super) fn open_body() -> Option<OpenBody> {
    if OPEN.now() < most_files() { Some(OpenBody(OPEN.add(1))) } else { None }
}

/// Counts bytes as a chunk that waits to be sent.
pub(super) fn count(bytes: Bytes) -> Bytes {
    let counted = PIECES.add(bytes.len());
    Bytes::from_owner(Received { bytes, _counted: counted })
}

/// A chunk received from another server.
struct Received {
    bytes: Bytes,
    _counted: Counted,
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads all of a range within an open file into memory. Blocking.
///
/// # Errors
/// The file cannot be read.
pub fn whole(file: &File, path: &Path, range: &Range<u64>) -> Result<Bytes, StorageError> {
    let failed = |e: io::Error| StorageError::io("read", path, e);
    let length = usize::try_from(range.end - range.start).map_err(|e| failed(io::Error::other(e)))?;
    let mut bytes = vec![0; length].into_boxed_slice();
    file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
    Ok(Bytes::from_owner(Whole(bytes, WHOLE.add(length))))
}

/// Returns the bytes of a range within an open file: in memory if they are few, else as a stream. Blocking.
///
/// # Errors
/// The file cannot be read.
pub fn content(file: File, path: &Path, range: Range<u64>) -> Result<Content, StorageError> {
    let length = range.end.saturating_sub(range.start);
    if length <= PIECE as u64 && may_be_whole(length) {
        return Ok(Content::Memory(whole(&file, path, &range)?));
    }
    let metadata = file.metadata().map_err(|e| StorageError::io("read", path, e))?;
    Ok(Content::Stream(stream(file, &metadata, path, range)))
}

/// The file of a stream, open or not.
struct Source {
    path: Box<Path>,
    /// Device and inode of the file that was opened first: the stream must not continue with another file.
    identity: (u64, u64),
    kept: OnceLock<Kept>,
}

struct Kept {
    file: File,
    _open: Counted,
}

impl Source {
    fn new(file: File, metadata: &Metadata, path: &Path) -> Source {
        let source =
            Source { path: path.into(), identity: (metadata.dev(), metadata.ino()), kept: OnceLock::new() };
        source.keep(file);
        source
    }

    /// Keeps the file open, unless too many are open; returns it then.
    fn keep(&self, file: File) -> Option<File> {
        if OPEN.now() >= most_files() {
            return Some(file);
        }
        // A stream reads one chunk at a time, so there is no concurrent call.
        let _ = self.kept.set(Kept { file, _open: OPEN.add(1) });
        None
    }

    /// Reads a chunk. Blocking.
    fn read(&self, wanted: Wanted) -> io::Result<Bytes> {
        if let Some(kept) = self.kept.get() {
            return wanted.read(&kept.file);
        }
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if (metadata.dev(), metadata.ino()) != self.identity {
            return Err(io::Error::other("the file was replaced while it was read"));
        }
        match self.keep(file) {
            Some(file) => wanted.read(&file),
            None => self.read(wanted),
        }
    }
}

/// Returns the maximum number of files that streams may keep open: a small share of the process's limit.
fn most_files() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        usize::try_from(soft / 8).unwrap_or(FILES).clamp(16, FILES)
    })
}

/// The state of a stream: the remaining range, and the chunk that is being read.
struct Reader {
    source: Arc<Source>,
    /// The range from the chunk after `ahead` to the end.
    rest: Range<u64>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

/// Streams the bytes of `range`, which lies within the file and is not empty.
pub(super) fn stream(
    file: File,
    metadata: &Metadata,
    path: &Path,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let source = Arc::new(Source::new(file, metadata, path));
    unfold(Some(Reader { source, rest: range, ahead: None }), |reader| async {
        let mut reader = reader?;
        let piece = match reader.ahead.take() {
            Some(ahead) => ahead,
            None => match reader.cached(piece_size()) {
                Some(piece) if reader.rest.is_empty() => return Some((Ok(piece), None)),
                Some(piece) => return Some((Ok(piece), Some(reader))),
                None => reader.begin(piece_size()),
            },
        };
        let failed = |e: io::Error| StorageError::io("read", &reader.source.path, e);
        let piece = match piece.await {
            Ok(Ok(piece)) => piece,
            Ok(Err(e)) => return Some((Err(failed(e)), None)),
            Err(e) => return Some((Err(failed(io::Error::other(e))), None)),
        };
        if reader.rest.is_empty() {
            return Some((Ok(piece), None));
        }
        let size = piece_size();
        if size == PIECE {
            reader.ahead = Some(reader.begin(size));
        }
        Some((Ok(piece), Some(reader)))
    })
    .boxed()
}

impl Reader {
    /// Returns the next chunk if the page cache has it: no waiting, and no thread to wake up.
    fn cached(&mut self, size: usize) -> Option<Bytes> {
        let file = &self.source.kept.get()?.file;
        let end = self.rest.end.min(self.rest.start.saturating_add(size as u64));
        let piece = Wanted::new(self.rest.start..end).read_cached(file)?;
        self.rest.start = end;
        Some(piece)
    }

    /// Starts reading the next chunk.
    fn begin(&mut self, size: usize) -> JoinHandle<io::Result<Bytes>> {
        let end = self.rest.end.min(self.rest.start.saturating_add(size as u64));
        let wanted = Wanted::new(self.rest.start..end);
        self.rest.start = end;
        let source = Arc::clone(&self.source);
        tokio::task::spawn_blocking(move || source.read(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    fn open(path: &Path, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StorageError>> {
        let file = File::open(path).unwrap();
        let metadata = file.metadata().unwrap();
        stream(file, &metadata, path, range)
    }

    #[tokio::test]
    async fn any_range_comes_out_whole_and_in_order() {
        let bytes: Vec<u8> = (0..PIECE * 3 + 17).map(|i| (i % 251) as u8).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, &bytes).unwrap();
        let end = bytes.len();
        for range in [0..end, 1..end - 1, 0..PIECE, PIECE - 1..PIECE + 1, end - 1..end, 0..PIECE * 2] {
            let wanted = range.start as u64..range.end as u64;
            let pieces: Vec<Bytes> = open(&path, wanted).try_collect().await.unwrap();
            assert_eq!(pieces.concat(), bytes[range.clone()], "{range:?}");
        }
    }

    #[tokio::test]
    async fn a_file_cut_while_it_is_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; PIECE * 4]).unwrap();
        let mut pieces = open(&path, 0..PIECE as u64 * 4);
        pieces.next().await.unwrap().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let rest: Vec<_> = pieces.collect().await;
        assert!(rest.last().unwrap().is_err());
    }

    #[tokio::test]
    async fn readers_that_take_nothing_cost_few_bytes_and_no_files() {
        const READERS: usize = 2_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; PIECE * 8]).unwrap();
        let mut streams: Vec<_> = (0..READERS).map(|_| open(&path, 0..PIECE as u64 * 8)).collect();
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(OPEN.now() <= FILES && files() < FILES + 500, "{} files", files());
        let unread = PIECES.now();
        assert!(unread < 8 << 20, "{unread} bytes were read before the first poll");
        let mut held = Vec::new();
        for stream in &mut streams {
            held.push(stream.next().await.unwrap().unwrap());
        }
        // The limits of the steps, one chunk ahead for each reader of the first, and the smallest chunk for the others.
        let most = (48 << 20) + (32 << 20) + READERS * SMALLEST;
        assert!(PIECES.now() < most, "{} bytes for {READERS} readers", PIECES.now());
        let last = streams.pop().unwrap();
        let rest: Vec<Bytes> = last.try_collect().await.unwrap();
        let first = held.pop().unwrap().len();
        assert_eq!(first + rest.iter().map(Bytes::len).sum::<usize>(), PIECE * 8, "no stream is truncated");
    }

    #[tokio::test]
    async fn another_file_never_goes_on_in_the_place_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; PIECE * 2]).unwrap();
        let metadata = path.metadata().unwrap();
        let source = Source {
            path: path.as_path().into(),
            identity: (metadata.dev(), metadata.ino()),
            kept: OnceLock::new(),
        };
        assert_eq!(source.read(Wanted::new(0..9)).unwrap().len(), 9);
        let other = dir.path().join("other");
        std::fs::write(&other, vec![8; PIECE * 2]).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let source = Source { kept: OnceLock::new(), ..source };
        assert!(source.read(Wanted::new(0..9)).is_err());
    }
}
