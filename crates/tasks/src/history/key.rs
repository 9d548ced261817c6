//! The keys of the log: the current one, the one before it, and those with which this server cosigns other logs.

use std::time::Duration;

use hex::FromHex;
use ring::rand::SystemRandom;
use sha2::{Digest, Sha256};

use super::entries::Entries;
use super::{History, entry, rows};
use base::config::{EncryptionKey, key_file};
use base::encryption::value;
use content::serve::RepoError;
use formats::tlog::note::{Checkpoint, KeyType, Note, Signer};
use runtime::state::State;
use store::db::tlog::{self, Head};
use store::db::{Conn, DbError, audit, encryption_key};

/// How long the key before the current one signs too: until then, witnesses and auditors need the new one.
const OVERLAP: Duration = Duration::from_secs(90 * 86_400);

type Seed = [u8; 32];

/// Makes a key. Returns its seed, encrypted.
pub(super) fn create(key: &EncryptionKey, origin: &str) -> Result<(String, Signer), RepoError> {
    let no_key = |error: &dyn std::fmt::Display| {
        RepoError::Invalid(format!("could not make the key of the log: {error}"))
    };
    let seed: Seed = ring::rand::generate(&SystemRandom::new()).map_err(|e| no_key(&e))?.expose();
    let signer = Signer::from_seed(origin, &seed).map_err(|error| RepoError::Invalid(error.to_string()))?;
    let seed = key_file::encrypt(&key.key, &hex::encode(seed)).map_err(|e| no_key(&e))?;
    Ok((seed, signer))
}

/// Returns the seeds of the keys that sign now, the current one first.
fn seeds(state: &State, head: &Head) -> Result<Vec<Seed>, RepoError> {
    let key = state.config.load().encryption_key.clone();
    let decrypt = |seed: &String| {
        let text = key.as_ref().and_then(|key| value::decrypt(&key.key, seed));
        text.and_then(|text| Seed::from_hex(text.as_bytes()).ok()).ok_or_else(|| {
            RepoError::Conflict(
                "the key of the log is encrypted with another encryption key than that of this server"
                    .to_owned(),
            )
        })
    };
    std::iter::once(&head.seed).chain(&head.old_seed).map(decrypt).collect()
}

fn signers_of(name: &str, seeds: impl IntoIterator<Item = Seed>) -> Result<Vec<Signer>, RepoError> {
    let signers = seeds.into_iter().map(|seed| Signer::from_seed(name, &seed));
    signers.collect::<Result<_, _>>().map_err(|error| RepoError::Invalid(error.to_string()))
}

/// Returns the keys that sign the log now, the current one first.
pub(super) fn signers(state: &State, head: &Head) -> Result<Vec<Signer>, RepoError> {
    signers_of(&head.origin, seeds(state, head)?)
}

/// Returns the keys with which this server cosigns other logs, the current one first. They follow from those of its log.
pub(super) fn witness_signers(state: &State, head: &Head) -> Result<Vec<Signer>, RepoError> {
    let derive =
        |seed: Seed| Sha256::new().chain_update("rspm-witness/1").chain_update(seed).finalize().into();
    signers_of(&format!("{}/witness", head.origin), seeds(state, head)?.into_iter().map(derive))
}

/// Parses a note, and verifies that it is a checkpoint of the log, signed by a key that signs now.
pub(super) fn verify(state: &State, head: &Head, bytes: &[u8]) -> Result<Checkpoint, RepoError> {
    let read = || {
        let note = Note::parse(bytes)?;
        let mut is_signed = false;
        for signer in signers(state, head).unwrap_or_default() {
            is_signed |= note.verify(signer.key(KeyType::Note))?.is_some();
        }
        Ok((note.text().parse::<Checkpoint>()?, is_signed))
    };
    match read() {
        Ok((checkpoint, true)) if checkpoint.origin == head.origin => Ok(checkpoint),
        Ok((checkpoint, _)) => Err(RepoError::Conflict(format!(
            "it is a checkpoint of {}, which no key of {} signed that this server has",
            checkpoint.origin, head.origin
        ))),
        Err(error) => {
            let error: formats::tlog::TlogError = error;
            Err(RepoError::Conflict(format!("it has no checkpoint: {error}")))
        }
    }
}

fn key_entry(head: &Head, signer: &Signer, state: &str) -> Result<Entries, RepoError> {
    let vkey = signer.key(KeyType::Note).to_string();
    let entry = entry("key", vec![("vkey", vkey), ("state", state.to_owned())], None)?;
    Ok(Entries { entries: vec![entry], events: Vec::new(), tx: head.tx, closed_until: head.closed_until })
}

/// Replaces the key of the log. The previous one signs too for 90 days.
///
/// # Errors
/// [`RepoError::Conflict`] while there is a previous one already, or the log is paused.
pub async fn rotate(history: &History) -> Result<(), RepoError> {
    let state = &history.state;
    let key = state.config.load_full().require_encryption_key().map_err(RepoError::Conflict)?;
    let fingerprint = key.key.fingerprint();
    loop {
        let head = history.head().await?;
        if !head.pause.is_empty() {
            return Err(RepoError::Conflict(format!("the log is paused: {}", head.pause)));
        }
        if head.old_seed.is_some() {
            let until = head.old_until;
            return Err(RepoError::Conflict(format!(
                "the key before the current one still signs, until {until}"
            )));
        }
        let (seed, signer) = create(&key, &head.origin)?;
        let next = key_entry(&head, &signer, "new")?;
        let until = (state.clock)() + OVERLAP;
        let detail = format!("new key: {}", signer.key(KeyType::Note));
        let write = move |c: &mut dyn Conn| {
            encryption_key::check(c, fingerprint)?;
            let is_appended = rows::append(c, &head, &next)?;
            if is_appended {
                tlog::set_seeds(c, head.id, &seed, Some(&head.seed), until)?;
                audit::record(c, "rotate key of log", "log", &head.origin, &detail)?;
            }
            Ok::<bool, DbError>(is_appended)
        };
        // Another entry may have been appended meanwhile.
        if state.db.write(write).await? {
            history.wake.notify_one();
            return Ok(());
        }
    }
}

/// Ends the key before the current one if it is time. Returns whether it did.
pub(super) async fn end_old(history: &History, head: &Head) -> Result<bool, RepoError> {
    if head.old_seed.is_none() || (history.state.clock)() < head.old_until {
        return Ok(false);
    }
    let signers = signers(&history.state, head)?;
    let Some(old) = signers.last() else { return Ok(false) };
    let (next, head) = (key_entry(head, old, "end")?, head.clone());
    let write = move |c: &mut dyn Conn| {
        let is_appended = rows::append(c, &head, &next)?;
        if is_appended {
            tlog::set_seeds(c, head.id, &head.seed, None, head.closed_until)?;
            tlog::forget_cosigned(c, head.id)?;
        }
        Ok(is_appended)
    };
    Ok(history.state.db.write(write).await?)
}
