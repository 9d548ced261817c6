//! The lifetime of the background tasks of an app.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handover::incoming::Predecessor;
use super::leader_tasks::LeaderTasks;
use super::{audit_file, clock, node};
use crate::http::{App, ServerContext, summary};
use base::metrics;
use base::model::time::Clock;
use content::serve::search;
use runtime::catalog::Rewind;
use runtime::control::{Command, Control, Mode};
use runtime::jobs::{EndedJob, Jobs};
use runtime::state::State;
use store::db::Db;
use store::db::job_run::{self, JobRun};
use store::logs::OptionalLog;
use store::storage::space;
use tasks::backup::results;
use tasks::{history, upkeep};

const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// An app that serves requests, and its background tasks.
pub(super) struct RunningApp {
    pub(super) app: Arc<App>,
    predecessor: Predecessor,
    leadership: watch::Receiver<bool>,
    control: Control,
    audit_log: OptionalLog,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningApp {
    pub(super) fn start(app: Arc<App>, predecessor: Predecessor, context: &ServerContext) -> RunningApp {
        if let Some(warning) =
            summary::unencrypted_warning(&app.state.config.load(), &app.state.catalog.get())
        {
            tracing::warn!("{warning}");
        }
        let (leadership, control) = (context.cluster.leadership(), context.control.clone());
        let audit_log = context.audit_log.clone();
        let mut running = RunningApp { app, predecessor, leadership, control, audit_log, tasks: Vec::new() };
        running.run();
        running
    }

    /// Starts the background tasks, until [`RunningApp::pause`]; schedules and nightly work only on the leader.
    pub(super) fn run(&mut self) {
        let (upkeep, comparison_upkeep) = (self.app.upkeep.clone(), self.app.upkeep.clone());
        let state = Arc::clone(&self.app.state);
        let jobs_state = Arc::clone(&state);
        let (tokens, used_tokens) = (self.app.tokens.clone(), self.app.tokens.clone());
        let history = Arc::clone(&self.app.history);
        let repositories = Arc::clone(&self.app.repositories);
        let (backups_db, audit_db) = (state.db.clone(), state.db.clone());
        let (audit_log, audit_predecessor) = (self.audit_log.clone(), self.predecessor.clone());
        let predecessor = self.predecessor.clone();
        let config = state.config.load();
        if config.storage_audit.is_enabled {
            // The sizes of files are needed for the metrics only.
            let scan = config.metrics.listen.is_some();
            self.tasks.push(tokio::spawn(space::watch(state.storage.clone(), config.storage.clone(), scan)));
        }
        drop(config);
        let leader_tasks = LeaderTasks::new(&self.app, predecessor.clone());
        self.tasks.extend([
            tokio::spawn(leader_tasks.run(self.leadership.clone())),
            tokio::spawn(clock::watch(Arc::clone(&state))),
            tokio::spawn(async move { results::follow(&backups_db).await }),
            tokio::spawn(async move { history::follow(&history).await }),
            tokio::spawn(async move { search::update::follow(&repositories).await }),
            tokio::spawn(async move {
                let State { jobs, db, clock, .. } = &*jobs_state;
                record_jobs(jobs, db, clock, &node::host_name()).await;
            }),
            tokio::spawn(async move {
                // Only one process at a time writes to the file.
                audit_predecessor.wait_handed_over().await;
                audit_file::follow(&audit_db, &audit_log).await;
            }),
            tokio::spawn(watch_rewinds(self.control.clone(), state.catalog.rewinds())),
            tokio::spawn(async move { upkeep::ownership::run_comparisons(&comparison_upkeep).await }),
            tokio::spawn(async move { upkeep::ownership::run(&upkeep).await }),
            tokio::spawn(async move { tokens.follow().await }),
            tokio::spawn(async move { used_tokens.record_uses().await }),
            tokio::spawn(async move {
                predecessor.follow_catalog(&state.catalog, &state.db).await;
                state.catalog.follow(&state.db).await;
            }),
        ]);
    }

    pub(super) fn pause(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for RunningApp {
    fn drop(&mut self) {
        self.pause();
    }
}

/// Records jobs as they end, until the future is dropped.
async fn record_jobs(jobs: &Jobs, db: &Db, clock: &Clock, node: &str) {
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

/// Reopens the app after the database was reset to an earlier state: its caches are keyed by numbers of
/// transactions and steps, which are then assigned again.
async fn watch_rewinds(control: Control, mut rewinds: watch::Receiver<Option<Rewind>>) {
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
                if control.mode() != Mode::Online {
                    return;
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            tracing::info!("reopened the database and the storage after the reset of the database");
        });
    }
}
