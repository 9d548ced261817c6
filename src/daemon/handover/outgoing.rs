//! The old server's side of a hand-over: pauses background tasks, starts the new server and finishes once it serves.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, timeout, timeout_at};

use super::Program;
use super::protocol::{self, Channel, Message, SyncRestart};
use crate::daemon::notify::Notifier;
use crate::daemon::running::RunningApp;
use crate::daemon::sockets::Sockets;
use crate::http::net::drain::Drain;
use runtime::control::Control;
use runtime::jobs::Jobs;
use store::db::Db;

/// Timeout for restartable jobs to end before they are halted.
const JOB_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout for halted jobs to reach a point at which they can stop.
const HALT_TIMEOUT: Duration = Duration::from_secs(7);
/// Timeout for the new program to open everything, including migrations.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The data that a successor receives: a duplicate of each listening socket, and the command line of this process.
pub(in crate::daemon) struct Handover {
    program: Program,
    sockets: Vec<(&'static str, OwnedFd)>,
    /// Whether the last server removes the file of the admin socket when it ends.
    owns_admin_socket: bool,
}

impl Handover {
    /// Duplicates the listening sockets.
    pub(in crate::daemon) fn from_sockets(sockets: &Sockets) -> std::io::Result<Handover> {
        let mut named_sockets = Vec::new();
        for (name, listeners) in [
            ("http", &sockets.http),
            ("https", &sockets.https),
            ("redirect", &sockets.redirect),
            ("metrics", &sockets.metrics),
        ] {
            for listener in listeners {
                named_sockets.push((name, listener.try_clone()?.into()));
            }
        }
        named_sockets.push(("admin", sockets.admin.try_clone()?.into()));
        Ok(Handover {
            program: Program::current(),
            sockets: named_sockets,
            owns_admin_socket: sockets.admin_path.is_some(),
        })
    }

