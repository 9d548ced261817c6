//! Detects the compression of an archive by its first bytes, and inflates it within limits. Damage is an error.

use super::{ArchiveError, ArchiveLimits};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952).
    Gzip,
    Bzip2,
    Xz,
    /// zstd (RFC 8878).
    Zstd,
}

/// Memory limit of the xz decoder, in bytes; the largest preset needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// The binary logarithm of the largest zstd window: 128 MiB.
const ZSTD_WINDOW: u32 = 27;
/// Inflated size above which the ratio is checked, in bytes; smaller archives are harmless at any ratio.
const RATIO_THRESHOLD: u64 = 64 << 20;
const BUFFER_SIZE: usize = 64 << 10;

/// Decoder of a compressed archive that enforces the limits.
pub struct ArchiveDecoder<R: Read> {
    stream: Stream<R>,
    limits: ArchiveLimits,
    buffer: Box<[u8]>,
    position: usize,
    buffered_len: usize,
    output_size: u64,
}

/// Detects the compression by the first bytes, and returns a decoder for the archive.
pub fn decoder<R: Read>(mut source: R, limits: ArchiveLimits) -> Result<ArchiveDecoder<R>, ArchiveError> {
    let mut head = Vec::with_capacity(512);
    source.by_ref().take(512).read_to_end(&mut head).map_err(ArchiveError::Io)?;
    let compression = detect(&head)?;
    let source = CompressedSource {
        inner: BufReader::with_capacity(BUFFER_SIZE, Cursor::new(head).chain(source)),
        consumed_bytes: 0,
        has_failed: false,
    };
    let stream = match compression {
        Compression::Gzip => Stream::Gzip(GzipMembers::Member(Box::new(GzDecoder::new(source)))),
        Compression::Bzip2 => Stream::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(source))),
        Compression::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)
                .map_err(|e| ArchiveError::Damaged(e.into()))?;
            Stream::Xz(Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream)))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source).map_err(ArchiveError::Damaged)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(ArchiveError::Damaged)?;
            Stream::Zstd(Box::new(decoder))
        }
    };
    Ok(ArchiveDecoder {
        stream,
        limits,
        buffer: vec![0; BUFFER_SIZE].into(),
        position: 0,
        buffered_len: 0,
        output_size: 0,
    })
}

fn detect(head: &[u8]) -> Result<Compression, ArchiveError> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [b'B', b'Z', b'h', ..] => Ok(Compression::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Compression::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        [b'P', b'K', 3 | 5 | 7, ..] => Err(ArchiveError::Zip),
        _ if head.get(257..262) == Some(b"ustar") => Err(ArchiveError::PlainTar),
        _ => Err(ArchiveError::NotAnArchive),
    }
}

impl<R: Read> ArchiveDecoder<R> {
    /// Returns the number of bytes inflated so far.
    pub fn output_size(&self) -> u64 {
        self.output_size
    }

    pub fn limits(&self) -> &ArchiveLimits {
        &self.limits
    }

    /// Returns the next bytes, at most `max`; empty only at the end of an intact stream.
    pub fn take(&mut self, max: usize) -> Result<&[u8], ArchiveError> {
        if self.position == self.buffered_len && max > 0 {
            self.refill()?;
        }
        let start = self.position;
        self.position += max.min(self.buffered_len - self.position);
        Ok(&self.buffer[start..self.position])
    }

    /// Reads to the end, to verify every checksum of the compressed stream.
    pub fn finish(&mut self) -> Result<(), ArchiveError> {
        while !self.take(BUFFER_SIZE)?.is_empty() {}
        Ok(())
    }

