//! Detects the compression by the first bytes; a bounded decoder that requires an intact stream.

use super::{ArchiveError, Limits};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// RFC 8878.
    Zstd,
}

/// Memory limit of the xz decoder in bytes: the largest preset needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// The binary logarithm of the largest zstd window: 128 MiB.
const ZSTD_WINDOW: u32 = 27;
/// Inflated size in bytes above which the ratio is checked: small archives of zeros are harmless.
const RATIO_FROM: u64 = 64 << 20;
const BUFFER: usize = 64 << 10;

/// The inflated bytes of an archive.
pub struct Decoder<R: Read> {
    stream: Stream<R>,
    limits: Limits,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    produced: u64,
}

/// Detects the compression by content.
///
/// # Errors
/// [`ArchiveError::Zip`], [`ArchiveError::PlainTar`], [`ArchiveError::NotAnArchive`], [`ArchiveError::Io`].
pub fn decoder<R: Read>(mut source: R, limits: Limits) -> Result<Decoder<R>, ArchiveError> {
    let mut head = Vec::with_capacity(512);
    source.by_ref().take(512).read_to_end(&mut head).map_err(ArchiveError::Io)?;
    let compression = recognise(&head)?;
    let source = Source {
        inner: BufReader::with_capacity(BUFFER, Cursor::new(head).chain(source)),
        taken: 0,
        failed: false,
    };
    let stream = match compression {
        Compression::Gzip => Stream::Gzip(Gunzip::Member(Box::new(GzDecoder::new(source)))),
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
    Ok(Decoder { stream, limits, buffer: vec![0; BUFFER].into(), at: 0, filled: 0, produced: 0 })
}

fn recognise(head: &[u8]) -> Result<Compression, ArchiveError> {
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

impl<R: Read> Decoder<R> {
    /// Bytes inflated so far.
    #[must_use]
    pub fn produced(&self) -> u64 {
        self.produced
    }

    /// The limits that apply.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the next bytes, at most `max` of them; empty only at the end of an intact stream.
    ///
    /// # Errors
    /// Damage, truncation, and the limits.
    pub fn take(&mut self, max: usize) -> Result<&[u8], ArchiveError> {
        if self.at == self.filled && max > 0 {
            self.refill()?;
        }
        let start = self.at;
        self.at += max.min(self.filled - self.at);
        Ok(&self.buffer[start..self.at])
    }

    /// Reads to the end, to verify every checksum of the compressed stream.
    ///
    /// # Errors
    /// As [`Decoder::take`].
    pub fn finish(&mut self) -> Result<(), ArchiveError> {
        while !self.take(BUFFER)?.is_empty() {}
        Ok(())
    }

    fn refill(&mut self) -> Result<(), ArchiveError> {
        (self.at, self.filled) = (0, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer) {
                Ok(read) => break read,
                Err(Fault::Io(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(Fault::Io(e)) if self.stream.source().is_some_and(|s| s.failed) => {
                    return Err(ArchiveError::Io(e));
                }
                Err(Fault::Io(e)) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Err(ArchiveError::Truncated);
                }
                Err(Fault::Io(e)) => return Err(ArchiveError::Damaged(e)),
                Err(Fault::Trailing) => return Err(ArchiveError::TrailingBytes),
            }
        };
        self.filled = read;
        self.produced += read as u64;
        if self.produced > self.limits.inflated {
            return Err(ArchiveError::TooLarge { limit: self.limits.inflated });
        }
        let taken = self.stream.source().map_or(0, |s| s.taken);
        if self.produced > RATIO_FROM && self.produced / self.limits.ratio.max(1) > taken {
            return Err(ArchiveError::Bomb { ratio: self.limits.ratio });
        }
        Ok(())
    }
}

/// The compressed bytes: counts those consumed and records whether the underlying reader failed.
struct Source<R> {
    inner: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    taken: u64,
    failed: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let n = have.len().min(out.len());
        out[..n].copy_from_slice(&have[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.inner.fill_buf() {
            Ok(bytes) => Ok(bytes),
            Err(e) => {
                self.failed = e.kind() != ErrorKind::Interrupted;
                Err(e)
            }
        }
    }

    fn consume(&mut self, n: usize) {
        self.taken += n as u64;
        self.inner.consume(n);
    }
}

enum Fault {
    Io(io::Error),
    Trailing,
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Fault {
        Fault::Io(e)
    }
}

enum Stream<R: Read> {
    Gzip(Gunzip<R>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Source<R>>>),
    Xz(Box<liblzma::bufread::XzDecoder<Source<R>>>),
    Zstd(Box<zstd::Decoder<'static, Source<R>>>),
}

impl<R: Read> Stream<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        match self {
            Stream::Gzip(inner) => inner.read(out),
            Stream::Bzip2(inner) => Ok(inner.read(out)?),
            Stream::Xz(inner) => Ok(inner.read(out)?),
            Stream::Zstd(inner) => Ok(inner.read(out)?),
        }
    }

    fn source(&self) -> Option<&Source<R>> {
        match self {
            Stream::Gzip(Gunzip::Member(inner)) => Some(inner.get_ref()),
            Stream::Gzip(Gunzip::Done(source)) => source.as_deref(),
            Stream::Bzip2(inner) => Some(inner.get_ref()),
            Stream::Xz(inner) => Some(inner.get_ref()),
            Stream::Zstd(inner) => Some(inner.get_ref()),
        }
    }
}

/// A gzip stream of one or more members (RFC 1952, 2.2); zeros after the last are padding, as for `gzip`; anything else
/// is an error.
enum Gunzip<R: Read> {
    Member(Box<GzDecoder<Source<R>>>),
    Done(Option<Box<Source<R>>>),
}

impl<R: Read> Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        loop {
            let Gunzip::Member(member) = self else { return Ok(0) };
            let read = member.read(out)?;
            if read > 0 {
                return Ok(read);
            }
            let source = member.get_mut();
            let next = loop {
                match source.fill_buf()? {
                    [] => break false,
                    [0x1f, ..] => break true,
                    [0, rest @ ..] => {
                        let zeros = 1 + rest.iter().take_while(|&&b| b == 0).count();
                        source.consume(zeros);
                    }
                    _ => return Err(Fault::Trailing),
                }
            };
            let Gunzip::Member(member) = std::mem::replace(self, Gunzip::Done(None)) else { return Ok(0) };
            let source = member.into_inner();
            *self = match next {
                true => Gunzip::Member(Box::new(GzDecoder::new(source))),
                false => Gunzip::Done(Some(Box::new(source))),
            };
        }
    }
}
