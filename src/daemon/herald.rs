//! What systemd is told, in order and without ever waiting for it: a thread of its own does the sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Messages that may wait; a socket that nobody reads loses the rest.
const QUEUE: usize = 64;

/// Something systemd should know.
enum News {
    /// Requests are answered, or a reload is over.
    Ready(String),
    /// A reload has begun.
    Reloading,
    /// Another process is the main one now, and ready.
    Main(u32, String),
    Stopping(String),
    Status(String),
    /// The server answers.
    Alive,
    /// A start that takes long needs so much time from now on.
    Patience(Duration, String),
    /// To be answered when all before it was sent.
    Sent(SyncSender<()>),
}

/// Tells systemd; outside systemd nothing happens. Cloning shares it.
#[derive(Clone)]
pub(super) struct Herald {
    news: Option<SyncSender<News>>,
    /// This is the main process: systemd takes messages of no other, and logs a warning for each.
    main: Arc<AtomicBool>,
}

impl Herald {
    /// Begins, when there is somebody to tell. `main`: this is the service's main process.
    pub(super) fn start(main: bool) -> Herald {
        let main = Arc::new(AtomicBool::new(main));
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Herald { news: None, main };
        }
        let (news, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("herald".to_owned());
        match thread.spawn(move || send(&inbox)) {
            Ok(_) => Herald { news: Some(news), main },
            Err(error) => {
                tracing::warn!("systemd cannot be told: {error}");
                Herald { news: None, main }
            }
        }
    }

    /// From now on this is the main process.
    pub(super) fn speak(&self) {
        self.main.store(true, Ordering::Release);
    }

    /// `READY=1`: requests are answered.
    pub(super) fn ready(&self, status: &str) {
        self.tell(News::Ready(status.to_owned()));
    }

    /// `RELOADING=1`; [`Herald::ready`] ends it.
    pub(super) fn reloading(&self) {
        self.tell(News::Reloading);
    }

    /// `MAINPID=` and `READY=1`: the last that systemd takes from this process.
    pub(super) fn main(&self, pid: u32, status: &str) {
        self.tell(News::Main(pid, status.to_owned()));
        self.main.store(false, Ordering::Release);
    }

    /// `STOPPING=1`.
    pub(super) fn stopping(&self, status: &str) {
        self.tell(News::Stopping(status.to_owned()));
    }

    /// `STATUS=`.
    pub(super) fn status(&self, status: &str) {
        self.tell(News::Status(status.to_owned()));
    }

    /// `WATCHDOG=1`.
    pub(super) fn alive(&self) {
        self.tell(News::Alive);
    }

    /// `EXTEND_TIMEOUT_USEC=`.
    pub(super) fn patience(&self, more: Duration, status: &str) {
        self.tell(News::Patience(more, status.to_owned()));
    }

    /// Waits until all was sent, for a short time at most. Blocks.
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
            // A full queue: systemd does not read, and must not keep us from serving.
            let _ = sender.try_send(news);
        }
    }
}

fn send(inbox: &Receiver<News>) {
    let mut said = false;
    while let Ok(news) = inbox.recv() {
        let outcome = match &news {
            News::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
            // systemd wants both in one datagram.
            News::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
            // In one datagram: the new process would not be heard before, and the old one not after.
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
            // Once, and again after it worked: a socket that is gone must not fill the log.
            Err(error) if !said => {
                said = true;
                tracing::warn!("systemd cannot be told: {error}");
            }
            Err(_) => {}
        }
    }
}
