//! The repositories of a server without HTTP, on real stores in a temporary folder, with a clock set by the tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::StreamExt;
use rstudio_pm::catalog::CatalogHandle;
use rstudio_pm::config;
use rstudio_pm::db::Db;
use rstudio_pm::edit::promotion::Person;
use rstudio_pm::edit::{self, Actor, AddStatus, OnExisting, Upload, Uploads};
use rstudio_pm::fetch::{FetchLimits, Fetches};
use rstudio_pm::index::PageReads;
use rstudio_pm::jobs::Jobs;
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::time::{Clock, Day, SECOND, Timestamp};
use rstudio_pm::serve::{self, RepoError, Repositories};
use rstudio_pm::state::{Handles, State};
use rstudio_pm::storage::{Storage, install_tls_provider};
use rstudio_pm::upkeep::Upkeep;
use rstudio_pm::upstream::Upstream;

use super::tarball::Tarball;

/// The configuration of the database and the storage.
#[derive(Clone, Default)]
pub(crate) struct StoresConfig {
    /// Lines of gcfg in addition to the default, SQLite and disk.
    pub(crate) gcfg: String,
}

/// A server without HTTP.
pub(crate) struct Backend {
    pub(crate) state: Arc<State>,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) upkeep: Arc<Upkeep>,
    stores: StoresConfig,
    now: Arc<AtomicI64>,
    folder: Arc<tempfile::TempDir>,
}

pub(crate) fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

pub(crate) fn actor() -> Actor {
    Actor("test".to_owned())
}

/// A person with this credential, who did not sign in with an identity provider.
pub(crate) fn person(name: &str) -> Person {
    Person { actor: Actor(name.to_owned()), unique_id: None }
}

impl Backend {
    /// Opens a backend on SQLite and disk, at noon of 2024-03-01.
    pub(crate) async fn new() -> Backend {
        Backend::with_stores(StoresConfig::default()).await
    }

    pub(crate) async fn with_stores(stores: StoresConfig) -> Backend {
        let noon = day("2024-03-01").start().0 + 12 * 3600 * SECOND;
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Backend::open(stores, folder, Arc::new(AtomicI64::new(noon))).await
    }

    async fn open(stores: StoresConfig, folder: Arc<tempfile::TempDir>, now: Arc<AtomicI64>) -> Backend {
        install_tls_provider();
        let root = folder.path();
        let text = format!(
            "[Server]\nDataDir = {0}/data\nTempDir = {0}/tmp\nSockFileDir = {0}/run\nAccessLog = {0}/access.log\n{1}\n",
            root.display(),
            stores.gcfg
        );
        std::fs::create_dir_all(root.join("tmp")).expect("a folder");
        let config = config::parse("test.gcfg", text.as_bytes(), []).expect("a configuration").config;
        let db_config = config.clone();
        let db = tokio::task::spawn_blocking(move || Db::open(&db_config))
            .await
            .expect("no panic")
            .expect("a database");
        let storage = Storage::open(&config.storage).await.expect("a storage");
        let upstream = Upstream::new(&config.proxy).expect("a client");
        let catalog = CatalogHandle::open(&db).await.expect("a catalog");
        let shared_now = now.clone();
        let clock: Clock = Arc::new(move || Timestamp(shared_now.load(Ordering::SeqCst)));
        let state = Arc::new(State::new(Handles {
            config,
            db,
            storage,
            upstream,
            catalog,
            jobs: Jobs::default(),
            clock,
            node: Identity(rand::random()),
        }));
        Backend::from_state(state, FetchLimits::default(), stores, folder, now)
    }

    /// Creates a backend on an open state.
    fn from_state(
        state: Arc<State>,
        limits: FetchLimits,
        stores: StoresConfig,
        folder: Arc<tempfile::TempDir>,
        now: Arc<AtomicI64>,
    ) -> Backend {
        let fetches = Fetches::with_limits(state.clone(), limits);
        let repositories = Repositories::new(fetches.clone(), PageReads::new(state.clone()), state.clone());
        let uploads = Uploads::new(fetches.clone(), state.clone());
        let upkeep = Upkeep::new(fetches.clone(), repositories.clone(), uploads.clone(), state.clone());
        Backend { fetches, repositories, uploads, upkeep, state, stores, now, folder }
    }

    /// Replaces the limits of fetches, on the same stores; all caches are empty.
    pub(crate) fn with_limits(self, limits: FetchLimits) -> Backend {
        let Backend { state, stores, now, folder, .. } = self;
        Backend::from_state(state, limits, stores, folder, now)
    }

