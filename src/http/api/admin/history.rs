//! The log of what the server published and served: begin it, show it.

use std::sync::Arc;

use super::call::{Answer, Call};
use crate::http::app::App;
use crate::http::error::Failure;
use api::history::{HistoryStatus, InitHistory};
use content::serve::RepoError;
use tasks::history::{self, History};

pub(super) async fn init(call: Call<'_>, body: InitHistory) -> Answer<HistoryStatus> {
    if !history::init(&of(call.app), body.origin).await? {
        let reason = "the server has a log already: rspm history status".to_owned();
        return Err(RepoError::Conflict(reason).into());
    }
    let history = of(call.app);
    tokio::spawn(async move {
        if let Err(error) = history::write_all(&history).await {
            tracing::warn!(%error, "could not write the first entries of the log");
        }
    });
    status(call).await
}

pub(super) async fn status(call: Call<'_>) -> Answer<HistoryStatus> {
    let status = history::status(&of(call.app)).await?;
    let status =
        status.ok_or_else(|| Failure::not_found("the server has no log; begin it with rspm history init"))?;
    Ok(HistoryStatus {
        origin: status.origin,
        key: status.key,
        entries: status.entries,
        signed: status.signed,
        transaction: status.transaction,
        waiting: status.waiting,
        closed_until: status.closed_until.to_string(),
        checkpoint: status.checkpoint,
    })
}

fn of(app: &App) -> History {
    History::new(Arc::clone(&app.repositories), Arc::clone(&app.state))
}
