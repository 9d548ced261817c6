//! JSON objects that end with their own digest: the member `sha256` covers all bytes before the comma that precedes it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256 as Hasher};

use super::FormatError;
use base::model::digest::Sha256;

/// The bytes before the digest.
const DIGEST_PREFIX: &[u8] = b",\"sha256\":\"";
/// The bytes after the digest.
const DIGEST_SUFFIX: &[u8] = b"\"}\n";
/// The length in bytes of the digest with its prefix and suffix.
const TAIL_LEN: usize = DIGEST_PREFIX.len() + 64 + DIGEST_SUFFIX.len();

pub fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(bytes).into())
}

/// Serializes a value, and appends its digest. The value must serialize to an object with at least one member.
pub fn serialize<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("keys of maps are strings");
    assert_eq!(text.pop(), Some(b'}'), "only objects have a digest");
    let sha256 = digest(&text);
    text.extend_from_slice(DIGEST_PREFIX);
    text.extend_from_slice(sha256.to_string().as_bytes());
    text.extend_from_slice(DIGEST_SUFFIX);
    text
}

/// Verifies the digest of a serialized value, and deserializes it.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    let (body, tail) = bytes.split_at(bytes.len().saturating_sub(TAIL_LEN));
    let declared_digest = tail
        .strip_prefix(DIGEST_PREFIX)
        .and_then(|rest| rest.strip_suffix(DIGEST_SUFFIX))
        .and_then(|hex| std::str::from_utf8(hex).ok()?.parse::<Sha256>().ok());
    let Some(declared_digest) = declared_digest else {
        return Err(FormatError::damaged(
            "it is truncated, or not a file of a bundle (it does not end with its own sha256)",
        ));
    };
    // The second check rejects upper-case digits, so that a document has only one form.
    if digest(body) != declared_digest || tail != digest_member(declared_digest) {
        return Err(FormatError::damaged("it was changed: its sha256 does not match its bytes"));
    }
    serde_json::from_slice(bytes)
        .map_err(|e| FormatError::damaged(format!("it does not have the expected form: {e}")))
}

/// Returns the member with the digest, which ends the object.
fn digest_member(sha256: Sha256) -> Vec<u8> {
    [DIGEST_PREFIX, sha256.to_string().as_bytes(), DIGEST_SUFFIX].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn any_flipped_bit_and_any_truncation_is_detected() {
        let value = BTreeMap::from([("a", "b"), ("c", "dé")]);
        let document = serialize(&value);
        let copy: BTreeMap<String, String> = parse(&document).expect("an object with its digest");
        assert_eq!((copy["a"].as_str(), copy["c"].as_str()), ("b", "dé"));
        for position in 0..document.len() {
            for bit in 0..8 {
                let mut bytes = document.clone();
                bytes[position] ^= 1 << bit;
                assert!(parse::<BTreeMap<String, String>>(&bytes).is_err(), "bit {bit} of byte {position}");
            }
            assert!(parse::<BTreeMap<String, String>>(&document[..position]).is_err(), "{position} bytes");
        }
    }
}
