//! The encryption key: 512 bytes, written as hexadecimal digits or base64 after an XOR with a fixed pattern.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::model::digest::{Fingerprint, Sha256};

/// Length of a key in bytes.
pub const LENGTH: usize = 512;
/// Maximum length in bytes of a text for [`Key::parse`]: twice that of a key in hexadecimal.
pub const MAX_TEXT: usize = 4 * LENGTH;

/// The text form is the key XOR this repeated pattern. The pattern gives no protection; the format requires it.
const PATTERN: [u8; 10] = [223, 99, 111, 160, 122, 212, 223, 105, 37, 190];

/// A key. Its memory is overwritten when it is dropped; `Debug` prints the fingerprint.
pub struct Key(Zeroizing<[u8; LENGTH]>);

/// A text that is not a key. The message does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it is neither hexadecimal digits nor base64")]
    Encoding,
    #[error("it has {0} bytes when decoded, and an encryption key has 512 (1024 hexadecimal digits)")]
    Length(usize),
}

impl Key {
    /// Returns the key with these bytes, which must be random.
    pub fn new(bytes: &[u8; LENGTH]) -> Key {
        Key(Zeroizing::new(*bytes))
    }

    /// Parses the text of a key file. White space is ignored.
    pub fn parse(text: &[u8]) -> Result<Key, KeyError> {
        let digits = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(digits.collect());
        let raw = hex::decode(&*text).or_else(|_| STANDARD.decode(&*text));
        let raw = Zeroizing::new(raw.map_err(|_| KeyError::Encoding)?);
        let mut bytes: Zeroizing<[u8; LENGTH]> =
            Zeroizing::new(raw.as_slice().try_into().map_err(|_| KeyError::Length(raw.len()))?);
        apply_pattern(&mut *bytes);
        Ok(Key(bytes))
    }

    /// Returns the text of a key file: hexadecimal digits. Posit's products do not accept a line feed after them.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = self.0.clone();
        apply_pattern(&mut *bytes);
        Zeroizing::new(hex::encode(bytes.as_slice()))
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::of(self.0.as_slice()))
    }

    /// Derives 32 bytes for one purpose (HKDF-SHA256, RFC 5869).
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        let secret = Salt::new(HKDF_SHA256, b"rstudio-pm").extract(self.0.as_slice());
        let info = [purpose.as_bytes()];
        let material = secret.expand(&info, HKDF_SHA256).expect("32 bytes are allowed");
        material.fill(&mut *bytes).expect("that many bytes were requested");
        bytes
    }

    /// Returns the 32 bytes that the ciphers use.
    pub(super) fn cipher_key(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("a key is longer")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

fn apply_pattern(bytes: &mut [u8]) {
    bytes.iter_mut().zip(PATTERN.iter().cycle()).for_each(|(byte, pattern)| *byte ^= pattern);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_file_of_a_key_of_zeros_is_the_pattern() {
        let key = Key::new(&[0; LENGTH]);
        assert!(key.text().starts_with("df636fa07ad4df6925bedf636fa07ad4df6925be"));
        assert_eq!((key.text().len(), key.text().ends_with("df63")), (1024, true));
        // `head -c 512 /dev/zero | sha256sum`
        let digest = "076a27c79e5ace2a3d47f9dd2e83e4ff6ea8872b3c2218f66c92b89b55f36560";
        assert_eq!(key.fingerprint().digits(), digest);
        assert_eq!(format!("{key:?}"), "Key(076a27c7…)");
    }

    #[test]
    fn hexadecimal_and_base64_with_line_feeds_are_the_same_key() {
        let key = Key::new(&std::array::from_fn(|at| u8::try_from(at % 251).expect("small")));
        let text = key.text();
        let bytes = hex::decode(&*text).expect("hexadecimal");
        let base64 = STANDARD.encode(bytes);
        let lines: Vec<&str> =
            (0..base64.len()).step_by(64).map(|at| &base64[at..(at + 64).min(684)]).collect();
        let upper = text.to_uppercase();
        for form in [&*text, &format!("{}\n", *text), &upper, &base64, &lines.join("\n"), &lines.join("\r\n")]
        {
            let key_from_text = Key::parse(form.as_bytes()).expect("a key");
            assert_eq!(key_from_text.fingerprint(), key.fingerprint(), "{form}");
        }
    }

    #[test]
    fn errors_do_not_contain_the_invalid_text() {
        let error = |text: &str| Key::parse(text.as_bytes()).expect_err("no key");
        assert_eq!(error(""), KeyError::Length(0));
        assert_eq!(error("0123"), KeyError::Length(2));
        assert_eq!(error(&"ab".repeat(511)), KeyError::Length(511));
        assert_eq!(error(&"ab".repeat(513)), KeyError::Length(513));
        assert_eq!(error("no key\0"), KeyError::Encoding);
        assert!(error("0123").to_string().contains("2 bytes"));
    }

    #[test]
    fn derived_bytes_differ_by_key_and_purpose() {
        let (one, two) = (Key::new(&[1; LENGTH]), Key::new(&[2; LENGTH]));
        assert_eq!(one.derive("a"), Key::new(&[1; LENGTH]).derive("a"));
        assert_ne!(one.derive("a"), one.derive("b"));
        assert_ne!(one.derive("a"), two.derive("a"));
    }

    proptest! {
        #[test]
        fn a_key_is_read_back_from_its_text(bytes in proptest::collection::vec(any::<u8>(), LENGTH)) {
            let key = Key::new(bytes.as_slice().try_into().expect("that long"));
            let other = Key::parse(key.text().as_bytes()).expect("a key");
            prop_assert_eq!(&*other.0, &*key.0);
        }
    }
}
