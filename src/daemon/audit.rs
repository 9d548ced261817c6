//! Writes rows of the audit trail about changes of mode and reloads. A command is carried out even if its row cannot be
//! written, because an administrator must be able to repair the configuration of a database that does not answer.

use std::time::Duration;

use super::supervisor::Supervisor;
use base::model::time::Timestamp;
use runtime::control::{CommandError, PendingCommand, ReloadResult};
use store::db::Db;
use store::db::audit;
use store::db::author::{Author, AuthorKind};

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn record(db: &Db, pending: &PendingCommand, action: &'static str, detail: String) {
    let author = pending.author.clone().unwrap_or_else(|| Author {
        kind: AuthorKind::Job,
        name: "signal or service manager".to_owned(),
        address: String::new(),
        at: Timestamp(jiff::Timestamp::now().as_microsecond()),
    });
    let write =
        db.write(move |c| audit::record_by(c, &author, action, "server", "", audit::SUCCESS, &detail));
    match tokio::time::timeout(TIMEOUT, write).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not record in the audit trail: {action}"),
        Err(_) => {
            tracing::warn!("could not record in the audit trail: {action}: the database does not answer")
        }
    }
}

/// Lists the names of the properties that a reload found changed, grouped by its effect on them.
fn describe(reloaded: &ReloadResult) -> String {
    let groups = [
        ("applied", &reloaded.applied),
        ("after a restart", &reloaded.restart),
        ("removed lines, after a restart", &reloaded.ignored),
    ];
    let parts = groups.into_iter().filter(|(_, changes)| !changes.is_empty()).map(|(title, changes)| {
        let names: Vec<&str> = changes.iter().map(|change| change.property.as_str()).collect();
        format!("{title}: {}", names.join(", "))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "no changes".to_owned() } else { parts.join("; ") }
}

impl Supervisor {
    /// Reloads the configuration, and records which properties were applied, without their values: some are secrets.
    pub(super) async fn audited_reload(
        &mut self,
        pending: &PendingCommand,
    ) -> Result<ReloadResult, CommandError> {
        let reloaded = self.reload().await?;
        if let Some(running) = &self.running {
            record(&running.app.state.db, pending, "reload configuration", describe(&reloaded)).await;
        }
        Ok(reloaded)
    }

    /// Goes online, and records the command unless the server was online already.
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
