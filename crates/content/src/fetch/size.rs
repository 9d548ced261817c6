//! The size of a file: what the index and the responses declare, and the errors when these differ.

use super::{FetchError, MAX_DECLARED_SIZE};

/// Returns the error for a file that would use more than half of the free disk space; `size` describes its size.
pub(super) fn no_space_error(path: &str, size: &str) -> FetchError {
    FetchError::Storage(format!(
        "{path} has {size}, the index does not declare its size, and it would use more than half of the free disk space"
    ))
}

/// Returns the size of the file: `expected_size`, or the size that a response declares; `None` if neither is
/// known. It is an error if the two sizes differ, or if the declared size is too small or too large.
pub(super) fn merge_size(
    path: &str,
    expected_size: Option<u64>,
    declared_size: Option<u64>,
    written_bytes: u64,
) -> Result<Option<u64>, FetchError> {
    let mismatch = |reason: String| Err(FetchError::Mismatch(format!("{path} on the mirror {reason}")));
    match (expected_size, declared_size) {
        (Some(expected_size), Some(declared_size)) if expected_size != declared_size => {
            mismatch(format!("has {declared_size} bytes, but {expected_size} were expected"))
        }
        (None, Some(declared_size)) if declared_size < written_bytes => {
            mismatch(format!("has {declared_size} bytes, but {written_bytes} were received already"))
        }
        (None, Some(declared_size)) if declared_size > MAX_DECLARED_SIZE => {
            mismatch(format!("declares {declared_size} bytes, more than the limit of {MAX_DECLARED_SIZE}"))
        }
        (expected_size, declared_size) => Ok(expected_size.or(declared_size)),
    }
}
