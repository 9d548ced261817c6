//! The server's side: a connection to a builder, for one job.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with,
    socketpair,
};

use super::channel;
use super::message::{Credential, Event, Job, Limits, Purpose, Request};

/// Time limit for a builder to end after its connection was closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Additional time in which a builder must report that its time limit was reached.
const REPORT_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The systemd unit closed the connection before the job started, for example because too many builders run.
    #[error(
        "the builder closed the connection before the job started: too many builders are running, or the unit cannot start; \
         see journalctl -u 'rstudio-pm-build@*' -u 'rstudio-pm-fetch@*'"
    )]
    Busy,
    /// A builder that is a child process ended before the job started. Bubblewrap does this without user namespaces.
    #[error("the builder ended before the job started; its messages are in the standard error of the server")]
    Exit,
    #[error("the builder refused the job: {0}")]
    Refused(String),
    /// The builder ended without a report.
    #[error(
        "the build was terminated externally (memory, time limit or restart); see journalctl -u 'rstudio-pm-build@*' -u \
         'rstudio-pm-fetch@*'"
    )]
    Ended,
    #[error(transparent)]
    Message(#[from] super::message::MessageError),
    #[error("could not communicate with the builder: {0}")]
    Io(#[from] std::io::Error),
}

/// A connection to a builder. Dropping it ends the job.
#[derive(Debug)]
pub struct Connection {
    // Must be dropped first, because a builder ends when its connection is closed.
    socket: Option<OwnedFd>,
    child: Option<Child>,
    // The workspace of a builder without a separate file system; deleted when dropped.
    _workspace: Option<tempfile::TempDir>,
    has_started: bool,
    deadline: Instant,
}

impl Connection {
    /// Connects to the socket of a systemd unit, so that systemd starts a builder.
    pub fn open(path: &Path) -> Result<Connection> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Connection::new(socket, None, None))
    }

    /// Starts a builder as a child, with the connection as its standard input.
    pub(super) fn spawn(command: &mut Command, workspace: Option<tempfile::TempDir>) -> Result<Connection> {
        let (socket, builder_end) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = command.stdin(Stdio::from(builder_end)).stdout(Stdio::null()).spawn()?;
        // The command owns a copy of the builder's end. It is dropped here, because it would keep the connection open.
        command.stdin(Stdio::null());
        Ok(Connection::new(socket, Some(child), workspace))
    }

    fn new(socket: OwnedFd, child: Option<Child>, workspace: Option<tempfile::TempDir>) -> Connection {
        let deadline = Instant::now() + REPORT_TIMEOUT;
        Connection { socket: Some(socket), child, _workspace: workspace, has_started: false, deadline }
    }

    /// Sends the request. Events follow.
    pub fn start(
        &mut self,
        job: Job,
        limits: Limits,
        descriptors: &[(Purpose, BorrowedFd<'_>)],
    ) -> std::result::Result<(), JobError> {
        self.deadline = Instant::now() + Duration::from_secs(limits.seconds) + REPORT_TIMEOUT;
        let (purposes, descriptors): (Vec<_>, Vec<_>) = descriptors.iter().copied().unzip();
        let request = Request { v: job.version(), descriptors: purposes, limits, job };
        let packet = request.encode()?;
        Request::decode(&packet)?;
        match channel::send(self.socket(), &packet, &descriptors) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(self.end_before_start()),
            other => Ok(other?),
        }
    }

    /// Waits for the next event of the started job; the last one is [`Event::Ended`].
    pub fn next_event(&mut self) -> std::result::Result<Event, JobError> {
        loop {
            let Some(packet) = channel::receive(self.socket(), self.deadline)? else {
                return Err(if self.has_started { JobError::Ended } else { self.end_before_start() });
            };
            match Event::decode(&packet.bytes)? {
                Event::Unknown => {}
                Event::Refused { reason } => return Err(JobError::Refused(reason)),
                event => {
                    self.has_started = true;
                    return Ok(event);
                }
            }
        }
    }

    /// Returns a handle that ends the job from another thread.
    pub fn interrupter(&self) -> Result<Interrupter> {
        Ok(Interrupter(self.socket().try_clone_to_owned()?))
    }

    fn end_before_start(&self) -> JobError {
        if self.child.is_some() { JobError::Exit } else { JobError::Busy }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("taken only when dropped").as_fd()
    }
}

/// Ends the job of a [`Connection`].
#[derive(Debug)]
pub struct Interrupter(OwnedFd);

impl Interrupter {
    /// Ends the job: the builder ends, and [`Connection::next_event`] returns [`JobError::Ended`].
    pub fn interrupt(&self) {
        // An error means that the builder has ended.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Shut down explicitly, because an interrupter may have a copy of the socket.
        if let Some(socket) = self.socket.take() {
            let _ = shutdown(&socket, Shutdown::Both);
        }
        let Some(child) = &mut self.child else { return };
        let deadline = Instant::now() + EXIT_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Returns an immutable in-memory file with a credential (memfd_create(2), with seals).
pub fn credential_file(credential: &Credential) -> Result<OwnedFd> {
    let descriptor = memfd_create("credential", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(descriptor);
    file.write_all(&serde_json::to_vec(credential)?)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}
