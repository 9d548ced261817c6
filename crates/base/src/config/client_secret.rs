//! The content of `OpenIDConnect.ClientSecretFile`: a client secret, in plain text or encrypted.

use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::merged::ValueForm;
use super::{Config, key_file};
use crate::encryption::key::Key;
use crate::encryption::value::decrypt;

/// Maximum length of the file, in bytes.
const MAX_LENGTH: u64 = 64 << 10;

/// A client secret, and the form in which the file contains it.
pub struct ClientSecret {
    pub text: Zeroizing<String>,
    pub form: ValueForm,
}

/// The reason why a file contains no client secret that can be used. No error text contains a part of the file.
#[derive(Debug, thiserror::Error)]
pub enum ClientSecretError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is larger than 64 kB")]
    TooLong,
    #[error("is empty")]
    Empty,
}

pub fn read(path: &Path, config: &Config) -> Result<ClientSecret, ClientSecretError> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)?.take(MAX_LENGTH + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(ClientSecretError::TooLong);
    }
    // An unusable old key is treated as absent, as for values of the configuration.
    let old = key_file::read(&key_file::old_path(&config.server.encryption_key_path)).ok().flatten();
    let keys = [config.encryption_key.as_ref().map(|key| &key.key), old.as_ref().map(|key| &key.key)];
    parse(&text, keys).ok_or(ClientSecretError::Empty)
}

/// Returns the trimmed client secret; `None` if empty. `keys` are the encryption key and the previous one. A text that
/// neither decrypts is plain text: providers issue secrets that look encrypted.
fn parse(text: &str, keys: [Option<&Key>; 2]) -> Option<ClientSecret> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let forms = [ValueForm::Decrypted, ValueForm::DecryptedWithOld];
    let decrypted = keys.into_iter().zip(forms).find_map(|(key, form)| Some((decrypt(key?, text)?, form)));
    let (text, form) = decrypted.unwrap_or_else(|| (Zeroizing::new(text.to_owned()), ValueForm::Plain));
    Some(ClientSecret { text, form })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::key::LENGTH;
    use crate::encryption::value::{NONCE_LENGTH, encrypt};

    #[test]
    fn a_secret_is_plain_or_encrypted_with_the_key_or_the_previous_one() {
        let [key, old, other] = [1, 2, 3].map(|byte| Key::new(&[byte; LENGTH]));
        let value = |key: &Key| encrypt(key, [9; NONCE_LENGTH], "s3cret");
        let keys = [Some(&key), Some(&old)];
        let parsed = |text: &str| parse(text, keys).map(|secret| (secret.text.to_string(), secret.form));
        assert_eq!(parsed(" s3cret\n"), Some(("s3cret".to_owned(), ValueForm::Plain)));
        let with_feed = format!("{}\n", value(&key));
        assert_eq!(parsed(&with_feed), Some(("s3cret".to_owned(), ValueForm::Decrypted)));
        assert_eq!(parsed(&value(&old)), Some(("s3cret".to_owned(), ValueForm::DecryptedWithOld)));
        assert_eq!(parsed(&value(&other)), Some((value(&other), ValueForm::Plain)));
        assert_eq!(parsed(" \n"), None);
        assert!(parse(&value(&key), [None, None]).is_some_and(|secret| secret.form == ValueForm::Plain));
    }
}
