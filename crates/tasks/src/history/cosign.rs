//! This server as a witness of other logs: it cosigns a checkpoint that its newest one of that log does not contradict.

use super::{History, key};
use base::model::digest::Sha256;
use base::model::time::SECOND;
use content::serve::RepoError;
use formats::tlog::TlogError;
use formats::tlog::note::{Checkpoint, KeyType, Note, Statement, VerifierKey};
use formats::tlog::tree::Root;
use formats::tlog::witness::{AddCheckpoint, Refusal};
use store::db::tlog;
use store::db::{Conn, DbError};

/// Decides about the body of a request. Returns the signature lines of the cosigned checkpoint, which is stored before; or
/// the reason why it is not cosigned.
///
/// # Errors
/// [`RepoError::NotFound`] if this server has no log, whose key signs.
pub async fn add_checkpoint(history: &History, body: &[u8]) -> Result<Result<String, Refusal>, RepoError> {
    let (state, head) = (&history.state, history.head().await?);
    let parse = || -> Result<(AddCheckpoint, Checkpoint), TlogError> {
        let request = AddCheckpoint::parse(body)?;
        let checkpoint = request.note.text().parse()?;
        Ok((request, checkpoint))
    };
    let (request, checkpoint) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Err(error.into())),
    };
    let keys = known_keys(history);
    // A request that is refused anyway does not wait for a write.
    let origin = checkpoint.origin.clone();
    let known = state.db.read(move |c| tlog::witnessed(c, &origin)).await?;
    if let Err(refusal) = request.check(&checkpoint, &keys, root_of(known.as_deref())?) {
        if let Refusal::Inconsistent(reason) = &refusal {
            let is_fork = root_of(known.as_deref())?
                .is_some_and(|known| known.count == checkpoint.root.count && known != checkpoint.root);
            let (refused, known) = (request.note.to_string(), known.unwrap_or_default());
            let origin = &checkpoint.origin;
            if is_fork {
                tracing::error!(refused, known, "the log {origin} signed two trees of one size");
            } else {
                // Who sends a wrong path with a checkpoint that anybody can read does not accuse the log.
                tracing::warn!(
                    refused,
                    known,
                    "the log {origin} was not proved to continue what was cosigned: {reason}; compare it with \
                     rspm history audit --since-checkpoint"
                );
            }
        }
        return Ok(Err(refusal));
    }
    let time = u64::try_from((state.clock)().0 / SECOND).unwrap_or_default();
    let signers = key::witness_signers(state, &head)?;
    let lines = signers.iter().map(|signer| signer.sign(request.note.text(), Statement::Cosigned(time)));
    let lines: String = lines.collect();
    let write = move |c: &mut dyn Conn| {
        let known = tlog::witnessed(c, &checkpoint.origin)?;
        let note = match request.check(&checkpoint, &keys, root_of(known.as_deref())?) {
            Ok(note) => format!("{note}{lines}"),
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        let size = checkpoint.root.count;
        let is_stored = tlog::set_witnessed(c, &checkpoint.origin, known.as_deref(), size, &note)?;
        Ok::<_, DbError>(is_stored.then(|| Ok(lines.clone())))
    };
    loop {
        // `None` if another request was stored meanwhile.
        if let Some(decision) = state.db.write(write.clone()).await? {
            return Ok(decision);
        }
    }
}

fn known_keys(history: &History) -> Vec<VerifierKey> {
    let config = history.state.config.load();
    let keys = config.history.witness_for.iter();
    keys.filter_map(|key| VerifierKey::parse_as(key, KeyType::Note).ok()).collect()
}

fn root_of(note: Option<&str>) -> Result<Option<Root>, DbError> {
    let root = |note: &str| {
        let checkpoint: Checkpoint = Note::parse(note.as_bytes())?.text().parse()?;
        Ok::<_, TlogError>(checkpoint.root)
    };
    note.map(root).transpose().map_err(DbError::refuse)
}

/// Returns the newest cosigned checkpoint of the log whose origin has this digest; `None` if there is none.
pub async fn witnessed(history: &History, digest: Sha256) -> Result<Option<String>, RepoError> {
    let mut keys = known_keys(history).into_iter();
    let key = keys.find(|key| Sha256::of(key.name().as_bytes()) == digest);
    let Some(key) = key else { return Ok(None) };
    Ok(history.state.db.read(move |c| tlog::witnessed(c, key.name())).await?)
}
