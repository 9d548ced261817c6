//! The server process from the start of its threads on: opens the stores, serves, and stops.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::context::{ListenAddresses, ProcessContext};
use super::error::StartError;
use super::handover::incoming::{Predecessor, PredecessorChannel, ReceivedSockets};
use super::handover::outgoing::{Handover, Successor};
use super::listeners::Listeners;
use super::logging::{self, Logs};
use super::notify::Notifier;
use super::services::Services;
use super::signals::Signals;
use super::sockets::Sockets;
use super::stores::SharedStores;
use super::supervisor::Supervisor;
use super::watchdog::{self, ProbeAddresses};
use super::{node, status, stores};
use crate::http::net::tls::Tls;
use crate::http::recent_requests::RecentRequests;
use crate::http::site::SiteSettings;
use crate::http::{HttpServer, Limits, ServerContext, Switch, summary};
use base::config::{Config, Loaded};
use runtime::cluster::{Cluster, heartbeat};
use runtime::control::{Control, Mode, PendingCommand};
use runtime::jobs::Jobs;

/// Time that clients wait in the backlog while the stores open; then they get 503 until the start is complete.
const BACKLOG_WAIT: Duration = Duration::from_secs(10);
/// Extension of systemd's start timeout, sent at intervals of half its length.
const START_EXTENSION: Duration = Duration::from_secs(30);

pub(super) struct Setup<'a> {
    pub(super) file: &'a Path,
    /// The configuration, or the valid part of it.
    pub(super) config: Arc<Config>,
    /// The configuration, or the reason why it cannot be used.
    pub(super) loaded: Result<Loaded, StartError>,
    /// Whether systemd passed sockets: then an error does not end the server, which responds with 503 and the reason.
    pub(super) is_socket_activated: bool,
    pub(super) sockets: Sockets,
    /// The sockets and the lock that the old server passed, in a hand-over.
    pub(super) received: Option<ReceivedSockets>,
    pub(super) limits: Limits,
    pub(super) start: SystemTime,
}

/// Opens the stores and serves until a signal or a command requests a stop; returns when everything is closed.
pub(super) async fn run(setup: Setup<'_>, logs: &Logs) -> Result<(), StartError> {
    let Setup { file, config, loaded, is_socket_activated, sockets, received, limits, start } = setup;
    let signals = Signals::install();
    let probe_addresses = ProbeAddresses { admin: sockets.admin_address(), plain: sockets.plain_addresses() };
    let mut process = Process::new(file, &config, is_socket_activated, sockets, received, limits, logs)?;
    let control = process.control.clone();
    let mut stop = pin!(signals.run_until_stop(&control));
    let mut successor = None;
    let boot_result = process.boot(loaded, is_socket_activated, &mut stop).await;
    if boot_result.is_err() {
        process.cluster.leave().await;
    }
    if boot_result? {
        process.report_ready(&config, start);
        successor = process.serve(probe_addresses, &mut stop).await;
    }
    process.shut_down(successor, &mut stop).await;
    Ok(())
}

struct Process {
    control: Control,
    commands: mpsc::Receiver<PendingCommand>,
    switch: Switch,
    server: HttpServer,
    services: Services,
    /// The sockets until connections are accepted.
    sockets: Option<Sockets>,
    notifier: Notifier,
    logs: Logs,
    supervisor: Supervisor,
    /// The channel to the old server until this process has taken over.
    predecessor_channel: Option<PredecessorChannel>,
    predecessor: Predecessor,
    rotation: JoinHandle<()>,
    cluster: Cluster,
    heartbeat: Option<JoinHandle<()>>,
    /// The files of the admin socket, of the PID and of the id in the cluster, which are removed at the end.
    files: Vec<PathBuf>,
}

