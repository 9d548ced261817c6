//! Runs commands one after the other, and retries configurations and listeners that could not be used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::{StartError, log_lines};
use super::handover::incoming::Predecessor;
use super::handover::outgoing::{Handover, Prepared};
use super::listeners::{self, Listeners, RetryResult};
use super::logging::Logs;
use super::notify::Notifier;
use super::stores::SharedStores;
use super::{clock, environment, files, reload, stores};
use crate::config::{self, Config, Listen, Loaded};
use crate::control::{Command, CommandError, CommandResult, Mode, PendingCommand, Reloaded};
use crate::http::site::SiteSettings;
use crate::http::tls::Tls;
use crate::http::{App, Switch, summary};
use crate::jobs::Jobs;
use crate::storage::space;
use crate::sync::HaltedSync;
use crate::sync::task::Task;
use crate::upkeep;

/// Retry interval of a start that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// State that exists in every mode, for the lifetime of the process.
pub(super) struct ProcessContext {
    /// The configuration file.
    pub(super) file: PathBuf,
    /// Routes each request to the app, or answers 503.
    pub(super) switch: Switch,
    /// The logs.
    pub(super) logs: Logs,
    /// Certificate and key of the HTTPS listeners.
    pub(super) tls: Tls,
    /// Notifies systemd.
    pub(super) notifier: Notifier,
    /// Jobs of all apps.
    pub(super) jobs: Jobs,
    /// The addresses configured at the start.
    pub(super) addresses: ListenAddresses,
    /// What a hand-over passes to a successor.
    pub(super) handover: Handover,
    /// The listeners, open and missing.
    pub(super) listeners: Listeners,
    /// The old server, which may still finish its requests.
    pub(super) predecessor: Predecessor,
}

/// The addresses of a configuration, which only a restart applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenAddresses {
    http: Option<Listen>,
    https: Option<Listen>,
    redirect: Option<Listen>,
    metrics: Option<Listen>,
    admin: PathBuf,
}

impl ListenAddresses {
    /// The addresses in a configuration.
    pub(super) fn of(config: &Config) -> ListenAddresses {
        ListenAddresses {
            http: config.http.listen.clone(),
            https: config.https.listen.clone(),
            redirect: config.http_redirect.listen.clone(),
            metrics: config.metrics.listen.clone(),
            admin: config.server.sock_file_dir.clone(),
        }
    }
}

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

/// Owns the app and runs the commands.
pub(super) struct Supervisor {
    pub(super) context: ProcessContext,
    pub(super) running: Option<RunningApp>,
    /// The current configuration; while the server is broken, the one that is retried.
    pub(super) loaded: Option<Loaded>,
    /// Halted syncs, which resume when the server is online again.
    pub(super) halted: Vec<HaltedSync>,
    /// The old server's lock, for a first start next to a running server.
    shared_stores: Option<SharedStores>,
    retry_at: Option<Instant>,
    /// When missing listeners are retried.
    retry_listeners_at: Option<Instant>,
}

impl Supervisor {
    /// A supervisor with nothing open yet.
    pub(super) fn new(fixtures: ProcessContext, beside: Option<SharedStores>) -> Supervisor {
        let mut supervisor = Supervisor {
            context: fixtures,
            running: None,
            loaded: None,
            halted: Vec::new(),
            shared_stores: beside,
            retry_at: None,
            retry_listeners_at: None,
        };
        supervisor.schedule_listener_retry();
        supervisor
    }

    /// Starts serving for the first time. `patient`: responds with 503 and the reason instead of failing.
    pub(super) async fn start(
        &mut self,
        loaded: Result<Loaded, StartError>,
        patient: bool,
    ) -> Result<(), StartError> {
        let (error, again) = match loaded {
            Err(error) => (error, None),
            Ok(loaded) => match self.serve(loaded.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => (error, Some(loaded)),
            },
        };
        if !patient {
            return Err(error);
        }
        self.fail(&error, again);
        Ok(())
    }

    /// Opens everything in a configuration except the listeners, and serves. On an error nothing has changed.
    pub(super) async fn serve(&mut self, loaded: Loaded) -> Result<(), StartError> {
        if let Some(why) = self.context.listeners.fault() {
            return Err(StartError::NoListener(why));
        }
        let ProcessContext { switch, logs, tls, jobs, .. } = &self.context;
        let config = Arc::clone(&loaded.config);
        let warnings = files::prepare(&self.context.file, &loaded)?;
        let fresh = reload::open_tls(&config)?;
        let control = &switch.context().control;
        let starting = matches!(control.mode(), Mode::Starting(_));
        if !starting {
            // At the start the warnings are logged before threads are started.
            warnings.iter().for_each(|line| tracing::warn!("{line}"));
        }
        let say = |what| {
            if starting {
                control.set_mode(Mode::Starting(what));
            }
        };
        let beside = self.shared_stores.take();
        let app = stores::open(&config, switch.context(), jobs, beside, say).await?;
        logs.configure(&config);
        tls.replace(&fresh);
        switch.context().site.store(Arc::new(SiteSettings::new(&config)));
        switch.set_app(Arc::clone(&app));
        jobs.halt(false);
        for halted in std::mem::take(&mut self.halted) {
            app.sync.resume(halted);
        }
        self.running = Some(RunningApp::start(app, self.context.predecessor.clone()));
        self.loaded = Some(loaded);
        self.retry_at = None;
        control.set_mode(Mode::Online);
        Ok(())
    }

