//! The digests that clients declare for an upload.

use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use sha2::Digest as _;

use base::model::digest::{Blake2b256, Md5, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigests {
    pub md5: Md5,
    pub sha256: Sha256,
    pub blake2: Blake2b256,
}

/// Computes the digests of a file that arrives in pieces.
#[derive(Clone, Default)]
pub struct FileHasher {
    md5: md5::Md5,
    sha256: sha2::Sha256,
    blake2: blake2::Blake2b256,
}

impl FileHasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha256.update(bytes);
        self.blake2.update(bytes);
    }

    /// Returns the digests of all bytes.
    pub fn finish(self) -> FileDigests {
        FileDigests {
            md5: Md5(self.md5.finalize().into()),
            sha256: Sha256(self.sha256.finalize().into()),
            blake2: Blake2b256(self.blake2.finalize().into()),
        }
    }
}

impl fmt::Debug for FileHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileHasher")
    }
}

/// Decodes a digest in hexadecimal, or in Base64, which old clients use for MD5. `None` if it is neither.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if hex::decode_to_slice(text, &mut bytes).is_ok() {
        return Some(bytes);
    }
    let text = text.trim_end_matches('=');
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).or_else(|_| BASE64_STANDARD_NO_PAD.decode(text));
    decoded.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_standards() {
        let mut hasher = FileHasher::default();
        for piece in [&b"a"[..], b"", b"bc"] {
            hasher.update(piece);
        }
        let digests = hasher.finish();
        assert_eq!(digests.md5.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            digests.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // hashlib.blake2b(b"abc", digest_size=32), not the first half of BLAKE2b-512.
        assert_eq!(
            digests.blake2.to_string(),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
        );
    }

    #[test]
    fn digests_are_read_in_both_forms() {
        let bytes = Some([0xfb_u8; 16]);
        for text in [
            "fb".repeat(16),
            "FB".repeat(16),
            format!("{}-w==", "-_v7".repeat(5)),
            format!("{}+w", "+/v7".repeat(5)),
        ] {
            assert_eq!(decode::<16>(&text), bytes, "{text}");
        }
        for bad in ["", "fb", &"fb".repeat(17), "not a digest"] {
            assert_eq!(decode::<16>(bad), None, "{bad}");
        }
    }
}
