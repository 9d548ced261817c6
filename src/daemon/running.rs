//! An app that serves requests, and its background tasks.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::clock;
use super::handover::incoming::Predecessor;
use crate::http::App;
use crate::storage::space;
use crate::sync::task::Task;
use crate::upkeep;

/// An app that serves requests, and its background tasks.
pub(super) struct RunningApp {
    /// Serves the requests.
    pub(super) app: Arc<App>,
    predecessor: Predecessor,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningApp {
    /// Wraps an app and starts its background tasks.
    pub(super) fn start(app: Arc<App>, predecessor: Predecessor) -> RunningApp {
        let mut life = RunningApp { app, predecessor, tasks: Vec::new() };
        life.run();
        life
    }

    /// Starts schedules and nightly work, until [`RunningApp::pause`].
    pub(super) fn run(&mut self) {
        let (sync, upkeep, usage) = (self.app.sync.clone(), self.app.upkeep.clone(), self.app.usage.clone());
        let comparing = upkeep.clone();
        let state = Arc::clone(&self.app.state);
        let (before, predecessor) = (self.predecessor.clone(), self.predecessor.clone());
        let config = state.config.load();
        if config.storage_audit.enabled {
            let add_up = config.metrics.listen.is_some();
            self.tasks.push(tokio::spawn(space::watch(
                state.storage.clone(),
                config.storage.clone(),
                add_up,
            )));
        }
        drop(config);
        self.tasks.extend(Task::ALL.map(|task| {
            let sync = sync.clone();
            tokio::spawn(async move { sync.run_schedule(task).await })
        }));
        self.tasks.extend([
            tokio::spawn(async move { sync.run_backfills().await }),
            tokio::spawn(async move { usage.run_schedule().await }),
            tokio::spawn(clock::watch(Arc::clone(&state))),
            tokio::spawn(async move { upkeep::ownership::run_comparisons(&comparing).await }),
            tokio::spawn(async move {
                upkeep::ownership::claim(&upkeep).await;
                // The old server may still add references to files that are unreferenced now.
                before.wait_exit().await;
                upkeep::maintenance::run(&upkeep).await;
            }),
            tokio::spawn(async move {
                predecessor.follow_catalog(&state.catalog, &state.db).await;
                state.catalog.follow(&state.db).await;
            }),
        ]);
    }

    /// Stops the background tasks.
    pub(super) fn pause(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for RunningApp {
    fn drop(&mut self) {
        self.pause();
    }
}
