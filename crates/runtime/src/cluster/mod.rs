//! The servers that share a PostgreSQL database: their heartbeats and their list, requests of administrators, and which
//! server leads. A server on SQLite is the only one of its database.
//!
//! The room represents this process among the rows of the table `node`. It exists from start to end of the process,
//! also while the server is offline; `daemon::stores` attaches each database that it opens. The heartbeat writes the
//! row every five seconds over `db::link`, a connection that waits for no other transaction, receives requests for a
//! mode, which it passes to `control` as the admin API does, and renews the lease of the leader. Before a server goes
//! online, its storage is compared with that of the others.

pub mod heartbeat;
pub mod list;
pub mod mode_request;
pub mod storage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::control::{Control, Mode};
use base::model::ids::Identity;
use base::model::time::{Clock, Timestamp};
use store::db::lease::Fence;
use store::db::link::Link;
use store::db::migrate::migrations;
use store::db::node::{Beat, ModeRequest};
use store::db::schema::Schema;
use store::db::{Db, DbError, identity, lease, node};
use store::storage::Storage;

const LEADER: &str = "leader";
/// Time for which the list shows the reason for a failed request.
const FAILURE_DISPLAY_TIME: Duration = Duration::from_secs(600);
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The handle of this process as one of the servers of its database; clones share it.
#[derive(Clone)]
pub struct Cluster(Arc<ClusterState>);