impl Process {
    fn new(
        file: &Path,
        config: &Config,
        is_socket_activated: bool,
        mut sockets: Sockets,
        mut received: Option<ReceivedSockets>,
        limits: Limits,
        logs: &Logs,
    ) -> Result<Process, StartError> {
        // In a hand-over systemd accepts only messages of the old process, until this one is the main process.
        let notifier = Notifier::start(received.is_none());
        let handover = Handover::from_sockets(&sockets).map_err(StartError::HandOver)?;
        // In a hand-over the predecessor still runs, and its leases are valid.
        let previous_id = if received.is_none() { node::previous_id(config) } else { None };
        let shared_stores = received.as_mut().map(|received| SharedStores { lock: received.lock.take() });
        let connection = received.map(ReceivedSockets::connect).transpose().map_err(StartError::HandOver)?;
        let (predecessor_channel, predecessor) = match connection {
            Some((channel, predecessor)) => (Some(channel), predecessor),
            None => (None, Predecessor::none()),
        };
        let rotation = tokio::spawn({
            let (logs, predecessor) = (logs.clone(), predecessor.clone());
            async move {
                // Only one process at a time renames log files.
                predecessor.wait_handed_over().await;
                logging::rotate(logs).await;
            }
        });
        let (control, commands) = Control::new(Arc::new(logs.clone()));
        let clock = stores::system_clock();
        let address = node::address(&sockets);
        let cluster = Cluster::new(node::host_name(), address, previous_id, control.clone(), clock.clone());
        let switch = Switch::new(ServerContext {
            control: control.clone(),
            cluster: cluster.clone(),
            site: Arc::new(ArcSwap::from_pointee(SiteSettings::new(config))),
            access_log: logs.access.clone(),
            service_log: logs.service.clone(),
            audit_log: logs.audit.clone(),
            limits: limits.clone(),
            recent_requests: Arc::new(RecentRequests::new(clock())),
            clock,
            tls: Tls::default(),
            remark: ArcSwapOption::empty(),
        });
        let server = HttpServer::new(limits, Arc::clone(&switch.context().site));
        let tls = switch.context().tls.clone();
        let files = sockets.admin_path.iter().cloned().collect();
        let https_port = config.https.listen.as_ref().map_or(443, |listen| listen.port);
        let services =
            Services { server: server.clone(), switch: switch.clone(), tls: tls.clone(), https_port };
        let context = ProcessContext {
            file: file.to_owned(),
            switch: switch.clone(),
            logs: logs.clone(),
            tls,
            notifier: notifier.clone(),
            jobs: Jobs::default(),
            addresses: ListenAddresses::from_config(config),
            handover,
            listeners: Listeners::new(services.clone(), &mut sockets, is_socket_activated),
            predecessor: predecessor.clone(),
        };
        Ok(Process {
            control,
            commands,
            switch,
            server,
            services,
            sockets: Some(sockets),
            notifier,
            logs: logs.clone(),
            supervisor: Supervisor::new(context, shared_stores),
            predecessor_channel,
            predecessor,
            rotation,
            cluster,
            heartbeat: None,
            files,
        })
    }

