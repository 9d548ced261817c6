//! The check of the encryption key in `--check-config`.

use super::compare::KeyMismatch;
use crate::config::{Check, Loaded, ValueForm, Verdict, key_file};
use crate::db::Db;

/// Compares the key with that of the database; `None` if neither exists.
pub(in crate::daemon) fn run(loaded: &Loaded) -> Option<Check> {
    let config = &*loaded.config;
    let path = &config.server.encryption_key_path;
    let state = Db::database_state(config);
    let database_key = state.as_ref().ok().and_then(|state| state.encryption_key);
    let (mut verdict, mut findings) = (Verdict::Info, Vec::new());
    findings.push(match (&config.encryption_key, database_key) {
        (None, None) => return None,
        (None, Some(database_key)) => format!(
            "there is no encryption key {}, and the database belongs to the key {database_key}; copy it from another \
             server or restore it from a backup",
            path.display()
        ),
        (Some(key), None) if state.is_ok() => format!("{key}; recorded in the database at the next start"),
        (Some(key), None) => format!("{key}; the database does not answer, so it was not compared"),
        (Some(key), Some(database_key)) if key.key.fingerprint() == database_key => {
            format!("{key}, the key of this database")
        }
        (Some(key), Some(database_key)) => {
            let new_key = key_file::read(&key_file::new_path(path)).ok().flatten();
            let new_key = new_key.filter(|new_key| new_key.key.fingerprint() == database_key && key.source.is_file());
            match new_key {
                Some(new_key) => format!("a rotation was interrupted; the next start completes it with {new_key}"),
                None => {
                    verdict = Verdict::Fail;
                    KeyMismatch::OtherKey { key: key.to_string(), database_key }.to_string()
                }
            }
        }
    });
    let old_path = key_file::old_path(path);
    let mut with_old_key = loaded
        .settings
        .encrypted_values()
        .filter(|(_, form)| *form == ValueForm::DecryptedWithOld)
        .peekable();
    if with_old_key.peek().is_some() {
        findings.extend(with_old_key.map(|(place, _)| {
            format!("{place}: is encrypted with the previous key; replace it by the output of: rspm encrypt")
        }));
    } else if old_path.exists() {
        findings.push(format!("no value needs the previous key; remove it: rm '{}'", old_path.display()));
    }
    Some(Check { title: "Encryption key", verdict, findings })
}
