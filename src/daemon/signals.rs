//! Signals: TERM and INT stop the server (the second one at once), USR1 reopens the log files, HUP also
//! reloads the configuration, USR2 starts the installed program and hands over to it.

use std::sync::Arc;

use nix::sys::signal::SigSet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use runtime::control::{Command, Control};

pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Installs the handlers. Requires a Tokio runtime.
    pub(super) fn install() -> Signals {
        let signals = Signals {
            term: handler(SignalKind::terminate()),
            int: handler(SignalKind::interrupt()),
            hup: handler(SignalKind::hangup()),
            usr1: handler(SignalKind::user_defined1()),
            usr2: handler(SignalKind::user_defined2()),
        };
        let _ = deferred_signals().thread_unblock();
        signals
    }

    /// Handles signals until the first stop; afterwards only USR1 and another stop, which is an immediate exit.
    pub(super) async fn run_until_stop(self, control: &Control) {
        let Signals { mut term, mut int, mut hup, mut usr1, mut usr2 } = self;
        let reload_signal = Arc::new(Notify::new());
        let reloads = tokio::spawn(reload(control.clone(), Arc::clone(&reload_signal)));
        let reopen_signal = Arc::new(Notify::new());
        tokio::spawn({
            let (control, reopen_signal) = (control.clone(), Arc::clone(&reopen_signal));
            async move {
                loop {
                    reopen_signal.notified().await;
                    reopen(&control).await;
                }
            }
        });
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                () = control.wait_for_stop() => break,
                // Concurrent reload signals are coalesced.
                _ = hup.recv() => reload_signal.notify_one(),
                _ = usr1.recv() => reopen_signal.notify_one(),
                _ = usr2.recv() => {
                    let control = control.clone();
                    // The result is logged and reported in the status.
                    tokio::spawn(async move { drop(control.run(Command::HandOver).await) });
                }
            }
        }
        reloads.abort();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                    // Logs may be rotated while requests are drained.
                    _ = usr1.recv() => reopen_signal.notify_one(),
                }
            }
            tracing::warn!("second stop signal: exiting immediately");
            std::process::exit(1);
        });
    }
}

/// Blocks HUP, USR1 and USR2 until [`Signals::install`]: they would kill the process. Only on the main
/// thread, before others are started.
pub(super) fn block() {
    let _ = deferred_signals().thread_block();
}

fn deferred_signals() -> SigSet {
    SigSet::from_iter([
        nix::sys::signal::Signal::SIGHUP,
        nix::sys::signal::Signal::SIGUSR1,
        nix::sys::signal::Signal::SIGUSR2,
    ])
}

fn handler(kind: SignalKind) -> Signal {
    signal(kind).expect("a signal that may be handled, inside the runtime")
}

async fn reopen(control: &Control) {
    match control.reopen_logs().await {
        Ok(_) => tracing::info!("log files reopened"),
        Err(error) => tracing::error!("could not reopen the log files: {error}"),
    }
}

async fn reload(control: Control, reload_signal: Arc<Notify>) {
    loop {
        reload_signal.notified().await;
        reopen(&control).await;
        // The result is logged.
        let _ = control.run(Command::Reload).await;
    }
}
