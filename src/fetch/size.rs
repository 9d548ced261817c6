//! The size of a file: what the index and the responses declare, and the errors when these differ.

use super::{FetchError, MAX_DECLARED_SIZE};

/// Returns the error for a file that leaves too little space on the disk; `size` describes its size.
pub(super) fn no_space_error(path: &str, size: &str) -> FetchError {
    FetchError::Storage(format!(
        "{path} has {size}, the index does not declare its size, and the disk has no space for as many again"
    ))
}

/// Merges the known size of the file with the one that a response declares.
pub(super) fn merge_size(
    path: &str,
    expected: Option<u64>,
    declared: Option<u64>,
    written: u64,
) -> Result<Option<u64>, FetchError> {
    let changed = |reason: String| Err(FetchError::Mismatch(format!("{path} on the mirror {reason}")));
    match (expected, declared) {
        (Some(expected), Some(declared)) if expected != declared => {
            changed(format!("had {expected} bytes and has {declared} now"))
        }
        (None, Some(declared)) if declared < written => {
            changed(format!("has {declared} bytes, but {written} were received already"))
        }
        (None, Some(declared)) if declared > MAX_DECLARED_SIZE => {
            changed(format!("declares {declared} bytes, more than the limit of {MAX_DECLARED_SIZE}"))
        }
        (expected, declared) => Ok(expected.or(declared)),
    }
}
