//! The start order, on one screen, and the stop.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode as FileMode, umask};
use sd_notify::NotifyState;

use super::fault::StartError;
use super::logging::Logs;
use super::operator::Operator;
use super::signals::Signals;
use super::sockets::{self, Sockets};
use super::{doors, places, stores};
use crate::config::{Config, Loaded};
use crate::control::{Control, Mode};
use crate::http::response::Site;
use crate::http::tls::{Tls, TlsError};
use crate::http::{House, Limits, Porch, Switch};
use crate::jobs::Jobs;

/// Starts, serves until asked to stop, stops.
///
/// # Errors
/// Whatever keeps it from serving.
pub(super) fn run(loaded: Loaded, logs: &mut Logs) -> Result<(), StartError> {
    let config = loaded.config;
    let began = SystemTime::now();
    let files = raise_open_files();
    places::make_directories(&config)?;
    let sockets = sockets::open(&config)?;
    let tls = open_tls(&config)?;
    umask(FileMode::from_bits_truncate(0o077));
    logs.configure(&config);
    for warning in loaded.warnings.iter().map(ToString::to_string).chain(sockets.warnings.iter().cloned()) {
        tracing::warn!("{warning}");
    }
    crate::storage::install_tls_provider();
    let runtime = runtime().map_err(StartError::Runtime)?;
    let limits = Limits { connections: files.saturating_sub(512).clamp(64, 16_384), ..Limits::default() };
    let served = runtime.block_on(serve(config, sockets, tls, limits, logs, began));
    // Blocking work still under way belongs to connections that were cut.
    runtime.shutdown_background();
    served
}

/// Opens the stores, accepts until a signal or a command asks to stop; returns when everything is closed.
async fn serve(
    config: Arc<Config>,
    sockets: Sockets,
    tls: Tls,
    limits: Limits,
    logs: &Logs,
    began: SystemTime,
) -> Result<(), StartError> {
    let signals = Signals::catch();
    let (control, mut orders) = Control::new(Arc::new(logs.clone()));
    let switch = Switch::new(Porch {
        control: control.clone(),
        site: Arc::new(ArcSwap::from_pointee(Site::new(&config))),
        access: logs.access.clone(),
        limits: limits.clone(),
        clock: stores::system_clock(),
    });
    let app = stores::open(&config, switch.porch(), &Jobs::default()).await?;
    switch.open(Arc::clone(&app));
    control.enter(Mode::Online);
    let house = House::new(limits);
    let admin_path = sockets.admin_path.clone();
    let https_port = config.https.listen.as_ref().map_or(443, |listen| listen.port);
    let urls = doors::open(&house, &switch, sockets, &tls, https_port);

    let pid_file = places::write_pid(&config);
    let status = format!("Serving on {}", urls.join(", "));
    let took = began.elapsed().unwrap_or_default();
    tracing::info!("rstudio-pm {} is ready after {} ms", env!("CARGO_PKG_VERSION"), took.as_millis());
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);

    let mut operator = Operator::new(switch, app);
    tokio::select! {
        () = signals.until_stop(&control) => {}
        () = operator.work(&mut orders) => {}
    }

    notify(&[NotifyState::Stopping, NotifyState::Status("Finishing requests")]);
    tracing::info!("stopping: {} requests under way", house.drain().requests());
    let app = operator.end();
    let limits = house.limits().clone();
    if !house.drain().stop(&limits).await {
        tracing::warn!("stopped with {} connections cut", house.drain().connections());
    }
    if let Some(app) = app {
        stores::close(app.state.db.clone()).await;
    }
    for path in admin_path.iter().chain(&pid_file) {
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("stopped");
    Ok(())
}

/// Tells systemd; outside systemd nothing happens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

fn open_tls(config: &Config) -> Result<Tls, TlsError> {
    match (&config.https.listen, &config.https.certificate, &config.https.key) {
        (Some(_), Some(certificate), Some(key)) => Tls::open(certificate, key, config.https.minimum_tls),
        // The configuration room refuses HTTPS.Listen without a certificate and key.
        (Some(_), _, _) | (None, _, _) => Ok(Tls::default()),
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

/// Each connection is an open file: takes all the hard limit allows. Returns how many there may be.
fn raise_open_files() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let now = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(now).unwrap_or(usize::MAX)
}
