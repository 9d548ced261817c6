//! Runs commands one after the other, and retries configurations and listeners that could not be used.
//!
//! It is the only task that replaces the running app: everything that a configuration names, opened by
//! `stores`. Handlers of signals and of the admin API send it commands through `control::Control`. Going
//! online opens a new app and passes it to `http::switch`; going offline waits for jobs, removes the app from
//! the switch, waits for its last response (every body holds a reference to its app), and closes its
//! database. A reload swaps parts of the running app, such as `state.config`, `state.upstream`, headers, logs
//! and certificate; long operations keep the values with which they began.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::context::{ListenAddresses, ProcessContext};
use super::error::{StartError, log_lines};
use super::handover::outgoing::{ReadySuccessor, Successor};
use super::handover::protocol::SyncRestart;
use super::listeners::{self, RetryResult};
use super::running::RunningApp;
use super::stores::SharedStores;
use super::{configuration, files, reload, stores};
use crate::http::net::drain::Drain;
use crate::http::site::SiteSettings;
use crate::http::{App, summary};
use base::config::{Loaded, RESTART_COMMAND};
use runtime::control::{Command, CommandError, CommandResult, Mode, PendingCommand, ReloadResult};
use tasks::sync::HaltedSync;

const RETRY_INTERVAL: Duration = Duration::from_secs(5);

pub(super) struct Supervisor {
    pub(super) context: ProcessContext,
    pub(super) running: Option<RunningApp>,
    /// The current configuration; while the server is broken, the configuration of the next attempt.
    pub(super) loaded: Option<Loaded>,
    /// Halted syncs, which resume when the server is online again.
    pub(super) halted_syncs: Vec<HaltedSync>,
    /// The old server's lock, used by the first start in a hand-over.
    shared_stores: Option<SharedStores>,
    /// Next attempt to serve with `loaded`, while the server is broken.
    retry_at: Option<Instant>,
    /// Next attempt to open missing listeners.
    retry_listeners_at: Option<Instant>,
}

impl Supervisor {
    pub(super) fn new(context: ProcessContext, shared_stores: Option<SharedStores>) -> Supervisor {
        let mut supervisor = Supervisor {
            context,
            running: None,
            loaded: None,
            halted_syncs: Vec::new(),
            shared_stores,
            retry_at: None,
            retry_listeners_at: None,
        };
        supervisor.schedule_listener_retry();
        supervisor
    }

    /// Starts serving for the first time. With `is_socket_activated`, it responds with 503 and the reason of an error.
    pub(super) async fn start(
        &mut self,
        loaded: Result<Loaded, StartError>,
        is_socket_activated: bool,
    ) -> Result<(), StartError> {
        let (error, valid_configuration) = match loaded {
            Err(error) => (error, None),
            Ok(loaded) => match self.serve(loaded.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => (error, Some(loaded)),
            },
        };
        if !is_socket_activated {
            return Err(error);
        }
        self.fail(&error, valid_configuration);
        Ok(())
    }

    /// Opens everything in a configuration except the listeners, and serves. An error leaves the server unchanged.
    pub(super) async fn serve(&mut self, loaded: Loaded) -> Result<(), StartError> {
        if let Some(reason) = self.context.listeners.unreachable_reason() {
            return Err(StartError::NoListener(reason));
        }
        let ProcessContext { switch, logs, tls, jobs, .. } = &self.context;
        let config = Arc::clone(&loaded.config);
        let warnings = files::prepare(&self.context.file, &loaded)?;
        let new_tls = reload::open_tls(&config)?;
        let control = &switch.context().control;
        let is_starting = matches!(control.mode(), Mode::Starting(_));
        if !is_starting {
            // At the start the warnings are logged before threads are started.
            warnings.iter().for_each(|line| tracing::warn!("{line}"));
        }
        let report_step = |step| {
            if is_starting {
                control.set_mode(Mode::Starting(step));
            }
        };
        let shared_stores = self.shared_stores.take();
        let app = stores::open(&loaded, switch.context(), jobs, shared_stores, report_step).await?;
        logs.configure(&config);
        tls.replace(&new_tls);
        switch.context().site.store(Arc::new(SiteSettings::new(&config)));
        switch.set_app(Arc::clone(&app));
        jobs.halt(false);
        for sync in std::mem::take(&mut self.halted_syncs) {
            app.sync.resume(sync);
        }
        self.running = Some(RunningApp::start(app, self.context.predecessor.clone(), switch.context()));
        self.loaded = Some(loaded);
        self.retry_at = None;
        control.set_mode(Mode::Online);
        Ok(())
    }

