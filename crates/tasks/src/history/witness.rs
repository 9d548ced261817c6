//! Requests to the witnesses of the log: each cosigns a checkpoint if no tree that it cosigned before contradicts it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::StatusCode;

use super::init::ENDED;
use super::{History, rows};
use base::config::Witness;
use base::model::time::{SECOND, Timestamp};
use content::serve::RepoError;
use content::serve::proofs::{self, Signed};
use formats::tlog::note::{KeyType, Note, Statement, VerifierKey};
use formats::tlog::witness::AddCheckpoint;
use store::db::tlog::{self, Cosigned, Head};
use store::db::{Conn, DbError};

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum time between two requests to a witness.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time after which a witness that did not cosign is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// Interval of asking for the ends of logs that have ended, after the first requests when one ends and at the start.
const ENDED_INTERVAL: Duration = Duration::from_secs(3600);
/// How far the clock of a witness may be ahead of that of this server: its cosignature would be the newest one until then.
const MAX_CLOCK_ERROR: Duration = Duration::from_secs(86_400);
/// Maximum length of a reason in the answer of a witness, in characters.
const MAX_REASON: usize = 200;

/// What a witness answered.
pub(super) enum WitnessAnswer {
    /// It cosigned the checkpoint.
    Cosigned,
    /// It cosigned a greater size before.
    Ahead(u64),
    /// It cosigned another tree before.
    Contradicts(String),
    Failed(String),
}

/// Asks for cosignatures of each new checkpoint until the task ends.
pub(super) async fn run(history: &History) {
    let mut signed = history.signed.subscribe();
    let mut ended = None;
    loop {
        let asked = async {
            ask_all(history, false).await?;
            let newest = history.state.db.read(tlog::head).await?.map_or(0, |head| head.id);
            let is_asked = |(log, at): &(i64, Instant)| *log == newest && at.elapsed() < ENDED_INTERVAL;
            if !ended.as_ref().is_some_and(is_asked) {
                ended = Some((newest, Instant::now()));
                ask_ended(history, newest).await?;
            }
            Ok::<(), RepoError>(())
        };
        if let Err(error) = asked.await {
            tracing::warn!(%error, "could not ask the witnesses of the log");
        }
        tokio::time::sleep(INTERVAL).await;
        let _ = tokio::time::timeout(RETRY_INTERVAL, signed.changed()).await;
    }
}

/// Asks the witnesses that did not cosign the newest checkpoint, or all, at the same time. Pauses the log if one knows
/// another log. Returns the witnesses with their answers.
pub(super) async fn ask_all(
    history: &History,
    all: bool,
) -> Result<Vec<(Witness, WitnessAnswer)>, RepoError> {
    let Some(head) = history.state.db.read(tlog::head).await? else { return Ok(Vec::new()) };
    let Some(signed) = proofs::signed(&head)? else { return Ok(Vec::new()) };
    let mut witnesses = history.state.config.load().history.witnesses.clone();
    witnesses
        .retain(|witness| all || (head.pause.is_empty() && cosigned_at(witness, &signed.note).is_none()));
    let outcomes = witnesses.into_iter().map(async |witness| {
        let outcome = ask(history, &head, &signed, &witness).await;
        let outcome = outcome.unwrap_or_else(|error| WitnessAnswer::Failed(error.to_string()));
        let name = &witness.name;
        let reason = match &outcome {
            WitnessAnswer::Cosigned => None,
            WitnessAnswer::Ahead(size) => {
                let own = signed.checkpoint.root.count;
                Some(format!("the witness {name} cosigned {size} entries, and the database has {own}"))
            }
            WitnessAnswer::Contradicts(reason) => {
                Some(format!("the witness {name} knows another log: {reason}"))
            }
            WitnessAnswer::Failed(_) => None,
        };
        if let Some(reason) = reason {
            history.pause(&head, &reason).await?;
        }
        let refusal = match &outcome {
            WitnessAnswer::Cosigned => None,
            WitnessAnswer::Ahead(size) => Some(format!("it has {size} entries")),
            WitnessAnswer::Contradicts(reason) | WitnessAnswer::Failed(reason) => Some(reason.clone()),
        };
        let mut refusals = history.refusals.lock();
        match refusal {
            None => refusals.remove(name),
            Some(refusal) => refusals.insert(name.clone(), refusal),
        };
        drop(refusals);
        Ok((witness, outcome))
    });
    join_all(outcomes).await.into_iter().collect()
}

