//! The log of what the server published and served: begin it, show it, copy it, complete it after a loss.

use super::audit;
use super::backup::require_configured;
use super::call::{Answer, Call};
use crate::http::error::Failure;
use crate::http::log;
use crate::http::login::permission::Principal;
use api::history::{
    AddState, ExportHistory, ExportedHistory, HistoryStatus, HistoryText, HistoryWitness, InitHistory,
    RecoverHistory, RecoveredHistory, ShowCheckpoint,
};
use base::config::BackupPlace;
use base::model::snapshot::Snapshot;
use content::serve::RepoError;
use tasks::history;

pub(super) async fn init(call: Call<'_>, body: InitHistory) -> Answer<HistoryStatus> {
    if !history::init(&call.app.history, body.origin, body.new_log).await? {
        let reason = "the server has a log already: rspm history status".to_owned();
        return Err(RepoError::Conflict(reason).into());
    }
    status(call).await
}

pub(super) async fn status(call: Call<'_>) -> Answer<HistoryStatus> {
    let status = history::status(&call.app.history).await?;
    let status =
        status.ok_or_else(|| Failure::not_found("the server has no log; begin it with rspm history init"))?;
    let (old_key, old_key_until) = status.old_key.unzip();
    let witnesses = status.witnesses.into_iter().map(|witness| HistoryWitness {
        name: witness.name,
        size: witness.size,
        cosigned_at: witness.cosigned_at.map(|at| at.to_string()),
        error: witness.error,
    });
    Ok(HistoryStatus {
        origin: status.origin,
        key: status.key,
        old_key,
        old_key_until: old_key_until.map(|until| until.to_string()),
        witness_key: status.witness_key,
        entries: status.entries,
        signed: status.signed,
        transaction: status.transaction,
        waiting: status.waiting,
        closed_until: status.closed_until.to_string(),
        checkpoint: status.checkpoint,
        pause: Some(status.pause).filter(|pause| !pause.is_empty()),
        failure: status.failure,
        witnesses: witnesses.collect(),
    })
}

pub(super) async fn checkpoint(call: Call<'_>, query: ShowCheckpoint) -> Answer<HistoryText> {
    Ok(HistoryText { text: history::request(&call.app.history, query.old.map(|old| old as u64)).await? })
}

pub(super) async fn export(call: Call<'_>, body: ExportHistory) -> Answer<ExportedHistory> {
    let place = place(&body.to)?;
    require_configured(call.app, call.principal, Some(&place))?;
    let entries = history::export_to(&call.app.history, &place).await?;
    audit::record_operation(call.app, "copy log", "log", place.to_string(), format!("entries: {entries}"))
        .await;
    Ok(ExportedHistory { entries })
}

pub(super) async fn add_state(call: Call<'_>, body: AddState) -> Answer<HistoryStatus> {
    let snapshot = body.snapshot.parse::<Snapshot>();
    let snapshot = snapshot.map_err(|_| {
        Failure::bad_request(format!(
            "{}: not a day (YYYY-MM-DD) or the number of a transaction",
            body.snapshot
        ))
    })?;
    history::add_states(&call.app.history, &body.repository, snapshot).await?;
    status(call).await
}

pub(super) async fn recover(call: Call<'_>, body: RecoverHistory) -> Answer<RecoveredHistory> {
    let from = body.from.as_deref();
    let is_local = matches!(call.principal, Principal::Administrator);
    // SECURITY: a token permits no access to directories of the server's machine, and to buckets of its credentials.
    if let Some(from) = from.filter(|from| !is_local && !from.starts_with("https://")) {
        return Err(Failure::bad_request(format!(
            "{from}: clients on the network may name only https:// addresses; run the command on the server's machine"
        )));
    }
    let recovered = history::recover(&call.app.history, from).await?;
    Ok(RecoveredHistory { entries: recovered.entries, keys: recovered.keys })
}

pub(super) async fn rotate_key(call: Call<'_>) -> Answer<HistoryStatus> {
    history::rotate(&call.app.history).await?;
    status(call).await
}

pub(super) async fn cosign(call: Call<'_>, body: HistoryText) -> Answer<HistoryText> {
    match log::add_checkpoint(call.app, body.text.as_bytes()).await? {
        Ok(text) => Ok(HistoryText { text }),
        Err(size) => Err(RepoError::Conflict(format!(
            "this server cosigned {size} entries of the log last: make the request with rspm history checkpoint --old={size}"
        ))
        .into()),
    }
}

fn place(text: &str) -> Result<BackupPlace, Failure> {
    text.parse().map_err(|reason| Failure::bad_request(format!("{text}: {reason}")))
}
