//! The compression of an `.rds` file. It is detected by the first bytes, and decompressed as a stream.

use super::RdsError;
use std::io::{Cursor, Read};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdsCompression {
    Plain,
    /// gzip, one or more members.
    Gzip,
    /// bzip2, one or more streams.
    Bzip2,
    /// xz, one or more streams.
    Xz,
    /// zstd, one or more frames.
    Zstd,
}

/// Memory limit of the xz decoder in bytes (xz -9 needs 64 MiB); a larger dictionary indicates a decompression bomb.
const DECODER_MEMORY: u64 = 128 << 20;
/// The binary logarithm of the largest zstd window: 64 MiB.
const ZSTD_WINDOW_LOG: u32 = 26;

impl RdsCompression {
    /// Detects the compression from the first six bytes.
    pub fn detect(magic: &[u8]) -> Option<RdsCompression> {
        match magic {
            [0x1f, 0x8b, ..] => Some(RdsCompression::Gzip),
            [b'B', b'Z', b'h', ..] => Some(RdsCompression::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(RdsCompression::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(RdsCompression::Zstd),
            [b'X' | b'A' | b'B', b'\n', ..] => Some(RdsCompression::Plain),
            _ => None,
        }
    }
}

/// Returns the decompressed stream of `file`. Its length is not limited here: the caller must count its bytes.
pub(super) fn open<'a>(mut file: impl Read + 'a) -> Result<Box<dyn Read + 'a>, RdsError> {
    let damaged_error = |source| RdsError::Damaged { offset: 0, source };
    let mut magic = Vec::with_capacity(6);
    file.by_ref().take(6).read_to_end(&mut magic).map_err(damaged_error)?;
    let compression = RdsCompression::detect(&magic);
    if magic.is_empty() {
        return Err(RdsError::Truncated { offset: 0 });
    }
    let Some(compression) = compression else { return Err(RdsError::NotRds(magic)) };
    let input = Cursor::new(magic).chain(file);
    Ok(match compression {
        RdsCompression::Plain => Box::new(input),
        RdsCompression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        RdsCompression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        RdsCompression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(DECODER_MEMORY, liblzma::stream::CONCATENATED)
                    .map_err(|e| damaged_error(e.into()))?;
            Box::new(liblzma::read::XzDecoder::new_stream(input, stream))
        }
        RdsCompression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(input).map_err(damaged_error)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(damaged_error)?;
            Box::new(decoder)
        }
    })
}
