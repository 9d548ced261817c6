//! A JSON object that carries the digest of itself: the last member, `sha256`, is over every byte before its comma.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256 as Hasher};

use super::Broken;
use crate::model::digest::Sha256;

/// Before the digest.
const MEMBER: &[u8] = b",\"sha256\":\"";
/// Behind it.
const END: &[u8] = b"\"}\n";
/// Bytes of all of that.
const TAIL: usize = MEMBER.len() + 64 + END.len();

/// The digest of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(Hasher::digest(bytes).into())
}

/// A value with at least one member, as a sealed document.
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

/// The value of a sealed document.
///
/// # Errors
/// It is cut short, changed, or no such document.
pub fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Broken> {
    let (body, tail) = bytes.split_at(bytes.len().saturating_sub(TAIL));
    let told = tail
        .strip_prefix(MEMBER)
        .and_then(|rest| rest.strip_suffix(END))
        .and_then(|hex| std::str::from_utf8(hex).ok()?.parse::<Sha256>().ok());
    let Some(told) = told else {
        return Err(Broken::damaged(
            "it is cut short, or not a file of a bundle (it does not end with its own sha256)",
        ));
    };
    // Upper-case digits would be another text of the same digest.
    if digest(body) != told || tail != sealed_end(told) {
        return Err(Broken::damaged("it was changed: its own sha256 is not that of its bytes"));
    }
    serde_json::from_slice(bytes).map_err(|e| Broken::damaged(format!("it is not what it should be: {e}")))
}

fn sealed_end(sha256: Sha256) -> Vec<u8> {
    [MEMBER, sha256.to_string().as_bytes(), END].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn any_flipped_bit_and_any_cut_is_seen() {
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
