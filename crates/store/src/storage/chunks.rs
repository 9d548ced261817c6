//! Streams of large files in chunks: from the page cache if it has them, else read on the blocking pool, one chunk
//! ahead. Reading starts with the first poll. With many slow clients, chunks are smaller and the file is
//! opened again for each chunk, so that memory and descriptors are bounded.

use super::{Content, StorageError};
use base::model::owned_bytes::bytes_with;
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::task::JoinHandle;

/// Bytes of one chunk: large enough to amortize the switch to the blocking pool, small enough for the CPU's cache.
pub(super) const CHUNK_SIZE: usize = 256 << 10;
/// Maximum number of pooled buffers (4 MB); others are freed.
const MAX_POOLED_BUFFERS: usize = 16;
/// Limits and chunk sizes, in bytes: a new chunk has the size of the first limit above the total in memory.
const CHUNK_SIZES: [(usize, usize); 3] = [(16 << 20, CHUNK_SIZE), (32 << 20, 64 << 10), (48 << 20, 16 << 10)];
/// Bytes of a chunk above the last limit.
const MIN_CHUNK_SIZE: usize = 4 << 10;
/// Maximum total, in bytes, of whole objects in memory; above it, objects are read in chunks.
const MAX_MEMORY_BYTES: usize = 64 << 20;
/// Objects up to this size, in bytes, are always read whole: the smallest chunk would be as large.
const ALWAYS_IN_MEMORY: u64 = 4 << 10;
const MAX_OPEN_FILES: usize = 256;

/// Buffers for reuse: avoids zeroing and page faults for each chunk.
static BUFFERS: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());
/// Bytes of chunks in memory.
static CHUNK_BYTES: UsageCounter = UsageCounter(AtomicUsize::new(0));
/// Bytes of whole objects in memory.
static MEMORY_BYTES: UsageCounter = UsageCounter(AtomicUsize::new(0));
static OPEN_FILES: UsageCounter = UsageCounter(AtomicUsize::new(0));

/// A counter of resources in use; see [`Reservation`].
struct UsageCounter(AtomicUsize);

