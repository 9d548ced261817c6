//! Keeps the one-line state that `systemctl status` shows up to date.

use std::time::Duration;

use tokio::sync::watch;

use super::herald::Herald;
use crate::control::Mode;
use crate::http::{Switch, summary};

/// How often it is looked whether something changed that nobody told.
const LOOK: Duration = Duration::from_secs(60);
/// The line is told at most this often: a hundred packages that are added in a second are one change.
const PAUSE: Duration = Duration::from_secs(1);

/// What the line was made from: while it is the same, nothing is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Basis {
    mode: Mode,
    catalog: i64,
    ended: u64,
    work: String,
    /// Whether it can publish.
    skewed: bool,
}

/// Tells systemd the state whenever it changed, until the task is dropped.
pub(super) async fn live(switch: Switch, herald: Herald) {
    let mut modes = switch.porch().control.watch();
    let mut told = String::new();
    let mut last: Option<Basis> = None;
    loop {
        let app = switch.app();
        let mut changes = app.as_ref().map(|app| app.state.catalog.changes());
        let mut ends = app.as_ref().map(|app| app.state.jobs.ends());
        let control = &switch.porch().control;
        let now = Basis {
            mode: control.mode(),
            catalog: changes.as_ref().map_or(0, |changes| *changes.borrow()),
            ended: ends.as_ref().map_or(0, |ends| *ends.borrow()),
            work: control.work().to_string(),
            skewed: app
                .as_ref()
                .is_some_and(|app| app.state.catalog.get().skew((app.state.clock)()).is_some()),
        };
        // Whoever goes offline waits for those who hold it.
        drop(app);
        let leaving = now.mode == Mode::Leaving;
        if last.as_ref() != Some(&now) {
            let line = summary::line(&switch, &now.mode).await;
            if line != told {
                herald.status(&line);
                told = line;
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

/// Never, where there is nothing that could change.
async fn changed<T>(value: &mut Option<watch::Receiver<T>>) {
    let lives = match value {
        Some(value) => value.changed().await.is_ok(),
        None => false,
    };
    if !lives {
        std::future::pending::<()>().await;
    }
}
