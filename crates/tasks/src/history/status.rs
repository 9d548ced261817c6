//! The state of the log, its metrics, and what needs an administrator.

use std::time::Duration;

use super::{History, key, witness};
use base::metrics;
use base::model::time::Timestamp;
use content::serve::{RepoError, proofs};
use formats::tlog::note::KeyType;
use store::db::tlog::{self, Head};

/// The state of the log.
#[derive(Clone, Debug)]
pub struct Status {
    pub origin: String,
    /// The public key, `NAME+ID+KEY`, for policies.
    pub key: String,
    /// The key before it, and until when it signs too.
    pub old_key: Option<(String, Timestamp)>,
    /// The public key with which this server cosigns other logs.
    pub witness_key: String,
    pub entries: u64,
    /// The number of entries of the newest signed checkpoint.
    pub signed: u64,
    /// The newest transaction that has an entry.
    pub transaction: i64,
    /// The number of transactions that have none yet.
    pub waiting: usize,
    /// The end of the last day whose states are in the log.
    pub closed_until: Timestamp,
    /// The newest signed checkpoint; empty before the first one.
    pub checkpoint: String,
    /// Why nothing is appended or signed; empty if the log is not paused.
    pub pause: String,
    /// Why the last attempt of this process to write the log failed.
    pub failure: Option<String>,
    pub witnesses: Vec<WitnessStatus>,
}

#[derive(Clone, Debug)]
pub struct WitnessStatus {
    pub name: String,
    /// The size of the newest checkpoint that it cosigned, as far as this server knows; 0 if there is none.
    pub size: u64,
    pub cosigned_at: Option<Timestamp>,
    /// Why the last request failed.
    pub error: Option<String>,
}

/// Returns the state of the newest log; `None` if there is none.
pub async fn status(history: &History) -> Result<Option<Status>, RepoError> {
    let Some(head) = history.state.db.read(tlog::head).await? else { return Ok(None) };
    let signers = key::signers(&history.state, &head)?;
    let mut keys = signers.iter().map(|signer| signer.key(KeyType::Note).to_string());
    let witness_keys = key::witness_signers(&history.state, &head)?;
    let witnesses = witnesses(history, &head).await?;
    let witness_key = witness_keys.first().map(|signer| signer.key(KeyType::Cosignature).to_string());
    Ok(Some(Status {
        key: keys.next().unwrap_or_default(),
        old_key: keys.next().map(|key| (key, head.old_until)),
        witness_key: witness_key.unwrap_or_default(),
        entries: head.size,
        signed: proofs::signed(&head)?.map_or(0, |signed| signed.checkpoint.root.count),
        transaction: head.tx.0,
        waiting: waiting(history, &head),
        closed_until: head.closed_until,
        failure: history.failure.lock().clone(),
        witnesses,
        origin: head.origin,
        checkpoint: head.checkpoint,
        pause: head.pause,
    }))
}

fn waiting(history: &History, head: &Head) -> usize {
    let catalog = history.state.catalog.get();
    catalog.transactions.len() - catalog.transactions.partition_point(|(tx, _)| *tx <= head.tx)
}

async fn witnesses(history: &History, head: &Head) -> Result<Vec<WitnessStatus>, RepoError> {
    let (log, config) = (head.id, history.state.config.load_full());
    let cosigned = history.state.db.read(move |c| tlog::cosigned(c, log)).await?;
    let refusals = history.refusals.lock();
    let status = |witness: &base::config::Witness| {
        let newest = cosigned.iter().find(|row| row.witness == witness.key);
        let signed = newest.map(|row| proofs::Signed::parse(&row.checkpoint)).transpose()?;
        Ok(WitnessStatus {
            name: witness.name.clone(),
            size: newest.map_or(0, |row| row.size),
            cosigned_at: signed.and_then(|signed| witness::cosigned_at(witness, &signed.note)),
            error: refusals.get(&witness.name).cloned(),
        })
    };
    config.history.witnesses.iter().map(status).collect()
}

/// Number of transactions without an entry that is a problem.
const MAX_WAITING: usize = 1000;
/// Age of the newest cosignature of a witness that is a problem.
const MAX_AGE: Duration = Duration::from_secs(86_400);

/// What needs an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Paused,
    /// The last attempt of this process to write the log failed.
    Failed,
    /// The number of transactions without an entry.
    Waiting(usize),
    /// The name of a witness that did not cosign for a day.
    Witness(String),
}

/// Returns the problems of the newest log.
pub async fn problems(history: &History) -> Result<Vec<Problem>, RepoError> {
    let Some(head) = history.state.db.read(tlog::head).await? else { return Ok(Vec::new()) };
    if !head.pause.is_empty() {
        return Ok(vec![Problem::Paused]);
    }
    let waiting = waiting(history, &head);
    let now = (history.state.clock)();
    let witnesses = witnesses(history, &head).await?.into_iter();
    let silent = witnesses.filter(|witness| match witness.cosigned_at {
        Some(at) => now.since(at) > MAX_AGE,
        None => witness.error.is_some(),
    });
    let mut problems: Vec<Problem> = silent.map(|witness| Problem::Witness(witness.name)).collect();
    problems.extend(history.failure.lock().is_some().then_some(Problem::Failed));
    problems.extend((waiting > MAX_WAITING).then_some(Problem::Waiting(waiting)));
    Ok(problems)
}

/// Interval of updating the metrics: the leader may be another server.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);

/// Updates the metrics at intervals until the future is dropped.
pub async fn follow(history: &History) {
    loop {
        // If the database does not answer, the metrics keep their values.
        if let Ok(Some(head)) = history.state.db.read(tlog::head).await {
            let signed = proofs::signed(&head).ok().flatten();
            let signed = signed.map_or(0, |signed| signed.checkpoint.root.count);
            metrics::set_history(head.size, signed, waiting(history, &head), !head.pause.is_empty());
            for WitnessStatus { name, cosigned_at, .. } in witnesses(history, &head).await.unwrap_or_default()
            {
                metrics::set_history_cosigned(&name, cosigned_at.unwrap_or(Timestamp(0)));
            }
        }
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}
