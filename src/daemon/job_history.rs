//! Records ended jobs in the database.

use base::model::time::Clock;
use runtime::jobs::{EndedJob, Jobs};
use store::db::Db;
use store::db::job_run::{self, JobRun};

/// Records jobs as they end, until the future is dropped.
pub(super) async fn follow(jobs: &Jobs, db: &Db, clock: &Clock, node: &str) {
    let mut ended = jobs.end_count();
    loop {
        for EndedJob { key, started_at, result } in jobs.take_ended() {
            let (succeeded, message) = match result {
                Ok(text) => (true, text),
                Err(reason) => (false, reason),
            };
            let id = hex::encode(rand::random::<[u8; 16]>());
            let run =
                JobRun { id, key, node: node.to_owned(), started_at, ended_at: clock(), succeeded, message };
            let key = run.key.clone();
            if let Err(error) = db.write(move |c| job_run::insert(c, &run)).await {
                tracing::warn!(%error, "could not record the end of the job {key}");
            }
        }
        if ended.changed().await.is_err() {
            return;
        }
    }
}
