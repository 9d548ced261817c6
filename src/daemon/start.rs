//! The start order, on one screen, and the stop.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;
use tokio::sync::Notify;

use super::logging::Logs;
use super::signals::Signals;
use super::sockets::{self, SocketError, Sockets};
use crate::catalog::Live;
use crate::config::{Config, Loaded, LogDestination};
use crate::db::{Db, DbError};
use crate::http::redirect::Redirect;
use crate::http::response::Site;
use crate::http::tls::{Tls, TlsError};
use crate::http::warm::Warm;
use crate::http::{AdminDoor, App, Control, House, Limits, PublicDoor};
use crate::jobs::Jobs;
use crate::model::time::{Clock, Timestamp};
use crate::repo::Repo;
use crate::state::State;
use crate::storage::{Storage, StorageError};
use crate::sync::{Sync, SyncError};
use crate::upstream::{Upstream, UpstreamError};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Certificate or key.
    #[error("Could not initialize the HTTPS listener: {0}")]
    Tls(#[from] TlsError),
    /// A directory.
    #[error(
        "{property} '{0}' cannot be created: {source}; mend it with: install -d -o {user} -m {mode:04o} '{0}'",
        path.display()
    )]
    Directory {
        /// Which property names it.
        property: &'static str,
        /// The directory.
        path: PathBuf,
        /// Who runs this.
        user: String,
        /// Its mode.
        mode: u32,
        /// Why.
        source: std::io::Error,
    },
    /// The database.
    #[error("Unable to connect to the database: {0}")]
    Db(#[from] DbError),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The client for mirrors.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// What a crashed sync left behind.
    #[error("what a crashed sync left behind cannot be undone: {0}")]
    Sync(#[from] SyncError),
    /// Threads.
    #[error("the runtime cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Starts, serves until asked to stop, stops.
///
/// # Errors
/// Whatever keeps it from serving.
pub(super) fn run(loaded: Loaded, logs: &mut Logs) -> Result<(), StartError> {
    let config = loaded.config;
    let began = SystemTime::now();
    let files = raise_open_files();
    make_directories(&config)?;
    let sockets = sockets::open(&config)?;
    let tls = open_tls(&config)?;
    umask(Mode::from_bits_truncate(0o077));
    logs.configure(&config);
    for warning in loaded.warnings.iter().map(ToString::to_string).chain(sockets.warnings.iter().cloned()) {
        tracing::warn!("{warning}");
    }
    crate::storage::install_tls_provider();
    // Opening the database blocks, and needs no runtime of ours.
    let db = Db::open(&config)?;
    let runtime = runtime().map_err(StartError::Runtime)?;
    let served = runtime.block_on(async {
        let app = open(Arc::clone(&config), db, logs).await?;
        let limits = Limits { connections: files.saturating_sub(512).clamp(64, 16_384), ..Limits::default() };
        serve(app, sockets, tls, House::new(limits), began).await;
        Ok(())
    });
    // Blocking work still under way belongs to connections that were cut.
    runtime.shutdown_background();
    served
}

/// Opens what answering needs.
async fn open(config: Arc<Config>, db: Db, logs: &Logs) -> Result<Arc<App>, StartError> {
    let storage = Storage::open(&config.storage).await?;
    let upstream = Upstream::new(&config.proxy)?;
    let catalog = Live::open(&db).await?;
    let state = Arc::new(State {
        config: Arc::clone(&config),
        db,
        storage,
        upstream,
        catalog,
        jobs: Jobs::default(),
        clock: system_clock(),
    });
    if let Some(path) = config.cran.url.strip_prefix("file://") {
        tracing::info!(
            "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{path}'."
        );
    }
    let sync = Sync::new(Arc::clone(&state));
    sync.recover().await?;
    let repo = Repo::new(Arc::clone(&state));
    repo.on_stale({
        let sync = sync.clone();
        move |source| sync.mismatch(source)
    });
    Ok(Arc::new(App {
        repo,
        sync,
        state,
        control: Control { reopen_logs: logs.reopener(), stop: Arc::new(Notify::new()) },
        site: Arc::new(Site::new(&config)),
        limits: Limits::default(),
        access: logs.access.clone(),
        warm: Warm::default(),
    }))
}

/// Accepts until a signal or a command asks to stop; returns when everything is closed.
async fn serve(app: Arc<App>, sockets: Sockets, tls: Option<Tls>, house: House, began: SystemTime) {
    let signals = Signals::catch();
    let mut urls = Vec::new();
    for socket in sockets.http {
        let listener = adopt(socket, "http", &mut urls);
        tokio::spawn(house.clone().serve_tcp(listener, None, PublicDoor(Arc::clone(&app))));
    }
    for (socket, tls) in sockets.https.into_iter().zip(std::iter::repeat_with(|| tls.clone())) {
        let Some(tls) = tls else { continue };
        let listener = adopt(socket, "https", &mut urls);
        tokio::spawn(house.clone().serve_tcp(listener, Some(tls.acceptor()), PublicDoor(Arc::clone(&app))));
    }
    let port = app.state.config.https.listen.as_ref().map_or(443, |listen| listen.port);
    for socket in sockets.redirect {
        let listener = adopt(socket, "http", &mut urls);
        let redirect = Redirect::new(Arc::clone(&app.site), port);
        tokio::spawn(house.clone().serve_tcp(listener, None, redirect));
    }
    let admin = tokio::net::UnixListener::from_std(sockets.admin).expect("a non-blocking listening socket");
    tokio::spawn(house.clone().serve_unix(admin, AdminDoor(Arc::clone(&app))));

    let pid_file = write_pid(&app.state.config);
    let status = format!("Serving on {}", urls.join(", "));
    let took = began.elapsed().unwrap_or_default();
    tracing::info!("rstudio-pm {} is ready after {} ms", env!("CARGO_PKG_VERSION"), took.as_millis());
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);

    let schedules = tokio::spawn({
        let sync = app.sync.clone();
        async move { sync.run_schedules().await }
    });
    let nights = tokio::spawn({
        let repo = app.repo.clone();
        async move { repo.run_nightly().await }
    });
    signals.until_stop(&app.control).await;

    notify(&[NotifyState::Stopping, NotifyState::Status("Finishing requests")]);
    tracing::info!("stopping: {} requests under way", house.drain().requests());
    schedules.abort();
    nights.abort();
    let limits = house.limits().clone();
    if !house.drain().stop(&limits).await {
        tracing::warn!("stopped with {} connections cut", house.drain().connections());
    }
    let db = app.state.db.clone();
    let _ = tokio::task::spawn_blocking(move || db.close()).await;
    for path in sockets.admin_path.iter().chain(&pid_file) {
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("stopped");
}

fn adopt(socket: std::net::TcpListener, scheme: &str, urls: &mut Vec<String>) -> tokio::net::TcpListener {
    if let Ok(address) = socket.local_addr() {
        let url = format!("{scheme}://{address}");
        tracing::info!("Listening on {url}");
        urls.push(url);
    }
    tokio::net::TcpListener::from_std(socket).expect("a non-blocking listening socket")
}

/// Tells systemd; outside systemd nothing happens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

fn open_tls(config: &Config) -> Result<Option<Tls>, TlsError> {
    match (&config.https.listen, &config.https.certificate, &config.https.key) {
        (Some(_), Some(certificate), Some(key)) => {
            Tls::open(certificate, key, config.https.minimum_tls).map(Some)
        }
        // The configuration room refuses HTTPS.Listen without a certificate and key.
        (Some(_), _, _) | (None, _, _) => Ok(None),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(32)
        .thread_name("rspm")
        .enable_all()
        .build()
}

/// Microseconds since the epoch, from the system.
fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    })
}

