//! A JSON object with its own digest: the last member, `sha256`, covers every byte before its comma.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256 as Hasher};

use super::FormatError;
use crate::model::digest::Sha256;

/// The bytes before the digest.
const MEMBER: &[u8] = b",\"sha256\":\"";
/// The bytes after it.
const END: &[u8] = b"\"}\n";
/// The length of all of these in bytes.
const TAIL: usize = MEMBER.len() + 64 + END.len();

/// Returns the digest of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(bytes).into())
}

/// Serializes a value with at least one member to a sealed document.
#[must_use]
pub fn seal<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("maps have texts for keys");
    assert_eq!(text.pop(), Some(b'}'), "only objects are sealed");
    let sha256 = digest(&text);
    text.extend_from_slice(MEMBER);
    text.extend_from_slice(sha256.to_string().as_bytes());
    text.extend_from_slice(END);
    text
}

/// Verifies and deserializes a sealed document.
///
/// # Errors
/// The bytes are truncated, changed, or not a sealed document.
pub fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    let (body, tail) = bytes.split_at(bytes.len().saturating_sub(TAIL));
    let declared = tail
        .strip_prefix(MEMBER)
        .and_then(|rest| rest.strip_suffix(END))
        .and_then(|hex| std::str::from_utf8(hex).ok()?.parse::<Sha256>().ok());
    let Some(declared) = declared else {
        return Err(FormatError::damaged(
            "it is cut short, or not a file of a bundle (it does not end with its own sha256)",
        ));
    };
    // The second check rejects upper-case digits, which would be another form of the same digest.
    if digest(body) != declared || tail != sealed_end(declared) {
        return Err(FormatError::damaged("it was changed: its sha256 does not match its bytes"));
    }
    serde_json::from_slice(bytes)
        .map_err(|e| FormatError::damaged(format!("it does not have the expected form: {e}")))
}

fn sealed_end(sha256: Sha256) -> Vec<u8> {
    [MEMBER, sha256.to_string().as_bytes(), END].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn any_flipped_bit_and_any_truncation_is_detected() {
        let value = BTreeMap::from([("a", "b"), ("c", "dé")]);
        let sealed = seal(&value);
        let read: BTreeMap<String, String> = open(&sealed).expect("as written");
        assert_eq!((read["a"].as_str(), read["c"].as_str()), ("b", "dé"));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut bytes = sealed.clone();
                bytes[at] ^= 1 << bit;
                assert!(open::<BTreeMap<String, String>>(&bytes).is_err(), "bit {bit} of byte {at}");
            }
            assert!(open::<BTreeMap<String, String>>(&sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