    pub(in crate::daemon) fn add(&mut self, new_sockets: Vec<(&'static str, OwnedFd)>) {
        self.sockets.extend(new_sockets);
    }

    /// Pauses background tasks and starts the installed program; returns when it is ready to serve. After an
    /// error, background tasks and jobs are still paused.
    pub(in crate::daemon) async fn prepare(
        &self,
        notifier: &Notifier,
        jobs: &Jobs,
        running: &mut RunningApp,
    ) -> Result<ReadySuccessor, String> {
        notifier.status("Starting the installed version");
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!("version {version}, process {}, starts its successor", std::process::id());
        running.pause();
        let halt_time = Instant::now() + JOB_TIMEOUT;
        while Instant::now() < halt_time && jobs.has_restarting() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        jobs.halt(true);
        let deadline = Instant::now() + HALT_TIMEOUT;
        while Instant::now() < deadline && !jobs.running().is_empty() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        if let Some(job) = jobs.running().first() {
            return Err(format!("{} is still running", job.key));
        }
        let lock = running.app.state.db.lock().map_err(|error| error.to_string())?;
        self.start_successor(lock).await
    }

    /// Starts the installed program; returns when it is ready to serve.
    async fn start_successor(&self, lock: Option<OwnedFd>) -> Result<ReadySuccessor, String> {
        let connect_error = |error: std::io::Error| format!("could not connect to the new program: {error}");
        let (local, remote) = UnixStream::pair().map_err(connect_error)?;
        let names = self.sockets.iter().map(|(name, _)| (*name).to_owned());
        let names = names.chain(lock.iter().map(|_| "lock".to_owned())).collect();
        let descriptors: Vec<BorrowedFd<'_>> =
            self.sockets.iter().map(|(_, fd)| fd).chain(&lock).map(AsFd::as_fd).collect();
        let message = Message::Sockets {
            names,
            pid: nix::unistd::getpid().as_raw(),
            owns_admin_socket: self.owns_admin_socket,
        };
        protocol::send_first(&local, &message, &descriptors).map_err(connect_error)?;
        let program = self.program.clone();
        let result = tokio::task::spawn_blocking(move || launch(&program, remote)).await;
        result.map_err(|error| error.to_string())??;
        let mut successor = ReadySuccessor {
            channel: Channel::new(local).map_err(connect_error)?,
            pid: None,
            version: String::new(),
        };
        let deadline = Instant::now() + START_TIMEOUT;
        let reason = loop {
            match timeout_at(deadline, successor.channel.receive()).await {
                Err(_) => {
                    break format!("the new program was not ready after {} seconds", START_TIMEOUT.as_secs());
                }
                Ok(None) => break "the new program exited before it was ready; see its log".to_owned(),
                Ok(Some(Message::Started { pid })) => successor.pid = Some(pid),
                Ok(Some(Message::Refusal { reason })) => break reason,
                Ok(Some(Message::Prepared { version })) => {
                    successor.version = version;
                    return Ok(successor);
                }
                Ok(Some(
                    Message::Sockets { .. }
                    | Message::Accept
                    | Message::Ready
                    | Message::HandOver { .. }
                    | Message::Stop
                    | Message::Unknown,
                )) => {}
            }
        };
        successor.kill();
        Err(reason)
    }
}

/// Runs the intermediate process, which exits immediately. Blocks.
fn launch(program: &Program, remote: UnixStream) -> Result<(), String> {
    let path = program.path.display();
    let mut child = program
        .command("detach")
        .stdin(Stdio::from(OwnedFd::from(remote)))
        .spawn()
        .map_err(|error| format!("could not start {path}: {error}"))?;
    let deadline = std::time::Instant::now() + STEP_TIMEOUT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{path} failed: {status}")),
            Ok(None) if std::time::Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{path} did not start a server within {} seconds; it may not support hand-overs",
                    STEP_TIMEOUT.as_secs()
                ));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A new server that is ready to serve. Dropping it closes its connection, and it exits.
pub(in crate::daemon) struct ReadySuccessor {
    channel: Channel,
    pid: Option<u32>,
    version: String,
}

impl ReadySuccessor {
    /// Permits the new server to serve and to become the main process; before it is that, this process accepts no more
    /// connections, whose requests would not see what the new one publishes. After an error the new server was killed, and
    /// this process is still the main one. Not cancel-safe.
    pub(in crate::daemon) async fn commit(
        mut self,
        notifier: &Notifier,
        db: &Db,
        drain: &Drain,
        syncs: Vec<SyncRestart>,
    ) -> Result<Successor, String> {
        let reason = "the new program failed while taking over";
        let pid = self.pid.ok_or(reason)?;
        let ready = async {
            self.channel.send(&Message::Accept).await.ok()?;
            while self.channel.receive().await? != Message::Ready {}
            Some(())
        };
        if timeout(STEP_TIMEOUT, ready).await.ok().flatten().is_none() {
            self.kill();
            return Err(reason.to_owned());
        }
        drain.stop_accepting().await;
        notifier.hand_over_main(pid, &format!("Process {pid}, version {}, takes over", self.version));
        // systemd rejects what the new process sends before this is read, also on a machine that is busy for a second.
        notifier.flush(Duration::from_secs(2));
        db.release_lock();
        // An error means that the new server has exited, which systemd reports and handles.
        let _ = self.channel.send(&Message::HandOver { syncs }).await;
        Ok(Successor { channel: self.channel, pid, version: self.version })
    }

    /// Kills the new server: a process that is not the main process must not have the sockets open.
    fn kill(self) {
        if let Some(pid) = self.pid.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

pub(in crate::daemon) struct Successor {
    channel: Channel,
    pub(in crate::daemon) pid: u32,
    pub(in crate::daemon) version: String,
}

impl Successor {
    /// Receives messages until the successor exits. A stop of the successor stops this process, too.
    pub(in crate::daemon) async fn relay_stop(mut self, control: Control) {
        while let Some(message) = self.channel.receive().await {
            match message {
                Message::Stop => control.stop(),
                Message::Sockets { .. }
                | Message::Started { .. }
                | Message::Refusal { .. }
                | Message::Prepared { .. }
                | Message::Accept
                | Message::Ready
                | Message::HandOver { .. }
                | Message::Unknown => {}
            }
        }
    }
}
