//! A proxy to a PostgreSQL server that closes the connection, once, at a COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Where the connection of the next COMMIT is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the server receives it.
    Unsent,
    /// After the server has carried it out, and before its answer.
    Unanswered,
}

/// The proxy; it runs until the test process ends.
pub(crate) struct PostgresProxy {
    /// The address it listens on.
    pub(crate) address: SocketAddr,
    next: Arc<Mutex<Option<Cut>>>,
}

impl PostgresProxy {
    /// Starts a proxy to the server at a loopback port, without TLS.
    pub(crate) fn to(port: u16) -> PostgresProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its number");
        let next = Arc::<Mutex<Option<Cut>>>::default();
        let armed = Arc::clone(&next);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let armed = Arc::clone(&armed);
                // A connection may end with an error.
                std::thread::spawn(move || drop(forward(client, port, &armed)));
            }
        });
        PostgresProxy { address, next }
    }

    /// Closes the connection at the next COMMIT.
    pub(crate) fn cut(&self, cut: Cut) {
        *self.next.lock().unwrap() = Some(cut);
    }

    /// Whether that COMMIT has been sent.
    pub(crate) fn was_cut(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

fn forward(mut client: TcpStream, port: u16, armed: &Mutex<Option<Cut>>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    let mute = Arc::new(AtomicBool::new(false));
    let (mut answers, mut back, quiet) = (server.try_clone()?, client.try_clone()?, Arc::clone(&mute));
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = answers.read(&mut bytes) {
            if quiet.load(Ordering::SeqCst) || back.write_all(&bytes[..read]).is_err() {
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
        let cut = if letter == b'Q' && body == b"COMMIT\0" { armed.lock().unwrap().take() } else { None };
        match cut {
            Some(Cut::Unsent) => return server.shutdown(Shutdown::Both),
            Some(Cut::Unanswered) => mute.store(true, Ordering::SeqCst),
            None => {}
        }
        let head = if letter == 0 { Vec::new() } else { vec![letter] };
        server.write_all(&[&head[..], &length, &body].concat())?;
        let mut next = [0];
        client.read_exact(&mut next)?;
        letter = next[0];
    }
}
