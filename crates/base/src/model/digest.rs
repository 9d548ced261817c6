//! Digests in lower-case hexadecimal: SHA-256, BLAKE2b-256 (32 bytes), MD5 (16 bytes); fingerprints of encryption keys.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// A text that is not the expected number of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {digits} hexadecimal digits")]
pub struct BadDigest {
    text: String,
    digits: usize,
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// The two digits of each byte.
static BYTE_DIGITS: [[u8; 2]; 256] = byte_digits();
/// The values of the digits, also in upper case; 255 for other bytes.
static DIGIT_VALUES: [u8; 256] = digit_values();

const fn byte_digits() -> [[u8; 2]; 256] {
    let (mut digits, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        digits[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    digits
}

const fn digit_values() -> [u8; 256] {
    let mut values = [u8::MAX; 256];
    let mut value: u8 = 0;
    while value < 16 {
        let digit = DIGITS[value as usize];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            pub fn digits(&self) -> [u8; 2 * $bytes] {
                let mut text = [0; 2 * $bytes];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair.copy_from_slice(&BYTE_DIGITS[usize::from(byte)]);
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
                let bad = || BadDigest { text: text.chars().take(80).collect(), digits: $bytes * 2 };
                let digits = <&[u8; 2 * $bytes]>::try_from(text.as_bytes()).map_err(|_| bad())?;
                // Invalid digits are detected after the loop, because a page has thousands of digests.
                let (mut bytes, mut all) = ([0; $bytes], 0);
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let (high, low) = (DIGIT_VALUES[usize::from(pair[0])], DIGIT_VALUES[usize::from(pair[1])]);
                    all |= high | low;
                    *byte = (high << 4) | (low & 0xf);
                }
                if all < 16 { Ok(Self(bytes)) } else { Err(bad()) }
            }
        }
    };
}

digest!(
    /// SHA-256 (FIPS 180-4): the identity of bytes in storage.
    Sha256,
    32
);
impl Sha256 {
    /// Computes the digest of bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }
}

/// Returns the digest of a row of the audit trail: that of its other columns as netstrings (the length in bytes, a colon, the
/// bytes, a comma), in this order: digest of the previous row, number, time as RFC 3339, kind and name of the author, address,
/// action, kind and name of the object, outcome, detail.
pub fn digest_of_row(columns: [&String; 11]) -> Sha256 {
    let texts = columns.map(|column| format!("{}:{column},", column.len()));
    Sha256::of(texts.concat())
}

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

/// The SHA-256 of an encryption key, which identifies the key in messages and in the database. Its `Display` form has only the first eight digits; [`Fingerprint::digits`] returns all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub Sha256);

impl Fingerprint {
    /// Returns all 64 hexadecimal digits, the form that [`FromStr`] parses.
    pub fn digits(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.digits()[..8])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Fingerprint, BadDigest> {
        text.parse().map(Fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_back_from_its_text() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Sha256>().map(|d| d.to_string()), Ok(text.clone()));
        assert_eq!(text[..32].parse::<Md5>().map(|d| d.to_string()), Ok(text[..32].to_owned()));
        let bytes =
            [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 0x98, 0x76, 0x54, 0x32, 0x10];
        assert_eq!("0123456789ABCDEFabcdef9876543210".parse(), Ok(Md5(bytes)));
    }

    #[test]
    fn anything_else_is_refused() {
        let zeros = "0".repeat(63);
        for bad in [
            "",
            "00",
            &"g".repeat(64),
            &zeros,
            &"0".repeat(65),
            &"é".repeat(32),
            &format!("{zeros}/"),
            &format!("@{zeros}"),
        ] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_displayed_abbreviated_and_parsed_from_all_digits() {
        let fingerprint = Fingerprint(Sha256([0xab; 32]));
        assert_eq!(fingerprint.to_string(), "abababab…");
        assert_eq!(fingerprint.digits().parse(), Ok(fingerprint));
        assert!("abababab…".parse::<Fingerprint>().is_err());
    }
}
