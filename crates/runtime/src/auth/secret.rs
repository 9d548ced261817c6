//! The format of a token: `rspm_`, 30 random letters and digits, and their checksum, which has 6 letters and digits.
//! Secret scanners can search for this form (`rspm_[0-9A-Za-z]{36}`), and a mistyped token is refused without a lookup.

use std::fmt;

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use base::model::digest::Sha256;

const PREFIX: &str = "rspm_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Number of random characters (178 bits).
const RANDOM_LENGTH: usize = 30;
/// Number of characters of the checksum.
const CHECKSUM_LENGTH: usize = 6;
const LENGTH: usize = PREFIX.len() + RANDOM_LENGTH + CHECKSUM_LENGTH;

/// A token. SECURITY: it is never logged; `Debug` prints no part of it.
pub struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Generates a random token.
    ///
    /// # Errors
    /// The operating system cannot provide random numbers.
    pub fn generate() -> std::io::Result<Secret> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(PREFIX);
        while text.len() < PREFIX.len() + RANDOM_LENGTH {
            let mut bytes = Zeroizing::new([0; RANDOM_LENGTH]);
            SysRng.try_fill_bytes(&mut *bytes).map_err(std::io::Error::other)?;
            // Bytes from 248 on are discarded: 248 is the largest multiple of 62.
            let digits = bytes.iter().filter(|byte| **byte < 248);
            let missing_length = PREFIX.len() + RANDOM_LENGTH - text.len();
            text.extend(
                digits.take(missing_length).map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])),
            );
        }
        let checksum = checksum(&text.as_bytes()[PREFIX.len()..]);
        text.extend(checksum.map(char::from));
        Ok(Secret(text))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the digest under which the token is stored.
    pub fn digest(&self) -> Sha256 {
        digest(&self.0)
    }

    /// Returns the first 9 and the last 4 characters, for display.
    pub fn excerpt(&self) -> String {
        format!("{}…{}", &self.0[..9], &self.0[LENGTH - 4..])
    }
}

/// The first 9 characters of a token, which lists display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix([u8; 9]);

impl Prefix {
    pub(super) fn of(text: &str) -> Option<Prefix> {
        text.as_bytes().first_chunk().copied().map(Prefix)
    }
}

/// Returns the digest under which a token is stored.
pub fn digest(text: &str) -> Sha256 {
    Sha256::of(text)
}

/// Returns whether a text has the form of a token, with the right checksum.
pub(super) fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH) else { return false };
    let Some((random, sum)) = rest.as_bytes().split_at_checked(RANDOM_LENGTH) else { return false };
    random.iter().all(u8::is_ascii_alphanumeric) && sum == checksum(random)
}

/// Returns the CRC-32 of the random characters, in base 62.
fn checksum(random: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut crc = flate2::Crc::new();
    crc.update(random);
    let mut rest = crc.sum();
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest as usize % 62];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_prefix_random_characters_and_a_checksum() {
        let (one, two) = (Secret::generate().expect("random"), Secret::generate().expect("random"));
        assert_ne!(one.expose(), two.expose());
        assert!(is_well_formed(one.expose()) && one.expose().len() == 41);
        assert!(regex::Regex::new("^rspm_[0-9A-Za-z]{36}$").expect("valid").is_match(one.expose()));
        assert_eq!(format!("{one:?}"), "Secret");
        assert!(one.excerpt().starts_with("rspm_") && one.excerpt().chars().count() == 14);
    }

    #[test]
    fn a_changed_token_is_not_well_formed() {
        let secret = Secret::generate().expect("random");
        let text = secret.expose();
        for position in 0..text.len() {
            let mut other_text = text.to_owned();
            let other = if text.as_bytes()[position] == b'x' { "y" } else { "x" };
            other_text.replace_range(position..=position, other);
            assert!(!is_well_formed(&other_text), "changed at {position}");
        }
        for other in ["", "rspm_", &text[1..], &format!("{text}0"), &text.to_uppercase(), &"é".repeat(20)] {
            assert!(!is_well_formed(other));
        }
    }

    #[test]
    fn the_checksum_is_crc_32_in_base_62() {
        // CRC-32 of "123456789" is cbf43926 = 3421780262.
        assert_eq!(checksum(b"123456789"), *b"3jZRME");
        let mut value: u64 = 0;
        for digit in checksum(b"123456789") {
            value = value * 62 + ALPHABET.iter().position(|b| *b == digit).expect("a digit") as u64;
        }
        assert_eq!(value, 0xcbf4_3926);
    }
}
