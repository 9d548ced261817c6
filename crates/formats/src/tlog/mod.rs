//! The formats of a transparency log: Merkle tree, tiles, signed checkpoints, policies of witnesses, entries, and
//! proofs that are verified without a server. RFC 6962 and the specifications of C2SP (<https://c2sp.org>); pure.

pub mod audit;
pub mod edge;
pub mod entry;
pub mod entry_proof;
pub mod line;
pub mod note;
pub mod policy;
pub mod record_proof;
pub mod tile;
pub mod tree;
pub mod witness;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use tree::Hash;

/// Maximum size of a proof in bytes.
pub const MAX_PROOF_SIZE: usize = 1 << 20;

/// A text that violates its format, or that does not prove what it has to prove. The message names the part, the line
/// in this part, and the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlogError(String);

impl TlogError {
    /// Adds the place of the error, such as `line 3` or the name of a part, in front of its message.
    fn at(self, place: impl std::fmt::Display) -> TlogError {
        TlogError(format!("{place}: {self}"))
    }
}

fn fail<T>(problem: impl Into<String>) -> Result<T, TlogError> {
    Err(TlogError(problem.into()))
}

/// Returns at most 80 characters of a value, escaped and in quotes, for an error message.
fn quoted(value: &str) -> String {
    let start: String = value.chars().take(80).collect();
    let rest = if start.len() < value.len() { "…" } else { "" };
    format!("'{}{rest}'", start.escape_debug())
}

/// Returns the lines of a text of at most `max` bytes: UTF-8, without control characters, the last one ended by a line
/// feed.
fn lines_of(bytes: &[u8], max: usize) -> Result<Vec<&str>, TlogError> {
    if bytes.len() > max {
        return fail(format!("{} bytes, more than {max}", bytes.len()));
    }
    let Ok(text) = str::from_utf8(bytes) else { return fail("not UTF-8: get the original text") };
    let Some(text) = text.strip_suffix('\n') else {
        return fail("no line feed at the end: get the whole text");
    };
    let lines: Vec<&str> = text.split('\n').collect();
    match lines.iter().zip(1..).find(|(line, _)| line.contains(char::is_control)) {
        Some((line, number)) => fail(format!("line {number}: control character in {}", quoted(line))),
        None => Ok(lines),
    }
}

/// Parses a number of at most 15 digits, which verifiers that compute with doubles read too, without sign and leading
/// zeros.
fn decimal(text: &str) -> Result<u64, TlogError> {
    let number = text.parse::<u64>().ok().filter(|number| text.len() <= 15 && number.to_string() == text);
    number.ok_or_else(|| TlogError(format!("{} is not a number of 1 to 15 digits", quoted(text))))
}

/// Parses lower-case hexadecimal digits of `N` bytes.
fn hex_bytes<const N: usize>(text: &str) -> Result<[u8; N], TlogError> {
    let bytes = hex::decode(text).ok().filter(|bytes| hex::encode(bytes) == text);
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| TlogError(format!("{} is not {} digits of 0-9 and a-f", quoted(text), 2 * N)))
}

/// Parses the base64 text of a hash. Other trailing bits, another alphabet and missing padding are errors.
fn base64_hash(text: &str) -> Result<Hash, TlogError> {
    let hash = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    hash.ok_or_else(|| TlogError(format!("{} is not the base64 text of 32 bytes", quoted(text))))
}

/// Parses the hashes of a path, one per line, from the third line of their part on.
fn path_of(lines: &[&str]) -> Result<Vec<Hash>, TlogError> {
    let hashes = lines.iter().zip(3..);
    hashes.map(|(line, number)| base64_hash(line).map_err(|e| e.at(format!("line {number}")))).collect()
}

/// Writes the hashes of a path, one per line.
fn path_text(path: &[Hash]) -> String {
    path.iter().map(|hash| BASE64_STANDARD.encode(hash) + "\n").collect()
}
