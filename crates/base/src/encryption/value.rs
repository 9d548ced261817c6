//! Encrypted values: base64 of a nonce and NaCl's secretbox. Those of AES-256-GCM can only be decrypted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::{Aead, KeyInit};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

use super::key::Key;

/// Length of the nonce of [`encrypt`].
pub const NONCE_LENGTH: usize = 24;
/// Length of the shortest text that [`encrypt`] returns, for a value of one character: base64 of the nonce, 16 bytes of
/// authentication and one byte.
const MIN_LENGTH: usize = (NONCE_LENGTH + 16 + 1_usize).div_ceil(3) * 4;

/// First byte of a secretbox value with a version byte; most values of secretbox have none.
const SECRETBOX_VERSION: u8 = 1;
/// First byte of values of AES-256-GCM.
const AES_VERSION: u8 = 2;

/// Encrypts a value. A nonce must not be used twice.
pub fn encrypt(key: &Key, nonce: [u8; NONCE_LENGTH], value: &str) -> String {
    let cipher = XSalsa20Poly1305::new(key.cipher_key().into());
    let ciphertext = cipher.encrypt(&nonce.into(), value.as_bytes()).expect("fails only without memory");
    STANDARD.encode([&nonce[..], &ciphertext].concat())
}

/// Decrypts a value; returns `None` if it was not encrypted with this key.
pub fn decrypt(key: &Key, value: &str) -> Option<Zeroizing<String>> {
    let bytes = STANDARD.decode(value).ok()?;
    let plaintext = match *bytes.first()? {
        SECRETBOX_VERSION => open_secretbox(key, &bytes[1..]),
        AES_VERSION => open_aes(key, &bytes[1..]),
        _ => None,
    };
    // In a value without a version byte, the first byte of the nonce may equal a version.
    let plaintext = plaintext.or_else(|| open_secretbox(key, &bytes))?;
    String::from_utf8(plaintext).map(Zeroizing::new).map_err(|error| error.into_bytes().zeroize()).ok()
}

fn open_secretbox(key: &Key, bytes: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LENGTH>()?;
    XSalsa20Poly1305::new(key.cipher_key().into()).decrypt(nonce.into(), ciphertext).ok()
}

fn open_aes(key: &Key, bytes: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.cipher_key()).ok()?);
    let mut ciphertext = ciphertext.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = cipher.open_in_place(nonce, Aad::empty(), &mut ciphertext).ok()?.len();
    ciphertext.truncate(length);
    Some(ciphertext)
}

