//! The new server's side of a hand-over: receives the sockets, serves on request, and waits for the old server's end.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::protocol::{self, Channel, Message, SyncRestart};
use runtime::catalog::CatalogHandle;
use store::db::Db;

/// Polling interval for transactions of the old server, which completes its running edits.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(in crate::daemon) struct ReceivedSockets {
    stream: UnixStream,
    pid: i32,
    pub(in crate::daemon) sockets: Vec<(String, OwnedFd)>,
    /// Whether this process removes the file of the admin socket when it ends.
    pub(in crate::daemon) owns_admin_socket: bool,
    pub(in crate::daemon) lock: Option<OwnedFd>,
}

/// Receives sockets and lock over standard input, which becomes `/dev/null`. Must be called before threads are started.
pub(in crate::daemon) fn receive() -> Result<ReceivedSockets, String> {
    let stdin_error = |error: std::io::Error| {
        format!("only a running server can start this step, on SIGUSR2: standard input: {error}")
    };
    let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(stdin_error)?);
    let (message, descriptors) = protocol::receive_first(&stream).map_err(stdin_error)?;
    let Message::Sockets { names, pid, owns_admin_socket } = message else {
        return Err("unexpected message from the running server".to_owned());
    };
    let null = File::open("/dev/null").map_err(stdin_error)?;
    nix::unistd::dup2_stdin(&null).map_err(|error| stdin_error(error.into()))?;
    protocol::send_blocking(&stream, &Message::Started { pid: std::process::id() }).map_err(stdin_error)?;
    let mut received = ReceivedSockets { stream, pid, sockets: Vec::new(), owns_admin_socket, lock: None };
    for (name, descriptor) in names.into_iter().zip(descriptors) {
        match name.as_str() {
            "lock" => received.lock = Some(descriptor),
            _ => received.sockets.push((name, descriptor)),
        }
    }
    Ok(received)
}

impl ReceivedSockets {
    pub(in crate::daemon) fn reply(&self) -> Option<Reply> {
        self.stream.try_clone().ok().map(Reply)
    }

    /// Opens the message channel. Requires a Tokio runtime.
    pub(in crate::daemon) fn connect(self) -> std::io::Result<(PredecessorChannel, Predecessor)> {
        let (stops, stop_requests) = mpsc::channel(4);
        let (stage, stages) = watch::channel(Stage::Serving);
        let channel = PredecessorChannel {
            channel: Channel::new(self.stream)?,
            pid: self.pid,
            stops: stop_requests,
            stage,
        };
        Ok((channel, Predecessor { stops, stage: stages }))
    }
}

pub(in crate::daemon) struct Reply(UnixStream);

impl Reply {
    /// Reports the reason. Blocks briefly.
    pub(in crate::daemon) fn refuse(&self, reason: &str) {
        let _ = protocol::send_blocking(&self.0, &Message::Refusal { reason: reason.to_owned() });
    }
}

/// The channel to the old server until this process has taken over.
pub(in crate::daemon) struct PredecessorChannel {
    channel: Channel,
    pid: i32,
    stops: mpsc::Receiver<()>,
    stage: watch::Sender<Stage>,
}

impl PredecessorChannel {
    pub(in crate::daemon) fn pid(&self) -> i32 {
        self.pid
    }

    /// Reports that all is open. Returns true once this process may accept connections, false if cancelled.
    pub(in crate::daemon) async fn report_prepared(&mut self) -> bool {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        if self.channel.send(&Message::Prepared { version }).await.is_err() {
            return false;
        }
        loop {
            match self.channel.receive().await {
                Some(Message::Accept) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Reports that this process accepts connections, and waits until it is the main process. Returns the
    /// syncs to restart; none if the old server has exited.
    pub(in crate::daemon) async fn report_ready(mut self) -> Vec<SyncRestart> {
        let mut restarts = Vec::new();
        // After a failed send, `receive` returns `None`.
        let _ = self.channel.send(&Message::Ready).await;
        while let Some(message) = self.channel.receive().await {
            if let Message::HandOver { syncs } = message {
                restarts = syncs;
                break;
            }
        }
        self.stage.send_replace(Stage::Finishing);
        tokio::spawn(self.forward_stops());
        restarts
    }

    /// Forwards stops to the old server until it has exited.
    async fn forward_stops(mut self) {
        loop {
            tokio::select! {
                message = self.channel.receive() => {
                    if message.is_none() {
                        break;
                    }
                }
                Some(()) = self.stops.recv() => {
                    let _ = self.channel.send(&Message::Stop).await;
                }
            }
        }
        self.stage.send_replace(Stage::Exited);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Finishing,
    Exited,
}

/// The old server while it finishes; cloning shares it.
#[derive(Clone)]
pub(in crate::daemon) struct Predecessor {
    stops: mpsc::Sender<()>,
    stage: watch::Receiver<Stage>,
}

impl Predecessor {
    /// Returns a handle for the case that there is no old server.
    pub(in crate::daemon) fn none() -> Predecessor {
        Predecessor { stops: mpsc::channel(1).0, stage: watch::channel(Stage::Exited).1 }
    }

    fn is_finishing(&self) -> bool {
        *self.stage.borrow() == Stage::Finishing
    }

    pub(in crate::daemon) async fn wait_handed_over(&self) {
        let _ = self.stage.clone().wait_for(|stage| *stage >= Stage::Finishing).await;
    }

    pub(in crate::daemon) async fn wait_exit(&self) {
        // An error means that the sender was dropped, which also ends the wait.
        let _ = self.stage.clone().wait_for(|stage| *stage == Stage::Exited).await;
    }

    /// Requests that the old server exits within the deadline of a stop; does nothing unless it is finishing.
    pub(in crate::daemon) async fn stop(&self) {
        if self.is_finishing() {
            let _ = self.stops.send(()).await;
        }
    }

    /// Refreshes the catalog with the transactions that the old server publishes, until it has exited.
    pub(in crate::daemon) async fn follow_catalog(&self, catalog: &CatalogHandle, db: &Db) {
        while *self.stage.borrow() != Stage::Exited {
            let _ = catalog.refresh(db).await;
            let _ = tokio::time::timeout(POLL_INTERVAL, self.wait_exit()).await;
        }
        let _ = catalog.refresh(db).await;
    }
}
