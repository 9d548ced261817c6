//! The sync of a server without HTTP, on a fresh database: syncs a mirror and reads the published state.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rstudio_pm::catalog::CatalogHandle;
use rstudio_pm::config::{BinaryUrl, Config, PrivateUrl};
use rstudio_pm::db::{Conn, Db, DbError, life, tx};
use rstudio_pm::index::PageReads;
use rstudio_pm::jobs::{Job, JobState, Jobs};
use rstudio_pm::model::ids::{Identity, Seq, SourceId, TreeId};
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::state::State;
use rstudio_pm::storage::{Storage, install_tls_provider};
use rstudio_pm::sync::Sync;
use rstudio_pm::upstream::{Limits, Upstream};

use super::db::{self, Engine};
use super::fixtures::interval;

/// Limits of upstream requests, short enough for tests.
pub(crate) fn limits() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_millis(1500),
        max_inactivity: Duration::from_secs(10),
        total_timeout: Duration::from_secs(20),
        max_retries: 3,
        first_pause: Duration::from_millis(5),
        max_pause: Duration::from_secs(2),
    }
}

/// Opens the database, with retries: tasks of a stopped server may still hold its lock for a short time.
fn open_database(config: &Config) -> Db {
    let start = std::time::Instant::now();
    loop {
        match Db::open(config) {
            Ok(db) => return db,
            Err(DbError::Locked { .. }) if start.elapsed() < Duration::from_secs(90) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until the condition is true; panics with its description after 120 s.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = tokio::time::Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
        tokio::time::sleep(interval(start.elapsed())).await;
    }
}

/// Waits until a job has completed `done` steps of `phase`, or is in a later one of `phases`, or has ended.
pub(crate) async fn wait_for_phase(job: &Job, phases: &[&str], phase: &str, done: u64) {
    let number = |phase: &str| phases.iter().position(|other| *other == phase);
    let expected = (number(phase), done);
    assert!(expected.0.is_some(), "{phase}");
    let is_reached = |state: &JobState| match state {
        JobState::Running(now) => (number(&now.phase), now.done) >= expected,
        JobState::Done(_) | JobState::Failed(_) => true,
    };
    let mut state = job.state.clone();
    let result = tokio::time::timeout(Duration::from_secs(120), state.wait_for(is_reached)).await;
    // The inner error means that the job ended with its runtime, as after a restart.
    let _ = result.unwrap_or_else(|_| panic!("the job does not reach '{phase}': {:?}", *job.state.borrow()));
}

/// A server's state and its sync.
pub(crate) struct SyncBackend {
    pub(crate) state: Arc<State>,
    pub(crate) sync: Sync,
    dir: Arc<tempfile::TempDir>,
    clock: Arc<AtomicI64>,
    config: Arc<Config>,
}

impl SyncBackend {
    /// Opens a backend on a new database; the clock starts at 2025-10-09 and advances by one microsecond with each
    /// reading.
    pub(crate) async fn new(engine: Engine, mirror: &str) -> SyncBackend {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().to_owned();
        let config =
            tokio::task::spawn_blocking(move || db::config(engine, &path)).await.expect("a database");
        let clock = Arc::new(AtomicI64::new(1_760_000_000 * SECOND));
        SyncBackend::open(Arc::new(dir), config, clock, mirror).await
    }

    /// Closes everything and opens the same database again, with this mirror.
    pub(crate) async fn restart(self, mirror: &str) -> SyncBackend {
        let db = self.state.db.clone();
        tokio::task::spawn_blocking(move || db.close()).await.expect("closed");
        let (dir, config, clock) = (self.dir.clone(), self.config.clone(), self.clock.clone());
        drop(self);
        SyncBackend::open(dir, config, clock, mirror).await
    }

    /// Opens a second server on the same database.
    pub(crate) async fn open_second(&self, mirror: &str) -> SyncBackend {
        let mut config = (*self.config).clone();
        config.server.data_dir.push("second");
        SyncBackend::open(self.dir.clone(), Arc::new(config), self.clock.clone(), mirror).await
    }

    async fn open(
        dir: Arc<tempfile::TempDir>,
        config: Arc<Config>,
        clock: Arc<AtomicI64>,
        mirror: &str,
    ) -> SyncBackend {
        install_tls_provider();
        let mut node_config = (*config).clone();
        node_config.cran.url = PrivateUrl(mirror.to_owned());
        node_config.bioconductor.url = PrivateUrl(mirror.to_owned());
        let node_config = Arc::new(node_config);
        let db_config = node_config.clone();
        let db = tokio::task::spawn_blocking(move || open_database(&db_config)).await.expect("opened");
        let state_clock = clock.clone();
        let state = Arc::new(State {
            storage: Storage::open(&node_config.storage).await.unwrap_or_else(|e| panic!("{e}")),
            upstream: Arc::new(
                Upstream::with_limits(&node_config.proxy, limits()).unwrap_or_else(|e| panic!("{e}")),
            )
            .into(),
            catalog: CatalogHandle::open(&db).await.unwrap_or_else(|e| panic!("{e}")),
            sysreqs: Default::default(),
            advisories: Default::default(),
            policies: Default::default(),
            detail_updates: Default::default(),
            jobs: Jobs::default(),
            clock: Arc::new(move || Timestamp(state_clock.fetch_add(1, Ordering::SeqCst))),
            config: node_config.into(),
            reloads: Default::default(),
            node: Identity(rand::random()),
            db,
        });
        SyncBackend {
            sync: Sync::new(PageReads::new(state.clone()), state.clone()),
            state,
            dir,
            clock,
            config,
        }
    }

    /// Sets the binary servers of CRAN.
    pub(crate) fn set_binary_servers(&self, urls: Vec<BinaryUrl>) {
        let mut config = (*self.state.config.load_full()).clone();
        config.cran.binaries = urls;
        self.state.config.store(Arc::new(config));
    }

    /// Advances the clock.
    pub(crate) fn advance_clock(&self, seconds: i64) {
        self.clock.fetch_add(seconds * SECOND, Ordering::SeqCst);
    }

    /// Syncs CRAN and waits.
    pub(crate) async fn sync(&self) -> Result<String, String> {
        let start = self.sync.start(SourceKind::Cran).expect("cran is synced");
        start.job().wait_end().await
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        f: impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        self.state.db.read(f).await.unwrap_or_else(|e| panic!("{e} {e:?}"))
    }

    /// The tree of CRAN and its published head.
    pub(crate) fn head(&self) -> Option<(TreeId, Seq)> {
        let catalog = self.state.catalog.get();
        let tree = catalog.source_package_trees(SourceId::CRAN).next().expect("the first migration made it");
        tree.steps.last().map(|step| (tree.id, step.seq))
    }

    /// `name_version` of the listed packages.
    pub(crate) async fn listed(&self) -> Vec<String> {
        let Some((tree, seq)) = self.head() else { return Vec::new() };
        let names = self.read(move |c| life::names(c, tree, seq)).await;
        names.into_iter().map(|release| format!("{}_{}", release.name, release.version)).collect()
    }

    /// File names of the archived packages.
    pub(crate) async fn archived(&self) -> Vec<String> {
        let Some((tree, seq)) = self.head() else { return Vec::new() };
        let rows = self.read(move |c| life::archived_files(c, tree, seq)).await;
        rows.into_iter().map(|row| row.file).collect()
    }

    /// The number of transactions.
    pub(crate) async fn transactions(&self) -> usize {
        self.read(|c| tx::list_all(c, 1000)).await.len()
    }
}
