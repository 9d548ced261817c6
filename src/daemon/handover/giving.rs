//! The old server's side of a hand-over: pauses background tasks, starts the new server and finishes once it serves.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, timeout, timeout_at};

use super::Program;
use super::words::{self, Again, Line, Word};
use crate::control::{Control, Mode, Refused};
use crate::daemon::herald::Herald;
use crate::daemon::operator::Operator;
use crate::daemon::sockets::Sockets;
use crate::db::Db;

/// Time for running jobs to end, then time for them to stop at a safe point.
const JOBS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(7));
/// Timeout for the new program to open everything, including migrations.
const START: Duration = Duration::from_secs(60);
/// Timeout of each of the last, short steps.
const STEP: Duration = Duration::from_secs(10);
/// Polling interval.
const LOOK: Duration = Duration::from_millis(20);

/// What a successor gets: a duplicate of each listening socket, and the command line of this process.
pub(in crate::daemon) struct Giving {
    program: Program,
    sockets: Vec<(&'static str, OwnedFd)>,
    own_admin: bool,
}

impl Giving {
    /// Duplicates the listening sockets.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(in crate::daemon) fn of(sockets: &Sockets) -> std::io::Result<Giving> {
        let mut named = Vec::new();
        for (name, listeners) in [
            ("http", &sockets.http),
            ("https", &sockets.https),
            ("redirect", &sockets.redirect),
            ("metrics", &sockets.metrics),
        ] {
            for listener in listeners {
                named.push((name, listener.try_clone()?.into()));
            }
        }
        named.push(("admin", sockets.admin.try_clone()?.into()));
        Ok(Giving { program: Program::started(), sockets: named, own_admin: sockets.admin_path.is_some() })
    }

    /// Adds duplicates of listeners that were opened later.
    pub(in crate::daemon) fn add(&mut self, opened: Vec<(&'static str, OwnedFd)>) {
        self.sockets.extend(opened);
    }

    /// Starts the installed program; returns when it is ready to serve.
    async fn start(&self, lock: Option<OwnedFd>) -> Result<Prepared, String> {
        let broken = |error: std::io::Error| format!("could not connect to the new program: {error}");
        let (ours, theirs) = UnixStream::pair().map_err(broken)?;
        let names = self.sockets.iter().map(|(name, _)| (*name).to_owned());
        let names = names.chain(lock.iter().map(|_| "lock".to_owned())).collect();
        let descriptors: Vec<BorrowedFd<'_>> =
            self.sockets.iter().map(|(_, fd)| fd).chain(&lock).map(AsFd::as_fd).collect();
        let word = Word::Take { names, pid: nix::unistd::getpid().as_raw(), own_admin: self.own_admin };
        words::give(&ours, &word, &descriptors).map_err(broken)?;
        let program = self.program.clone();
        let started = tokio::task::spawn_blocking(move || launch(&program, theirs)).await;
        started.map_err(|error| error.to_string())??;
        let mut prepared =
            Prepared { line: Line::new(ours).map_err(broken)?, pid: None, version: String::new() };
        let deadline = Instant::now() + START;
        let why = loop {
            match timeout_at(deadline, prepared.line.hear()).await {
                Err(_) => break format!("the new program was not ready after {} seconds", START.as_secs()),
                Ok(None) => break "the new program exited before it was ready; see its log".to_owned(),
                Ok(Some(Word::Begun { pid })) => prepared.pid = Some(pid),
                Ok(Some(Word::Refused { why })) => break why,
                Ok(Some(Word::Prepared { version })) => {
                    prepared.version = version;
                    return Ok(prepared);
                }
                Ok(Some(
                    Word::Take { .. }
                    | Word::Go
                    | Word::Ready
                    | Word::Yours { .. }
                    | Word::Stop
                    | Word::Unknown,
                )) => {}
            }
        };
        prepared.end();
        Err(why)
    }
}

/// Runs the intermediate process, which exits at once. Blocks.
fn launch(program: &Program, theirs: UnixStream) -> Result<(), String> {
    let path = program.path.display();
    let mut child = program
        .command("detach")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|error| format!("could not start {path}: {error}"))?;
    let deadline = std::time::Instant::now() + STEP;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{path} failed: {status}")),
            Ok(None) if std::time::Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{path} does not support hand-overs"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A new server that is ready to serve. Dropping it closes its connection, and it exits.
pub(in crate::daemon) struct Prepared {
    line: Line,
    pid: Option<u32>,
    version: String,
}

impl Prepared {
    /// Lets it serve and become the main process. Not cancel-safe.
    ///
    /// # Errors
    /// It failed and was killed; nothing has changed here.
    pub(in crate::daemon) async fn commit(
        mut self,
        herald: &Herald,
        db: &Db,
        syncs: Vec<Again>,
    ) -> Result<Successor, String> {
        let why = "the new program failed while taking over";
        let pid = self.pid.ok_or(why)?;
        let ready = async {
            self.line.say(&Word::Go).await.ok()?;
            while self.line.hear().await? != Word::Ready {}
            Some(())
        };
        if timeout(STEP, ready).await.ok().flatten().is_none() {
            self.end();
            return Err(why.to_owned());
        }
        herald.main(pid, &format!("Process {pid}, version {}, takes over", self.version));
        herald.flush();
        db.give_up_lock();
        // If it has exited by now, systemd has noticed.
        let _ = self.line.say(&Word::Yours { syncs }).await;
        Ok(Successor { line: self.line, pid, version: self.version })
    }

