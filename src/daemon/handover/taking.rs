//! The new server's part: take the sockets, serve when told to, and mind the old one until it has finished.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::words::{self, Again, Line, Word};
use crate::catalog::Live;
use crate::db::Db;

/// How often it is looked whether the old one published something: edits it had begun.
const LOOK: Duration = Duration::from_millis(250);

/// What the old server gave.
pub(in crate::daemon) struct Taken {
    stream: UnixStream,
    pid: i32,
    /// Listening sockets by name.
    pub(in crate::daemon) sockets: Vec<(String, OwnedFd)>,
    /// The file of the admin socket is ours to remove.
    pub(in crate::daemon) own_admin: bool,
    /// The database's.
    pub(in crate::daemon) lock: Option<OwnedFd>,
}

/// Takes what comes over standard input, which is `/dev/null` afterwards. Before there are threads.
///
/// # Errors
/// Standard input is not the other end of a hand-over.
pub(in crate::daemon) fn take() -> Result<Taken, String> {
    let bad = |error: std::io::Error| {
        format!("SIGUSR2 to the running server starts this, nothing else can: {error}")
    };
    let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(bad)?);
    let (word, descriptors) = words::take(&stream).map_err(bad)?;
    let Word::Take { names, pid, own_admin } = word else {
        return Err("the running server speaks of something else".to_owned());
    };
    let null = File::open("/dev/null").map_err(bad)?;
    nix::unistd::dup2_stdin(&null).map_err(|error| bad(error.into()))?;
    words::say(&stream, &Word::Begun { pid: std::process::id() }).map_err(bad)?;
    let mut taken = Taken { stream, pid, sockets: Vec::new(), own_admin, lock: None };
    for (name, descriptor) in names.into_iter().zip(descriptors) {
        match name.as_str() {
            "lock" => taken.lock = Some(descriptor),
            _ => taken.sockets.push((name, descriptor)),
        }
    }
    Ok(taken)
}

impl Taken {
    /// Says what came of it when it went wrong.
    pub(in crate::daemon) fn reply(&self) -> Option<Reply> {
        self.stream.try_clone().ok().map(Reply)
    }

    /// Inside the runtime.
    pub(in crate::daemon) fn line(self) -> std::io::Result<(Waiting, Predecessor)> {
        let (stops, told) = mpsc::channel(4);
        let (stage, stages) = watch::channel(Stage::Serving);
        let waiting = Waiting { line: Line::new(self.stream)?, pid: self.pid, stops: told, stage };
        Ok((waiting, Predecessor { stops, stage: stages }))
    }
}

/// A way to tell the old server that there will be no new one.
pub(in crate::daemon) struct Reply(UnixStream);

impl Reply {
    /// Says why. Blocks, shortly.
    pub(in crate::daemon) fn refuse(&self, why: &str) {
        let _ = words::say(&self.0, &Word::Refused { why: why.to_owned() });
    }
}

/// The old server waits for us, or we for it.
pub(in crate::daemon) struct Waiting {
    line: Line,
    pid: i32,
    stops: mpsc::Receiver<()>,
    stage: watch::Sender<Stage>,
}

impl Waiting {
    /// The old server's process id.
    pub(in crate::daemon) fn pid(&self) -> i32 {
        self.pid
    }

    /// All is open: returns when we shall accept, or false when we are not wanted any more.
    pub(in crate::daemon) async fn prepared(&mut self) -> bool {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        if self.line.say(&Word::Prepared { version }).await.is_err() {
            return false;
        }
        loop {
            match self.line.hear().await {
                Some(Word::Go) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// We accept: returns when systemd knows, with the syncs that are to begin again. An old one that is gone by then has
    /// left us everything.
    pub(in crate::daemon) async fn ready(mut self) -> Vec<Again> {
        let mut again = Vec::new();
        // Whom it cannot be said to cannot be heard either.
        let _ = self.line.say(&Word::Ready).await;
        while let Some(word) = self.line.hear().await {
            if let Word::Yours { syncs } = word {
                again = syncs;
                break;
            }
        }
        self.stage.send_replace(Stage::Finishing);
        tokio::spawn(self.follow());
        again
    }

    async fn follow(mut self) {
        loop {
            tokio::select! {
                word = self.line.hear() => {
                    if word.is_none() {
                        break;
                    }
                }
                Some(()) = self.stops.recv() => {
                    let _ = self.line.say(&Word::Stop).await;
                }
            }
        }
        self.stage.send_replace(Stage::Gone);
    }
}

/// How far the old server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It is the main process still.
    Serving,
    Finishing,
    Gone,
}

/// The old server while it finishes; cloning shares it.
#[derive(Clone)]
pub(in crate::daemon) struct Predecessor {
    stops: mpsc::Sender<()>,
    stage: watch::Receiver<Stage>,
}

impl Predecessor {
    /// There is none.
    pub(in crate::daemon) fn none() -> Predecessor {
        Predecessor { stops: mpsc::channel(1).0, stage: watch::channel(Stage::Gone).1 }
    }

    fn finishes(&self) -> bool {
        *self.stage.borrow() == Stage::Finishing
    }

    /// Returns when it is the main process no more.
    pub(in crate::daemon) async fn left(&self) {
        let _ = self.stage.clone().wait_for(|stage| *stage >= Stage::Finishing).await;
    }

    /// Returns when it has ended.
    pub(in crate::daemon) async fn gone(&self) {
        // A closed channel says the same.
        let _ = self.stage.clone().wait_for(|stage| *stage == Stage::Gone).await;
    }

    /// Tells it to end within the deadline of a stop.
    pub(in crate::daemon) async fn stop(&self) {
        if self.finishes() {
            let _ = self.stops.send(()).await;
        }
    }

    /// Keeps the catalog as the old one leaves it, until that has ended.
    pub(in crate::daemon) async fn mind(&self, catalog: &Live, db: &Db) {
        while *self.stage.borrow() != Stage::Gone {
            let _ = catalog.refresh(db).await;
            let _ = tokio::time::timeout(LOOK, self.gone()).await;
        }
        let _ = catalog.refresh(db).await;
    }
}
