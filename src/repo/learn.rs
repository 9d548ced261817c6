//! Records the results of fetches in the database in groups: one transaction for all updates within 50 ms, off the
//! request.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::db::blob::{self, Blob};
use crate::db::file::{self, FileState, Learnt};
use crate::db::{Db, DbError};
use crate::model::ids::FileId;

/// How long a group collects updates.
const GROUP: Duration = Duration::from_millis(50);
/// The largest number of updates in a group.
const MOST: usize = 500;

struct Note {
    learnt: Learnt,
    blob: Option<Blob>,
    written: oneshot::Sender<()>,
}

/// Handle to the writing task; clones share it. The task ends with the last clone.
#[derive(Clone)]
pub(super) struct Learner {
    notes: mpsc::Sender<Note>,
}

impl Learner {
    /// Starts the writing task. Must be called inside the runtime.
    pub(super) fn start(db: Db) -> Learner {
        let (notes, inbox) = mpsc::channel(MOST);
        tokio::spawn(write(db, inbox));
        Learner { notes }
    }

    /// Records that a file's blob is in storage. Returns once the row is written, or the error is logged.
    pub(super) async fn stored(&self, learnt: Learnt, blob: Blob) {
        self.note(learnt, Some(blob)).await;
    }

    /// Records the state of a file.
    pub(super) async fn state(&self, file: FileId, state: FileState) {
        self.note(Learnt { file, sha256: None, size: None, state, built: None }, None).await;
    }

    async fn note(&self, learnt: Learnt, blob: Option<Blob>) {
        let (written, done) = oneshot::channel();
        if self.notes.send(Note { learnt, blob, written }).await.is_ok() {
            // The task drops the sender only after it has written or logged.
            let _ = done.await;
        }
    }
}

async fn write(db: Db, mut inbox: mpsc::Receiver<Note>) {
    while let Some(first) = inbox.recv().await {
        let closes = Instant::now() + GROUP;
        let mut group = vec![first];
        while group.len() < MOST {
            match timeout_at(closes, inbox.recv()).await {
                Ok(Some(note)) => group.push(note),
                Ok(None) | Err(_) => break,
            }
        }
        let (learnt, rest): (Vec<Learnt>, Vec<_>) =
            group.into_iter().map(|n| (n.learnt, (n.blob, n.written))).unzip();
        let (blobs, written): (Vec<Option<Blob>>, Vec<oneshot::Sender<()>>) = rest.into_iter().unzip();
        let result: Result<(), DbError> = db
            .write(move |c| {
                for blob in blobs.iter().flatten() {
                    blob::insert(c, blob)?;
                }
                file::learn(c, &learnt)
            })
            .await;
        if let Err(error) = result {
            tracing::error!(%error, files = written.len(), "could not record fetched files; they will be fetched again");
        }
        for note in written {
            // The caller may have been cancelled.
            let _ = note.send(());
        }
    }
}
