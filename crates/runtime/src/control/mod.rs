//! Commands to the server process, and its mode. Services and signal handlers send commands with the handle
//! [`Control`]; the supervisor task of `daemon` runs the commands one after the other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use base::config::{DebugRegion, PropertyChange};
use store::db::author::{self, Author};

/// Capacity of the command queue; further callers wait.
const QUEUE: usize = 16;

/// The result of a configuration reload, per changed property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadResult {
    /// Properties whose new values were applied.
    pub applied: Vec<PropertyChange>,
    /// Properties that the file no longer contains; the active values remain in effect.
    pub ignored: Vec<PropertyChange>,
    /// Properties that are not reloadable; a restart, or `rspm offline` and `rspm online`, applies them.
    pub restart: Vec<PropertyChange>,
    pub warnings: Vec<String>,
}

/// A command to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration file again and apply the properties that are reloadable, set and changed.
    Reload,
    /// Finish running requests and jobs, close the stores, answer 503 from then on.
    Offline {
        /// Time that running requests and jobs may take.
        timeout: Duration,
    },
    /// Read the whole configuration file, open the stores, and serve.
    Online,
    /// Read everything from the database again: it was reset to an earlier state.
    Reopen,
    /// Start the installed program and hand over the listening sockets to it.
    HandOver,
}

/// A command that was not executed: a sentence for the administrator, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandResult {
    Reloaded(ReloadResult),
    /// A change of mode, as a sentence.
    ModeChanged(String),
}

#[derive(Debug)]
pub struct PendingCommand {
    pub command: Command,
    /// The author of the command, for the audit trail; `None` for a signal and for the server itself.
    pub author: Option<Author>,
    reply: oneshot::Sender<Result<CommandResult, CommandError>>,
}

impl PendingCommand {
    /// Returns whether the caller no longer waits.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Sends the result to the caller, if it still waits.
    pub fn answer(self, result: Result<CommandResult, CommandError>) {
        let _ = self.reply.send(result);
    }
}

/// Commands to the logs. [`LogControl::reopen`] blocks on disk I/O.
pub trait LogControl: Send + Sync {
    /// Writes queued lines, then reopens all files; returns their paths. Afterwards no process of this server writes to
    /// an old file, even one that finishes requests. The error names the files that could not be opened or closed.
    fn reopen(&self) -> Result<Vec<PathBuf>, String>;

    /// Sets the least severe level that is written, until the next start. Returns it in the spelling of the
    /// configuration. Fails if the text names no level.
    fn set_level(&self, level: &str) -> Result<String, String>;

    /// Starts or stops writing the debug events of regions at every level, until the next start or reload.
    fn set_regions(&self, regions: &[DebugRegion], is_active: bool);

    fn regions(&self) -> BTreeSet<DebugRegion>;
}

/// The handle to the server process. Clones share it.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    commands: mpsc::Sender<PendingCommand>,
    mode: watch::Sender<Mode>,
    work: watch::Sender<ActiveWork>,
    stop: Notify,
    is_stopping: AtomicBool,
    logs: Arc<dyn LogControl>,
}

impl Control {
    /// Creates a handle and the receiver of its commands.
    pub fn new(logs: Arc<dyn LogControl>) -> (Control, mpsc::Receiver<PendingCommand>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let mode = watch::Sender::new(Mode::Starting("reading the configuration"));
        let work = watch::Sender::new(ActiveWork::default());
        (
            Control(Arc::new(Shared {
                commands,
                mode,
                work,
                stop: Notify::new(),
                is_stopping: AtomicBool::new(false),
                logs,
            })),
            receiver,
        )
    }

    /// Queues a command and waits for its result.
    ///
    /// # Errors
    /// The command was not executed.
    pub async fn run(&self, command: Command) -> Result<CommandResult, CommandError> {
        let stopping_error = || CommandError("the server is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0
            .commands
            .send(PendingCommand { command, author: author::of_task(), reply })
            .await
            .map_err(|_| stopping_error())?;
        answer.await.unwrap_or_else(|_| Err(stopping_error()))
    }

    /// Stops the process, as SIGTERM does.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    pub async fn wait_for_stop(&self) {
        self.0.stop.notified().await;
    }

    /// Makes health checks fail from now on, because the server stops or goes offline; `false` revokes that.
    pub fn set_stopping(&self, is_stopping: bool) {
        self.0.is_stopping.store(is_stopping, Ordering::Relaxed);
    }