/// An amount counted in a [`UsageCounter`] until it is dropped.
pub struct Reservation(&'static UsageCounter, usize);

impl UsageCounter {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&'static self, amount: usize) -> Reservation {
        self.0.fetch_add(amount, Ordering::Relaxed);
        Reservation(self, amount)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// The first `length` bytes of a buffer. A pooled buffer returns to [`BUFFERS`] when the last `Bytes` of it is dropped.
struct Chunk {
    buffer: Box<[u8]>,
    length: usize,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.buffer.len() == CHUNK_SIZE {
            let mut buffers = BUFFERS.lock();
            if buffers.len() < MAX_POOLED_BUFFERS {
                buffers.push(std::mem::take(&mut self.buffer));
            }
        }
    }
}

/// Returns the size of the next chunk in bytes: the more unsent bytes there are, the smaller it is.
pub fn chunk_size() -> usize {
    let unsent_bytes = CHUNK_BYTES.get();
    CHUNK_SIZES.iter().find(|(limit, _)| unsent_bytes < *limit).map_or(MIN_CHUNK_SIZE, |(_, size)| *size)
}

/// Counts an object of `size` bytes that is to be read into memory; `None` if it must be read in chunks.
pub fn reserve_memory(size: u64) -> Option<Reservation> {
    let reservation = usize::try_from(size).ok().map(|size| MEMORY_BYTES.add(size))?;
    (size <= ALWAYS_IN_MEMORY || MEMORY_BYTES.get() - reservation.1 < MAX_MEMORY_BYTES).then_some(reservation)
}

/// A chunk to be read, counted before the read, because many reads may start at once.
pub struct ReadRequest {
    range: Range<u64>,
    length: usize,
    capacity: usize,
    reservation: Reservation,
}

impl ReadRequest {
    /// Creates a request for the start of `range`, at most one chunk.
    pub fn new(range: Range<u64>) -> ReadRequest {
        let length = usize::try_from(range.end - range.start).unwrap_or(CHUNK_SIZE).min(CHUNK_SIZE);
        // A chunk of more than half a buffer uses a pooled buffer; a smaller one would waste most of it.
        let capacity = if length > CHUNK_SIZE / 2 { CHUNK_SIZE } else { length };
        ReadRequest { range, length, capacity, reservation: CHUNK_BYTES.add(capacity) }
    }

    /// Reads the chunk. Blocking.
    ///
    /// # Errors
    /// The file is shorter, or cannot be read.
    pub fn read(self, file: &File) -> io::Result<Bytes> {
        let mut buffer = self.buffer();
        let start = self.range.start;
        file.read_exact_at(&mut buffer[..self.length], start)?;
        Ok(self.into_bytes(buffer))
    }

    /// Like [`ReadRequest::read`], but never waits for a disk: `None` unless the page cache has the whole chunk.
    fn read_cached(self, file: &File) -> Option<Bytes> {
        let mut buffer = self.buffer();
        let mut parts = [IoSliceMut::new(&mut buffer[..self.length])];
        let result = preadv2(file, &mut parts, self.range.start, ReadWriteFlags::NOWAIT);
        let is_complete = result == Ok(self.length);
        // If the bytes are dropped, their buffer returns to the pool.
        let bytes = self.into_bytes(buffer);
        is_complete.then_some(bytes)
    }

    fn buffer(&self) -> Box<[u8]> {
        let pooled_buffer = if self.capacity == CHUNK_SIZE { BUFFERS.lock().pop() } else { None };
        pooled_buffer.unwrap_or_else(|| vec![0; self.capacity].into_boxed_slice())
    }

    fn into_bytes(self, buffer: Box<[u8]>) -> Bytes {
        Bytes::from_owner(Chunk { buffer, length: self.length, _reservation: self.reservation })
    }
}

/// Counts a response of another server as one of the open files.
pub(super) struct OpenBody(#[allow(dead_code, reason = "counted until it is dropped")] Reservation);

/// Counts a response as open; `None` at the limit of files and responses that streams keep open.
pub(super) fn open_body() -> Option<OpenBody> {
    if OPEN_FILES.get() < max_open_files() { Some(OpenBody(OPEN_FILES.add(1))) } else { None }
}

/// Counts bytes received from another server as a chunk that waits to be sent.
pub(super) fn count_chunk(bytes: Bytes) -> Bytes {
    let reservation = CHUNK_BYTES.add(bytes.len());
    bytes_with(bytes, reservation)
}

/// Reads a range within an open file into memory that `reservation` counts. Blocking.
pub fn read_to_memory(
    file: &File,
    path: &Path,
    range: &Range<u64>,
    reservation: Reservation,
) -> Result<Bytes, StorageError> {
    let to_error = |e: io::Error| StorageError::io("read", path, e);
    let length = usize::try_from(range.end - range.start).map_err(|e| to_error(io::Error::other(e)))?;
    let mut bytes = vec![0; length].into_boxed_slice();
    file.read_exact_at(&mut bytes, range.start).map_err(to_error)?;
    Ok(bytes_with(bytes, reservation))
}

/// Returns the bytes of a range within an open file: in memory if they are few, else as a stream. Blocking.
pub fn content(file: File, path: &Path, range: Range<u64>) -> Result<Content, StorageError> {
    let length = range.end.saturating_sub(range.start);
    if length <= CHUNK_SIZE as u64
        && let Some(reservation) = reserve_memory(length)
    {
        return Ok(Content::Memory(read_to_memory(&file, path, &range, reservation)?));
    }
    let metadata = file.metadata().map_err(|e| StorageError::io("read", path, e))?;
    Ok(Content::Stream(stream(file, &metadata, path, range)))
}

struct StreamFile {
    path: Box<Path>,
    /// Device and inode of the file that was opened first: the stream must not continue with another file.
    identity: (u64, u64),
    handle: OnceLock<OpenHandle>,
}

struct OpenHandle {
    file: File,
    _reservation: Reservation,
}

impl StreamFile {
    fn new(file: File, metadata: &Metadata, path: &Path) -> StreamFile {
        let stream_file = StreamFile {
            path: path.into(),
            identity: (metadata.dev(), metadata.ino()),
            handle: OnceLock::new(),
        };
        stream_file.keep_open(file);
        stream_file
    }

    /// Keeps the file open; if too many files are open, returns it instead.
    fn keep_open(&self, file: File) -> Option<File> {
        if OPEN_FILES.get() >= max_open_files() {
            return Some(file);
        }
        // A stream reads one chunk at a time, so there is no concurrent call.
        let _ = self.handle.set(OpenHandle { file, _reservation: OPEN_FILES.add(1) });
        None
    }

    fn read(&self, request: ReadRequest) -> io::Result<Bytes> {
        if let Some(file) = self.handle.get() {
            return request.read(&file.file);
        }
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if (metadata.dev(), metadata.ino()) != self.identity {
            return Err(io::Error::other("the file was replaced while it was read"));
        }
        match self.keep_open(file) {
            Some(file) => request.read(&file),
            None => self.read(request),
        }
    }
}

/// Returns the maximum number of files that streams may keep open: a small share of the process's limit.
fn max_open_files() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        usize::try_from(soft / 8).unwrap_or(MAX_OPEN_FILES).clamp(16, MAX_OPEN_FILES)
    })
}

/// The state of a stream: the remaining range, and the chunk that is being read.
struct Reader {
    stream_file: Arc<StreamFile>,
    /// The range from the chunk after `next` to the end.
    remaining: Range<u64>,
    /// The next chunk, if it is being read ahead.
    next: Option<JoinHandle<io::Result<Bytes>>>,
}

