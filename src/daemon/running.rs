//! The lifetime of the background tasks of an app.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::handover::incoming::Predecessor;
use super::leader_tasks::LeaderTasks;
use super::{audit_file, clock, job_history, node, rewind};
use crate::http::{App, ServerContext, plain_text};
use runtime::control::Control;
use runtime::state::State;
use store::logs::OptionalLog;
use store::storage::space;
use tasks::backup::results;
use tasks::upkeep;

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
    /// Wraps an app and starts its background tasks.
    pub(super) fn start(app: Arc<App>, predecessor: Predecessor, context: &ServerContext) -> RunningApp {
        if let Some(warning) = plain_text::warning(&app.state.config.load(), &app.state.catalog.get()) {
            tracing::warn!("{warning}");
        }
        let (leadership, control) = (context.cluster.leadership(), context.control.clone());
        let audit_log = context.audit_log.clone();
        let mut running = RunningApp { app, predecessor, leadership, control, audit_log, tasks: Vec::new() };
        running.run();
        running
    }

    /// Starts the background tasks, which run until [`RunningApp::pause`]. Schedules and nightly work run only while
    /// this server is the leader.
    pub(super) fn run(&mut self) {
        let (upkeep, comparison_upkeep) = (self.app.upkeep.clone(), self.app.upkeep.clone());
        let state = Arc::clone(&self.app.state);
        let jobs_state = Arc::clone(&state);
        let (tokens, used_tokens) = (self.app.tokens.clone(), self.app.tokens.clone());
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
            tokio::spawn(async move {
                let State { jobs, db, clock, .. } = &*jobs_state;
                job_history::follow(jobs, db, clock, &node::host_name()).await;
            }),
            tokio::spawn(async move {
                // Only one process at a time writes to the file.
                audit_predecessor.wait_handed_over().await;
                audit_file::follow(&audit_db, &audit_log).await;
            }),
            tokio::spawn(rewind::watch(self.control.clone(), state.catalog.rewinds())),
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
