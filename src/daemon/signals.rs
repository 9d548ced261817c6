//! Signals: TERM and INT stop (a second one at once), USR1 reopens the log files, HUP does that and reloads the
//! configuration.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use tokio::sync::Notify;

use crate::control::{Command, Control};

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
        let hung_up = Arc::new(Notify::new());
        let reloads = tokio::spawn(reload(control.clone(), Arc::clone(&hung_up)));
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                () = control.stopped() => break,
                // However many come while one is carried out, one more follows.
                _ = hup.recv() => hung_up.notify_one(),
                _ = usr1.recv() => reopen(control).await,
            }
        }
        reloads.abort();
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
    match control.reopen_logs().await {
        Ok(()) => tracing::info!("log files reopened"),
        Err(error) => tracing::error!("{error}"),
    }
}

async fn reload(control: Control, hung_up: Arc<Notify>) {
    loop {
        hung_up.notified().await;
        reopen(&control).await;
        // Nobody waits for the answer: what the reload did is in the log.
        let _ = control.order(Command::Reload).await;
    }
}