/// Asks for the cosignature of the last checkpoint of each log before the newest one: the witnesses that cosigned an earlier
/// one.
async fn ask_ended(history: &History, newest: i64) -> Result<(), RepoError> {
    for log in 1..newest {
        let read = move |c: &mut dyn Conn| Ok::<_, DbError>((tlog::by_id(c, log)?, tlog::cosigned(c, log)?));
        let (head, cosigned) = history.state.db.read(read).await?;
        let Some(head) = head.filter(|head| head.pause.starts_with(ENDED)) else { continue };
        let Some(signed) = proofs::signed(&head)? else { continue };
        let size = signed.checkpoint.root.count;
        let witnesses = history.state.config.load().history.witnesses.clone();
        for witness in witnesses {
            if cosigned.iter().any(|row| row.witness == witness.key && row.size < size) {
                ask(history, &head, &signed, &witness).await?;
            }
        }
    }
    Ok(())
}

/// Returns the key of a witness, which was checked when the configuration was loaded.
fn key_of(witness: &Witness) -> Result<VerifierKey, RepoError> {
    let key = VerifierKey::parse_as(&witness.key, KeyType::Cosignature);
    key.map_err(|error| RepoError::Invalid(format!("History.Witness {}: {error}", witness.name)))
}

/// Returns when a witness cosigned a checkpoint; `None` if it did not.
pub(super) fn cosigned_at(witness: &Witness, note: &Note) -> Option<Timestamp> {
    match note.verify(&key_of(witness).ok()?) {
        Ok(Some(Statement::Cosigned(time))) => {
            i64::try_from(time).ok().map(|seconds| Timestamp(seconds.saturating_mul(SECOND)))
        }
        _ => None,
    }
}

