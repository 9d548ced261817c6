//! Decrypts the encrypted values of merged settings. Pure.

use std::path::Path;

use super::key_file::{self, EncryptionKey};
use super::merged::{Settings, ValueForm, heading};
use super::problem::{Problem, ProblemCategory};
use super::table::Effect;
use crate::encryption::value::{decrypt, looks_encrypted};

pub(super) struct Keys<'a> {
    pub(super) current_key: Option<&'a EncryptionKey>,
    /// The key before the last rotation.
    pub(super) old_key: Option<&'a EncryptionKey>,
    /// The path of the current key.
    pub(super) path: &'a Path,
}

/// Marks the values that look encrypted, for programs that do not decrypt them.
pub(super) fn mark_encrypted(settings: &mut Settings) {
    for setting in settings.iter_mut().filter(|setting| setting.property.kind.may_be_encrypted()) {
        for value in setting.values.iter_mut().filter(|value| looks_encrypted(&value.text)) {
            value.form = ValueForm::Encrypted;
        }
    }
}

/// Decrypts values. Returns an error for each one that looks encrypted and cannot be decrypted, unless its property has
/// no effect, and a warning for each one that is encrypted with the old key.
pub(super) fn decrypt_values(settings: &mut Settings, keys: &Keys<'_>) -> (Vec<Problem>, Vec<Problem>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for setting in settings.iter_mut().filter(|setting| setting.property.kind.may_be_encrypted()) {
        for value in &mut setting.values {
            let problem = |message| Problem {
                category: ProblemCategory::Settings,
                origin: value.origin.clone(),
                section: Some(heading(setting.section.name, setting.sub.as_deref())),
                property: Some(setting.property.name.to_owned()),
                value: None,
                message,
            };
            let decrypt_with = |key: Option<&EncryptionKey>| decrypt(&key?.key, &value.text);
            if let Some(text) = decrypt_with(keys.current_key) {
                (value.text, value.form) = (text.to_string(), ValueForm::Decrypted);
            } else if let Some((key, text)) = keys.old_key.zip(decrypt_with(keys.old_key)) {
                warnings.push(problem(format!(
                    "is encrypted with the previous key, {key}; replace it by the output of: rspm encrypt"
                )));
                (value.text, value.form) = (text.to_string(), ValueForm::DecryptedWithOld);
            } else if looks_encrypted(&value.text) {
                if matches!(setting.property.effect, Effect::Since(_)) {
                    errors.push(problem(decryption_error(keys)));
                }
                value.form = ValueForm::Encrypted;
            }
        }
    }
    (errors, warnings)
}

fn decryption_error(keys: &Keys<'_>) -> String {
    match keys.current_key {
        Some(key) => format!(
            "cannot be decrypted with the encryption key {key}: it is damaged or was encrypted with another key; replace \
             it by the output of: rspm encrypt (a plain password of this form must be encrypted, too)"
        ),
        None => {
            format!(
                "is encrypted, but there is no encryption key at {}; copy the key from the server or the backup where the \
                 value was encrypted; {}",
                keys.path.display(),
                key_file::steps_if_lost(keys.path)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key_file::KeySource;
    use crate::config::merged::merge;
    use crate::config::parsed_file::ParsedFile;
    use crate::encryption::key::{Key, LENGTH};
    use crate::encryption::value::encrypt;

    fn key(byte: u8) -> EncryptionKey {
        EncryptionKey { key: Key::new(&[byte; LENGTH]), source: KeySource::File(format!("/k{byte}").into()) }
    }

    fn encrypted(byte: u8, text: &str) -> String {
        encrypt(&key(byte).key, [byte; 24], text)
    }

    /// Returns the values of a property with their forms, the errors and the warnings.
    fn decrypt_text(
        text: &str,
        keys: (Option<u8>, Option<u8>),
    ) -> (Vec<(String, ValueForm)>, Vec<String>, Vec<String>) {
        let (mut settings, _) = merge(&ParsedFile::read("f", text.as_bytes()));
        let (current, old) = (keys.0.map(key), keys.1.map(key));
        let keys = Keys { current_key: current.as_ref(), old_key: old.as_ref(), path: Path::new("/k") };
        let (errors, warnings) = decrypt_values(&mut settings, &keys);
        let lines = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
        let values = settings.iter().flat_map(|s| s.values.iter().map(|v| (v.text.clone(), v.form)));
        (values.collect(), lines(errors), lines(warnings))
    }

    #[test]
    fn passwords_and_urls_of_databases_are_decrypted_and_others_are_not() {
        let (password, url) = (encrypted(1, "p;\"w"), encrypted(1, "postgres://u:p@h/d"));
        let text = format!(
            "[Postgres]\nURL = {url}\nPassword = {password}\n[Proxy]\nPassword = plain\nUser = {password}\n"
        );
        let (values, errors, warnings) = decrypt_text(&text, (Some(1), None));
        assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
        let expected = [
            ("postgres://u:p@h/d", ValueForm::Decrypted),
            ("p;\"w", ValueForm::Decrypted),
            ("plain", ValueForm::Plain),
            (&password, ValueForm::Plain),
        ];
        assert_eq!(values, expected.map(|(text, form)| (text.to_owned(), form)));
    }

    #[test]
    fn a_value_of_the_old_key_is_decrypted_with_a_warning() {
        let text = format!("[Postgres]\nPassword = {}\n", encrypted(2, "old"));
        let (values, errors, warnings) = decrypt_text(&text, (Some(1), Some(2)));
        assert_eq!((values, errors), (vec![("old".to_owned(), ValueForm::DecryptedWithOld)], Vec::new()));
        let expected =
            format!("f:2:12: [Postgres] Password: is encrypted with the previous key, {}; ", key(2));
        assert!(warnings.len() == 1 && warnings[0].starts_with(&expected), "{warnings:?}");
    }

    #[test]
    fn an_undecryptable_value_is_an_error_that_names_position_and_key_but_not_the_value() {
        let value = encrypted(2, "other");
        let truncated = &encrypted(1, "a long enough password")[..60];
        for (text, current) in [(value.as_str(), Some(1)), (truncated, Some(1)), (&value, None)] {
            let (values, errors, _) =
                decrypt_text(&format!("[Postgres]\nPassword = {text}\n"), (current, None));
            assert_eq!(values, [(text.to_owned(), ValueForm::Encrypted)]);
            assert_eq!(errors.len(), 1);
            let error = &errors[0];
            assert!(error.starts_with("f:2:12: [Postgres] Password: "), "{error}");
            assert!(error.contains("rspm encrypt") && !error.contains(&text[..20]), "{error}");
            let expected =
                current.map_or_else(|| "no encryption key at /k;".to_owned(), |byte| key(byte).to_string());
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn an_undecryptable_value_without_effect_is_not_an_error() {
        let text = format!("[Manifest]\nPassword = {}\n", encrypted(2, "other"));
        let (values, errors, warnings) = decrypt_text(&text, (Some(1), None));
        assert_eq!((values[0].1, errors, warnings), (ValueForm::Encrypted, Vec::new(), Vec::new()));
    }
}
