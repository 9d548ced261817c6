//! Digests, written in lower-case hexadecimal: SHA-256 and BLAKE2b-256 (32 bytes), and MD5 (16 bytes).

use std::fmt;
use std::str::FromStr;

/// A text that is not the expected number of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {digits} hexadecimal digits")]
pub struct BadDigest {
    text: String,
    digits: usize,
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Returns the digits.
            #[must_use]
            pub fn digits(&self) -> [u8; 2 * $bytes] {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let mut text = [0; 2 * $bytes];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 0xf)];
                }
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // One write for all bytes, because the records of a bundle have hundreds of thousands of digests.
                f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadDigest;

            fn from_str(text: &str) -> Result<Self, BadDigest> {
                let mut bytes = [0; $bytes];
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) => Ok(Self(bytes)),
                    Err(_) => Err(BadDigest { text: text.chars().take(80).collect(), digits: $bytes * 2 }),
                }
            }
        }
    };
}

digest!(
    /// SHA-256 (FIPS 180-4): the identity of bytes in storage.
    Sha256,
    32
);
digest!(
    /// MD5 (RFC 1321): only compared with values that indexes declare, never used to identify bytes.
    Md5,
    16
);
digest!(
    /// BLAKE2b with 256 bits (RFC 7693), which clients of PyPI's upload API declare.
    Blake2b256,
    32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_back_from_its_text() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Sha256>().map(|d| d.to_string()), Ok(text.clone()));
        assert_eq!(text[..32].parse::<Md5>().map(|d| d.to_string()), Ok(text[..32].to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65)] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
        }
    }
}
