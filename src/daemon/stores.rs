//! Opens and closes the stores of the app.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use super::clock;
use super::fault::StartError;
use crate::catalog::Live;
use crate::config::Config;
use crate::db::Db;
use crate::http::budget::AnswerBudget;
use crate::http::served::Book;
use crate::http::warm::Warm;
use crate::http::{App, Porch};
use crate::jobs::Jobs;
use crate::model::time::{Clock, Timestamp};
use crate::repo::Repo;
use crate::state::State;
use crate::storage::Storage;
use crate::sync::Sync;
use crate::upstream::Upstream;
use crate::usage::Usage;

/// An old server that still uses the same stores.
pub(super) struct Beside {
    /// Its lock of the database.
    pub(super) lock: Option<OwnedFd>,
}

/// Opens the stores of a configuration and builds the app. Background tasks are not started yet.
///
/// `say` is called with the current step, to report the progress of a long start.
pub(super) async fn open(
    config: &Arc<Config>,
    porch: &Porch,
    jobs: &Jobs,
    beside: Option<Beside>,
    say: impl Fn(&'static str),
) -> Result<Arc<App>, StartError> {
    say("opening the database and migrating its schema");
    let opening = Arc::clone(config);
    // Opening the database blocks, so it runs on a separate thread.
    let db = move || match beside {
        None => Db::open(&opening),
        Some(Beside { lock }) => Db::open_beside(&opening, lock),
    };
    let db = match tokio::task::spawn_blocking(db).await {
        Ok(db) => db?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    say("opening the storage and reading the catalog");
    let opened = on(config, porch, jobs, db.clone()).await;
    if opened.is_err() {
        close_db(db).await;
    }
    opened
}

async fn on(config: &Arc<Config>, porch: &Porch, jobs: &Jobs, db: Db) -> Result<Arc<App>, StartError> {
    let storage = Storage::open(&config.storage).await?;
    storage.wait_for_comparison();
    let upstream = Upstream::new(&config.proxy)?;
    let catalog = Live::open(&db).await?;
    let state = Arc::new(State::new(
        Arc::clone(config),
        db,
        storage,
        upstream,
        catalog,
        jobs.clone(),
        porch.clock.clone(),
    ));
    let sync = Sync::new(Arc::clone(&state));
    sync.recover().await?;
    // Concurrently with the start: requests for requirements or vulnerabilities wait for them.
    tokio::spawn(sync.load_rules());
    tokio::spawn(sync.report_directories());
    tokio::spawn(sync.load_advisories());
    let repo = Repo::new(Arc::clone(&state));
    clock::believe(&repo).await;
    repo.on_stale({
        let sync = sync.clone();
        move |tree| sync.mismatch(tree)
    });
    let usage = Usage::start(&state);
    Ok(Arc::new(App {
        repo,
        sync,
        state,
        site: Arc::clone(&porch.site),
        limits: porch.limits.clone(),
        warm: Warm::default(),
        answers: AnswerBudget::default(),
        book: Book::new(porch.service.clone(), usage.clone()),
        usage,
    }))
}

/// Closes the stores of [`open`]: flushes the usage counters and finishes queued transactions.
pub(super) async fn close(app: &App) {
    app.usage.close().await;
    close_db(app.state.db.clone()).await;
}

async fn close_db(db: Db) {
    let _ = tokio::task::spawn_blocking(move || db.close()).await;
}

/// The system clock, in microseconds since the epoch.
pub(super) fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    })
}