/// Asks one witness: twice at most, if the size that it cosigned last is not that which was expected.
async fn ask(
    history: &History,
    head: &Head,
    signed: &Signed,
    witness: &Witness,
) -> Result<WitnessAnswer, RepoError> {
    let (key, size) = (key_of(witness)?, signed.checkpoint.root.count);
    let log = head.id;
    let known = history.state.db.read(move |c| tlog::cosigned(c, log)).await?.into_iter();
    let known = known.filter(|row| row.witness == witness.key).map(|row| row.size).max();
    let mut old = known.unwrap_or_default().min(size);
    let url = format!("{}/add-checkpoint", &*witness.url);
    for attempt in 1.. {
        let body = message(history, head, signed, old).await?.to_string().into_bytes();
        let upstream = history.state.upstream.load_full();
        let posted = match upstream.post(&url, "text/plain; charset=utf-8", body, TIMEOUT).await {
            Ok(posted) => posted,
            Err(error) => return Ok(WitnessAnswer::Failed(error.to_string())),
        };
        let text = String::from_utf8_lossy(&posted.body).into_owned();
        let reason: String = text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        let is_size = posted.media_type == "text/x.tlog.size";
        match posted.status {
            StatusCode::OK => {
                let answer = Note::parse(format!("{}\n{text}", signed.note.text()).as_bytes());
                let answer = answer.and_then(|answer| Ok(answer.verify(&key)?.map(|_| answer)));
                let ahead = |answer: &Note| {
                    let limit = (history.state.clock)() + MAX_CLOCK_ERROR;
                    cosigned_at(witness, answer).filter(|at| *at > limit)
                };
                return match answer {
                    Ok(Some(answer)) if let Some(at) = ahead(&answer) => {
                        let problem = format!("it cosigned at {at}, a day after the time of this server");
                        Ok(WitnessAnswer::Failed(problem + ": compare the clocks"))
                    }
                    Ok(Some(answer)) => {
                        let cosigned = signed.note.with(&[&key], &answer);
                        store(history, log, key, size, cosigned).await.map(|()| WitnessAnswer::Cosigned)
                    }
                    Ok(None) => Ok(WitnessAnswer::Failed(format!("its answer has no cosignature of {key}"))),
                    Err(error) => Ok(WitnessAnswer::Failed(format!("its answer: {error}"))),
                };
            }
            StatusCode::CONFLICT if is_size && let Ok(witnessed) = text.trim_end().parse::<u64>() => {
                if witnessed > size {
                    // Another server may have signed it since then.
                    let newest = history.state.db.read(tlog::head).await?;
                    let is_own =
                        newest.is_some_and(|newest| newest.id == head.id && newest.size >= witnessed);
                    return Ok(match is_own {
                        true => WitnessAnswer::Failed("it has a newer checkpoint of this log".to_owned()),
                        false => WitnessAnswer::Ahead(witnessed),
                    });
                }
                if attempt > 1 {
                    return Ok(WitnessAnswer::Failed(
                        "it answered twice that it has another size".to_owned(),
                    ));
                }
                old = witnessed;
            }
            StatusCode::UNPROCESSABLE_ENTITY => return Ok(WitnessAnswer::Contradicts(reason)),
            status => return Ok(WitnessAnswer::Failed(format!("it answered {status}: {reason}"))),
        }
    }
    Ok(WitnessAnswer::Failed("no answer".to_owned()))
}

async fn message(
    history: &History,
    head: &Head,
    signed: &Signed,
    old: u64,
) -> Result<AddCheckpoint, RepoError> {
    let (log, size) = (head.id, signed.checkpoint.root.count);
    let path = history.state.db.read(move |c| rows::path(c, log, old, size)).await?;
    let path = path.ok_or_else(|| {
        RepoError::Invalid(format!("old size {old}, but the newest checkpoint has {size} entries"))
    })?;
    Ok(AddCheckpoint { old, path, note: signed.note.clone() })
}

/// Returns the request for a witness without a connection that cosigned the first `old` entries last; without `old`, the
/// newest checkpoint alone.
pub async fn request(history: &History, old: Option<u64>) -> Result<String, RepoError> {
    let head = history.head().await?;
    let signed = proofs::signed(&head)?;
    let signed = signed.ok_or_else(|| RepoError::NotFound("the log has no checkpoint yet".to_owned()))?;
    match old {
        None => Ok(signed.note.to_string()),
        Some(old) => Ok(message(history, &head, &signed, old).await?.to_string()),
    }
}

/// Stores a checkpoint that a witness cosigned, with the cosignatures that others added to it meanwhile. A newer one may have
/// been signed since the request.
async fn store(
    history: &History,
    log: i64,
    key: VerifierKey,
    size: u64,
    note: Note,
) -> Result<(), RepoError> {
    let add = move |c: &mut dyn Conn| {
        let mut stored: Vec<_> = tlog::cosigned(c, log)?.into_iter().map(|row| row.checkpoint).collect();
        stored.extend(tlog::by_id(c, log)?.map(|head| head.checkpoint));
        let mut checkpoint = note.to_string();
        if let Some(old) = stored.into_iter().find(|stored| stored.starts_with(note.text())) {
            checkpoint = proofs::Signed::parse(&old)?.note.with(&[&key], &note).to_string();
            tlog::replace_checkpoint(c, log, &old, &checkpoint)?;
        }
        tlog::set_cosigned(c, log, &Cosigned { witness: key.to_string(), size, checkpoint })
    };
    history.state.db.write(add).await?;
    history.files.forget_checkpoints();
    history.wake.notify_one();
    Ok(())
}
