//! Sends notifications to systemd, in order, from a separate thread, so that the server never waits for systemd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Capacity of the queue; further notifications are dropped.
const CAPACITY: usize = 64;

enum Notification {
    /// The server is ready, or a reload has ended.
    Ready(String),
    Reloading,
    /// Another process is the main process now, and ready.
    Main(u32, String),
    Stopping(String),
    Status(String),
    Watchdog,
    /// Extends the start timeout to this duration from now.
    ExtendTimeout(Duration, String),
    /// Sends a confirmation through the channel when all earlier notifications are sent.
    Flush(SyncSender<()>),
}

/// Notifies systemd; does nothing outside systemd. Clones share the queue.
#[derive(Clone)]
pub(super) struct Notifier {
    sender: Option<SyncSender<Notification>>,
    /// Whether this is the main process: systemd rejects notifications of others and logs a warning for each.
    is_main: Arc<AtomicBool>,
}

impl Notifier {
    /// Starts the thread if `NOTIFY_SOCKET` is set. `is_main` is true if this process is the service's main process.
    pub(super) fn start(is_main: bool) -> Notifier {
        let is_main = Arc::new(AtomicBool::new(is_main));
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Notifier { sender: None, is_main };
        }
        let (sender, receiver) = sync_channel(CAPACITY);
        let thread = std::thread::Builder::new().name("notify".to_owned());
        match thread.spawn(move || run(&receiver)) {
            Ok(_) => Notifier { sender: Some(sender), is_main },
            Err(error) => {
                tracing::warn!("cannot notify systemd: {error}");
                Notifier { sender: None, is_main }
            }
        }
    }

    pub(super) fn become_main(&self) {
        self.is_main.store(true, Ordering::Release);
    }

    pub(super) fn ready(&self, status: &str) {
        self.send_if_main(Notification::Ready(status.to_owned()));
    }

    /// Sends `RELOADING=1`; [`Notifier::ready`] ends the reload.
    pub(super) fn reloading(&self) {
        self.send_if_main(Notification::Reloading);
    }

    /// Sends `MAINPID=` and `READY=1`: the last notification that systemd accepts from this process.
    pub(super) fn hand_over_main(&self, pid: u32, status: &str) {
        self.send_if_main(Notification::Main(pid, status.to_owned()));
        self.is_main.store(false, Ordering::Release);
    }

    pub(super) fn stopping(&self, status: &str) {
        self.send_if_main(Notification::Stopping(status.to_owned()));
    }

    pub(super) fn status(&self, status: &str) {
        self.send_if_main(Notification::Status(status.to_owned()));
    }

    pub(super) fn watchdog(&self) {
        self.send_if_main(Notification::Watchdog);
    }

    /// Sends `EXTEND_TIMEOUT_USEC=`.
    pub(super) fn extend_timeout(&self, extension: Duration, status: &str) {
        self.send_if_main(Notification::ExtendTimeout(extension, status.to_owned()));
    }

    /// Waits until all notifications are sent, but not longer than `limit`: systemd need not read them. Blocks.
    pub(super) fn flush(&self, limit: Duration) {
        let (sender, receiver) = sync_channel(1);
        self.enqueue(Notification::Flush(sender));
        let _ = receiver.recv_timeout(limit);
    }

    fn send_if_main(&self, notification: Notification) {
        if self.is_main.load(Ordering::Acquire) {
            self.enqueue(notification);
        }
    }

    fn enqueue(&self, notification: Notification) {
        if let Some(sender) = &self.sender {
            // If the queue is full, systemd does not read; the server must not wait for it.
            let _ = sender.try_send(notification);
        }
    }
}

fn run(receiver: &Receiver<Notification>) {
    let mut is_reported = false;
    while let Ok(notification) = receiver.recv() {
        let result = match &notification {
            Notification::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
            }
            // systemd requires both in one datagram.
            Notification::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
            // In one datagram: systemd rejects the new process before `MAINPID=`, the old one afterwards.
            Notification::Main(pid, status) => sd_notify::notify(&[
                NotifyState::MainPid(*pid),
                NotifyState::Ready,
                NotifyState::Status(status),
            ]),
            Notification::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
            }
            Notification::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Notification::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
            Notification::ExtendTimeout(extension, status) => {
                let micros = u32::try_from(extension.as_micros()).unwrap_or(u32::MAX);
                sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(status)])
            }
            Notification::Flush(sender) => {
                let _ = sender.try_send(());
                Ok(())
            }
        };
        match result {
            Ok(()) => is_reported = false,
            // Only the first of consecutive errors is logged: a removed socket must not fill the log.
            Err(error) if !is_reported => {
                is_reported = true;
                tracing::warn!("cannot notify systemd: {error}");
            }
            Err(_) => {}
        }
    }
}
