//! Switches offline (drain, close the stores) and online (open them with the current configuration).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::log_lines;
use super::supervisor::Supervisor;
use super::{audit, stores};
use crate::http::App;
use runtime::cluster;
use runtime::control::{ActiveWork, CommandError, Mode, PendingCommand};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Minimum time for [`Supervisor::offline`]: the request of the command is itself still running when it begins.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

const OFFLINE: &str = "The server is offline. To serve again, run: rspm online";

impl Supervisor {
    /// Drains requests and jobs, closes the stores, and responds with 503 from then on. Jobs may complete for
    /// half of `timeout`, then they are halted at a safe point. During `Server.DrainDelay`, at most half of
    /// `timeout`, only health checks fail. Errors: `timeout` expired or the client disconnected before the
    /// end of the drain; the server continues to serve.
    pub(super) async fn offline(
        &mut self,
        timeout: Duration,
        pending: &PendingCommand,
    ) -> Result<String, CommandError> {
        let control = self.context.switch.context().control.clone();
        let Some(mut running) = self.running.take() else {
            // Nothing is open; cancels the retries.
            let message = match control.mode() {
                Mode::Offline => "The server is offline already. To serve again, run: rspm online",
                Mode::Broken(_) | Mode::Starting(_) | Mode::Online | Mode::Draining => OFFLINE,
            };
            self.cancel_retries();
            control.set_mode(Mode::Offline);
            return Ok(message.to_owned());
        };
        let timeout = timeout.max(MIN_TIMEOUT);
        tracing::info!("going offline: draining for up to {} seconds", timeout.as_secs());
        control.set_mode(Mode::Draining);
        running.pause();
        let app = Arc::clone(&running.app);
        self.running = Some(running);
        let delay = app.state.config.load().server.drain_delay.min(timeout / 2);
        if !delay.is_zero() {
            tracing::info!(
                "going offline: /__ping__ responds with 503 for {} s before requests are refused",
                delay.as_secs_f64()
            );
        }
        control.set_stopping(!delay.is_zero());
        let deadline = Instant::now() + timeout;
        let is_over = || Instant::now() >= deadline || pending.is_abandoned();
        let idle_app = self.drain(app, timeout / 2, delay, is_over).await;
        control.set_stopping(false);
        let work = control.work();
        control.set_work(ActiveWork::default());
        match idle_app {
            Some(app) => {
                let node = self.context.switch.context().cluster.name().to_owned();
                audit::record(&app.state.db, pending, "offline", node).await;
                cluster::storage::leave(&self.context.switch.context().cluster).await;
                stores::close(&app).await;
                self.running = None;
                self.cancel_retries();
                control.set_mode(Mode::Offline);
                tracing::info!("the server is offline");
                Ok(OFFLINE.to_owned())
            }
            None => {
                self.resume();
                if pending.is_abandoned() {
                    tracing::warn!(
                        "offline request cancelled: its client disconnected; the server is online again; still running: {work}"
                    );
                    return Err(CommandError(
                        "offline request cancelled: the client disconnected".to_owned(),
                    ));
                }
                let message = format!(
                    "the server is not offline after {} seconds; still running: {work}. It stays online; extend the time \
                     with: rspm offline --timeout",
                    timeout.as_secs()
                );
                tracing::warn!("{message}");
                Err(CommandError(message))
            }
        }
    }

