//! Retries listeners that could not be opened at the start.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::bind::{self, SocketError};
use super::services::Services;
use super::sockets::{ListenerKind, MissingListener, Sockets};
use base::config::Listen;

pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The open TCP listeners of the process, and those that could not be opened.
pub(super) struct Listeners {
    services: Services,
    missing_listeners: Vec<MissingListener>,
    /// Whether an open listener serves packages.
    is_serving: bool,
    /// Whether systemd opens the sockets at each start, including privileged ports, and restarts the service.
    is_socket_activated: bool,
    /// About open listeners that differ from the configuration.
    remark: Option<String>,
}

impl Listeners {
    /// Creates the listeners at the start. `is_socket_activated` states whether systemd has passed sockets.
    pub(super) fn new(services: Services, sockets: &mut Sockets, is_socket_activated: bool) -> Listeners {
        let is_serving = !sockets.http.is_empty() || !sockets.https.is_empty();
        let missing_listeners = std::mem::take(&mut sockets.missing_listeners);
        Listeners { services, missing_listeners, is_serving, is_socket_activated, remark: sockets.remark() }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing_listeners.is_empty()
    }

    /// The reason why no client can reach the server; `None` if a listener that serves packages is open.
    pub(super) fn unreachable_reason(&self) -> Option<String> {
        let error = &self.missing_listeners.iter().find(|listener| listener.kind.serves_packages())?.error;
        (!self.is_serving)
            .then(|| format!("{error}\nThe server retries every {} seconds.", RETRY_INTERVAL.as_secs()))
    }

    /// A remark for administrators about missing listeners while others serve.
    pub(super) fn remark(&self) -> Option<String> {
        let listener_remarks = self.missing_listeners.iter().filter(|_| self.is_serving).map(|listener| {
            let text = listener.error.to_string();
            let line = text.lines().next().unwrap_or_default().to_owned();
            format!("{line}; retrying every {} seconds", RETRY_INTERVAL.as_secs())
        });
        let remarks: Vec<String> = self.remark.iter().cloned().chain(listener_remarks).collect();
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }

    /// Retries the missing listeners. Returns duplicates of the sockets that opened, by name, and whether
    /// systemd must restart the service.
    pub(super) fn retry(&mut self) -> (Vec<(&'static str, OwnedFd)>, RetryResult) {
        let (mut new_sockets, mut result) = (Vec::new(), RetryResult::Waiting);
        for MissingListener { kind, listen, error: old_error } in std::mem::take(&mut self.missing_listeners)
        {
            match open(kind, &listen) {
                Ok((socket, duplicate)) => {
                    self.services.open_tcp(kind, socket);
                    self.is_serving |= kind.serves_packages();
                    new_sockets.push((kind.name(), duplicate));
                }
                Err(error) => {
                    // A privileged port has become free, and only systemd can bind it.
                    if self.is_socket_activated && is_in_use(&old_error) && is_denied(&error) {
                        result = RetryResult::NeedsRestart(bind::display_address(&listen));
                    }
                    self.missing_listeners.push(MissingListener { kind, listen, error });
                }
            }
        }
        (new_sockets, result)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum RetryResult {
    Waiting,
    /// systemd can open this address if the process exits and is restarted.
    NeedsRestart(String),
}

fn open(kind: ListenerKind, listen: &Listen) -> Result<(TcpListener, OwnedFd), SocketError> {
    let non_blocking_error = |source| SocketError::NonBlocking { name: kind.name(), source };
    let socket = bind::bind(kind.section(), listen)?;
    socket.set_nonblocking(true).map_err(non_blocking_error)?;
    let duplicate = socket.try_clone().map_err(non_blocking_error)?;
    Ok((socket, duplicate.into()))
}

fn is_in_use(error: &SocketError) -> bool {
    matches!(error, SocketError::Tcp { kind: ErrorKind::AddrInUse, .. })
}

fn is_denied(error: &SocketError) -> bool {
    matches!(error, SocketError::Tcp { kind: ErrorKind::PermissionDenied, .. })
}
