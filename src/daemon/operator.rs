//! Runs commands one after the other, and retries configurations and listeners that could not be used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fault::{StartError, log_lines};
use super::handover::giving::{Giving, Prepared};
use super::handover::taking::Predecessor;
use super::herald::Herald;
use super::listeners::{self, Listeners, Outcome};
use super::logging::Logs;
use super::stores::Beside;
use super::{clock, environment, files, reload, stores};
use crate::config::{self, Config, Listen, Loaded};
use crate::control::{Command, Done, Mode, Order, Refused, Reloaded};
use crate::http::response::Site;
use crate::http::tls::Tls;
use crate::http::{App, Switch, summary};
use crate::jobs::Jobs;
use crate::storage::space;
use crate::sync::Halted;

/// Retry interval of a start that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// State that exists in every mode, for the lifetime of the process.
pub(super) struct Fixtures {
    /// The configuration file.
    pub(super) file: PathBuf,
    /// Routes each request to the app, or answers 503.
    pub(super) switch: Switch,
    /// The logs.
    pub(super) logs: Logs,
    /// Certificate and key of the HTTPS listeners.
    pub(super) tls: Tls,
    /// Notifies systemd.
    pub(super) herald: Herald,
    /// Jobs of all apps.
    pub(super) jobs: Jobs,
    /// The addresses configured at the start.
    pub(super) listening: Listening,
    /// What a hand-over passes to a successor.
    pub(super) giving: Giving,
    /// The listeners, open and missing.
    pub(super) listeners: Listeners,
    /// The old server, which may still finish its requests.
    pub(super) predecessor: Predecessor,
}

/// The addresses of a configuration, which only a restart applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    http: Option<Listen>,
    https: Option<Listen>,
    redirect: Option<Listen>,
    metrics: Option<Listen>,
    admin: PathBuf,
}

impl Listening {
    /// The addresses in a configuration.
    pub(super) fn of(config: &Config) -> Listening {
        Listening {
            http: config.http.listen.clone(),
            https: config.https.listen.clone(),
            redirect: config.http_redirect.listen.clone(),
            metrics: config.metrics.listen.clone(),
            admin: config.server.sock_file_dir.clone(),
        }
    }
}

/// An app that serves requests, and its background tasks.
pub(super) struct Life {
    /// Serves the requests.
    pub(super) app: Arc<App>,
    predecessor: Predecessor,
    tasks: Vec<JoinHandle<()>>,
}

impl Life {
    /// Wraps an app and starts its background tasks.
    pub(super) fn begin(app: Arc<App>, predecessor: Predecessor) -> Life {
        let mut life = Life { app, predecessor, tasks: Vec::new() };
        life.run();
        life
    }

    /// Starts schedules and nightly work, until [`Life::pause`].
    pub(super) fn run(&mut self) {
        let (sync, repo, usage) = (self.app.sync.clone(), self.app.repo.clone(), self.app.usage.clone());
        let (rules, advisories) = (sync.clone(), sync.clone());
        let (past, bioconductor) = (sync.clone(), sync.clone());
        let comparing = repo.clone();
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
        self.tasks.extend([
            tokio::spawn(async move { sync.run_schedules().await }),
            tokio::spawn(async move { bioconductor.run_bioconductor().await }),
            tokio::spawn(async move { rules.run_requirements().await }),
            tokio::spawn(async move { past.run_backfills().await }),
            tokio::spawn(async move { advisories.run_advisories().await }),
            tokio::spawn(async move { usage.run_schedule().await }),
            tokio::spawn(clock::watch(self.app.repo.clone())),
            tokio::spawn(async move { comparing.run_comparisons().await }),
            tokio::spawn(async move {
                repo.claim_storage().await;
                // The old server may still add references to files that are unreferenced now.
                before.gone().await;
                repo.run_nightly().await;
            }),
            tokio::spawn(async move {
                predecessor.mind(&state.catalog, &state.db).await;
                state.catalog.follow(&state.db).await;
            }),
        ]);
    }

    /// Stops the background tasks.
    pub(super) fn pause(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.pause();
    }
}

/// Owns the app and runs the commands.
pub(super) struct Operator {
    pub(super) fixtures: Fixtures,
    pub(super) life: Option<Life>,
    /// The current configuration; while the server is broken, the one that is retried.
    pub(super) loaded: Option<Loaded>,
    /// Halted syncs, which resume when the server is online again.
    pub(super) halted: Vec<Halted>,
    /// The old server's lock, for a first start next to a running server.
    beside: Option<Beside>,
    again: Option<Instant>,
    /// When missing listeners are retried.
    retry: Option<Instant>,
}

impl Operator {
    /// A supervisor with nothing open yet.
    pub(super) fn new(fixtures: Fixtures, beside: Option<Beside>) -> Operator {
        let mut operator = Operator {
            fixtures,
            life: None,
            loaded: None,
            halted: Vec::new(),
            beside,
            again: None,
            retry: None,
        };
        operator.after_listeners();
        operator
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
        if let Some(why) = self.fixtures.listeners.fault() {
            return Err(StartError::NoListener(why));
        }
        let Fixtures { switch, logs, tls, jobs, .. } = &self.fixtures;
        let config = Arc::clone(&loaded.config);
        let warnings = files::prepare(&self.fixtures.file, &loaded)?;
        let fresh = reload::open_tls(&config)?;
        let control = &switch.porch().control;
        let starting = matches!(control.mode(), Mode::Starting(_));
        if !starting {
            // At the start the warnings are logged before threads are started.
            warnings.iter().for_each(|line| tracing::warn!("{line}"));
        }
        let say = |what| {
            if starting {
                control.enter(Mode::Starting(what));
            }
        };
        let beside = self.beside.take();
        let app = stores::open(&config, switch.porch(), jobs, beside, say).await?;
        logs.configure(&config);
        tls.replace(&fresh);
        switch.porch().site.store(Arc::new(Site::new(&config)));
        switch.open(Arc::clone(&app));
        jobs.halt(false);
        for halted in std::mem::take(&mut self.halted) {
            app.sync.go_on(halted);
        }
        self.life = Some(Life::begin(app, self.fixtures.predecessor.clone()));
        self.loaded = Some(loaded);
        self.again = None;
        control.enter(Mode::Online);
        Ok(())
    }

