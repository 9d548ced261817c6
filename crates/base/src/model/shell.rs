//! Words of shell commands that an administrator copies.

/// Quotes a word for the shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
