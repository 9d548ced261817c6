//! Signals: TERM and INT stop (a second one at once), HUP and USR1 reopen the log files.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::http::Control;

/// The signals of the process; they are caught from the moment this is made.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
}

impl Signals {
    /// Begins to catch them. Inside the runtime.
    pub(super) fn catch() -> Signals {
        Signals {
            term: on(SignalKind::terminate()),
            int: on(SignalKind::interrupt()),
            hup: on(SignalKind::hangup()),
            usr1: on(SignalKind::user_defined1()),
        }
    }

    /// Returns when the process shall stop. Handles the other signals meanwhile, and afterwards only the impatient.
    pub(super) async fn until_stop(self, control: &Control) {
        let Signals { mut term, mut int, mut hup, mut usr1 } = self;
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                () = control.stop.notified() => break,
                _ = hup.recv() => reopen(control).await,
                _ = usr1.recv() => reopen(control).await,
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::warn!("told to stop again: ending at once");
            std::process::exit(1);
        });
    }
}

fn on(kind: SignalKind) -> Signal {
    signal(kind).expect("a signal that may be handled, inside the runtime")
}

async fn reopen(control: &Control) {
    let reopen = std::sync::Arc::clone(&control.reopen_logs);
    match tokio::task::spawn_blocking(move || reopen()).await {
        Ok(Ok(())) => tracing::info!("log files reopened"),
        Ok(Err(error)) => tracing::error!("{error}"),
        Err(error) => tracing::error!("log files were not reopened: {error}"),
    }
}