struct ClusterState {
    id: Identity,
    name: String,
    address: String,
    /// The previous process of this server, if it ended without leaving the cluster.
    predecessor: Option<Identity>,
    control: Control,
    clock: Clock,
    started_at: Timestamp,
    /// The mode at the last heartbeat, and its start.
    mode_since: Mutex<(&'static str, Timestamp)>,
    database: Mutex<Database>,
    request_state: Mutex<RequestState>,
    leader: watch::Sender<bool>,
    leadership: Mutex<Leadership>,
    has_row: AtomicBool,
    /// Whether the heartbeat runs, so that the other servers list this process.
    is_registered: AtomicBool,
    /// Number of other servers with this host name at the last heartbeat.
    same_name_count: AtomicUsize,
    /// Wakes the heartbeat to write the row immediately.
    wake: Notify,
    /// Serializes writes and the removal of the row.
    row_lock: tokio::sync::Mutex<()>,
}

/// The database, and what is recorded about it while it is open.
#[derive(Clone, Default)]
struct Database {
    provider: Provider,
    configuration: String,
    /// The storage, while this server uses it, and the names of the classes that have its marker.
    storage: Option<(Storage, String)>,
}

#[derive(Clone, Default)]
enum Provider {
    /// The database is not open yet.
    #[default]
    NotOpened,
    /// SQLite, which no other server uses; the last request.
    Sqlite(Option<ModeRequest>),
    /// PostgreSQL; the connection to the other servers.
    Postgres(Link),
}

#[derive(Clone, Default)]
struct RequestState {
    /// [`ModeRequest::at`] of the last request that was started.
    started: Option<Timestamp>,
    /// [`ModeRequest::at`] of the last request that was completed, or failed.
    completed: Option<Timestamp>,
    /// The reason and the time of the failure of the last request.
    failure: Option<(String, Instant)>,
}

/// The lease of the leader, if this server has it.
#[derive(Clone, Copy, Default)]
struct Leadership {
    fence: Option<Fence>,
    renewed_at: Option<Instant>,
}

impl Cluster {
    /// Returns the handle of this process, without a database. `predecessor` is the previous process of this server, if
    /// it ended without leaving the cluster.
    pub fn new(
        name: String,
        address: String,
        predecessor: Option<Identity>,
        control: Control,
        clock: Clock,
    ) -> Cluster {
        let started_at = clock();
        Cluster(Arc::new(ClusterState {
            started_at,
            mode_since: Mutex::new((control.mode().word(), started_at)),
            id: Identity(rand::random()),
            name,
            address,
            predecessor,
            control,
            clock,
            database: Mutex::default(),
            request_state: Mutex::default(),
            leader: watch::Sender::new(false),
            leadership: Mutex::default(),
            has_row: AtomicBool::new(false),
            is_registered: AtomicBool::new(false),
            same_name_count: AtomicUsize::new(0),
            wake: Notify::new(),
            row_lock: tokio::sync::Mutex::default(),
        }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn id(&self) -> Identity {
        self.0.id
    }

    /// Attaches the open database, with digests of the configuration. Releases the leases of the predecessor first.
    pub async fn attach(&self, db: &Db, settings: &base::config::Settings) -> Result<(), DbError> {
        let Some(link) = db.link() else {
            self.0.database.lock().provider = Provider::Sqlite(None);
            self.0.wake.notify_one();
            return Ok(());
        };
        if let Some(predecessor) = self.0.predecessor {
            let removal = link.run(move |c| {
                lease::release_all(c, &predecessor.to_string())?;
                node::remove(c, predecessor)
            });
            removal.await?;
        }
        let salt = db.read(identity::get).await?;
        let configuration = list::digests(settings, salt);
        let mut database = self.0.database.lock();
        database.provider = Provider::Postgres(link);
        database.configuration = configuration;
        drop(database);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Replaces the digests of the configuration after a reload.
    pub async fn set_configuration(&self, db: &Db, settings: &base::config::Settings) -> Result<(), DbError> {
        let salt = db.read(identity::get).await?;
        self.0.database.lock().configuration = list::digests(settings, salt);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Removes this server from the list and releases its leases, at a stop. An error is logged; the other servers then
    /// treat this one as gone within half a minute.
    pub async fn leave(&self) {
        let id = self.0.id;
        let storage = self.take_storage();
        let database = std::mem::take(&mut *self.0.database.lock());
        self.0.leader.send_replace(false);
        let Provider::Postgres(link) = database.provider else { return };
        let removal = async {
            let _guard = self.0.row_lock.lock().await;
            link.run(move |c| {
                lease::release_all(c, &id.to_string())?;
                node::remove(c, id)
            })
            .await
        };
        match tokio::time::timeout(LEAVE_TIMEOUT, removal).await {
            // After the row: a row without markers would mean that this server uses another storage.
            Ok(Ok(())) => {
                if let Some(storage) = storage {
                    heartbeat::remove_markers(&storage, id).await;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "could not remove this server from the list of servers"),
            Err(_) => tracing::warn!("could not remove this server from the list of servers in time"),
        }
    }

    pub fn is_leader(&self) -> bool {
        *self.0.leader.borrow()
    }

    /// Returns a watch channel with the value of [`Cluster::is_leader`].
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.0.leader.subscribe()
    }

    fn set_storage(&self, storage: Storage, classes: String) {
        self.0.database.lock().storage = Some((storage, classes));
    }

    /// Returns the storage whose classes have the marker of this server, if it is in use.
    fn storage(&self) -> Option<Storage> {
        self.0.database.lock().storage.as_ref().map(|(storage, _)| storage.clone())
    }

    /// Returns the recorded storage, and removes the record.
    fn take_storage(&self) -> Option<Storage> {
        self.0.database.lock().storage.take().map(|(storage, _)| storage)
    }

    /// Returns the connection to the other servers; `None` with SQLite, and before the database is open.
    fn link(&self) -> Option<Link> {
        match &self.0.database.lock().provider {
            Provider::Postgres(link) => Some(link.clone()),
            Provider::NotOpened | Provider::Sqlite(_) => None,
        }
    }

    fn beat(&self) -> Beat {
        let control = &self.0.control;
        let (mode, state) = (control.mode(), self.0.request_state.lock().clone());
        let message = match &mode {
            Mode::Starting(step) => (*step).to_owned(),
            Mode::Draining => format!("waiting for {}", control.work()),
            Mode::Broken(reason) => reason.detail.clone(),
            Mode::Online | Mode::Offline => match state.failure {
                Some((reason, at)) if at.elapsed() < FAILURE_DISPLAY_TIME => reason,
                Some(_) | None => String::new(),
            },
        };
        let database = self.0.database.lock().clone();
        let clock = (self.0.clock)();
        {
            let mut mode_since = self.0.mode_since.lock();
            if mode_since.0 != mode.word() {
                *mode_since = (mode.word(), clock);
            }
        }
        Beat {
            id: self.0.id,
            name: self.0.name.clone(),
            address: self.0.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: migrations(Schema::Core).last().map_or(0, |migration| migration.number),
            mode: mode.word().to_owned(),
            message,
            config: database.configuration,
            classes: database.storage.map_or_else(String::new, |(_, classes)| classes),
            answered_at: state.completed,
            clock,
        }
    }
}
