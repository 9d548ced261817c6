//! The order of start and stop.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode as FileMode, umask};
use tokio::sync::Notify;

use super::args::Args;
use super::error::StartError;
use super::handover::incoming::{Predecessor, Received};
use super::handover::outgoing::{Handover, Successor};
use super::listeners::Listeners;
use super::logging::Logs;
use super::notify::Notifier;
use super::services::Services;
use super::signals::Signals;
use super::sockets::{self, PassedSockets, Sockets};
use super::stores::SharedStores;
use super::supervisor::{ListenAddresses, ProcessContext, Supervisor};
use super::{files, pid_file, privileges, rotation, status, stores, watchdog};
use crate::config::{self, Config, ConfigError, Loaded};
use crate::control::{Control, Mode};
use crate::http::site::SiteSettings;
use crate::http::tls::Tls;
use crate::http::{HttpServer, Limits, ServerContext, Switch, summary};
use crate::jobs::Jobs;

/// Time that clients wait in the backlog while the stores open; then they get 503 until the start is complete.
const BACKLOG_WAIT: Duration = Duration::from_secs(10);
/// Extension of systemd's start timeout, sent at intervals of half its length.
const START_EXTENSION: Duration = Duration::from_secs(30);

/// Starts, serves until it is asked to stop, and stops.
///
/// # Errors
/// What keeps the server from serving. If systemd holds the sockets, an unusable configuration or store is no error:
/// the server responds with 503 until it can be used.
pub(super) fn run(
    args: &Args,
    loaded: Result<Loaded, ConfigError>,
    mut taken: Option<Received>,
    logs: &mut Logs,
) -> Result<(), StartError> {
    umask(FileMode::from_bits_truncate(0o077));
    let began = SystemTime::now();
    crate::metrics::init();
    let file = &args.config;
    let patient = taken.is_none() && sockets::passed_by_systemd();
    let open_files = raise_open_files();
    let (config, loaded) = match loaded {
        Ok(loaded) => (Arc::clone(&loaded.config), Ok(loaded)),
        Err(error) if patient => (Arc::new(salvage(file)), Err(error.into())),
        Err(error) => return Err(error.into()),
    };
    let plan = privileges::plan(args.user.as_deref(), file)?;
    let given = taken.as_mut().map(|taken| PassedSockets {
        sockets: std::mem::take(&mut taken.sockets),
        own_admin: taken.own_admin,
    });
    let bound = sockets::bind_all(&config, loaded.is_ok(), given);
    let mut warnings = privileges::execute(plan, file, &config)?;
    let prepared = match &loaded {
        Ok(loaded) => files::prepare(file, loaded),
        Err(_) => files::create_directories(file, &config).map(|()| Vec::new()).map_err(StartError::from),
    };
    match prepared {
        Ok(lines) => warnings.extend(lines),
        // Opening the stores reports it again, also to clients.
        Err(_) if patient => {}
        Err(error) => return Err(error),
    }
    logs.configure(&config);
    // After the logs are configured: an error of a port must be in the log file, too.
    let sockets = bound?.with_admin(&config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for warning in loaded.iter().flat_map(|loaded: &Loaded| loaded.warnings.iter().map(ToString::to_string)) {
        tracing::warn!("{warning}");
    }
    for warning in &sockets.warnings {
        tracing::warn!("{warning}");
    }
    for missing in &sockets.missing {
        tracing::warn!("{}", missing.error);
    }
    crate::storage::install_tls_provider();
    let runtime = runtime().map_err(StartError::Runtime)?;
    // Not earlier: a thread started before privileges are dropped would keep its capabilities.
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!("could not start the background thread of the allocator: {error}");
    }
    let limits =
        Limits { connections: open_files.saturating_sub(512).clamp(64, 16_384), ..Limits::default() };
    let start = Start { file, config, loaded, patient, sockets, taken, limits, began };
    let served = runtime.block_on(serve(start, logs));
    // Blocking work that still runs belongs to aborted connections or to an aborted start.
    runtime.shutdown_background();
    served
}

/// Everything that is set up before threads are started.
struct Start<'a> {
    file: &'a Path,
    /// The configuration, or the valid part of it.
    config: Arc<Config>,
    loaded: Result<Loaded, StartError>,
    patient: bool,
    sockets: Sockets,
    /// From the old server, in a hand-over.
    taken: Option<Received>,
    limits: Limits,
    began: SystemTime,
}

