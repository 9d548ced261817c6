//! A proxy to a PostgreSQL server that closes the connection, once, at a COMMIT, or withholds its answer, or drops
//! notifications.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// What happens at the next COMMIT: where its connection is closed, or its answer is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the server receives it.
    Unsent,
    /// After the server has carried it out, and before its answer.
    Unanswered,
    /// Nothing is closed: the answer and all that follow on the connection are withheld until [`PostgresProxy::release`].
    Withheld,
}

/// The proxy; it runs until the test process ends.
pub(crate) struct PostgresProxy {
    /// The address it listens on.
    pub(crate) address: SocketAddr,
    next: Arc<Mutex<Option<Cut>>>,
    drops_notifications: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
    port: Arc<AtomicU16>,
}

impl PostgresProxy {
    /// Starts a proxy to the server at a loopback port, without TLS.
    pub(crate) fn to(port: u16) -> PostgresProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its number");
        let next = Arc::<Mutex<Option<Cut>>>::default();
        let drops_notifications = Arc::<AtomicBool>::default();
        let (port, released) = (Arc::new(AtomicU16::new(port)), Arc::<AtomicBool>::default());
        let (pending_cut, dropping, current, open) =
            (Arc::clone(&next), Arc::clone(&drops_notifications), Arc::clone(&port), Arc::clone(&released));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (pending_cut, dropping, open) =
                    (Arc::clone(&pending_cut), Arc::clone(&dropping), Arc::clone(&open));
                let port = current.load(Ordering::SeqCst);
                // A connection may end with an error.
                std::thread::spawn(move || drop(forward(client, port, &pending_cut, &dropping, &open)));
            }
        });
        PostgresProxy { address, next, drops_notifications, released, port }
    }

    /// Closes the connection at the next COMMIT.
    pub(crate) fn cut(&self, cut: Cut) {
        *self.next.lock().unwrap() = Some(cut);
    }

    /// Sends the answers that were withheld.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    /// Connects to the server at another port from now on.
    pub(crate) fn retarget(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Drops all notifications from now on, as a connection pooler does.
    pub(crate) fn drop_notifications(&self) {
        self.drops_notifications.store(true, Ordering::SeqCst);
    }

    /// Whether the connection has been closed since the last call of [`PostgresProxy::cut`].
    pub(crate) fn was_cut(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

fn forward(
    mut client: TcpStream,
    port: u16,
    pending_cut: &Mutex<Option<Cut>>,
    drops_notifications: &Arc<AtomicBool>,
    released: &Arc<AtomicBool>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let mute = Arc::new(AtomicBool::new(false));
    let (mut answers, mut back, quiet) = (server.try_clone()?, client.try_clone()?, Arc::clone(&mute));
    let drops_notifications = Arc::clone(drops_notifications);
    let withheld = Arc::new(AtomicBool::new(false));
    let (is_withheld, is_released) = (Arc::clone(&withheld), Arc::clone(released));
    std::thread::spawn(move || {
        // A message of the server begins with its type and its length, which includes the four bytes of the length.
        let mut head = [0; 5];
        while answers.read_exact(&mut head).is_ok() {
            let mut message = head.to_vec();
            message.resize(1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize, 0);
            if answers.read_exact(&mut message[5..]).is_err() || quiet.load(Ordering::SeqCst) {
                break;
            }
            if head[0] == b'A' && drops_notifications.load(Ordering::SeqCst) {
                continue;
            }
            while is_withheld.load(Ordering::SeqCst) && !is_released.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            if back.write_all(&message).is_err() {
                break;
            }
        }
        let _ = back.shutdown(Shutdown::Both);
    });
    // The first message has no type in front of its length.
    let mut letter = 0;
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut body)?;
        let cut =
            if letter == b'Q' && body == b"COMMIT\0" { pending_cut.lock().unwrap().take() } else { None };
        match cut {
            Some(Cut::Unsent) => return server.shutdown(Shutdown::Both),
            Some(Cut::Unanswered) => mute.store(true, Ordering::SeqCst),
            Some(Cut::Withheld) => withheld.store(true, Ordering::SeqCst),
            None => {}
        }
        let head = if letter == 0 { Vec::new() } else { vec![letter] };
        server.write_all(&[&head[..], &length, &body].concat())?;
        let mut next = [0];
        client.read_exact(&mut next)?;
        letter = next[0];
    }
}