    fn refill(&mut self) -> Result<(), ArchiveError> {
        (self.position, self.buffered_len) = (0, 0);
        let count = loop {
            match self.stream.read(&mut self.buffer) {
                Ok(count) => break count,
                Err(StreamError::Io(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(StreamError::Io(e)) if self.stream.source().is_some_and(|s| s.has_failed) => {
                    return Err(ArchiveError::Io(e));
                }
                Err(StreamError::Io(e)) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Err(ArchiveError::Truncated);
                }
                Err(StreamError::Io(e)) => return Err(ArchiveError::Damaged(e)),
                Err(StreamError::TrailingBytes) => return Err(ArchiveError::TrailingBytes),
            }
        };
        self.buffered_len = count;
        self.output_size += count as u64;
        if self.output_size > self.limits.inflated {
            return Err(ArchiveError::TooLarge { limit: self.limits.inflated });
        }
        let consumed_bytes = self.stream.source().map_or(0, |s| s.consumed_bytes);
        if self.output_size > RATIO_THRESHOLD && self.output_size / self.limits.ratio.max(1) > consumed_bytes
        {
            return Err(ArchiveError::Bomb { ratio: self.limits.ratio });
        }
        Ok(())
    }
}

/// The reader of the compressed bytes. Counts the consumed bytes, and records whether the underlying reader failed.
struct CompressedSource<R> {
    inner: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    consumed_bytes: u64,
    has_failed: bool,
}

impl<R: Read> Read for CompressedSource<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for CompressedSource<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.inner.fill_buf() {
            Ok(bytes) => Ok(bytes),
            Err(e) => {
                self.has_failed = e.kind() != ErrorKind::Interrupted;
                Err(e)
            }
        }
    }

    fn consume(&mut self, n: usize) {
        self.consumed_bytes += n as u64;
        self.inner.consume(n);
    }
}

enum StreamError {
    Io(io::Error),
    TrailingBytes,
}

impl From<io::Error> for StreamError {
    fn from(e: io::Error) -> StreamError {
        StreamError::Io(e)
    }
}

enum Stream<R: Read> {
    Gzip(GzipMembers<R>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<CompressedSource<R>>>),
    Xz(Box<liblzma::bufread::XzDecoder<CompressedSource<R>>>),
    Zstd(Box<zstd::Decoder<'static, CompressedSource<R>>>),
}

impl<R: Read> Stream<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, StreamError> {
        match self {
            Stream::Gzip(inner) => inner.read(out),
            Stream::Bzip2(inner) => Ok(inner.read(out)?),
            Stream::Xz(inner) => Ok(inner.read(out)?),
            Stream::Zstd(inner) => Ok(inner.read(out)?),
        }
    }

    fn source(&self) -> Option<&CompressedSource<R>> {
        match self {
            Stream::Gzip(GzipMembers::Member(inner)) => Some(inner.get_ref()),
            Stream::Gzip(GzipMembers::Done(source)) => source.as_deref(),
            Stream::Bzip2(inner) => Some(inner.get_ref()),
            Stream::Xz(inner) => Some(inner.get_ref()),
            Stream::Zstd(inner) => Some(inner.get_ref()),
        }
    }
}

/// A gzip stream of one or more members (RFC 1952, 2.2). After the last, only zeros may follow, as for `gzip`.
enum GzipMembers<R: Read> {
    Member(Box<GzDecoder<CompressedSource<R>>>),
    Done(Option<Box<CompressedSource<R>>>),
}

impl<R: Read> GzipMembers<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, StreamError> {
        loop {
            let GzipMembers::Member(member) = self else { return Ok(0) };
            let count = member.read(out)?;
            if count > 0 {
                return Ok(count);
            }
            let source = member.get_mut();
            let has_next = loop {
                match source.fill_buf()? {
                    [] => break false,
                    [0x1f, ..] => break true,
                    [0, rest @ ..] => {
                        let zeros = 1 + rest.iter().take_while(|&&b| b == 0).count();
                        source.consume(zeros);
                    }
                    _ => return Err(StreamError::TrailingBytes),
                }
            };
            let GzipMembers::Member(member) = std::mem::replace(self, GzipMembers::Done(None)) else {
                return Ok(0);
            };
            let source = member.into_inner();
            *self = match has_next {
                true => GzipMembers::Member(Box::new(GzDecoder::new(source))),
                false => GzipMembers::Done(Some(Box::new(source))),
            };
        }
    }
}
