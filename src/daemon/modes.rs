//! Offline and online: finish, close, and open again by another configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fault::log_lines;
use super::operator::Operator;
use super::stores;
use crate::control::{Mode, Refused, Work};
use crate::http::App;

/// How often it is looked whether requests have ended.
const LOOK: Duration = Duration::from_millis(20);

const OFFLINE: &str = "The server is offline. Bring it back with: rspm online";

impl Operator {
    /// Finishes what is under way, closes the stores, and answers 503 from then on. Jobs have half of the time to end
    /// by themselves, and are halted at a safe point then.
    ///
    /// # Errors
    /// Something was still under way at the end of `timeout`, or nobody waited any more: then the server goes on as if
    /// nothing had been asked.
    pub(super) async fn offline(
        &mut self,
        timeout: Duration,
        abandoned: impl Fn() -> bool,
    ) -> Result<String, Refused> {
        let control = self.fixtures.switch.porch().control.clone();
        let Some(mut life) = self.life.take() else {
            // Nothing is open, and nothing is to be tried again.
            let said = match control.mode() {
                Mode::Offline => "The server is offline already. Bring it back with: rspm online",
                Mode::Broken(_) | Mode::Starting(_) | Mode::Online | Mode::Leaving => OFFLINE,
            };
            self.forget();
            control.enter(Mode::Offline);
            return Ok(said.to_owned());
        };
        tracing::info!("going offline; what is under way has {} seconds", timeout.as_secs());
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
                    tracing::warn!("online again: whoever asked for offline did not wait for {work}");
                    return Err(Refused("nobody waited for it".to_owned()));
                }
                let why = format!(
                    "the server is not offline after {} seconds: still under way: {work}. It is online and goes on; \
                     give it longer with: rspm offline --timeout",
                    timeout.as_secs()
                );
                tracing::warn!("{why}");
                Err(Refused(why))
            }
        }
    }

    /// Returns the app when nobody uses it any more.
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
        // Answering goes on while jobs end.
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
        // From here on whoever comes gets 503; who came before is answered. A last answer may begin a sync.
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

    /// Serves as before.
    pub(super) fn go_on(&mut self) {
        let Some(life) = &mut self.life else { return };
        let app = Arc::clone(&life.app);
        self.fixtures.switch.open(Arc::clone(&app));
        // First of all: a back-fill that goes on by itself is not to be halted again.
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

    /// Reads the whole configuration and serves.
    ///
    /// # Errors
    /// What cannot be used; the server stays as it is.
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
                    // Opening told what it was doing.
                    control.enter(Mode::Offline);
                    log_lines(&format!("still offline: {error}"));
                    Err(Refused(format!("{error}\nThe server stays offline.")))
                }
            },
        }
    }
}

/// What uses an app, its `ours` holders here excepted.
fn work(app: &Arc<App>, ours: usize) -> Work {
    let mut jobs: Vec<String> = app.state.jobs.running().into_iter().map(|job| job.key).collect();
    match app.repo.fetching() {
        0 => {}
        1 => jobs.push("1 download from a mirror".to_owned()),
        n => jobs.push(format!("{n} downloads from mirrors")),
    }
    Work { requests: Arc::strong_count(app).saturating_sub(ours), jobs }
}
