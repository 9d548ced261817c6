//! The living one-line state: what `systemctl status` shows.

use std::time::Duration;

use super::herald::Herald;
use crate::control::Mode;
use crate::http::{Switch, summary};

/// How often it is looked whether something changed that nobody told.
const LOOK: Duration = Duration::from_secs(60);
/// How often progress is told while the server goes offline.
const STEP: Duration = Duration::from_secs(1);

/// What the line was made from: while it is the same, nothing is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Basis {
    mode: Mode,
    catalog: Option<i64>,
    ended: u64,
    work: String,
}

/// Tells systemd the state whenever it changed, until the task is dropped.
pub(super) async fn live(switch: Switch, herald: Herald) {
    let mut modes = switch.porch().control.watch();
    let mut told = String::new();
    let mut last: Option<Basis> = None;
    loop {
        let mut ends = switch.app().map(|app| app.state.jobs.ends());
        let now = basis(&switch);
        let pause = if now.mode == Mode::Leaving { STEP } else { LOOK };
        if last.as_ref() != Some(&now) {
            let line = summary::line(&switch, &now.mode).await;
            if line != told {
                herald.status(&line);
                told = line;
            }
            last = Some(now);
        }
        let job_ended = async {
            match &mut ends {
                Some(ends) => ends.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            _ = job_ended => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn basis(switch: &Switch) -> Basis {
    let control = &switch.porch().control;
    let app = switch.app();
    Basis {
        mode: control.mode(),
        catalog: app.as_ref().map(|app| app.state.catalog.get().version),
        ended: app.as_ref().map_or(0, |app| *app.state.jobs.ends().borrow()),
        work: control.work().to_string(),
    }
}
