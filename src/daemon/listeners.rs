//! Listeners that could not be opened at the start: tried again until they can.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::bind::{self, SocketError};
use super::doors::Doors;
use super::sockets::{Kind, Missing, Sockets};
use crate::config::Listen;

/// How often a missing listener is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// The TCP listeners of the process: which are open, and which are not.
pub(super) struct Listeners {
    doors: Doors,
    missing: Vec<Missing>,
    /// Packages are served through an open one.
    serving: bool,
    /// A service manager opens the sockets at each start, privileged ports included, and starts what ends.
    activated: bool,
    /// What is said of the open ones.
    remark: Option<String>,
}

impl Listeners {
    /// Of a start. `activated`: systemd has handed sockets over.
    pub(super) fn new(doors: Doors, sockets: &mut Sockets, activated: bool) -> Listeners {
        let serving = !sockets.http.is_empty() || !sockets.https.is_empty();
        let missing = std::mem::take(&mut sockets.missing);
        Listeners { doors, missing, serving, activated, remark: sockets.remark() }
    }

    /// Whether all are open.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Why nobody can reach the server.
    pub(super) fn fault(&self) -> Option<String> {
        let error = &self.missing.iter().find(|missing| missing.kind.serves_packages())?.error;
        (!self.serving).then(|| format!("{error}\nIt is tried again every {} seconds.", AGAIN.as_secs()))
    }

    /// What an administrator should know of listeners while others serve.
    pub(super) fn remark(&self) -> Option<String> {
        let missing = self.missing.iter().filter(|_| self.serving).map(|missing| {
            let text = missing.error.to_string();
            let line = text.lines().next().unwrap_or_default().to_owned();
            format!("{line}; it is tried again every {} seconds", AGAIN.as_secs())
        });
        let all: Vec<String> = self.remark.iter().cloned().chain(missing).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Opens what can be opened now and accepts on it. Returns a second handle of each, by name.
    pub(super) fn retry(&mut self) -> (Vec<(&'static str, OwnedFd)>, Outcome) {
        let (mut opened, mut outcome) = (Vec::new(), Outcome::Waiting);
        for Missing { kind, listen, error: before } in std::mem::take(&mut self.missing) {
            match open(kind, &listen) {
                Ok((socket, second)) => {
                    self.doors.open_tcp(kind, socket);
                    self.serving |= kind.serves_packages();
                    opened.push((kind.name(), second));
                }
                Err(error) => {
                    // Nobody listens on a privileged port any more, and only systemd can.
                    if self.activated && in_use(&before) && forbidden(&error) {
                        outcome = Outcome::NeedsRestart(bind::shown(&listen));
                    }
                    self.missing.push(Missing { kind, listen, error });
                }
            }
        }
        (opened, outcome)
    }
}

/// What is to be done after [`Listeners::retry`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing but to try again.
    Waiting,
    /// The service manager can open this address when the process ends and is started again.
    NeedsRestart(String),
}

fn open(kind: Kind, listen: &Listen) -> Result<(TcpListener, OwnedFd), SocketError> {
    let failed = |source| SocketError::Mode { name: kind.name(), source };
    let socket = bind::bind(kind.section(), listen)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let second = socket.try_clone().map_err(failed)?;
    Ok((socket, second.into()))
}

fn in_use(error: &SocketError) -> bool {
    matches!(error, SocketError::Tcp { kind: ErrorKind::AddrInUse, .. })
}

fn forbidden(error: &SocketError) -> bool {
    matches!(error, SocketError::Tcp { kind: ErrorKind::PermissionDenied, .. })
}
