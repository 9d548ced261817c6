//! Rows of the audit trail about the process: modes and reloads. A command is carried out even if its row cannot be
//! written, because an administrator must be able to repair the configuration of a database that does not answer.

use std::time::Duration;

use super::supervisor::Supervisor;
use crate::control::{CommandError, PendingCommand, ReloadResult};
use crate::db::Db;
use crate::db::audit;
use crate::db::author::{Author, AuthorKind};
use crate::model::time::Timestamp;

/// Timeout of a write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Records a command.
pub(super) async fn record(db: &Db, pending: &PendingCommand, action: &'static str, detail: String) {
    let author = pending.author.clone().unwrap_or_else(|| Author {
        kind: AuthorKind::Job,
        name: "signal or service manager".to_owned(),
        address: String::new(),
        at: Timestamp(jiff::Timestamp::now().as_microsecond()),
    });
    let write =
        db.write(move |c| audit::record_by(c, &author, action, ("server", ""), (audit::SUCCESS, &detail)));
    match tokio::time::timeout(TIMEOUT, write).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not record in the audit trail: {action}"),
        Err(_) => {
            tracing::warn!("could not record in the audit trail: {action}: the database does not answer")
        }
    }
}

impl Supervisor {
    /// Reloads the configuration, and records which properties were applied, without their values: some are secrets.
    pub(super) async fn audited_reload(
        &mut self,
        pending: &PendingCommand,
    ) -> Result<ReloadResult, CommandError> {
        let reloaded = self.reload().await?;
        if let Some(running) = &self.running {
            let names = |changes: &[crate::config::Change]| {
                changes.iter().map(|change| change.property.as_str()).collect::<Vec<_>>().join(", ")
            };
            let mut detail = format!("applied: {}", names(&reloaded.applied));
            if !reloaded.restart.is_empty() {
                detail += &format!("; after a restart: {}", names(&reloaded.restart));
            }
            record(&running.app.state.db, pending, "reload configuration", detail).await;
        }
        Ok(reloaded)
    }

    /// Goes online, and records it.
    pub(super) async fn audited_online(&mut self, pending: &PendingCommand) -> Result<String, CommandError> {
        let was_running = self.running.is_some();
        let message = self.online().await?;
        if let Some(running) = self.running.as_ref().filter(|_| !was_running) {
            let node = self.context.switch.context().cluster.name().to_owned();
            record(&running.app.state.db, pending, "online", node).await;
        }
        Ok(message)
    }
}
