//! The old server's part: stop what runs by itself, start the new one, and when that serves, finish and go.

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

/// So long jobs may go on, and then so long they have to find a safe point.
const JOBS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(7));
/// So long the new program may take to open everything; migrations included.
const START: Duration = Duration::from_secs(60);
/// So long each of the last steps may take, which do nothing that takes time.
const STEP: Duration = Duration::from_secs(10);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

/// What can be handed over: a second handle of each listening socket, and how this program was started.
pub(in crate::daemon) struct Giving {
    program: Program,
    sockets: Vec<(&'static str, OwnedFd)>,
    own_admin: bool,
}

impl Giving {
    /// Of the sockets that the doors are about to be put on.
    ///
    /// # Errors
    /// The system has no descriptor left.
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

    /// Adds handles of listeners that were opened later.
    pub(in crate::daemon) fn add(&mut self, opened: Vec<(&'static str, OwnedFd)>) {
        self.sockets.extend(opened);
    }

    /// Starts the installed program; returns when it could serve.
    async fn start(&self, lock: Option<OwnedFd>) -> Result<Prepared, String> {
        let broken = |error: std::io::Error| format!("the new program cannot be reached: {error}");
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
                Err(_) => break format!("the new program is not ready after {} seconds", START.as_secs()),
                Ok(None) => break "the new program ended before it was ready; its log says why".to_owned(),
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

/// Runs the step between, which ends at once. Blocks.
fn launch(program: &Program, theirs: UnixStream) -> Result<(), String> {
    let path = program.path.display();
    let mut child = program
        .command("detach")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|error| format!("{path} cannot be started: {error}"))?;
    let deadline = std::time::Instant::now() + STEP;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{path} ended with {status}")),
            Ok(None) if std::time::Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{path} does not know how to take over"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A new server that could serve. Dropped, it hears that it is not wanted and ends.
pub(in crate::daemon) struct Prepared {
    line: Line,
    pid: Option<u32>,
    version: String,
}

impl Prepared {
    /// Lets it serve and become the main process. Not to be given up half way.
    ///
    /// # Errors
    /// It did not, and is ended; nothing has changed here.
    pub(in crate::daemon) async fn commit(
        mut self,
        herald: &Herald,
        db: &Db,
        syncs: Vec<Again>,
    ) -> Result<Successor, String> {
        let why = "the new program ended in the last moment";
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
        // If it is gone now, systemd has seen that.
        let _ = self.line.say(&Word::Yours { syncs }).await;
        Ok(Successor { line: self.line, pid, version: self.version })
    }

    /// What does not become the main process must not live on with the sockets.
    fn end(self) {
        if let Some(pid) = self.pid.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The new main process.
pub(in crate::daemon) struct Successor {
    line: Line,
    /// Its process id.
    pub(in crate::daemon) pid: u32,
    /// Of its program.
    pub(in crate::daemon) version: String,
}

impl Successor {
    /// Listens until it is gone: what was begun here is finished anyhow. When it stops, this process does.
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
    /// Stops what runs by itself and starts the installed program; on an error all goes on as before.
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
            Some(job) => Err(format!("{} is under way and does not end", job.key)),
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
    /// Why it is none.
    pub(in crate::daemon) async fn commit(&mut self, prepared: Prepared) -> Result<Successor, String> {
        let Some(life) = &self.life else { return Err("nothing is served".to_owned()) };
        let halted = life.app.sync.halted();
        // Those that nobody asked for begin by themselves again.
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

    /// Begins syncs again that were halted for us.
    pub(in crate::daemon) fn sync_again(&self, again: &[Again]) {
        let Some(life) = &self.life else { return };
        for Again { kind, version, actor } in again {
            let version = version.as_ref().map(|version| version.parse()).transpose();
            if let (Ok(kind), Ok(version)) = (kind.parse(), version) {
                // A source that is not synced was not.
                let _ = life.app.sync.start_by(kind, version, actor);
            }
        }
    }

    /// Takes over what was published while all was opened.
    pub(in crate::daemon) async fn refresh(&self) {
        if let Some(life) = &self.life
            && let Err(error) = life.app.state.catalog.refresh(&life.app.state.db).await
        {
            tracing::warn!("what was published in the last moment is not known: {error}");
        }
    }

    /// Goes on as if nothing had been asked, and says why.
    pub(in crate::daemon) fn keep(&mut self, why: &str) -> Refused {
        self.go_on();
        self.refuse(why)
    }

    fn refuse(&self, why: &str) -> Refused {
        let version = env!("CARGO_PKG_VERSION");
        tracing::error!("upgrade refused, version {version} goes on serving: {why}");
        self.fixtures.herald.status(&format!("upgrade refused, version {version} goes on serving: {why}"));
        Refused(why.to_owned())
    }
}