    /// Kills it: a process that is not the main one must not keep the sockets.
    fn end(self) {
        if let Some(pid) = self.pid.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The new main process.
pub(in crate::daemon) struct Successor {
    line: Line,
    /// Process ID.
    pub(in crate::daemon) pid: u32,
    /// Program version.
    pub(in crate::daemon) version: String,
}

impl Successor {
    /// Receives its messages until it exits, after which this process still finishes its requests. A stop of the
    /// successor stops this process, too.
    pub(in crate::daemon) async fn obey(mut self, control: Control) {
        while let Some(word) = self.line.hear().await {
            match word {
                Word::Stop => control.stop(),
                Word::Take { .. }
                | Word::Begun { .. }
                | Word::Refused { .. }
                | Word::Prepared { .. }
                | Word::Go
                | Word::Ready
                | Word::Yours { .. }
                | Word::Unknown => {}
            }
        }
    }
}

impl Operator {
    /// Pauses background tasks and starts the installed program; on an error the server continues as before.
    pub(in crate::daemon) async fn hand_over(&mut self) -> Result<Prepared, Refused> {
        let control = self.fixtures.switch.porch().control.clone();
        let mode = control.mode();
        let (Some(life), Mode::Online) = (&mut self.life, &mode) else {
            return Err(self.refuse(&format!("the server is {}", mode.word())));
        };
        self.fixtures.herald.status("Starting the installed version");
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!("version {version}, process {}, starts its successor", std::process::id());
        life.pause();
        let db = life.app.state.db.clone();
        let jobs = self.fixtures.jobs.clone();
        let by_itself = Instant::now() + JOBS.0;
        while Instant::now() < by_itself && jobs.is_worth_waiting() {
            tokio::time::sleep(LOOK).await;
        }
        jobs.halt(true);
        let deadline = Instant::now() + JOBS.1;
        while Instant::now() < deadline && !jobs.running().is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        let started = match jobs.running().first() {
            Some(job) => Err(format!("{} is still running", job.key)),
            None => match db.lock() {
                Ok(lock) => self.fixtures.giving.start(lock).await,
                Err(error) => Err(error.to_string()),
            },
        };
        started.map_err(|why| self.keep(&why))
    }

    /// Makes a successor the main process.
    ///
    /// # Errors
    /// The reason why it failed.
    pub(in crate::daemon) async fn commit(&mut self, prepared: Prepared) -> Result<Successor, String> {
        let Some(life) = &self.life else { return Err("the server is not serving".to_owned()) };
        let halted = life.app.sync.halted();
        // Scheduled jobs start again by themselves.
        let again = halted.iter().filter_map(|halted| {
            let (kind, version) = halted.what();
            let (kind, version) = (kind.to_string(), version.map(|version| version.to_string()));
            Some(Again { kind, version, actor: halted.administrator()?.to_owned() })
        });
        let committed = prepared.commit(&self.fixtures.herald, &life.app.state.db, again.collect()).await;
        if committed.is_err() {
            self.halted = halted;
        }
        committed
    }

    /// Restarts the syncs that the old server halted for the hand-over.
    pub(in crate::daemon) fn sync_again(&self, again: &[Again]) {
        let Some(life) = &self.life else { return };
        for Again { kind, version, actor } in again {
            let version = version.as_ref().map(|version| version.parse()).transpose();
            if let (Ok(kind), Ok(version)) = (kind.parse(), version) {
                // Fails only for a source that is never synced, which the old server cannot name.
                let _ = life.app.sync.start_by(kind, version, actor);
            }
        }
    }

    /// Loads what was published during the start.
    pub(in crate::daemon) async fn refresh(&self) {
        if let Some(life) = &self.life
            && let Err(error) = life.app.state.catalog.refresh(&life.app.state.db).await
        {
            tracing::warn!("could not load the latest publications: {error}");
        }
    }

    /// Continues to serve after a failed hand-over and reports the reason.
    pub(in crate::daemon) fn keep(&mut self, why: &str) -> Refused {
        self.go_on();
        self.refuse(why)
    }

    fn refuse(&self, why: &str) -> Refused {
        let version = env!("CARGO_PKG_VERSION");
        tracing::error!("upgrade refused, version {version} continues to serve: {why}");
        self.fixtures.herald.status(&format!("upgrade refused, version {version} continues to serve: {why}"));
        Refused(why.to_owned())
    }
}