    /// Closes everything and opens it again on the same stores, with the clock unchanged.
    pub(crate) async fn restart(self) -> Backend {
        let Backend { fetches, repositories, uploads, upkeep, state, stores, now, folder } = self;
        let db = state.db.clone();
        serve::index::wait_for_stores(&repositories).await;
        drop((fetches, repositories, uploads, upkeep, state));
        tokio::task::spawn_blocking(move || db.close()).await.expect("no panic");
        Backend::open(stores, folder, now).await
    }

    /// [`Backend::restart`] that calls `action` with the folder while everything is closed.
    pub(crate) async fn restart_after(self, action: impl FnOnce(&Path)) -> Backend {
        let Backend { fetches, repositories, uploads, upkeep, state, stores, now, folder } = self;
        let db = state.db.clone();
        serve::index::wait_for_stores(&repositories).await;
        drop((fetches, repositories, uploads, upkeep, state));
        tokio::task::spawn_blocking(move || db.close()).await.expect("no panic");
        action(folder.path());
        Backend::open(stores, folder, now).await
    }

    /// Opens a second server in the same folder, with different stores.
    pub(crate) async fn open_second_with_stores(&self, stores: StoresConfig) -> Backend {
        Backend::open(stores, self.folder.clone(), self.now.clone()).await
    }

    /// [`Backend::restart`] with different stores in the same folder.
    pub(crate) async fn restart_with_stores(mut self, stores: StoresConfig) -> Backend {
        self.stores = stores;
        self.restart().await
    }

    /// Opens a second server on the same stores: PostgreSQL only.
    pub(crate) async fn open_second(&self) -> Backend {
        Backend::open(self.stores.clone(), self.folder.clone(), self.now.clone()).await
    }

    /// The configuration of the stores.
    pub(crate) fn stores(&self) -> &StoresConfig {
        &self.stores
    }

    /// The folder of all files of the backend.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets the clock to noon of a later day.
    pub(crate) fn advance_to_noon(&self, text: &str) {
        let noon = day(text).start().0 + 12 * 3600 * SECOND;
        assert!(noon > self.now.swap(noon, Ordering::SeqCst), "{text} is later");
    }

    /// Sets the clock to noon of an earlier day.
    pub(crate) fn set_back_to_noon(&self, text: &str) {
        let noon = day(text).start().0 + 12 * 3600 * SECOND;
        assert!(noon < self.now.swap(noon, Ordering::SeqCst), "{text} is earlier");
    }

    pub(crate) async fn create_local_source(&self, name: &str) {
        let name = name.parse().expect("a name");
        edit::source::create(&self.state, &name, SourceKind::Local, OnExisting::Fail)
            .await
            .expect("a source");
    }

    /// Creates a repository with these subscriptions.
    pub(crate) async fn create_repository(&self, name: &str, sources: &[&str]) {
        let kind = rstudio_pm::model::kind::RepoKind::R;
        let parsed = name.parse().expect("a name");
        edit::repo::create(&self.state, edit::NewRepo::open(&parsed, kind, ""), OnExisting::Fail, &actor())
            .await
            .expect("a repository");
        for source in sources {
            edit::subscription::subscribe(&self.state, name, source, None, OnExisting::Fail, &actor())
                .await
                .expect("a subscription");
        }
    }

    pub(crate) async fn upload(&self, tarball: &Tarball) -> Result<Upload, RepoError> {
        let body = futures_util::stream::iter([Ok(tarball.bytes().into())]).boxed();
        edit::upload::receive(&self.uploads, &tarball.file(), body, edit::UploadKind::Source).await
    }

    /// Uploads packages and adds them in one call.
    pub(crate) async fn try_add(
        &self,
        source: &str,
        tarballs: &[Tarball],
        existing: OnExisting,
    ) -> Result<Vec<AddStatus>, RepoError> {
        let mut ids = Vec::new();
        for tarball in tarballs {
            ids.push(self.upload(tarball).await?.id);
        }
        let (_, statuses, _) = edit::add::add(&self.uploads, source, &ids, existing, &actor()).await?;
        Ok(statuses.into_iter().map(|(_, status)| status).collect())
    }

    /// Adds one new package.
    pub(crate) async fn add(&self, source: &str, package: &str, version: &str) {
        let result = self.try_add(source, &[Tarball::new(package, version)], OnExisting::Fail).await;
        assert_eq!(result.expect("a package"), [AddStatus::New]);
    }
}
