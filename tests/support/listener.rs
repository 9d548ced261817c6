//! A listener on a loopback port that serves each connection in a separate thread, until it is closed; a closed port.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};

/// The listener; closed on drop.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    is_closed: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// Opens a listener on a free port. Errors of `serve` are ignored.
    pub(crate) fn open<S>(serve: S) -> Listener
    where
        S: Fn(&TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let is_closed = Arc::new(AtomicBool::new(false));
        let thread_is_closed = Arc::clone(&is_closed);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if thread_is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let serve = serve.clone();
                std::thread::spawn(move || drop(serve(&stream)));
            }
        });
        Listener { address, is_closed, thread: Mutex::new(Some(thread)) }
    }

    /// Closes the listener: later connections are refused.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let thread = self.thread.lock().expect("no panic holds it").take();
        if let Some(thread) = thread {
            // Wakes the thread, which closes the listener at its end.
            let _ = TcpStream::connect(self.address);
            thread.join().expect("no panic");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

/// A loopback port that refuses connections and that no other program gets: bound, without a listener.
pub(crate) struct ClosedPort {
    pub(crate) port: u16,
    _socket: OwnedFd,
}

impl ClosedPort {
    pub(crate) fn open() -> ClosedPort {
        let socket =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a port");
        let address: SockaddrIn = getsockname(socket.as_raw_fd()).expect("bound");
        ClosedPort { port: address.port(), _socket: socket }
    }
}
