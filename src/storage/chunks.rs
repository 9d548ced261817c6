//! How a large file becomes a stream: 256 KB at a time on the blocking pool, the next piece read while one is sent.

use super::{Content, StorageError};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Bytes of one piece: large enough that a hop to the blocking pool costs little, small enough for the CPU's cache.
pub(super) const PIECE: usize = 256 << 10;
/// Buffers kept for the next reader; beyond these they are freed (4 MB).
const SPARE: usize = 16;

/// Buffers that were sent and can be read into again: no zeroing and no page faults for each piece.
static BUFFERS: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// The first `length` bytes of a buffer that goes back to [`BUFFERS`] when the last `Bytes` of it is dropped.
struct Piece {
    buffer: Box<[u8]>,
    length: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut spare = BUFFERS.lock();
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

/// Reads the piece that begins at `range.start`. Blocking.
fn read(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).unwrap_or(PIECE).min(PIECE);
    let spare = BUFFERS.lock().pop();
    let mut buffer = spare.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice());
    file.read_exact_at(&mut buffer[..length], range.start)?;
    Ok(Bytes::from_owner(Piece { buffer, length }))
}

/// All of a range that lies within an open file, at once. Blocking.
///
/// # Errors
/// The file cannot be read.
pub fn whole(file: &File, path: &Path, range: &Range<u64>) -> Result<Bytes, StorageError> {
    let failed = |e: io::Error| StorageError::io("read", path, e);
    let length = usize::try_from(range.end - range.start).map_err(|e| failed(io::Error::other(e)))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
    Ok(bytes.into())
}

/// The bytes of a range that lies within an open file: at once when they are few, else as a stream. To be called on a
/// blocking thread of the runtime.
///
/// # Errors
/// The file cannot be read.
pub fn content(file: File, path: &Path, range: Range<u64>) -> Result<Content, StorageError> {
    if range.end.saturating_sub(range.start) <= PIECE as u64 {
        return Ok(Content::Memory(whole(&file, path, &range)?));
    }
    Ok(Content::Stream(stream(file, path, range)))
}

/// The stream's state: what is left, and the piece that is being read.
struct Reader {
    file: Arc<File>,
    path: Arc<Path>,
    /// From the piece after `ahead` to the end.
    rest: Range<u64>,
    ahead: JoinHandle<io::Result<Bytes>>,
}

/// The bytes of `range`, which lies within the file and is not empty. The first piece is on its way when this
/// returns.
pub(super) fn stream(
    file: File,
    path: &Path,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let file = Arc::new(file);
    let (ahead, rest) = start(&file, range);
    let reader = Reader { file, path: path.into(), rest, ahead };
    unfold(Some(reader), |reader| async {
        let Reader { file, path, rest, ahead } = reader?;
        let piece = match ahead.await {
            Ok(Ok(piece)) => piece,
            Ok(Err(e)) => return Some((Err(StorageError::io("read", &path, e)), None)),
            Err(e) => return Some((Err(StorageError::io("read", &path, io::Error::other(e))), None)),
        };
        if rest.is_empty() {
            return Some((Ok(piece), None));
        }
        let (ahead, rest) = start(&file, rest);
        Some((Ok(piece), Some(Reader { file, path, rest, ahead })))
    })
    .boxed()
}

/// Begins to read the first piece of `range`, and tells what comes after it.
fn start(file: &Arc<File>, range: Range<u64>) -> (JoinHandle<io::Result<Bytes>>, Range<u64>) {
    let rest = range.end.min(range.start.saturating_add(PIECE as u64))..range.end;
    let file = Arc::clone(file);
    (tokio::task::spawn_blocking(move || read(&file, &range)), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    #[tokio::test]
    async fn any_range_comes_out_whole_and_in_order() {
        let bytes: Vec<u8> = (0..PIECE * 3 + 17).map(|i| (i % 251) as u8).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, &bytes).unwrap();
        let end = bytes.len();
        for range in [0..end, 1..end - 1, 0..PIECE, PIECE - 1..PIECE + 1, end - 1..end, 0..PIECE * 2] {
            let wanted = range.start as u64..range.end as u64;
            let pieces: Vec<Bytes> =
                stream(File::open(&path).unwrap(), &path, wanted).try_collect().await.unwrap();
            assert_eq!(pieces.concat(), bytes[range.clone()], "{range:?}");
        }
    }

    #[tokio::test]
    async fn a_file_cut_while_it_is_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        std::fs::write(&path, vec![7; PIECE * 4]).unwrap();
        let mut pieces = stream(File::open(&path).unwrap(), &path, 0..PIECE as u64 * 4);
        pieces.next().await.unwrap().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let rest: Vec<_> = pieces.collect().await;
        assert!(rest.last().unwrap().is_err());
    }
}
