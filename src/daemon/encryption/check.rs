//! The part of `--check-config` about the encryption key.

use super::compare::KeyMismatch;
use crate::config::{Check, Loaded, ValueForm, Verdict, key_file};
use crate::db::Db;

/// Compares the key with that of the database; `None` if neither exists.
pub(in crate::daemon) fn run(loaded: &Loaded) -> Option<Check> {
    let config = &*loaded.config;
    let path = &config.server.encryption_key_path;
    let state = Db::database_state(config);
    let recorded = state.as_ref().ok().and_then(|state| state.encryption_key);
    let (mut verdict, mut findings) = (Verdict::Info, Vec::new());
    findings.push(match (&config.encryption_key, recorded) {
        (None, None) => return None,
        (None, Some(recorded)) => format!(
            "there is no encryption key {}, and the database belongs to the key {recorded}; copy it from another \
             server or restore it from a backup",
            path.display()
        ),
        (Some(key), None) if state.is_ok() => format!("{key}; recorded in the database at the next start"),
        (Some(key), None) => format!("{key}; the database does not answer, so it was not compared"),
        (Some(key), Some(recorded)) if key.key.fingerprint() == recorded => {
            format!("{key}, the key of this database")
        }
        (Some(key), Some(recorded)) => {
            let new = key_file::read(&key_file::new_path(path)).ok().flatten();
            let new = new.filter(|new| new.key.fingerprint() == recorded && key.source.is_file());
            match new {
                Some(new) => format!("a rotation was interrupted; the next start completes it with {new}"),
                None => {
                    verdict = Verdict::Fail;
                    KeyMismatch::Other { key: key.to_string(), recorded }.to_string()
                }
            }
        }
    });
    let old = key_file::old_path(path);
    let mut with_old_key =
        loaded.settings.encrypted().filter(|(_, form)| *form == ValueForm::DecryptedWithOld).peekable();
    if with_old_key.peek().is_some() {
        findings.extend(with_old_key.map(|(place, _)| {
            format!(
                "{place}: is encrypted with the previous key; write it anew with the output of: rspm encrypt"
            )
        }));
    } else if old.exists() {
        findings.push(format!("no value needs the previous key; remove it: rm '{}'", old.display()));
    }
    Some(Check { title: "Encryption key", verdict, findings })
}