    /// Opens the stores and accepts connections, in a hand-over once the old server permits. Returns false on a stop.
    async fn boot(
        &mut self,
        loaded: Result<Loaded, StartError>,
        is_socket_activated: bool,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<bool, StartError> {
        if self.predecessor_channel.is_none() {
            self.start_heartbeat();
        }
        {
            let mut start = pin!(self.supervisor.start(loaded, is_socket_activated));
            let mut extension = tokio::time::interval(START_EXTENSION / 2);
            let mut backlog = pin!(tokio::time::sleep(BACKLOG_WAIT));
            loop {
                tokio::select! {
                    result = &mut start => break result?,
                    () = &mut *stop => return Ok(false),
                    _ = extension.tick() => {
                        let line = summary::starting(&self.control.mode());
                        self.notifier.extend_timeout(START_EXTENSION, &line);
                    }
                    () = &mut backlog, if self.sockets.is_some() => accept(&self.services, &mut self.sockets),
                }
            }
        }
        if let Some(channel) = &mut self.predecessor_channel {
            let is_confirmed = tokio::select! {
                is_confirmed = channel.report_prepared() => is_confirmed,
                () = &mut *stop => false,
            };
            if !is_confirmed {
                return Err(StartError::Cancelled);
            }
            self.supervisor.refresh().await;
        }
        accept(&self.services, &mut self.sockets);
        if let Some(channel) = self.predecessor_channel.take() {
            self.logs.predecessors.add(channel.pid());
            let syncs = channel.report_ready().await;
            self.notifier.become_main();
            self.start_heartbeat();
            self.supervisor.restart_syncs(&syncs);
        }
        Ok(true)
    }

    fn start_heartbeat(&mut self) {
        self.heartbeat = Some(tokio::spawn(heartbeat::run(self.cluster.clone())));
    }

    /// Writes the files of the process and notifies systemd.
    fn report_ready(&mut self, config: &Config, start: SystemTime) {
        self.files.extend(node::write_pid(config));
        self.files.extend(node::write_id(config, self.cluster.id()));
        let duration = start.elapsed().unwrap_or_default();
        if self.control.mode() == Mode::Online {
            tracing::info!(
                "rstudio-pm {} is ready after {} ms",
                env!("CARGO_PKG_VERSION"),
                duration.as_millis()
            );
        }
        // Even if requests get 503: systemd would kill the service, and clients would not get the reason.
        self.notifier.ready(&summary::line_without_counts(&self.switch, &self.control.mode()));
    }

    /// Runs commands until a stop is requested or a successor has taken over.
    async fn serve(
        &mut self,
        probe_addresses: ProbeAddresses,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Option<Successor> {
        let status = tokio::spawn(status::run(self.switch.clone(), self.notifier.clone()));
        let watchdog = tokio::spawn(watchdog::run(probe_addresses, self.notifier.clone()));
        let successor = loop {
            let ready_successor = tokio::select! {
                () = &mut *stop => break None,
                ready_successor = self.supervisor.run_commands(&mut self.commands) => ready_successor,
            };
            let Some(ready_successor) = ready_successor else { break None };
            // A stop does not interrupt this step, during which both processes accept connections.
            match self.supervisor.commit(ready_successor, self.server.drain()).await {
                Ok(successor) => break Some(successor),
                Err(reason) => drop(self.supervisor.cancel_hand_over(&reason)),
            }
        };
        status.abort();
        watchdog.abort();
        successor
    }

    /// Finishes the requests and closes everything. With a successor, a later request to stop is still handled.
    async fn shut_down(self, successor: Option<Successor>, stop: &mut (impl Future<Output = ()> + Unpin)) {
        let Process {
            control,
            server,
            notifier,
            supervisor,
            predecessor,
            rotation,
            cluster,
            heartbeat,
            mut files,
            ..
        } = self;
        rotation.abort();
        let app = supervisor.stop();
        let limits = server.limits().clone();
        let requests = server.drain().requests();
        let is_complete = match successor {
            None => {
                notifier.stopping("Finishing requests");
                let delay =
                    app.as_ref().map_or(Duration::ZERO, |app| app.state.config.load().server.drain_delay);
                if !delay.is_zero() {
                    control.set_stopping(true);
                    tracing::info!(
                        "stopping: /__ping__ responds with 503 for {} s before requests are drained",
                        delay.as_secs_f64()
                    );
                    notifier.extend_timeout(delay + limits.drain_timeout * 2, "Draining");
                    tokio::time::sleep(delay).await;
                }
                tracing::info!("stopping: {} in progress", request_count(requests));
                predecessor.stop().await;
                let is_complete = server.drain().stop(&limits, predecessor.wait_exit()).await;
                let _ = tokio::time::timeout(limits.linger * 2, predecessor.wait_exit()).await;
                is_complete
            }
            Some(successor) => {
                let Successor { pid, version, .. } = &successor;
                tracing::info!(
                    "process {pid}, version {version}, has taken over; finishing {}",
                    request_count(requests)
                );
                tokio::spawn(successor.relay_stop(control));
                // Socket file, PID file and leases belong to the successor.
                files.clear();
                leave(&cluster, heartbeat.as_ref()).await;
                let stop_requested = Notify::new();
                let forward_stop = async {
                    stop.await;
                    predecessor.stop().await;
                    stop_requested.notify_one();
                    std::future::pending().await
                };
                let finish = async {
                    let is_complete = server.drain().hand_over(&limits, stop_requested.notified()).await;
                    // The predecessor of this process must exit first: only this process can forward a stop to it.
                    predecessor.wait_exit().await;
                    is_complete
                };
                tokio::select! {
                    is_complete = finish => is_complete,
                    is_complete = forward_stop => is_complete,
                }
            }
        };
        if !is_complete {
            tracing::warn!("shutdown: {} connections aborted", server.drain().connections());
        }
        leave(&cluster, heartbeat.as_ref()).await;
        if let Some(app) = app {
            stores::close(&app).await;
        }
        for path in files {
            let _ = std::fs::remove_file(path);
        }
        notifier.flush(Duration::from_millis(200));
        tracing::info!("stopped");
    }
}

/// Ends the heartbeat and removes this process from the servers of its database.
async fn leave(cluster: &Cluster, heartbeat: Option<&JoinHandle<()>>) {
    cluster.leave().await;
    if let Some(heartbeat) = heartbeat {
        heartbeat.abort();
    }
}

/// Starts to accept connections; further calls do nothing.
fn accept(services: &Services, sockets: &mut Option<Sockets>) {
    if let Some(sockets) = sockets.take() {
        services.open(sockets);
    }
}

/// Formats a number of requests: `1 request`, `2 requests`.
fn request_count(requests: usize) -> String {
    format!("{requests} request{}", if requests == 1 { "" } else { "s" })
}
