//! Updates the status line that `systemctl status` shows.

use std::time::Duration;

use tokio::sync::watch;

use super::herald::Herald;
use crate::control::Mode;
use crate::http::Switch;
use crate::http::summary::{self, Trouble};

/// Polling interval for changes without a notification.
const LOOK: Duration = Duration::from_secs(60);
/// Minimum interval between updates: a hundred packages added within a second are one change.
const PAUSE: Duration = Duration::from_secs(1);

/// The inputs of the line, which is only rendered again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Basis {
    mode: Mode,
    catalog: i64,
    ended: u64,
    work: String,
    /// Whether the clock is too far ahead to publish.
    skewed: bool,
    trouble: Option<Trouble>,
}

/// Sends the status line to systemd whenever it changes, until the task is dropped.
pub(super) async fn live(switch: Switch, herald: Herald) {
    let mut modes = switch.porch().control.watch();
    let mut sent = String::new();
    let mut last: Option<Basis> = None;
    loop {
        let app = switch.app();
        let mut changes = app.as_ref().map(|app| app.state.catalog.changes());
        let mut ends = app.as_ref().map(|app| app.state.jobs.ends());
        let trouble = match &app {
            Some(app) => summary::trouble(app).await,
            None => None,
        };
        let control = &switch.porch().control;
        let now = Basis {
            mode: control.mode(),
            catalog: changes.as_ref().map_or(0, |changes| *changes.borrow()),
            ended: ends.as_ref().map_or(0, |ends| *ends.borrow()),
            work: control.work().to_string(),
            skewed: app
                .as_ref()
                .is_some_and(|app| app.state.catalog.get().skew((app.state.clock)()).is_some()),
            trouble,
        };
        // Going offline waits until no task holds the app.
        drop(app);
        let leaving = now.mode == Mode::Leaving;
        if last.as_ref() != Some(&now) {
            let line = summary::line(&switch, &now.mode).await;
            if line != sent {
                herald.status(&line);
                sent = line;
            }
            last = Some(now);
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            () = async { tokio::join!(changed(&mut changes), tokio::time::sleep(PAUSE)); } => {}
            () = async { tokio::join!(changed(&mut ends), tokio::time::sleep(PAUSE)); } => {}
            () = tokio::time::sleep(if leaving { PAUSE } else { LOOK }) => {}
        }
    }
}

/// Waits for a change; never returns without a receiver.
async fn changed<T>(value: &mut Option<watch::Receiver<T>>) {
    let lives = match value {
        Some(value) => value.changed().await.is_ok(),
        None => false,
    };
    if !lives {
        std::future::pending::<()>().await;
    }
}
