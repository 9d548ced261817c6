//! Input of a command: a file, standard input, or the terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, stdin};
use std::path::Path;

use console::Term;
use zeroize::Zeroizing;

use super::error::CliError;

/// Reads a text of at most `limit` bytes from a file, or from standard input.
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

/// Reads the first `limit` bytes of standard input, which contain a secret; `noun` names it in the error.
pub(super) fn piped_secret(noun: &str, limit: u64) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    match stdin().take(limit).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(source) => Err(CliError::Local { operation: format!("read the {noun}"), source }),
    }
}

/// Prints a question to the terminal, and reads a line that it does not show, also if standard error is redirected; `noun`
/// names the line in the error.
pub(super) fn ask_hidden(question: &str, noun: &str) -> Result<Zeroizing<String>, CliError> {
    let ask = || {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let terminal = Term::read_write_pair(terminal.try_clone()?, terminal);
        terminal.write_str(question)?;
        terminal.read_secure_line().map(Zeroizing::new)
    };
    ask().map_err(|source| CliError::Local { operation: format!("read the {noun}"), source })
}
