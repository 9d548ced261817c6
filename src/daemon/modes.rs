//! Switches offline (drain, close the stores) and online (open them with the current configuration).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fault::log_lines;
use super::operator::Operator;
use super::stores;
use crate::control::{Mode, Refused, Work};
use crate::http::App;

/// Polling interval for the end of requests and jobs.
const LOOK: Duration = Duration::from_millis(20);

const OFFLINE: &str = "The server is offline. Bring it back with: rspm online";

impl Operator {
    /// Drains requests and jobs, closes the stores, and responds with 503 from then on. Jobs have half of the time to
    /// end by themselves, then they are halted at a safe point.
    ///
    /// # Errors
    /// `timeout` expired or the client disconnected before the drain was complete: then the server continues to serve.
    pub(super) async fn offline(
        &mut self,
        timeout: Duration,
        abandoned: impl Fn() -> bool,
    ) -> Result<String, Refused> {
        let control = self.fixtures.switch.porch().control.clone();
        let Some(mut life) = self.life.take() else {
            // Nothing is open; cancels the retries.
            let said = match control.mode() {
                Mode::Offline => "The server is offline already. Bring it back with: rspm online",
                Mode::Broken(_) | Mode::Starting(_) | Mode::Online | Mode::Leaving => OFFLINE,
            };
            self.forget();
            control.enter(Mode::Offline);
            return Ok(said.to_owned());
        };
        tracing::info!("going offline: draining for up to {} seconds", timeout.as_secs());
        control.enter(Mode::Leaving);
        life.pause();
        let app = Arc::clone(&life.app);
        self.life = Some(life);
        let deadline = Instant::now() + timeout;
        let over = || Instant::now() >= deadline || abandoned();
        let finished = self.finish(app, timeout / 2, over).await;
        let work = control.work();
        control.report(Work::default());
        match finished {
            Some(app) => {
                stores::close(&app).await;
                self.life = None;
                self.forget();
                control.enter(Mode::Offline);
                tracing::info!("offline");
                Ok(OFFLINE.to_owned())
            }
            None => {
                self.go_on();
                if abandoned() {
                    tracing::warn!(
                        "online again: the client of the offline request disconnected; still running: {work}"
                    );
                    return Err(Refused("offline request cancelled: the client disconnected".to_owned()));
                }
                let why = format!(
                    "the server is not offline after {} seconds; still running: {work}. It stays online; extend the time \
                     with: rspm offline --timeout",
                    timeout.as_secs()
                );
                tracing::warn!("{why}");
                Err(Refused(why))
            }
        }
    }

    /// Waits until requests and jobs have ended and returns the app; `None` if `over` becomes true first.
    async fn finish(
        &mut self,
        app: Arc<App>,
        by_itself: Duration,
        over: impl Fn() -> bool,
    ) -> Option<Arc<App>> {
        let switch = self.fixtures.switch.clone();
        let report = |app: &Arc<App>, ours: usize| {
            let work = work(app, ours);
            let idle = work.is_empty();
            if switch.porch().control.work() != work {
                switch.porch().control.report(work);
            }
            idle
        };
        report(&app, 3);
        let jobs = self.fixtures.jobs.clone();
        let own = Instant::now() + by_itself;
        // Requests are served while jobs end.
        while Instant::now() < own && !over() && jobs.is_worth_waiting() {
            report(&app, 3);
            tokio::time::sleep(LOOK).await;
        }
        if over() && !jobs.running().is_empty() {
            return None;
        }
        jobs.halt(true);
        while !jobs.running().is_empty() {
            report(&app, 3);
            if over() {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
        drop(switch.shut());
        // From here on new requests get 503; earlier ones are completed. A last request may start a sync.
        loop {
            if report(&app, 2) {
                self.keep_halted(&app);
                return Some(app);
            }
            if over() {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Resumes serving.
    pub(super) fn go_on(&mut self) {
        let Some(life) = &mut self.life else { return };
        let app = Arc::clone(&life.app);
        self.fixtures.switch.open(Arc::clone(&app));
        // Before the tasks start: a back-fill that resumes by itself must not be halted again.
        self.fixtures.jobs.halt(false);
        life.run();
        self.keep_halted(&app);
        for halted in std::mem::take(&mut self.halted) {
            app.sync.go_on(halted);
        }
        self.fixtures.switch.porch().control.enter(Mode::Online);
    }

    fn keep_halted(&mut self, app: &App) {
        self.halted.extend(app.sync.halted());
    }

    /// Reads the whole configuration and starts serving.
    ///
    /// # Errors
    /// Something in the configuration cannot be used; the mode does not change.
    pub(super) async fn online(&mut self) -> Result<String, Refused> {
        let control = self.fixtures.switch.porch().control.clone();
        if self.life.is_some() {
            return Ok("The server is online already.".to_owned());
        }
        let before = control.mode();
        match self.read_and_serve().await {
            Ok(warnings) => {
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("online");
                let notes: String = warnings.iter().map(|warning| format!("\nNote: {warning}")).collect();
                Ok(format!("The server is online.{notes}"))
            }
            Err((error, loaded)) => match before {
                Mode::Broken(_) => {
                    self.fail(&error, loaded);
                    Err(Refused(error.to_string()))
                }
                Mode::Starting(_) | Mode::Online | Mode::Leaving | Mode::Offline => {
                    control.enter(Mode::Offline);
                    log_lines(&format!("still offline: {error}"));
                    Err(Refused(format!("{error}\nThe server stays offline.")))
                }
            },
        }
    }
}

/// The requests and jobs that use an app; `ours` references are held here and not counted.
fn work(app: &Arc<App>, ours: usize) -> Work {
    let mut jobs: Vec<String> = app.state.jobs.running().into_iter().map(|job| job.key).collect();
    match app.repo.fetching() {
        0 => {}
        1 => jobs.push("1 download from a mirror".to_owned()),
        n => jobs.push(format!("{n} downloads from mirrors")),
    }
    Work { requests: Arc::strong_count(app).saturating_sub(ours), jobs }
}