/// Opens the stores and serves until a signal or a command requests a stop; returns when everything is closed.
async fn serve(start: Start<'_>, logs: &Logs) -> Result<(), StartError> {
    let Start { file, config, loaded, patient, mut sockets, mut taken, limits, began } = start;
    let signals = Signals::install();
    // In a hand-over systemd accepts messages of the old process only, until this one is the main process.
    let notifier = Notifier::start(taken.is_none());
    let giving = Handover::of(&sockets).map_err(StartError::HandOver)?;
    let beside = taken.as_mut().map(|taken| SharedStores { lock: taken.lock.take() });
    let line = taken.map(Received::connect).transpose().map_err(StartError::HandOver)?;
    let (mut waiting, predecessor) = match line {
        Some((waiting, predecessor)) => (Some(waiting), predecessor),
        None => (None, Predecessor::none()),
    };
    let rotation = tokio::spawn({
        let (logs, predecessor) = (logs.clone(), predecessor.clone());
        async move {
            // Only one process at a time renames log files.
            predecessor.wait_handed_over().await;
            rotation::run(logs).await;
        }
    });
    let (control, mut orders) = Control::new(Arc::new(logs.clone()));
    let switch = Switch::new(ServerContext {
        control: control.clone(),
        site: Arc::new(ArcSwap::from_pointee(SiteSettings::new(&config))),
        access_log: logs.access.clone(),
        service_log: logs.service.clone(),
        limits: limits.clone(),
        clock: stores::system_clock(),
        remark: ArcSwapOption::empty(),
    });
    let house = HttpServer::new(limits, Arc::clone(&switch.context().site));
    let tls = Tls::default();
    let addresses =
        watchdog::ProbeAddresses { admin: sockets.admin_address(), plain: sockets.plain_addresses() };
    let mut own_admin = sockets.admin_path.clone();
    let https_port = config.https.listen.as_ref().map_or(443, |listen| listen.port);
    let services = Services { server: house.clone(), switch: switch.clone(), tls: tls.clone(), https_port };
    let listeners = Listeners::new(services.clone(), &mut sockets, patient);
    let mut shut = Some(sockets);
    let mut open = || shut.take().map(|sockets| services.open(sockets));
    let context = ProcessContext {
        file: file.to_owned(),
        switch: switch.clone(),
        logs: logs.clone(),
        tls: tls.clone(),
        notifier: notifier.clone(),
        jobs: Jobs::default(),
        addresses: ListenAddresses::of(&config),
        handover: giving,
        listeners,
        predecessor: predecessor.clone(),
    };
    let mut supervisor = Supervisor::new(context, beside);

    let mut stop = pin!(signals.until_stop(&control));
    let first = {
        let mut opening = pin!(supervisor.start(loaded, patient));
        let mut more = tokio::time::interval(START_EXTENSION / 2);
        let mut long = pin!(tokio::time::sleep(BACKLOG_WAIT));
        let mut waiting = true;
        loop {
            tokio::select! {
                opened = &mut opening => break Some(opened),
                () = &mut stop => break None,
                _ = more.tick() => notifier.extend_timeout(START_EXTENSION, &summary::starting(&control.mode())),
                () = &mut long, if waiting => {
                    waiting = false;
                    open();
                }
            }
        }
    };
    if let Some(Err(error)) = first {
        return Err(error);
    }
    let mut pid_file = None;
    let mut successor = None;
    if first.is_some() {
        if let Some(waiting) = &mut waiting {
            let wanted = tokio::select! {
                wanted = waiting.report_prepared() => wanted,
                () = &mut stop => false,
            };
            if !wanted {
                return Err(StartError::Cancelled);
            }
            supervisor.refresh().await;
        }
        open();
        if let Some(waiting) = waiting.take() {
            logs.predecessors.add(waiting.pid());
            let again = waiting.report_ready().await;
            notifier.become_main();
            supervisor.restart_syncs(&again);
        }
        pid_file = pid_file::write_pid(&config);
        let took = began.elapsed().unwrap_or_default();
        if control.mode() == Mode::Online {
            tracing::info!("rstudio-pm {} is ready after {} ms", env!("CARGO_PKG_VERSION"), took.as_millis());
        }
        // Ready also if requests get 503: systemd would kill a service that does not become ready, and with it
        // the explanation.
        notifier.ready(&summary::brief(&switch, &control.mode()));
        let line = tokio::spawn(status::run(switch.clone(), notifier.clone()));
        let dog = tokio::spawn(watchdog::run(addresses, notifier.clone()));
        successor = loop {
            let prepared = tokio::select! {
                () = &mut stop => break None,
                prepared = supervisor.run_commands(&mut orders) => prepared,
            };
            let Some(prepared) = prepared else { break None };
            // Not interrupted by a stop: meanwhile both processes accept connections.
            match supervisor.commit(prepared).await {
                Ok(successor) => break Some(successor),
                Err(why) => drop(supervisor.cancel_hand_over(&why)),
            }
        };
        line.abort();
        dog.abort();
    }

    rotation.abort();
    let app = supervisor.stop();
    let limits = house.limits().clone();
    let requests = house.drain().requests();
    let whole = match successor {
        None => {
            notifier.stopping("Finishing requests");
            tracing::info!("stopping: {} in progress", counted(requests));
            predecessor.stop().await;
            let whole = house.drain().stop(&limits, predecessor.wait_exit()).await;
            let _ = tokio::time::timeout(limits.linger * 2, predecessor.wait_exit()).await;
            whole
        }
        Some(successor) => {
            let Successor { pid, version, .. } = &successor;
            tracing::info!(
                "process {pid}, version {version}, has taken over; finishing {}",
                counted(requests)
            );
            tokio::spawn(successor.relay_stop(control.clone()));
            // Socket file and PID file belong to the successor.
            (own_admin, pid_file) = (None, None);
            let stop_requested = Notify::new();
            let stopped = async {
                (&mut stop).await;
                predecessor.stop().await;
                stop_requested.notify_one();
                std::future::pending().await
            };
            let finished = async {
                let whole = house.drain().hand_over(&limits, stop_requested.notified()).await;
                // A still older process depends on this one to be told to stop.
                predecessor.wait_exit().await;
                whole
            };
            tokio::select! {
                whole = finished => whole,
                whole = stopped => whole,
            }
        }
    };
    if !whole {
        tracing::warn!("shutdown: {} connections aborted", house.drain().connections());
    }
    if let Some(app) = app {
        stores::close(&app).await;
    }
    for path in own_admin.iter().chain(&pid_file) {
        let _ = std::fs::remove_file(path);
    }
    notifier.flush();
    tracing::info!("stopped");
    Ok(())
}

/// A number of requests, as text.
fn counted(requests: usize) -> String {
    format!("{requests} request{}", if requests == 1 { "" } else { "s" })
}

/// The valid part of an invalid configuration file: where to listen and to log.
fn salvage(file: &Path) -> Config {
    let text = config::read(file).unwrap_or_default();
    config::salvage(&file.display().to_string(), &text).0
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
    let now = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(now).unwrap_or(usize::MAX)
}