/// Streams the bytes of `range`, which is within the file and is not empty.
pub(super) fn stream(
    file: File,
    metadata: &Metadata,
    path: &Path,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let stream_file = Arc::new(StreamFile::new(file, metadata, path));
    unfold(Some(Reader { stream_file, remaining: range, next: None }), |reader| async {
        let mut reader = reader?;
        let chunk = match reader.next.take() {
            Some(chunk) => chunk,
            None => match reader.read_from_cache(chunk_size()) {
                Some(chunk) if reader.remaining.is_empty() => return Some((Ok(chunk), None)),
                Some(chunk) => return Some((Ok(chunk), Some(reader))),
                None => reader.start_read(chunk_size()),
            },
        };
        let to_error = |e: io::Error| StorageError::io("read", &reader.stream_file.path, e);
        let chunk = match chunk.await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(e)) => return Some((Err(to_error(e)), None)),
            Err(e) => return Some((Err(to_error(io::Error::other(e))), None)),
        };
        if reader.remaining.is_empty() {
            return Some((Ok(chunk), None));
        }
        let size = chunk_size();
        if size == CHUNK_SIZE {
            reader.next = Some(reader.start_read(size));
        }
        Some((Ok(chunk), Some(reader)))
    })
    .boxed()
}

impl Reader {
    /// Returns the next chunk if the page cache has it: no waiting, and no thread to wake up.
    fn read_from_cache(&mut self, size: usize) -> Option<Bytes> {
        let file = &self.stream_file.handle.get()?.file;
        let end = self.remaining.end.min(self.remaining.start.saturating_add(size as u64));
        let chunk = ReadRequest::new(self.remaining.start..end).read_cached(file)?;
        self.remaining.start = end;
        Some(chunk)
    }

    fn start_read(&mut self, size: usize) -> JoinHandle<io::Result<Bytes>> {
        let end = self.remaining.end.min(self.remaining.start.saturating_add(size as u64));
        let request = ReadRequest::new(self.remaining.start..end);
        self.remaining.start = end;
        let stream_file = Arc::clone(&self.stream_file);
        tokio::task::spawn_blocking(move || stream_file.read(request))
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
    async fn any_range_is_read_whole_and_in_order() {
        let bytes: Vec<u8> = (0..CHUNK_SIZE * 3 + 17).map(|i| (i % 251) as u8).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, &bytes).unwrap();
        let end = bytes.len();
        for range in [
            0..end,
            1..end - 1,
            0..CHUNK_SIZE,
            CHUNK_SIZE - 1..CHUNK_SIZE + 1,
            end - 1..end,
            0..CHUNK_SIZE * 2,
        ] {
            let byte_range = range.start as u64..range.end as u64;
            let chunks: Vec<Bytes> = open(&path, byte_range).try_collect().await.unwrap();
            assert_eq!(chunks.concat(), bytes[range.clone()], "{range:?}");
        }
    }

    #[tokio::test]
    async fn a_file_truncated_while_it_is_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; CHUNK_SIZE * 4]).unwrap();
        let mut chunks = open(&path, 0..CHUNK_SIZE as u64 * 4);
        chunks.next().await.unwrap().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let rest: Vec<_> = chunks.collect().await;
        assert!(rest.last().unwrap().is_err());
    }

    #[tokio::test]
    async fn idle_readers_cost_few_bytes_and_no_files() {
        const READERS: usize = 2_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; CHUNK_SIZE * 8]).unwrap();
        let mut streams: Vec<_> = (0..READERS).map(|_| open(&path, 0..CHUNK_SIZE as u64 * 8)).collect();
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(OPEN_FILES.get() <= MAX_OPEN_FILES && files() < MAX_OPEN_FILES + 500, "{} files", files());
        let read_bytes = CHUNK_BYTES.get();
        assert!(read_bytes < 8 << 20, "{read_bytes} bytes were read before the first poll");
        let mut readers = Vec::new();
        for stream in &mut streams {
            readers.push(stream.next().await.unwrap().unwrap());
        }
        // The last limit of `CHUNK_SIZES`, the chunks that are read ahead, and the smallest chunk for each reader.
        let limit = (48 << 20) + (32 << 20) + READERS * MIN_CHUNK_SIZE;
        assert!(CHUNK_BYTES.get() < limit, "{} bytes for {READERS} readers", CHUNK_BYTES.get());
        let last = streams.pop().unwrap();
        let rest: Vec<Bytes> = last.try_collect().await.unwrap();
        let first = readers.pop().unwrap().len();
        assert_eq!(
            first + rest.iter().map(Bytes::len).sum::<usize>(),
            CHUNK_SIZE * 8,
            "no stream is truncated"
        );
    }

    #[tokio::test]
    async fn a_replaced_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; CHUNK_SIZE * 2]).unwrap();
        let metadata = path.metadata().unwrap();
        let stream_file = StreamFile {
            path: path.as_path().into(),
            identity: (metadata.dev(), metadata.ino()),
            handle: OnceLock::new(),
        };
        assert_eq!(stream_file.read(ReadRequest::new(0..9)).unwrap().len(), 9);
        let other = dir.path().join("other");
        std::fs::write(&other, vec![8; CHUNK_SIZE * 2]).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let stream_file = StreamFile { handle: OnceLock::new(), ..stream_file };
        assert!(stream_file.read(ReadRequest::new(0..9)).is_err());
    }
}