    /// Responds with 503 and the reason from now on, and retries `loaded` periodically.
    pub(super) fn fail(&mut self, error: &StartError, loaded: Option<Loaded>) {
        let control = &self.context.switch.context().control;
        let broken = Mode::Broken(error.broken_reason());
        if control.mode() != broken {
            log_lines(&error.to_string());
            if error.broken_reason().has_listener {
                tracing::error!(
                    "every request gets 503; fix the error, then run: systemctl reload rstudio-pm"
                );
            }
            control.set_mode(broken);
        }
        self.retry_at = loaded.is_some().then(|| Instant::now() + RETRY_INTERVAL);
        self.loaded = loaded;
    }

    pub(super) fn cancel_retries(&mut self) {
        self.retry_at = None;
        self.loaded = None;
    }

    /// Runs commands until the channel is closed or a successor is ready. May be cancelled at any point.
    pub(super) async fn run_commands(
        &mut self,
        commands: &mut mpsc::Receiver<PendingCommand>,
    ) -> Option<ReadySuccessor> {
        loop {
            let retry_time = self.retry_at.into_iter().chain(self.retry_listeners_at).min();
            let retry_timer = async {
                match retry_time {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                pending = commands.recv() => {
                    let pending = pending?;
                    let result = match &pending.command {
                        Command::Reload => self.audited_reload(&pending).await.map(CommandResult::Reloaded),
                        Command::Offline { timeout } => self.offline(*timeout, &pending).await.map(CommandResult::ModeChanged),
                        Command::Reopen => self.reopen().await.map(CommandResult::ModeChanged),
                        Command::Online => self.audited_online(&pending).await.map(CommandResult::ModeChanged),
                        Command::HandOver => match self.hand_over().await {
                            Ok(successor) => return Some(successor),
                            Err(error) => Err(error),
                        },
                    };
                    pending.answer(result);
                }
                () = retry_timer => self.retry().await,
            }
        }
    }

    async fn retry(&mut self) {
        self.open_missing_listeners().await;
        if self.retry_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let Some(loaded) = self.loaded.clone() else { return };
        match self.serve(loaded.clone()).await {
            Ok(()) => tracing::info!("the server is online: the retry succeeded"),
            Err(error) => self.fail(&error, Some(loaded)),
        }
    }

    /// Opens missing listeners if the time of their next attempt has come.
    async fn open_missing_listeners(&mut self) {
        if self.retry_listeners_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let (new_sockets, result) = self.context.listeners.retry();
        let is_changed = !new_sockets.is_empty();
        self.context.handover.add(new_sockets);
        self.schedule_listener_retry();
        let context = self.context.switch.context();
        if let RetryResult::NeedsRestart(address) = result {
            tracing::warn!(
                "{address} is free again: exiting, so that systemd opens it and restarts the server"
            );
            context.control.stop();
        }
        if is_changed {
            let line = summary::line(&self.context.switch, &context.control.mode()).await;
            self.context.notifier.status(&line);
        }
    }

    /// Publishes the remark about missing listeners and schedules the next retry.
    fn schedule_listener_retry(&mut self) {
        let listeners = &self.context.listeners;
        self.context.switch.context().remark.store(listeners.remark().map(Arc::new));
        self.retry_listeners_at =
            (!listeners.is_complete()).then(|| Instant::now() + listeners::RETRY_INTERVAL);
    }

    /// Reads the file and applies the reloadable properties, or all of them if the server is broken.
    pub(super) async fn reload(&mut self) -> Result<ReloadResult, CommandError> {
        let control = self.context.switch.context().control.clone();
        self.context.notifier.reloading();
        let result = match control.mode() {
            Mode::Offline => Err(CommandError(
                "the server is offline; rspm online reads the whole configuration".to_owned(),
            )),
            Mode::Broken(_) | Mode::Starting(_) => match self.read_and_serve().await {
                Ok(mut warnings) => {
                    warnings.insert(
                        0,
                        "the whole configuration was read, and the server is online again".to_owned(),
                    );
                    Ok(ReloadResult { warnings, ..ReloadResult::default() })
                }
                Err((error, loaded)) => {
                    self.fail(&error, loaded);
                    Err(CommandError(error.to_string()))
                }
            },
            Mode::Online | Mode::Draining => self.apply().await,
        };
        match &result {
            Ok(reload_result) => reload::log_changes(reload_result),
            Err(error) => log_lines(&format!("the configuration was not reloaded: {error}")),
        }
        let line = summary::line(&self.context.switch, &control.mode()).await;
        self.context.notifier.ready(&line);
        result
    }

    async fn apply(&mut self) -> Result<ReloadResult, CommandError> {
        let (Some(running), Some(loaded)) = (&self.running, &self.loaded) else {
            return Err(CommandError("the server is not serving yet".to_owned()));
        };
        let file = configuration::load(&self.context.file)
            .map_err(|error| CommandError(format!("{}\nNothing was changed.", StartError::from(error))))?;
        let (loaded, reload_result) = reload::apply(&self.context, &running.app, loaded, &file).await?;
        let (db, cluster) = (running.app.state.db.clone(), self.context.switch.context().cluster.clone());
        if let Err(error) = cluster.set_configuration(&db, &loaded.settings).await {
            tracing::warn!(%error, "could not report the reloaded configuration to the other servers");
        }
        self.loaded = Some(loaded);
        Ok(reload_result)
    }

    /// Reads the whole file and starts serving. The error contains the configuration to retry, if it is valid.
    pub(super) async fn read_and_serve(&mut self) -> Result<Vec<String>, (StartError, Option<Loaded>)> {
        let loaded = configuration::load(&self.context.file).map_err(|e| (e.into(), None))?;
        self.serve(loaded.clone()).await.map_err(|error| (error, Some(loaded.clone())))?;
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        if ListenAddresses::from_config(&loaded.config) != self.context.addresses {
            warnings.push(format!("the listening addresses changed; to apply them, run: {RESTART_COMMAND}"));
        }
        Ok(warnings)
    }

    /// Starts the installed program and prepares the hand-over; on an error the server continues as before.
    async fn hand_over(&mut self) -> Result<ReadySuccessor, CommandError> {
        let mode = self.context.switch.context().control.mode();
        let ProcessContext { notifier, jobs, handover, .. } = &self.context;
        let (Some(running), Mode::Online) = (&mut self.running, &mode) else {
            return Err(self.refuse(&format!("the server is {}", mode.word())));
        };
        let result = handover.prepare(notifier, jobs, running).await;
        result.map_err(|reason| self.cancel_hand_over(&reason))
    }

    /// Makes a successor the main process. Fails with the reason why this process is still the main one.
    pub(super) async fn commit(
        &mut self,
        successor: ReadySuccessor,
        drain: &Drain,
    ) -> Result<Successor, String> {
        let Some(running) = &self.running else { return Err("the server is not serving".to_owned()) };
        let halted_syncs = running.app.sync.take_halted();
        // The schedule restarts its own jobs.
        let restarts = halted_syncs.iter().filter_map(|sync| {
            let (kind, version) = sync.target();
            let (kind, version) = (kind.to_string(), version.map(|version| version.to_string()));
            Some(SyncRestart { kind, version, actor: sync.administrator()?.to_owned() })
        });
        let (notifier, db) = (&self.context.notifier, &running.app.state.db);
        let result = successor.commit(notifier, db, drain, restarts.collect()).await;
        if result.is_err() {
            self.halted_syncs = halted_syncs;
        }
        result
    }

    /// Restarts the syncs that the old server halted for the hand-over.
    pub(super) fn restart_syncs(&self, syncs: &[SyncRestart]) {
        let Some(running) = &self.running else { return };
        for SyncRestart { kind, version, actor } in syncs {
            let version = version.as_ref().map(|version| version.parse()).transpose();
            if let (Ok(kind), Ok(version)) = (kind.parse(), version) {
                // Fails only for a source that is never synced, which the old server cannot name.
                let _ = running.app.sync.start_by(kind, version, actor);
            }
        }
    }

    /// Loads the transactions that were published during the start.
    pub(super) async fn refresh(&self) {
        if let Some(running) = &self.running
            && let Err(error) = running.app.state.catalog.refresh(&running.app.state.db).await
        {
            tracing::warn!("could not refresh the catalog after the start: {error}");
        }
    }

    /// Resumes the background tasks after a failed hand-over and reports the reason.
    pub(super) fn cancel_hand_over(&mut self, reason: &str) -> CommandError {
        self.resume();
        self.refuse(reason)
    }

    fn refuse(&self, reason: &str) -> CommandError {
        let version = env!("CARGO_PKG_VERSION");
        tracing::error!("upgrade refused, version {version} continues to serve: {reason}");
        self.context
            .notifier
            .status(&format!("upgrade refused, version {version} continues to serve: {reason}"));
        CommandError(reason.to_owned())
    }

    pub(super) fn stop(mut self) -> Option<Arc<App>> {
        self.running.take().map(|running| Arc::clone(&running.app))
    }
}
