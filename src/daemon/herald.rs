//! Sends notifications to systemd, in order, from a separate thread, so that the server never waits for systemd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Capacity of the queue; further messages are dropped.
const QUEUE: usize = 64;

/// A notification.
enum News {
    /// The server is ready, or a reload has ended.
    Ready(String),
    /// A reload has started.
    Reloading,
    /// Another process is the main process now, and ready.
    Main(u32, String),
    Stopping(String),
    Status(String),
    /// The server responds (watchdog).
    Alive,
    /// Extends the start timeout by this time from now on.
    Patience(Duration, String),
    /// Signals the sender once all earlier messages are sent.
    Sent(SyncSender<()>),
}

/// Notifies systemd; does nothing outside systemd. Cloning shares it.
#[derive(Clone)]
pub(super) struct Herald {
    news: Option<SyncSender<News>>,
    /// Whether this is the main process: systemd rejects messages of others and logs a warning for each.
    main: Arc<AtomicBool>,
}

impl Herald {
    /// Starts the thread if `NOTIFY_SOCKET` is set. `main`: this is the service's main process.
    pub(super) fn start(main: bool) -> Herald {
        let main = Arc::new(AtomicBool::new(main));
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Herald { news: None, main };
        }
        let (news, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("notify".to_owned());
        match thread.spawn(move || send(&inbox)) {
            Ok(_) => Herald { news: Some(news), main },
            Err(error) => {
                tracing::warn!("cannot notify systemd: {error}");
                Herald { news: None, main }
            }
        }
    }

    /// Makes this the main process: its messages are sent from now on.
    pub(super) fn speak(&self) {
        self.main.store(true, Ordering::Release);
    }

    /// Sends `READY=1`.
    pub(super) fn ready(&self, status: &str) {
        self.tell(News::Ready(status.to_owned()));
    }

    /// Sends `RELOADING=1`; [`Herald::ready`] ends it.
    pub(super) fn reloading(&self) {
        self.tell(News::Reloading);
    }

    /// Sends `MAINPID=` and `READY=1`: the last message that systemd accepts from this process.
    pub(super) fn main(&self, pid: u32, status: &str) {
        self.tell(News::Main(pid, status.to_owned()));
        self.main.store(false, Ordering::Release);
    }

    /// Sends `STOPPING=1`.
    pub(super) fn stopping(&self, status: &str) {
        self.tell(News::Stopping(status.to_owned()));
    }

    /// Sends `STATUS=`.
    pub(super) fn status(&self, status: &str) {
        self.tell(News::Status(status.to_owned()));
    }

    /// Sends `WATCHDOG=1`.
    pub(super) fn alive(&self) {
        self.tell(News::Alive);
    }

    /// Sends `EXTEND_TIMEOUT_USEC=`.
    pub(super) fn patience(&self, more: Duration, status: &str) {
        self.tell(News::Patience(more, status.to_owned()));
    }

    /// Waits until all messages are sent, for 200 ms at most. Blocks.
    pub(super) fn flush(&self) {
        let (sent, done) = sync_channel(1);
        self.queue(News::Sent(sent));
        let _ = done.recv_timeout(Duration::from_millis(200));
    }

    fn tell(&self, news: News) {
        if self.main.load(Ordering::Acquire) {
            self.queue(news);
        }
    }

    fn queue(&self, news: News) {
        if let Some(sender) = &self.news {
            // If the queue is full, systemd does not read; the server must not wait for it.
            let _ = sender.try_send(news);
        }
    }
}

fn send(inbox: &Receiver<News>) {
    let mut said = false;
    while let Ok(news) = inbox.recv() {
        let outcome = match &news {
            News::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
            // systemd requires both in one datagram.
            News::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
            // In one datagram: systemd rejects the new process's messages before it and the old one's after it.
            News::Main(pid, status) => sd_notify::notify(&[
                NotifyState::MainPid(*pid),
                NotifyState::Ready,
                NotifyState::Status(status),
            ]),
            News::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
            }
            News::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            News::Patience(more, status) => {
                let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
                sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(status)])
            }
            News::Sent(waiting) => {
                let _ = waiting.try_send(());
                Ok(())
            }
        };
        match outcome {
            Ok(()) => said = false,
            // Logged once per failure in a row: a removed socket must not fill the log.
            Err(error) if !said => {
                said = true;
                tracing::warn!("cannot notify systemd: {error}");
            }
            Err(_) => {}
        }
    }
}
