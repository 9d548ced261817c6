//! Random identities of 128 bits, written in lower-case hexadecimal. A database gets one with its schema, and a
//! server process (node) at each start. Other objects have identities too, such as the generations of a storage
//! marker.

use std::fmt;
use std::str::FromStr;

/// A random identity. A dump or copy of a database has the identity of the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 16]);

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not 32 hexadecimal digits")]
pub struct BadIdentity(String);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Identity, BadIdentity> {
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Identity(bytes)),
            Err(_) => Err(BadIdentity(text.chars().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_from_its_text_and_anything_else_is_refused() {
        let text = "00ff".repeat(8);
        assert_eq!(text.parse::<Identity>().map(|identity| identity.to_string()), Ok(text));
        for bad in ["", "00", &"g".repeat(32), &"0".repeat(31), &"0".repeat(33)] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
