//! Reopens the app after the database was reset to an earlier state: the caches are keyed by numbers of transactions
//! and steps, which now mean something else.

use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::Rewind;
use crate::control::{Command, Control};
use crate::metrics;

/// Pause before another attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Waits for rewinds until the task is dropped, which happens when the app is reopened.
pub(super) async fn watch(control: Control, mut rewinds: watch::Receiver<Option<Rewind>>) {
    loop {
        if rewinds.changed().await.is_err() {
            return;
        }
        let Some(Rewind { old_tx, new_tx }) = rewinds.borrow_and_update().clone() else { continue };
        metrics::database_rewound();
        tracing::error!(
            "the database was reset from transaction {old_tx} to {new_tx} (fail-over or restore?); everything is read again; \
             addresses of dates and transactions after {new_tx} have another meaning now"
        );
        // In a task of its own, because the command ends this one.
        let control = control.clone();
        tokio::spawn(async move {
            while let Err(error) = control.run(Command::Reopen).await {
                tracing::warn!("could not read everything again: {error}");
                if control.mode() != crate::control::Mode::Online {
                    return;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            tracing::info!("everything was read again");
        });
    }
}
