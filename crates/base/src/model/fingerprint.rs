//! Fingerprints of encryption keys, which identify a key in messages and in the database.

use std::fmt;
use std::str::FromStr;

use super::digest::{BadDigest, Sha256};

/// The SHA-256 of a key. Its `Display` form has only the first eight digits; [`Fingerprint::digits`] returns all.
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
    fn a_fingerprint_is_displayed_abbreviated_and_parsed_from_all_digits() {
        let fingerprint = Fingerprint(Sha256([0xab; 32]));
        assert_eq!(fingerprint.to_string(), "abababab…");
        assert_eq!(fingerprint.digits().parse(), Ok(fingerprint));
        assert!("abababab…".parse::<Fingerprint>().is_err());
    }
}