    /// Waits until requests and jobs have ended and returns the app; `None` if `is_over` becomes true first.
    /// New requests are served for at least `delay`.
    async fn drain(
        &mut self,
        app: Arc<App>,
        grace_period: Duration,
        delay: Duration,
        is_over: impl Fn() -> bool,
    ) -> Option<Arc<App>> {
        let switch = self.context.switch.clone();
        let report = |app: &Arc<App>, own_references: usize| {
            let work = work(app, own_references);
            let is_idle = work.is_empty();
            if switch.context().control.work() != work {
                switch.context().control.set_work(work);
            }
            is_idle
        };
        // Three references belong to no request: `app`, `self.running`, and that in the switch until `take_app`.
        report(&app, 3);
        let jobs = self.context.jobs.clone();
        let (halt_time, refusal_time) = (Instant::now() + grace_period, Instant::now() + delay);
        // Requests are served while jobs end.
        while Instant::now() < halt_time && !is_over() && jobs.has_restarting() {
            report(&app, 3);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        if is_over() && !jobs.running().is_empty() {
            return None;
        }
        jobs.halt(true);
        while !jobs.running().is_empty() {
            report(&app, 3);
            if is_over() {
                return None;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        while Instant::now() < refusal_time {
            report(&app, 3);
            if is_over() {
                return None;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        drop(switch.take_app());
        // New requests get 503 now; earlier ones are completed, and may still start a sync.
        loop {
            if report(&app, 2) {
                self.collect_halted(&app);
                return Some(app);
            }
            if is_over() {
                return None;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub(super) fn resume(&mut self) {
        let Some(running) = &mut self.running else { return };
        let app = Arc::clone(&running.app);
        self.context.switch.set_app(Arc::clone(&app));
        // Before the tasks start, because the back-fill, which they resume, must not be halted again.
        self.context.jobs.halt(false);
        running.run();
        self.collect_halted(&app);
        for sync in std::mem::take(&mut self.halted_syncs) {
            app.sync.resume(sync);
        }
        self.context.switch.context().control.set_mode(Mode::Online);
    }

    /// Replaces the app by one with empty caches; the old one completes its requests, and serves on after an error.
    pub(super) async fn reopen(&mut self) -> Result<String, CommandError> {
        let mode = self.context.switch.context().control.mode();
        let (Mode::Online, Some(loaded)) = (&mode, self.loaded.clone()) else {
            return Err(CommandError(format!("the server is {}", mode.word())));
        };
        let Some(mut old) = self.running.take() else {
            return Err(CommandError("the server is not serving".to_owned()));
        };
        old.pause();
        match self.serve(loaded).await {
            Ok(()) => {
                old.app.usage.close().await;
                Ok("reopened the database and the storage".to_owned())
            }
            Err(error) => {
                old.run();
                self.running = Some(old);
                Err(CommandError(error.to_string()))
            }
        }
    }

    fn collect_halted(&mut self, app: &App) {
        self.halted_syncs.extend(app.sync.take_halted());
    }

    /// Reads the whole configuration and starts serving; an error does not change the mode.
    pub(super) async fn online(&mut self) -> Result<String, CommandError> {
        let control = self.context.switch.context().control.clone();
        if self.running.is_some() {
            return Ok("The server is online already.".to_owned());
        }
        let previous_mode = control.mode();
        match self.read_and_serve().await {
            Ok(warnings) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("the server is online");
                let notes: String = warnings.iter().map(|warning| format!("\nNote: {warning}")).collect();
                Ok(format!("The server is online.{notes}"))
            }
            Err((error, loaded)) => match previous_mode {
                Mode::Broken(_) => {
                    self.fail(&error, loaded);
                    Err(CommandError(error.to_string()))
                }
                Mode::Starting(_) | Mode::Online | Mode::Draining | Mode::Offline => {
                    control.set_mode(Mode::Offline);
                    log_lines(&format!("could not go online: {error}"));
                    Err(CommandError(format!("{error}\nThe server stays offline.")))
                }
            },
        }
    }
}

/// The requests and jobs that use an app. `own_references` are not counted as requests.
fn work(app: &Arc<App>, own_references: usize) -> ActiveWork {
    let mut jobs: Vec<String> = app.state.jobs.running().into_iter().map(|job| job.key).collect();
    match app.fetches.count() {
        0 => {}
        1 => jobs.push("1 download from a mirror".to_owned()),
        n => jobs.push(format!("{n} downloads from mirrors")),
    }
    ActiveWork { requests: Arc::strong_count(app).saturating_sub(own_references), jobs }
}
