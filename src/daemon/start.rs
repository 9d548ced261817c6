//! The part of the start before there are threads: sockets, privileges, files, logs.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode as FileMode, umask};

use super::args::ServerArgs;
use super::error::StartError;
use super::files::{self, FileError};
use super::handover::incoming::ReceivedSockets;
use super::logging::Logs;
use super::privileges;
use super::process::{self, Setup};
use super::sockets::{self, PassedSockets};
use crate::http::Limits;
use base::config::{self, Config, ConfigError, Loaded};

/// Starts, serves until a stop is requested, and stops. If systemd has opened the sockets, an unusable
/// configuration, database or storage is not an error: the server responds with 503 until it can be used.
pub(super) fn run(
    args: &ServerArgs,
    loaded: Result<Loaded, ConfigError>,
    mut received: Option<ReceivedSockets>,
    logs: &mut Logs,
) -> Result<(), StartError> {
    umask(FileMode::from_bits_truncate(0o077));
    let start = SystemTime::now();
    base::metrics::init();
    let file = &args.config;
    let is_socket_activated = received.is_none() && sockets::passed_by_systemd();
    let open_files = raise_open_files();
    let (config, loaded) = match loaded {
        Ok(loaded) => (Arc::clone(&loaded.config), Ok(loaded)),
        Err(error) if is_socket_activated => (Arc::new(read_valid_part(file)), Err(error.into())),
        Err(error) => return Err(error.into()),
    };
    let plan = privileges::plan(args.user.as_deref(), file)?;
    let passed_sockets = received.as_mut().map(|received| PassedSockets {
        sockets: std::mem::take(&mut received.sockets),
        owns_admin_socket: received.owns_admin_socket,
    });
    let bind_result = sockets::bind_all(&config, loaded.is_ok(), passed_sockets);
    let mut warnings = privileges::execute(plan, file, &config)?;
    let file_warnings = match &loaded {
        Ok(loaded) => files::prepare(file, loaded),
        Err(_) => files::create_directories(file, &config).map(|()| Vec::new()).map_err(FileError::from),
    };
    match file_warnings {
        Ok(lines) => warnings.extend(lines),
        // Opening the stores reports the error again, also to clients.
        Err(_) if is_socket_activated => {}
        Err(error) => return Err(error.into()),
    }
    logs.configure(&config);
    // After the logs are configured: an error about a port must be in the log file, too.
    let sockets = bind_result?.with_admin(&config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for warning in loaded.iter().flat_map(|loaded: &Loaded| loaded.warnings.iter().map(ToString::to_string)) {
        tracing::warn!("{warning}");
    }
    for warning in &sockets.warnings {
        tracing::warn!("{warning}");
    }
    for listener in &sockets.missing_listeners {
        tracing::warn!("{}", listener.error);
    }
    store::storage::install_tls_provider();
    let runtime = runtime().map_err(StartError::Runtime)?;
    // Not earlier: a thread started before privileges are dropped would keep its capabilities.
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!("could not start the background thread of the allocator: {error}");
    }
    let limits =
        Limits { connections: open_files.saturating_sub(512).clamp(64, 16_384), ..Limits::default() };
    let setup = Setup { file, config, loaded, is_socket_activated, sockets, received, limits, start };
    let result = runtime.block_on(process::run(setup, logs));
    // Blocking tasks that still run belong to aborted connections or to an aborted start.
    runtime.shutdown_background();
    result
}

/// The valid part of an invalid configuration file, which determines the listeners and the logs.
fn read_valid_part(file: &Path) -> Config {
    let text = config::read(file).unwrap_or_default();
    config::parse_valid_part(&file.display().to_string(), &text).0
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

/// Raises the soft limit of open files to the hard limit, because each connection is an open file. Returns the limit.
fn raise_open_files() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}
