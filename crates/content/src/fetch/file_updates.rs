//! Records the results of fetches in the database: one transaction for all updates within 50 ms.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use store::db::blob::{self, Blob};
use store::db::file::{self, FetchedFacts};
use store::db::{Db, DbError};

const GROUP_WINDOW: Duration = Duration::from_millis(50);
const MAX_GROUP: usize = 500;

struct FileUpdate {
    facts: FetchedFacts,
    blob: Blob,
    notifier: oneshot::Sender<()>,
}

/// Handle to the writing task, which ends when it is dropped.
pub(super) struct FileUpdater {
    updates: mpsc::Sender<FileUpdate>,
}

impl FileUpdater {
    /// Starts the writing task, inside the runtime.
    pub(super) fn start(db: Db) -> FileUpdater {
        let (updates, receiver) = mpsc::channel(MAX_GROUP);
        tokio::spawn(write(db, receiver));
        FileUpdater { updates }
    }

    /// Records that a file's blob is in storage. Returns once the row is written, or the error is logged.
    pub(super) async fn record_stored(&self, facts: FetchedFacts, blob: Blob) {
        let (notifier, notification) = oneshot::channel();
        if self.updates.send(FileUpdate { facts, blob, notifier }).await.is_ok() {
            // The task answers after it has written the row or logged the error.
            let _ = notification.await;
        }
    }
}

async fn write(db: Db, mut receiver: mpsc::Receiver<FileUpdate>) {
    while let Some(first_update) = receiver.recv().await {
        let deadline = Instant::now() + GROUP_WINDOW;
        let mut group = vec![first_update];
        while group.len() < MAX_GROUP {
            match timeout_at(deadline, receiver.recv()).await {
                Ok(Some(update)) => group.push(update),
                Ok(None) | Err(_) => break,
            }
        }
        let (facts, blobs_and_notifiers): (Vec<FetchedFacts>, Vec<_>) =
            group.into_iter().map(|update| (update.facts, (update.blob, update.notifier))).unzip();
        let (blobs, notifiers): (Vec<Blob>, Vec<oneshot::Sender<()>>) =
            blobs_and_notifiers.into_iter().unzip();
        let result: Result<(), DbError> = db
            .write(move |c| {
                for blob in &blobs {
                    blob::insert(c, blob)?;
                }
                file::update(c, &facts)
            })
            .await;
        if let Err(error) = result {
            tracing::error!(%error, files = notifiers.len(), "could not record fetched files; they will be fetched again");
        }
        for notifier in notifiers {
            // The caller may have been cancelled.
            let _ = notifier.send(());
        }
    }
}
