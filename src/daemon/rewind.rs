//! Reopens the app after the database was reset to an earlier state: the caches are keyed by numbers of transactions
//! and steps, which the reset database assigns a second time.

use std::time::Duration;

use tokio::sync::watch;

use base::metrics;
use runtime::catalog::Rewind;
use runtime::control::{Command, Control};

/// Pause between attempts to reopen the app.
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
            "the database was reset from transaction {old_tx} to {new_tx} (fail-over or restore?); the database and the storage \
             are reopened; URLs of dates and transactions after {new_tx} refer to other content now"
        );
        // In a separate task, because the command ends this one.
        let control = control.clone();
        tokio::spawn(async move {
            while let Err(error) = control.run(Command::Reopen).await {
                tracing::warn!(
                    "could not reopen the database and the storage after the reset of the database: {error}"
                );
                if control.mode() != runtime::control::Mode::Online {
                    return;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            tracing::info!("reopened the database and the storage after the reset of the database");
        });
    }
}