    /// Responds with 503 and the reason from now on, and retries `loaded` periodically.
    pub(super) fn fail(&mut self, error: &StartError, loaded: Option<Loaded>) {
        let control = &self.fixtures.switch.porch().control;
        let broken = Mode::Broken(error.fault());
        if control.mode() != broken {
            log_lines(&error.to_string());
            if error.fault().reachable {
                tracing::error!(
                    "every request gets 503 until this is fixed; then run: systemctl reload rstudio-pm"
                );
            }
            control.enter(broken);
        }
        self.again = loaded.is_some().then(|| Instant::now() + AGAIN);
        self.loaded = loaded;
    }

    /// Cancels the retries.
    pub(super) fn forget(&mut self) {
        self.again = None;
        self.loaded = None;
    }

    /// Runs commands until the channel is closed or a successor is ready. Can be cancelled at any point; then
    /// [`Operator::end`] ends everything.
    pub(super) async fn work(&mut self, orders: &mut mpsc::Receiver<Order>) -> Option<Prepared> {
        loop {
            let due = self.again.into_iter().chain(self.retry).min();
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
                        Command::Reload => self.reload().await.map(Done::Reloaded),
                        Command::Offline { timeout } => self.offline(*timeout, || order.is_abandoned()).await.map(Done::Moved),
                        Command::Online => self.online().await.map(Done::Moved),
                        Command::HandOver => match self.hand_over().await {
                            Ok(prepared) => return Some(prepared),
                            Err(refused) => Err(refused),
                        },
                    };
                    order.answer(outcome);
                }
                () = due => self.try_again().await,
            }
        }
    }

    async fn try_again(&mut self) {
        self.open_missing().await;
        if self.again.is_none_or(|at| at > Instant::now()) {
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
        if self.retry.is_none_or(|at| at > Instant::now()) {
            return;
        }
        let (opened, outcome) = self.fixtures.listeners.retry();
        let changed = !opened.is_empty();
        self.fixtures.giving.add(opened);
        self.after_listeners();
        let porch = self.fixtures.switch.porch();
        if let Outcome::NeedsRestart(address) = outcome {
            tracing::warn!(
                "{address} is free again: exiting, so that systemd opens it and restarts the server"
            );
            porch.control.stop();
        }
        if changed {
            let line = summary::line(&self.fixtures.switch, &porch.control.mode()).await;
            self.fixtures.herald.status(&line);
        }
    }

    /// Publishes the remark about missing listeners and schedules the next retry.
    fn after_listeners(&mut self) {
        let listeners = &self.fixtures.listeners;
        self.fixtures.switch.porch().remark.store(listeners.remark().map(Arc::new));
        self.retry = (!listeners.is_complete()).then(|| Instant::now() + listeners::AGAIN);
    }

    /// Reads the file and applies the reloadable properties, or all of them if the server is broken.
    async fn reload(&mut self) -> Result<Reloaded, Refused> {
        let control = self.fixtures.switch.porch().control.clone();
        self.fixtures.herald.reloading();
        let outcome = match control.mode() {
            Mode::Offline => {
                Err(Refused("the server is offline; rspm online reads the whole configuration".to_owned()))
            }
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
                    Err(Refused(error.to_string()))
                }
            },
            Mode::Online | Mode::Leaving => self.apply().await,
        };
        match &outcome {
            Ok(reloaded) => reload::tell(reloaded),
            Err(why) => log_lines(&format!("the configuration was not reloaded: {why}")),
        }
        let line = summary::line(&self.fixtures.switch, &control.mode()).await;
        self.fixtures.herald.ready(&line);
        outcome
    }

    async fn apply(&mut self) -> Result<Reloaded, Refused> {
        let (Some(life), Some(running)) = (&self.life, &self.loaded) else {
            return Err(Refused("the server is not serving yet".to_owned()));
        };
        let file = config::load(&self.fixtures.file, environment())
            .map_err(|error| Refused(format!("{}\nNothing was changed.", StartError::from(error))))?;
        let (loaded, reloaded) = reload::apply(&self.fixtures, &life.app, running, &file).await?;
        self.loaded = Some(loaded);
        Ok(reloaded)
    }

    /// Reads the whole file and starts serving. The error comes with the configuration to retry, if it is valid.
    pub(super) async fn read_and_serve(&mut self) -> Result<Vec<String>, (StartError, Option<Loaded>)> {
        let loaded = config::load(&self.fixtures.file, environment()).map_err(|e| (e.into(), None))?;
        self.serve(loaded.clone()).await.map_err(|error| (error, Some(loaded.clone())))?;
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        if Listening::of(&loaded.config) != self.fixtures.listening {
            warnings.push(
                "the listening addresses changed; they need: systemctl daemon-reload && systemctl restart \
                 rstudio-pm"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    /// Stops the background tasks and returns the app.
    pub(super) fn end(mut self) -> Option<Arc<App>> {
        self.life.take().map(|life| Arc::clone(&life.app))
    }
}
