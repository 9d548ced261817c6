//! Encryption keys and encrypted values.

use rstudio_pm::encryption::key::{Key, LENGTH};
use rstudio_pm::encryption::value::{NONCE_LENGTH, decrypt, encrypt, looks_encrypted};

use super::choice;

/// A key file.
pub fn key(data: &[u8]) {
    if let Ok(key) = Key::parse(data) {
        let reread = Key::parse(key.text().as_bytes()).expect("what was written is read");
        assert_eq!(reread.fingerprint(), key.fingerprint());
    }
}

/// A value of the configuration. The first byte selects whether it is decrypted or encrypted.
pub fn value(data: &[u8]) {
    let (selector, rest) = choice(data);
    let key = Key::new(&[7; LENGTH]);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if selector % 2 == 0 {
        let _ = (decrypt(&key, text), looks_encrypted(text));
    } else {
        let value = encrypt(&key, [selector; NONCE_LENGTH], text);
        assert_eq!(decrypt(&key, &value).expect("of this key").as_str(), text);
    }
}
