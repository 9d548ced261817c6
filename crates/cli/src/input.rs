//! Input of a command: a file, or standard input.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use super::error::CliError;

/// Reads a text of at most `limit` bytes from a file, or from standard input.
///
/// # Errors
/// The input cannot be read, is longer than `limit`, or is not UTF-8.
pub(super) fn read(path: Option<&Path>, limit: u64) -> Result<String, CliError> {
    let name = name(path);
    let local_error = |source| CliError::Local { operation: format!("read {name}"), source };
    let mut bytes = Vec::new();
    let read = match path {
        Some(path) => File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)),
        None => stdin().take(limit + 1).read_to_end(&mut bytes),
    };
    if read.map_err(local_error)? as u64 > limit {
        let limit = if limit >= 1 << 20 { format!("{} MiB", limit >> 20) } else { format!("{limit} bytes") };
        return Err(CliError::refused(format!("{name} is larger than {limit}")));
    }
    String::from_utf8(bytes).map_err(|_| CliError::refused(format!("{name} is not UTF-8")))
}

/// Returns the name of the input for messages.
pub(super) fn name(path: Option<&Path>) -> String {
    path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
}