    /// Responds with 503 and the reason from now on, and retries `loaded` periodically.
    pub(super) fn fail(&mut self, error: &StartError, loaded: Option<Loaded>) {
        let control = &self.context.switch.context().control;
        let broken = Mode::Broken(error.fault());
        if control.mode() != broken {
            log_lines(&error.to_string());
            if error.fault().reachable {
                tracing::error!(
                    "every request gets 503 until this is fixed; then run: systemctl reload rstudio-pm"
                );
            }
            control.set_mode(broken);
        }
        self.retry_at = loaded.is_some().then(|| Instant::now() + RETRY_INTERVAL);
        self.loaded = loaded;
    }

    /// Cancels the retries.
    pub(super) fn cancel_retries(&mut self) {
        self.retry_at = None;
        self.loaded = None;
    }

    /// Runs commands until the channel is closed or a successor is ready. Can be cancelled at any point; then
    /// [`Supervisor::stop`] ends everything.
    pub(super) async fn run_commands(
        &mut self,
        orders: &mut mpsc::Receiver<PendingCommand>,
    ) -> Option<Prepared> {
        loop {
            let due = self.retry_at.into_iter().chain(self.retry_listeners_at).min();
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => {
                    let order = order?;
                    let outcome = match &order.command {
                        Command::Reload => self.reload().await.map(CommandResult::Reloaded),
                        Command::Offline { timeout } => self.offline(*timeout, || order.is_abandoned()).await.map(CommandResult::ModeChanged),
                        Command::Online => self.online().await.map(CommandResult::ModeChanged),
                        Command::HandOver => match self.hand_over().await {
                            Ok(prepared) => return Some(prepared),
                            Err(refused) => Err(refused),
                        },
                    };
                    order.answer(outcome);
                }
                () = due => self.retry().await,
            }
        }
    }

    async fn retry(&mut self) {
        self.open_missing().await;
        if self.retry_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let Some(loaded) = self.loaded.clone() else { return };
        match self.serve(loaded.clone()).await {
            Ok(()) => tracing::info!("the retry succeeded: online"),
            Err(error) => self.fail(&error, Some(loaded)),
        }
    }

    /// Retries missing listeners when that is due.
    async fn open_missing(&mut self) {
        if self.retry_listeners_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let (opened, outcome) = self.context.listeners.retry();
        let changed = !opened.is_empty();
        self.context.handover.add(opened);
        self.schedule_listener_retry();
        let shared = self.context.switch.context();
        if let RetryResult::NeedsRestart(address) = outcome {
            tracing::warn!(
                "{address} is free again: exiting, so that systemd opens it and restarts the server"
            );
            shared.control.stop();
        }
        if changed {
            let line = summary::line(&self.context.switch, &shared.control.mode()).await;
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
    async fn reload(&mut self) -> Result<Reloaded, CommandError> {
        let control = self.context.switch.context().control.clone();
        self.context.notifier.reloading();
        let outcome = match control.mode() {
            Mode::Offline => Err(CommandError(
                "the server is offline; rspm online reads the whole configuration".to_owned(),
            )),
            Mode::Broken(_) | Mode::Starting(_) => match self.read_and_serve().await {
                Ok(mut warnings) => {
                    warnings.insert(
                        0,
                        "the whole configuration was read, and the server is online again".to_owned(),
                    );
                    Ok(Reloaded { warnings, ..Reloaded::default() })
                }
                Err((error, loaded)) => {
                    self.fail(&error, loaded);
                    Err(CommandError(error.to_string()))
                }
            },
            Mode::Online | Mode::GoingOffline => self.apply().await,
        };
        match &outcome {
            Ok(reloaded) => reload::log_changes(reloaded),
            Err(why) => log_lines(&format!("the configuration was not reloaded: {why}")),
        }
        let line = summary::line(&self.context.switch, &control.mode()).await;
        self.context.notifier.ready(&line);
        outcome
    }

    async fn apply(&mut self) -> Result<Reloaded, CommandError> {
        let (Some(life), Some(running)) = (&self.running, &self.loaded) else {
            return Err(CommandError("the server is not serving yet".to_owned()));
        };
        let file = config::load(&self.context.file, environment())
            .map_err(|error| CommandError(format!("{}\nNothing was changed.", StartError::from(error))))?;
        let (loaded, reloaded) = reload::apply(&self.context, &life.app, running, &file).await?;
        self.loaded = Some(loaded);
        Ok(reloaded)
    }

    /// Reads the whole file and starts serving. The error comes with the configuration to retry, if it is valid.
    pub(super) async fn read_and_serve(&mut self) -> Result<Vec<String>, (StartError, Option<Loaded>)> {
        let loaded = config::load(&self.context.file, environment()).map_err(|e| (e.into(), None))?;
        self.serve(loaded.clone()).await.map_err(|error| (error, Some(loaded.clone())))?;
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        if ListenAddresses::of(&loaded.config) != self.context.addresses {
            warnings.push(
                "the listening addresses changed; they need: systemctl daemon-reload && systemctl restart \
                 rstudio-pm"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    /// Stops the background tasks and returns the app.
    pub(super) fn stop(mut self) -> Option<Arc<App>> {
        self.running.take().map(|life| Arc::clone(&life.app))
    }
}
