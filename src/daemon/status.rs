//! Updates the status line that `systemctl status` shows.

use std::time::Duration;

use tokio::sync::watch;

use super::notify::Notifier;
use crate::http::Switch;
use crate::http::summary::{self, DatabaseProblem};
use runtime::control::Mode;

const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum interval between updates: a hundred packages added within a second are one change.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The inputs of the line, which is rendered again only when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StatusInputs {
    mode: Mode,
    catalog: i64,
    job_end_count: u64,
    work: String,
    /// Whether the clock is too far ahead to publish.
    is_skewed: bool,
    database_problem: Option<DatabaseProblem>,
}

/// Sends the status line to systemd whenever it changes, until the task is dropped.
pub(super) async fn run(switch: Switch, notifier: Notifier) {
    let mut modes = switch.context().control.subscribe();
    let mut last_line = String::new();
    let mut last_inputs: Option<StatusInputs> = None;
    loop {
        let app = switch.app();
        let mut changes = app.as_ref().map(|app| app.state.catalog.changes());
        let mut job_ends = app.as_ref().map(|app| app.state.jobs.end_count());
        let database_problem = match &app {
            Some(app) => summary::database_problem(app).await,
            None => None,
        };
        let control = &switch.context().control;
        let inputs = StatusInputs {
            mode: control.mode(),
            catalog: changes.as_ref().map_or(0, |changes| *changes.borrow()),
            job_end_count: job_ends.as_ref().map_or(0, |count| *count.borrow()),
            work: control.work().to_string(),
            is_skewed: app
                .as_ref()
                .is_some_and(|app| app.state.catalog.get().skew((app.state.clock)()).is_some()),
            database_problem,
        };
        // A drain waits for the end of all references to the app.
        drop(app);
        let is_draining = inputs.mode == Mode::Draining;
        if last_inputs.as_ref() != Some(&inputs) {
            let line = summary::line(&switch, &inputs.mode).await;
            if line != last_line {
                notifier.status(&line);
                last_line = line;
            }
            last_inputs = Some(inputs);
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            () = async { tokio::join!(wait_change(&mut changes), tokio::time::sleep(MIN_INTERVAL)); } => {}
            () = async { tokio::join!(wait_change(&mut job_ends), tokio::time::sleep(MIN_INTERVAL)); } => {}
            () = tokio::time::sleep(if is_draining { MIN_INTERVAL } else { POLL_INTERVAL }) => {}
        }
    }
}

/// Waits for a change; never returns without a receiver.
async fn wait_change<T>(value: &mut Option<watch::Receiver<T>>) {
    let is_open = match value {
        Some(value) => value.changed().await.is_ok(),
        None => false,
    };
    if !is_open {
        std::future::pending::<()>().await;
    }
}
