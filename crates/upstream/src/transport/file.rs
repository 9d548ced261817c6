//! Requests for files by path, and the responses: small files whole and conditionally, large as resumable streams.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::UpstreamError;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, or, for a file of a directory, its size, time and inode as text.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

#[derive(Clone, Debug)]
pub struct FileRequest<'a> {
    /// Path relative to the address: `src/contrib/PACKAGES.gz`.
    pub path: &'a str,
    pub validators: Option<Validators>,
    /// Size limit in bytes; a larger file is refused.
    pub limit: u64,
}

#[derive(Clone, Debug)]
pub enum FileResponse {
    /// 304, or the file did not change.
    Unchanged,
    Body {
        bytes: Bytes,
        /// Validators for the next request.
        validators: Validators,
    },
}

/// A package file being read.
pub struct FileStream {
    /// Size of the whole file, if the mirror declares it.
    pub size: Option<u64>,
    /// Offset of the stream: the requested one, or 0 if the mirror did not resume.
    pub offset: u64,
    /// Validators to resume this file.
    pub validators: Validators,
    /// The bytes from `offset` on.
    pub body: BoxStream<'static, Result<Bytes, UpstreamError>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// The bytes from the requested offset.
    pub bytes: Bytes,
    /// Size of the whole file, if the mirror declares it.
    pub size: Option<u64>,
    /// Whether the file ends with these bytes.
    pub is_last: bool,
}

impl FileStream {
    /// Reads at most `length` bytes from `offset`, and drops the rest of the stream.
    pub(super) async fn read_part(self, offset: u64, length: u64) -> Result<FilePart, UpstreamError> {
        let FileStream { size, offset: mut position, mut body, .. } = self;
        let end = offset.saturating_add(length);
        let mut bytes = BytesMut::new();
        while position < end {
            let Some(chunk) = body.next().await else { break };
            let chunk = chunk?;
            let chunk_start =
                usize::try_from(offset.saturating_sub(position)).unwrap_or(usize::MAX).min(chunk.len());
            let chunk_end = usize::try_from(end - position).unwrap_or(usize::MAX).min(chunk.len());
            bytes.extend_from_slice(&chunk[chunk_start..chunk_end]);
            position += chunk.len() as u64;
        }
        // A body shorter than requested ends with the file. For any other, the declared size decides.
        let is_last = position < end || size.is_some_and(|size| end >= size);
        Ok(FilePart { bytes: bytes.freeze(), size, is_last })
    }
}

/// Maximum length of a path in bytes.
const MAX_PATH_LENGTH: usize = 2048;

/// Splits a path relative to an address into segments, all of them plain names.
pub(super) fn segments(path: &str) -> Result<Vec<&str>, UpstreamError> {
    let is_valid_name = |segment: &str| {
        !matches!(segment, "" | "." | "..") && !segment.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'\\')
    };
    let segments: Vec<&str> = path.split('/').collect();
    let reason = if path.len() > MAX_PATH_LENGTH {
        format!("is a path of {} bytes, more than the limit of {MAX_PATH_LENGTH}", path.len())
    } else if let Some(invalid) = segments.iter().find(|segment| !is_valid_name(segment)) {
        format!("has '{}' where a path has the name of a file or folder", invalid.escape_debug())
    } else {
        return Ok(segments);
    };
    let url = path.chars().take(200).collect::<String>().escape_debug().to_string();
    Err(UpstreamError::Refused { url, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_requested() {
        for good in ["src/contrib/PACKAGES", "src/contrib/Archive/a.b/a.b_1.0-2.tar.gz", "a b"] {
            assert!(segments(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/etc/passwd", "a//b", "../a", "a/..", "a/./b", "a\0b", "a\\b", "a\nb", &"a/".repeat(2000)]
        {
            assert!(segments(bad).is_err(), "{bad:?}");
        }
        let error = |path: &str| segments(path).expect_err("refused").to_string();
        assert_eq!(error("a/../b"), "a/../b: has '..' where a path has the name of a file or folder");
        assert!(
            error(&"a/".repeat(2000)).ends_with(": is a path of 4000 bytes, more than the limit of 2048")
        );
    }
}
