//! Loads the configuration file, with the overrides of the environment, and checks the public keys in it.

use std::path::Path;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use base::config::key_file::KEY_VARIABLE;
use base::config::{self, ConfigError, Loaded, Problem, ProblemCategory};
use formats::tlog::note::{KeyType, VerifierKey};

/// The encryption key that was in the environment.
static KEY: OnceLock<Zeroizing<String>> = OnceLock::new();

/// The properties with a public key: section, property, the number of words before the key, its type.
const KEYS: [(&str, &str, usize, KeyType); 2] =
    [("History", "Witness", 1, KeyType::Cosignature), ("History", "WitnessFor", 0, KeyType::Note)];

pub(super) fn load(file: &Path) -> Result<Loaded, ConfigError> {
    config::load(file, variables()).and_then(check_keys)
}

/// Checks what the room `config` does not: the format of keys.
fn check_keys(loaded: Loaded) -> Result<Loaded, ConfigError> {
    let mut errors = Vec::new();
    for (section, property, words, key_type) in KEYS {
        let setting = loaded.settings.get(section, None, property);
        for value in setting.iter().flat_map(|setting| &setting.values).filter(|value| !value.text.is_empty())
        {
            let key = value.text.split_whitespace().nth(words).unwrap_or_default();
            if let Err(error) = VerifierKey::parse_as(key, key_type) {
                errors.push(Problem {
                    category: ProblemCategory::Syntax,
                    origin: value.origin.clone(),
                    section: Some(format!("[{section}]")),
                    property: Some(property.to_owned()),
                    value: Some(key.to_owned()),
                    message: error.to_string(),
                });
            }
        }
    }
    if errors.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError::Invalid { errors, warnings: loaded.warnings })
    }
}

/// Like [`load`], with variables that override those of the environment.
pub(super) fn load_with(file: &Path, overrides: Vec<(String, String)>) -> Result<Loaded, ConfigError> {
    let is_set = |name: &str| overrides.iter().any(|(other, _)| other == name);
    let other_variables: Vec<_> = variables().filter(|(name, _)| !is_set(name)).collect();
    config::load(file, overrides.into_iter().chain(other_variables)).and_then(check_keys)
}

/// Like [`load`], without the encryption key.
pub(super) fn load_encrypted(file: &Path) -> Result<Loaded, ConfigError> {
    config::load_encrypted(file, variables())
}

/// The environment, with the encryption key that was removed from it.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    let key = key().map(|(name, text)| (name.to_owned(), text.to_owned()));
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    key.into_iter().chain(environment)
}

/// Removes the encryption key from the environment, which child processes inherit. No thread may run yet.
pub(super) fn take_key() {
    if let Ok(text) = std::env::var(KEY_VARIABLE) {
        KEY.get_or_init(|| Zeroizing::new(text));
        // SAFETY: no other thread reads or writes the environment, because this process has none yet.
        #[allow(unsafe_code, reason = "the standard library has no other function for it")]
        unsafe {
            std::env::remove_var(KEY_VARIABLE);
        }
    }
}

/// The variable with the encryption key, if it was set, for the program that takes over.
pub(super) fn key() -> Option<(&'static str, &'static str)> {
    KEY.get().map(|text| (KEY_VARIABLE, text.as_str()))
}
