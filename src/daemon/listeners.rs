//! Retries listeners that could not be opened at the start.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::bind::{self, SocketError};
use super::services::Services;
use super::sockets::{ListenerKind, MissingListener, Sockets};
use crate::config::Listen;

/// Retry interval of a missing listener.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The TCP listeners of the process, open and missing.
pub(super) struct Listeners {
    services: Services,
    missing: Vec<MissingListener>,
    /// Whether an open listener serves packages.
    serving: bool,
    /// Whether systemd opens the sockets at each start, including privileged ports, and restarts the service.
    activated: bool,
    /// Remark about the open listeners.
    remark: Option<String>,
}

impl Listeners {
    /// The listeners at the start. `activated`: systemd has passed sockets.
    pub(super) fn new(services: Services, sockets: &mut Sockets, activated: bool) -> Listeners {
        let serving = !sockets.http.is_empty() || !sockets.https.is_empty();
        let missing = std::mem::take(&mut sockets.missing);
        Listeners { services, missing, serving, activated, remark: sockets.remark() }
    }

    /// Whether all are open.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// The reason why no client can reach the server, if so.
    pub(super) fn fault(&self) -> Option<String> {
        let error = &self.missing.iter().find(|missing| missing.kind.serves_packages())?.error;
        (!self.serving)
            .then(|| format!("{error}\nThe server retries every {} seconds.", RETRY_INTERVAL.as_secs()))
    }

    /// A remark for administrators about missing listeners while others serve.
    pub(super) fn remark(&self) -> Option<String> {
        let missing = self.missing.iter().filter(|_| self.serving).map(|missing| {
            let text = missing.error.to_string();
            let line = text.lines().next().unwrap_or_default().to_owned();
            format!("{line}; retrying every {} seconds", RETRY_INTERVAL.as_secs())
        });
        let all: Vec<String> = self.remark.iter().cloned().chain(missing).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Retries the missing listeners and accepts on those that open. Returns a duplicate of each, by name.
    pub(super) fn retry(&mut self) -> (Vec<(&'static str, OwnedFd)>, RetryResult) {
        let (mut opened, mut outcome) = (Vec::new(), RetryResult::Waiting);
        for MissingListener { kind, listen, error: before } in std::mem::take(&mut self.missing) {
            match open(kind, &listen) {
                Ok((socket, second)) => {
                    self.services.open_tcp(kind, socket);
                    self.serving |= kind.serves_packages();
                    opened.push((kind.name(), second));
                }
                Err(error) => {
                    // A privileged port has become free, and only systemd can bind it.
                    if self.activated && is_in_use(&before) && is_denied(&error) {
                        outcome = RetryResult::NeedsRestart(bind::display_address(&listen));
                    }
                    self.missing.push(MissingListener { kind, listen, error });
                }
            }
        }
        (opened, outcome)
    }
}

/// Result of [`Listeners::retry`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RetryResult {
    /// Retry later if listeners are missing.
    Waiting,
    /// systemd can open this address if the process exits and is restarted.
    NeedsRestart(String),
}

fn open(kind: ListenerKind, listen: &Listen) -> Result<(TcpListener, OwnedFd), SocketError> {
    let failed = |source| SocketError::Mode { name: kind.name(), source };
    let socket = bind::bind(kind.section(), listen)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let second = socket.try_clone().map_err(failed)?;
    Ok((socket, second.into()))
}

fn is_in_use(error: &SocketError) -> bool {
    matches!(error, SocketError::Tcp { kind: ErrorKind::AddrInUse, .. })
}

fn is_denied(error: &SocketError) -> bool {
    matches!(error, SocketError::Tcp { kind: ErrorKind::PermissionDenied, .. })
}
