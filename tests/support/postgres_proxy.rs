//! A proxy to a PostgreSQL server that closes the connection, once, at a COMMIT, or withholds its answer, or drops
//! notifications.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// The fault of the next COMMIT: its connection is closed, or its answer is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitFault {
    /// Before the server receives it.
    CloseBeforeCommit,
    /// After the server has carried it out, and before its answer.
    CloseAfterCommit,
    /// Nothing is closed: the answer and all that follow on the connection are withheld until [`PostgresProxy::release`].
    /// Only of a transaction that copied rows, not of a heartbeat.
    WithholdAnswer,
}

/// The proxy; it runs until the test process ends.
pub(crate) struct PostgresProxy {
    /// The address it listens on.
    pub(crate) address: SocketAddr,
    next_fault: Arc<Mutex<Option<CommitFault>>>,
    drops_notifications: Arc<AtomicBool>,
    is_released: Arc<AtomicBool>,
    port: Arc<AtomicU16>,
}

impl PostgresProxy {
    /// Starts a proxy to the server at a loopback port, without TLS.
    pub(crate) fn to(port: u16) -> PostgresProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its number");
        let next_fault = Arc::<Mutex<Option<CommitFault>>>::default();
        let drops_notifications = Arc::<AtomicBool>::default();
        let (port, is_released) = (Arc::new(AtomicU16::new(port)), Arc::<AtomicBool>::default());
        let (thread_fault, thread_drops, thread_port, thread_released) = (
            Arc::clone(&next_fault),
            Arc::clone(&drops_notifications),
            Arc::clone(&port),
            Arc::clone(&is_released),
        );
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (thread_fault, thread_drops, thread_released) =
                    (Arc::clone(&thread_fault), Arc::clone(&thread_drops), Arc::clone(&thread_released));
                let port = thread_port.load(Ordering::SeqCst);
                // A connection may end with an error.
                std::thread::spawn(move || {
                    drop(forward(client, port, &thread_fault, &thread_drops, &thread_released))
                });
            }
        });
        PostgresProxy { address, next_fault, drops_notifications, is_released, port }
    }

    /// Sets the fault of the next COMMIT.
    pub(crate) fn fail_next_commit(&self, fault: CommitFault) {
        *self.next_fault.lock().unwrap() = Some(fault);
    }

    /// Sends the answers that were withheld.
    pub(crate) fn release(&self) {
        self.is_released.store(true, Ordering::SeqCst);
    }

    /// Connects to the server at another port from now on.
    pub(crate) fn retarget(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Drops all notifications from now on, as a connection pooler does.
    pub(crate) fn drop_notifications(&self) {
        self.drops_notifications.store(true, Ordering::SeqCst);
    }

    /// Whether the COMMIT has been sent that fails because of the last call of [`PostgresProxy::fail_next_commit`].
    pub(crate) fn has_failed_commit(&self) -> bool {
        self.next_fault.lock().unwrap().is_none()
    }
}

fn forward(
    mut client: TcpStream,
    port: u16,
    next_fault: &Mutex<Option<CommitFault>>,
    drops_notifications: &Arc<AtomicBool>,
    is_released: &Arc<AtomicBool>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    // Otherwise, each query takes up to 40 ms longer: the system delays small messages until earlier ones are acknowledged.
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let is_mute = Arc::new(AtomicBool::new(false));
    let (mut answers, mut back, thread_is_mute) =
        (server.try_clone()?, client.try_clone()?, Arc::clone(&is_mute));
    let drops_notifications = Arc::clone(drops_notifications);
    let is_withheld = Arc::new(AtomicBool::new(false));
    let (thread_is_withheld, thread_is_released) = (Arc::clone(&is_withheld), Arc::clone(is_released));
    std::thread::spawn(move || {
        // A message of the server begins with its type and its length, which includes the four bytes of the length.
        let mut head = [0; 5];
        while answers.read_exact(&mut head).is_ok() {
            let mut message = head.to_vec();
            message.resize(1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize, 0);
            if answers.read_exact(&mut message[5..]).is_err() || thread_is_mute.load(Ordering::SeqCst) {
                break;
            }
            if head[0] == b'A' && drops_notifications.load(Ordering::SeqCst) {
                continue;
            }
            while thread_is_withheld.load(Ordering::SeqCst) && !thread_is_released.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            if back.write_all(&message).is_err() {
                break;
            }
        }
        let _ = back.shutdown(Shutdown::Both);
    });
    // The first message has no type in front of its length.
    let (mut message_type, mut has_copied) = (0, false);
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut body)?;
        has_copied |= message_type == b'd';
        let fault = if message_type == b'Q' && body == b"COMMIT\0" {
            let is_applicable = |fault: &mut _| has_copied || *fault != CommitFault::WithholdAnswer;
            let fault = next_fault.lock().unwrap().take_if(is_applicable);
            has_copied = false;
            fault
        } else {
            None
        };
        match fault {
            Some(CommitFault::CloseBeforeCommit) => return server.shutdown(Shutdown::Both),
            Some(CommitFault::CloseAfterCommit) => is_mute.store(true, Ordering::SeqCst),
            Some(CommitFault::WithholdAnswer) => is_withheld.store(true, Ordering::SeqCst),
            None => {}
        }
        let head = if message_type == 0 { Vec::new() } else { vec![message_type] };
        server.write_all(&[&head[..], &length, &body].concat())?;
        let mut next = [0];
        client.read_exact(&mut next)?;
        message_type = next[0];
    }
}
