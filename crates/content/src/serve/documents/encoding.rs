//! Compression of generated documents, with the digest of their content.

use std::io;

use bytes::Bytes;
use libdeflater::{CompressionError, CompressionLvl, Compressor};
use sha2::Digest;

use base::model::digest::Sha256;
use formats::r::packages;

/// The encoder of the bytes, as recorded in `rendered.encoder`.
pub(in crate::serve) const ENCODER: &str = "libdeflate-6";

/// Buffer space for a compressed document beyond half of its plain size, in bytes.
const EXTRA_BUFFER: usize = 4 << 10;

#[derive(Debug)]
pub(in crate::serve) struct EncodedDocument {
    /// SHA-256 of the decoded content.
    pub content: Sha256,
    pub bytes: Bytes,
}

pub(in crate::serve) fn gunzip(encoded: &EncodedDocument) -> io::Result<EncodedDocument> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(encoded.bytes.as_ref()), &mut text)?;
    Ok(EncodedDocument { content: encoded.content, bytes: text.into() })
}

pub(in crate::serve) fn gzip(plain: &[u8]) -> io::Result<EncodedDocument> {
    Ok(EncodedDocument { content: Sha256::of(plain), bytes: compress(plain)?.into() })
}

/// Compresses a document. The header contains no time, so that equal rows give equal bytes. One call for the
/// whole document makes libdeflate fast; an index has only a few megabytes.
pub fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let level = CompressionLvl::new(6).map_err(|e| io::Error::other(format!("{e:?}")))?;
    let mut encoder = Compressor::new(level);
    // An index compresses to less than half; a worst-case buffer is several times larger.
    let max_size = encoder.gzip_compress_bound(plain.len());
    let mut bytes = vec![0; max_size.min(plain.len() / 2 + EXTRA_BUFFER)];
    let size = match encoder.gzip_compress(plain, &mut bytes) {
        Err(CompressionError::InsufficientSpace) => {
            bytes = vec![0; max_size];
            encoder.gzip_compress(plain, &mut bytes)
        }
        result => result,
    };
    bytes.truncate(size.map_err(io::Error::other)?);
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// Compresses a document larger than an index as a stream, which is slower and needs less memory.
pub(in crate::serve) fn gzip_stream(
    write: impl FnOnce(&mut HashingEncoder) -> io::Result<()>,
) -> io::Result<EncodedDocument> {
    let mut encoder = HashingEncoder { gzip: packages::gzip(Vec::new()), hash: sha2::Sha256::new() };
    write(&mut encoder)?;
    let mut bytes = encoder.gzip.finish()?;
    bytes.shrink_to_fit();
    Ok(EncodedDocument { content: Sha256(encoder.hash.finalize().into()), bytes: bytes.into() })
}

pub(in crate::serve) struct HashingEncoder {
    gzip: flate2::write::GzEncoder<Vec<u8>>,
    hash: sha2::Sha256,
}

impl io::Write for HashingEncoder {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let count = self.gzip.write(piece)?;
        self.hash.update(&piece[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