    /// Returns whether health checks fail because the server stops or goes offline.
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Ordering::Relaxed)
    }

    pub async fn reopen_logs(&self) -> Result<Vec<PathBuf>, CommandError> {
        let logs = Arc::clone(&self.0.logs);
        let result = tokio::task::spawn_blocking(move || logs.reopen()).await;
        result.unwrap_or_else(|error| Err(error.to_string())).map_err(CommandError)
    }

    pub fn set_log_level(&self, level: &str) -> Result<String, CommandError> {
        self.0.logs.set_level(level).map_err(CommandError)
    }

    pub fn set_debug_regions(&self, regions: &[DebugRegion], is_active: bool) {
        self.0.logs.set_regions(regions, is_active);
    }

    pub fn debug_regions(&self) -> BTreeSet<DebugRegion> {
        self.0.logs.regions()
    }

    pub fn mode(&self) -> Mode {
        self.0.mode.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<Mode> {
        self.0.mode.subscribe()
    }

    /// Sets the mode; called by the supervisor only.
    pub fn set_mode(&self, mode: Mode) {
        self.0.mode.send_if_modified(|current| {
            let has_changed = *current != mode;
            *current = mode;
            has_changed
        });
    }

    /// The work that must end before the server is offline; empty at other times.
    pub fn work(&self) -> ActiveWork {
        self.0.work.borrow().clone()
    }

    /// Sets the work that must end before the server is offline.
    pub fn set_work(&self, work: ActiveWork) {
        self.0.work.send_replace(work);
    }
}

/// The mode of the server. It is not stored: after a restart the server goes online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Starting, with the current step.
    Starting(&'static str),
    Online,
    /// Still serving, and finishing running requests and jobs.
    Draining,
    /// Taken offline: the stores are closed, 503 for everything.
    Offline,
    /// A needed resource is unusable: 503 for everything. The start is retried if the configuration is valid.
    Broken(BrokenReason),
}

impl Mode {
    /// The mode as one word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Mode::Starting(_) => "starting",
            Mode::Online => "online",
            Mode::Draining => "draining",
            Mode::Offline => "offline",
            Mode::Broken(_) => "broken",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenReason {
    /// For the network: names the kind of the unusable resource and its property, without path, host or password.
    pub phrase: String,
    /// For the log and the admin socket: the full error, with the remedy.
    pub detail: String,
    /// Whether a listener answers requests with 503.
    pub has_listener: bool,
}

/// The work that must end before the server is offline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveWork {
    pub requests: usize,
    /// Keys of running jobs: `sync:cran`.
    pub jobs: Vec<String>,
}

impl ActiveWork {
    /// Returns whether no work must end first.
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.jobs.is_empty()
    }
}

/// `2 requests, sync:cran`, or `nothing`.
impl std::fmt::Display for ActiveWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        match self.requests {
            0 => {}
            1 => parts.push("1 request".to_owned()),
            n => parts.push(format!("{n} requests")),
        }
        parts.extend(self.jobs.iter().cloned());
        if parts.is_empty() { f.write_str("nothing") } else { f.write_str(&parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoLogs;

    impl LogControl for NoLogs {
        fn reopen(&self) -> Result<Vec<PathBuf>, String> {
            Err("no".to_owned())
        }

        fn set_level(&self, level: &str) -> Result<String, String> {
            Ok(level.to_uppercase())
        }

        fn set_regions(&self, _: &[DebugRegion], _: bool) {}

        fn regions(&self) -> BTreeSet<DebugRegion> {
            BTreeSet::new()
        }
    }

    #[tokio::test]
    async fn a_command_is_answered_or_refused_if_no_receiver_is_left() {
        let (control, mut commands) = Control::new(Arc::new(NoLogs));
        let request = tokio::spawn({
            let control = control.clone();
            async move { control.run(Command::Online).await }
        });
        let pending_command = commands.recv().await.expect("a command");
        assert_eq!(pending_command.command, Command::Online);
        pending_command.answer(Ok(CommandResult::ModeChanged("online".to_owned())));
        assert_eq!(request.await.expect("no panic"), Ok(CommandResult::ModeChanged("online".to_owned())));
        let task = tokio::spawn({
            let control = control.clone();
            async move { control.run(Command::Reload).await }
        });
        drop(commands.recv().await.expect("a command"));
        assert!(task.await.expect("no panic").is_err());
        drop(commands);
        assert!(control.run(Command::Reload).await.is_err());
    }

    #[tokio::test]
    async fn setting_the_same_mode_again_notifies_no_watcher() {
        let (control, _commands) = Control::new(Arc::new(NoLogs));
        let mut changes = control.subscribe();
        changes.mark_unchanged();
        control.set_mode(control.mode());
        assert!(!changes.has_changed().expect("the sender exists"));
        control.set_mode(Mode::Online);
        assert!(changes.has_changed().expect("the sender exists"));
        assert_eq!(control.set_log_level("debug"), Ok("DEBUG".to_owned()));
        assert_eq!(control.reopen_logs().await, Err(CommandError("no".to_owned())));
    }

    #[test]
    fn the_remaining_work_is_described_in_words() {
        let work = |requests, jobs: &[&str]| ActiveWork {
            requests,
            jobs: jobs.iter().map(|job| (*job).to_owned()).collect(),
        };
        assert_eq!(work(0, &[]).to_string(), "nothing");
        assert_eq!(work(1, &["sync:cran"]).to_string(), "1 request, sync:cran");
        assert_eq!(work(3, &[]).to_string(), "3 requests");
        assert!(work(0, &[]).is_empty() && !work(0, &["x"]).is_empty());
    }
}