/// Each connection is an open file: takes all the hard limit allows. Returns how many there may be.
fn raise_open_files() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let now = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// `DataDir` 0701 (others may pass through, to logs that were put there), `SockFileDir` 0755. The database and the
/// storage make their own.
fn make_directories(config: &Config) -> Result<(), StartError> {
    let before = umask(Mode::from_bits_truncate(0o022));
    let make =
        |property, path: &Path, mode| {
            DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|source| {
                StartError::Directory { property, path: path.to_owned(), user: user_name(), mode, source }
            })
        };
    let made = make("Server.DataDir", &config.server.data_dir, 0o701)
        .and_then(|()| make("Server.SockFileDir", &config.server.sock_file_dir, 0o755));
    // 0750: logrotate refuses directories that a group may write to. A log that cannot be opened is said later.
    let server_logs = config.logging.system_log.iter().filter_map(|destination| match destination {
        LogDestination::File(path) => Some(path),
        LogDestination::Stdout | LogDestination::Stderr => None,
    });
    for logs in server_logs.chain([&config.server.access_log]).filter_map(|log| log.parent()) {
        let _ = make("a log's directory", logs, 0o750);
    }
    umask(before);
    made
}

/// The effective user's name, or its number.
pub(super) fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// `<SockFileDir>/rstudio-pm.pid`. Convenience: failing to write it stops nothing.
fn write_pid(config: &Config) -> Option<PathBuf> {
    let path = config.server.sock_file_dir.join("rstudio-pm.pid");
    let written = match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o644).open(&path);
            file.and_then(|mut file| {
                std::io::Write::write_fmt(&mut file, format_args!("{}\n", std::process::id()))
            })
        }
    };
    match written {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!("the PID file {} cannot be written: {error}", path.display());
            None
        }
    }
}
