//! Commands to the process itself, and the mode it is in: the handle that doors and signals hold, and the orders that
//! the one operator task of `daemon` carries out, one after the other.

pub mod changes;
pub mod mode;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

pub use changes::Reloaded;
pub use mode::{Fault, Mode, Work};

/// Orders that may wait; more callers wait to hand theirs in.
const QUEUE: usize = 16;

/// What the operator is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration file again and apply what is reloadable, present and changed.
    Reload,
    /// Finish what is under way, close the stores, answer 503 from then on.
    Offline {
        /// How long what is under way may take.
        timeout: Duration,
    },
    /// Read the whole configuration file, open the stores, serve.
    Online,
    /// Start the program that is installed now, and leave the listening sockets to it.
    HandOver,
}

/// A command that was not carried out: a sentence for the administrator, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A reload.
    Reloaded(Reloaded),
    /// A change of mode; the sentence for people.
    Moved(String),
}

/// A command and who waits for it.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub command: Command,
    reply: oneshot::Sender<Result<Done, Refused>>,
}

impl Order {
    /// True when nobody waits any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Tells whoever waits. Nobody may be left to hear it.
    pub fn answer(self, outcome: Result<Done, Refused>) {
        let _ = self.reply.send(outcome);
    }
}

/// What the logs can be told; both block.
pub trait Logs: Send + Sync {
    /// Writes what is queued, then opens every file anew; returns their paths. Done means that no process of this
    /// server writes to an old file any more, one that still finishes requests included.
    ///
    /// # Errors
    /// The files that cannot be opened or left, as a sentence.
    fn reopen(&self) -> Result<Vec<PathBuf>, String>;

    /// Sets the least severe level that is written, until the next start. Returns it as the configuration spells it.
    ///
    /// # Errors
    /// The text names no level.
    fn set_level(&self, level: &str) -> Result<String, String>;
}

/// The handle; cloning shares it.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    orders: mpsc::Sender<Order>,
    mode: watch::Sender<Mode>,
    work: watch::Sender<Work>,
    stop: Notify,
    logs: Arc<dyn Logs>,
}

impl Control {
    /// A handle, and the orders that come through it.
    #[must_use]
    pub fn new(logs: Arc<dyn Logs>) -> (Control, mpsc::Receiver<Order>) {
        let (orders, received) = mpsc::channel(QUEUE);
        let mode = watch::Sender::new(Mode::Starting("reading the configuration"));
        let work = watch::Sender::new(Work::default());
        (Control(Arc::new(Shared { orders, mode, work, stop: Notify::new(), logs })), received)
    }

    /// Hands in a command and waits until it is done.
    ///
    /// # Errors
    /// It was not carried out.
    pub async fn order(&self, command: Command) -> Result<Done, Refused> {
        let stopping = || Refused("the server is stopping".to_owned());
        let (reply, answered) = oneshot::channel();
        self.0.orders.send(Order { command, reply }).await.map_err(|_| stopping())?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Asks the process to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    /// Returns when [`Control::stop`] was called.
    pub async fn stopped(&self) {
        self.0.stop.notified().await;
    }

    /// See [`Logs::reopen`].
    ///
    /// # Errors
    /// As there.
    pub async fn reopen_logs(&self) -> Result<Vec<PathBuf>, Refused> {
        let logs = Arc::clone(&self.0.logs);
        let done = tokio::task::spawn_blocking(move || logs.reopen()).await;
        done.unwrap_or_else(|error| Err(error.to_string())).map_err(Refused)
    }

    /// See [`Logs::set_level`].
    ///
    /// # Errors
    /// As there.
    pub fn set_log_level(&self, level: &str) -> Result<String, Refused> {
        self.0.logs.set_level(level).map_err(Refused)
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode.borrow().clone()
    }

    /// Changes of the mode.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Mode> {
        self.0.mode.subscribe()
    }

    /// Sets the mode; the operator's to do.
    pub fn enter(&self, mode: Mode) {
        self.0.mode.send_if_modified(|now| {
            let changed = *now != mode;
            *now = mode;
            changed
        });
    }

    /// What still has to end before the server is offline; empty at other times.
    #[must_use]
    pub fn work(&self) -> Work {
        self.0.work.borrow().clone()
    }

    /// Says what still has to end.
    pub fn report(&self, work: Work) {
        self.0.work.send_replace(work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl Logs for Deaf {
        fn reopen(&self) -> Result<Vec<PathBuf>, String> {
            Err("no".to_owned())
        }

        fn set_level(&self, level: &str) -> Result<String, String> {
            Ok(level.to_uppercase())
        }
    }

    #[tokio::test]
    async fn an_order_is_answered_or_refused_when_nobody_is_left_to_carry_it_out() {
        let (control, mut orders) = Control::new(Arc::new(Deaf));
        let asked = tokio::spawn({
            let control = control.clone();
            async move { control.order(Command::Online).await }
        });
        let order = orders.recv().await.expect("an order");
        assert_eq!(order.command, Command::Online);
        order.answer(Ok(Done::Moved("online".to_owned())));
        assert_eq!(asked.await.expect("no panic"), Ok(Done::Moved("online".to_owned())));
        let lost = tokio::spawn({
            let control = control.clone();
            async move { control.order(Command::Reload).await }
        });
        drop(orders.recv().await.expect("an order"));
        assert!(lost.await.expect("no panic").is_err());
        drop(orders);
        assert!(control.order(Command::Reload).await.is_err());
    }

    #[tokio::test]
    async fn a_mode_that_is_set_again_wakes_nobody() {
        let (control, _orders) = Control::new(Arc::new(Deaf));
        let mut changes = control.watch();
        changes.mark_unchanged();
        control.enter(control.mode());
        assert!(!changes.has_changed().expect("the sender lives"));
        control.enter(Mode::Online);
        assert!(changes.has_changed().expect("the sender lives"));
        assert_eq!(control.set_log_level("debug"), Ok("DEBUG".to_owned()));
        assert_eq!(control.reopen_logs().await, Err(Refused("no".to_owned())));
    }
}
