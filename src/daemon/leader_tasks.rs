//! The tasks that only the leader of a cluster runs: schedules and nightly work.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handover::incoming::Predecessor;
use crate::http::App;
use runtime::auth::Sessions;
use runtime::state::State;
use tasks::build::{self, Builds};
use tasks::history::{self, History};
use tasks::sync::Sync;
use tasks::sync::task::Task;
use tasks::upkeep::{Upkeep, maintenance, withheld};
use tasks::usage::Usage;

/// The parts of an app that the tasks use. Not the app itself: going offline waits for the end of all references.
pub(super) struct LeaderTasks {
    sync: Sync,
    history: Arc<History>,
    upkeep: Arc<Upkeep>,
    usage: Usage,
    builds: Arc<Builds>,
    sessions: Sessions,
    state: Arc<State>,
    predecessor: Predecessor,
}

impl LeaderTasks {
    pub(super) fn new(app: &App, predecessor: Predecessor) -> LeaderTasks {
        let App { sync, history, upkeep, usage, builds, sessions, state, .. } = app;
        LeaderTasks {
            sync: sync.clone(),
            history: Arc::clone(history),
            upkeep: Arc::clone(upkeep),
            usage: usage.clone(),
            builds: Arc::clone(builds),
            sessions: sessions.clone(),
            state: Arc::clone(state),
            predecessor,
        }
    }

    /// Runs the tasks while this server is the leader. A new leader also runs scheduled work that was missed.
    pub(super) async fn run(self, mut leadership: watch::Receiver<bool>) {
        loop {
            // The sender is in the handle of the cluster, which exists until the process ends.
            if leadership.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            // Dropping the set ends the tasks; jobs that they started continue under their own leases.
            let _tasks = self.start();
            if leadership.wait_for(|leads| !*leads).await.is_err() {
                return;
            }
        }
    }

    fn start(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for task in Task::ALL.into_iter().filter(|task| task.is_listed()) {
            let sync = self.sync.clone();
            tasks.spawn(async move { sync.run_schedule(task).await });
        }
        let sync = self.sync.clone();
        tasks.spawn(async move { sync.run_backfills().await });
        let usage = self.usage.clone();
        tasks.spawn(async move { usage.run_schedule().await });
        let (sessions, state) = (self.sessions.clone(), Arc::clone(&self.state));
        tasks.spawn(async move { sessions.run_sweeps(&state).await });
        let state = Arc::clone(&self.state);
        tasks.spawn(async move { withheld::run(&state).await });
        let builds = Arc::clone(&self.builds);
        tasks.spawn(async move { build::schedule::run(&builds).await });
        let history = Arc::clone(&self.history);
        tasks.spawn(async move { history::run(&history).await });
        let (upkeep, predecessor) = (Arc::clone(&self.upkeep), self.predecessor.clone());
        tasks.spawn(async move {
            // The old server may still add references to files that are unreferenced now.
            predecessor.wait_exit().await;
            maintenance::run(&upkeep).await;
        });
        tasks
    }
}
