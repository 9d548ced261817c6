//! Opens and closes the stores of the app.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clock;
use super::encryption::compare;
use super::error::StartError;
use crate::http::net::budget::ResponseBudget;
use crate::http::repo::download_log::DownloadRecorder;
use crate::http::repo::resolve_cache::ResolveCache;
use crate::http::{App, ServerContext};
use base::config::{Config, Loaded};
use base::model::time::{Clock, Timestamp, microseconds};
use content::fetch::Fetches;
use content::index::PageReads;
use content::serve::{self, Repositories};
use runtime::auth::provider::Providers;
use runtime::auth::{DeviceLogins, Sessions, Tokens};
use runtime::catalog::CatalogHandle;
use runtime::cluster;
use runtime::jobs::Jobs;
use runtime::state::{Handles, State};
use store::db::Db;
use store::storage::Storage;
use tasks::backup::results;
use tasks::build::Builds;
use tasks::edit::Uploads;
use tasks::history::History;
use tasks::sync::Sync;
use tasks::upkeep::Upkeep;
use tasks::usage::Usage;
use upstream::Upstream;

/// Stores that an old server still uses, as in a hand-over.
pub(super) struct SharedStores {
    /// The old server's lock on the database.
    pub(super) lock: Option<OwnedFd>,
}

/// Opens the stores of a configuration and creates the app, without background tasks. `report_step` gets each step.
pub(super) async fn open(
    loaded: &Loaded,
    context: &ServerContext,
    jobs: &Jobs,
    shared_stores: Option<SharedStores>,
    report_step: impl Fn(&'static str),
) -> Result<Arc<App>, StartError> {
    let config = &loaded.config;
    report_step("opening the database and migrating its schema");
    let db_config = Arc::clone(config);
    let open_db = move || match shared_stores {
        None => Db::open(&db_config),
        Some(SharedStores { lock }) => Db::open_online(&db_config, lock),
    };
    let db = match tokio::task::spawn_blocking(open_db).await {
        Ok(db) => db?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    report_step("opening the storage and reading the catalog");
    let result = async {
        let config = compare::reconcile(&db, Arc::clone(config)).await?;
        context.cluster.attach(&db, &loaded.settings).await?;
        build_app(&config, context, jobs, db.clone()).await
    };
    let result = result.await;
    if result.is_err() {
        close_db(db).await;
    }
    result
}

async fn build_app(
    config: &Arc<Config>,
    context: &ServerContext,
    jobs: &Jobs,
    db: Db,
) -> Result<Arc<App>, StartError> {
    let storage = Storage::open(&config.storage).await?;
    cluster::storage::join(&context.cluster, &storage).await?;
    storage.require_comparison();
    let upstream = Upstream::of_server(config)?;
    results::update_metrics(&db).await?;
    let catalog = CatalogHandle::open(&db).await?;
    let state = Arc::new(State::new(Handles {
        config: Arc::clone(config),
        db,
        storage,
        upstream,
        catalog,
        jobs: jobs.clone(),
        clock: context.clock.clone(),
        node: context.cluster.id(),
    }));
    let page_reads = PageReads::new(Arc::clone(&state));
    let sync = Sync::new(Arc::clone(&page_reads), Arc::clone(&state));
    sync.recover().await?;
    // These run concurrently with the start; requests for requirements or vulnerabilities wait for their results.
    tokio::spawn(sync.load_rules());
    tokio::spawn(sync.report_directories());
    tokio::spawn(sync.load_advisories());
    let key = config.encryption_key.as_ref().map(|key| &key.key);
    let tokens = Tokens::open(&state.db, &state.catalog, key).await?;
    let providers = Providers::new(&config.proxy)?;
    let fetches = Fetches::new(Arc::clone(&state));
    let repositories = Repositories::new(Arc::clone(&fetches), page_reads, Arc::clone(&state));
    let uploads = Uploads::new(Arc::clone(&fetches), Arc::clone(&state));
    let upkeep = Upkeep::new(
        Arc::clone(&fetches),
        Arc::clone(&repositories),
        Arc::clone(&uploads),
        Arc::clone(&state),
    );
    clock::accept_if_synchronized(&state).await;
    fetches.on_mismatch({
        let sync = sync.clone();
        move |tree, package| sync.report_mismatch(tree, package)
    });
    let usage = Usage::start(&state);
    Ok(Arc::new(App {
        tokens,
        sessions: Sessions::new(&state.db),
        device_logins: DeviceLogins::new(&state.db),
        providers,
        builds: Builds::new(Arc::clone(&uploads), Arc::clone(&repositories), Arc::clone(&state)),
        history: History::new(Arc::clone(&repositories), Arc::clone(&state)),
        fetches,
        repositories,
        uploads,
        upkeep,
        sync,
        state,
        tls: context.tls.clone(),
        recent_requests: Arc::clone(&context.recent_requests),
        site: Arc::clone(&context.site),
        limits: context.limits.clone(),
        resolve_cache: ResolveCache::default(),
        response_budget: ResponseBudget::default(),
        recorder: DownloadRecorder::new(context.service_log.clone(), usage.clone()),
        usage,
    }))
}

/// Timeout for recording the last accesses of stored files.
const ACCESSES_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for storing rendered documents whose responses were sent.
const DOCUMENTS_TIMEOUT: Duration = Duration::from_secs(2);

/// Closes the stores of [`open`]: flushes the usage counters and accesses, and finishes queued transactions.
pub(super) async fn close(app: &App) {
    let documents = serve::index::wait_for_stores(&app.repositories);
    if tokio::time::timeout(DOCUMENTS_TIMEOUT, documents).await.is_err() {
        tracing::warn!(
            "could not store documents of closed snapshots in time; they are rendered again when requested"
        );
    }
    app.usage.close().await;
    let accesses = app.fetches.accesses.write(&app.state.db);
    match tokio::time::timeout(ACCESSES_TIMEOUT, accesses).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not record the days on which package files were requested")
        }
        Err(_) => tracing::warn!("could not record the days on which package files were requested in time"),
    }
    close_db(app.state.db.clone()).await;
}

async fn close_db(db: Db) {
    let _ = tokio::task::spawn_blocking(move || db.close()).await;
}

/// The system clock, in microseconds since the epoch.
pub(super) fn system_clock() -> Clock {
    Arc::new(|| {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(microseconds(elapsed))
    })
}