/// Returns true for a text in the form of [`encrypt`], even if truncated or changed. Long random passwords can have it;
/// words and hexadecimal digits cannot: it needs upper-case and lower-case letters, and other characters.
pub fn looks_encrypted(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let has = |predicate: fn(&u8) -> bool| digits.as_bytes().iter().any(predicate);
    text.len() >= MIN_LENGTH
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && digits.bytes().any(|byte| !byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encryption::key::LENGTH;

    fn key(first: &str) -> Key {
        let mut bytes = [7; LENGTH];
        hex::decode_to_slice(first, &mut bytes[..32]).expect("32 bytes");
        Key::new(&bytes)
    }

    /// The key, nonce, message and box of `tests/secretbox.c` in the NaCl distribution.
    const NACL_KEY: &str = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
    const NACL_NONCE: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
    const NACL_MESSAGE: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01\
        233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd\
        4924ca1c60902e52f0a089bc76897040e082f937763848645e0705";
    const NACL_BOX: &str = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c\
        98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfea\
        bd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5";

    #[test]
    fn the_box_of_the_nacl_distribution_is_decrypted() {
        let bytes = hex::decode(format!("{NACL_NONCE}{NACL_BOX}")).expect("hexadecimal");
        let message = open_secretbox(&key(NACL_KEY), &bytes).map(hex::encode);
        assert_eq!(message.as_deref(), Some(NACL_MESSAGE));
    }

    #[test]
    fn test_case_14_of_the_gcm_specification_is_decrypted() {
        let ciphertext = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        let bytes = hex::decode(format!("{}{ciphertext}", "00".repeat(12))).expect("hexadecimal");
        assert_eq!(open_aes(&key(&"00".repeat(32)), &bytes), Some(vec![0; 16]));
        let value = STANDARD.encode([&[AES_VERSION][..], &bytes].concat());
        assert_eq!(decrypt(&key(&"00".repeat(32)), &value).expect("opened").as_str(), "\0".repeat(16));
        assert!(decrypt(&key(&"01".repeat(32)), &value).is_none());
    }

    #[test]
    fn a_box_after_a_version_byte_and_a_nonce_that_begins_with_one_are_accepted() {
        let key = key(NACL_KEY);
        let box_bytes = STANDARD.decode(encrypt(&key, [9; NONCE_LENGTH], "secret")).expect("base64");
        let value_with_version = STANDARD.encode([&[SECRETBOX_VERSION][..], &box_bytes].concat());
        assert_eq!(decrypt(&key, &value_with_version).expect("opened").as_str(), "secret");
        for first in [SECRETBOX_VERSION, AES_VERSION] {
            let value = encrypt(&key, [first; NONCE_LENGTH], "secret");
            assert_eq!(decrypt(&key, &value).expect("opened").as_str(), "secret");
        }
    }

    #[test]
    fn damaged_values_and_those_of_other_keys_are_not_decrypted() {
        let (own_key, other_key) = (key(NACL_KEY), key(&"00".repeat(32)));
        let value = encrypt(&own_key, [1; NONCE_LENGTH], "pass word: ü");
        assert_eq!(decrypt(&own_key, &value).expect("opened").as_str(), "pass word: ü");
        assert!(decrypt(&other_key, &value).is_none());
        let mut bytes = STANDARD.decode(&value).expect("base64");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(decrypt(&own_key, &STANDARD.encode(&bytes)).is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
        for length in 0..value.len() {
            assert!(decrypt(&own_key, &value[..length]).is_none(), "{length} characters");
        }
    }

    #[test]
    fn long_base64_looks_encrypted_and_passwords_do_not() {
        let value = encrypt(&key(NACL_KEY), [0x5a; NONCE_LENGTH], "a");
        assert_eq!(value.len(), MIN_LENGTH);
        assert!(looks_encrypted(&value), "{value}");
        let longer = encrypt(&key(NACL_KEY), [0x5a; NONCE_LENGTH], "a longer password");
        assert!(looks_encrypted(&longer[..longer.len() - 3]), "a truncated one");
        for plain in [
            "",
            "s3cret:@",
            // openssl rand -base64 32, openssl rand -hex 32
            "yHt2BbP0eHgRmBDFB6UdGnCGWAFBbrn2tZ3zZ2vD0dI=",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "correcthorsebatterystaplecorrecthorsebatterystaplecorrecthorse",
            "Correct-Horse-Battery-Staple-9-Correct-Horse-Battery-Staple-9",
            "postgres://User:Passw0rd@database.example.org:5432/rstudio_pm",
        ] {
            assert!(!looks_encrypted(plain), "{plain}");
        }
    }

    proptest! {
        #[test]
        fn values_are_read_back(nonce in any::<[u8; NONCE_LENGTH]>(), value in "\\PC{0,40}") {
            let key = key(NACL_KEY);
            let encrypted = encrypt(&key, nonce, &value);
            prop_assert!(!encrypted.contains(&value) || value.len() < 4);
            let decrypted = decrypt(&key, &encrypted).expect("opened");
            prop_assert_eq!(decrypted.as_str(), value);
        }

        #[test]
        fn no_text_makes_decryption_panic(text in "\\PC{0,120}|[A-Za-z0-9+/]{0,120}={0,3}") {
            let _ = (decrypt(&key(NACL_KEY), &text), looks_encrypted(&text));
        }
    }
}
