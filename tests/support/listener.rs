//! A listener on a loopback port that serves each connection in a separate thread, until it is closed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The listener; closed on drop.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Listener {
    /// Opens one. Errors of `serve` are ignored.
    pub(crate) fn open<S>(serve: S) -> Listener
    where
        S: Fn(&TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let closed = Arc::new(AtomicBool::new(false));
        let shut = Arc::clone(&closed);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shut.load(Ordering::SeqCst) {
                    return;
                }
                let serve = serve.clone();
                std::thread::spawn(move || drop(serve(&stream)));
            }
        });
        Listener { address, closed }
    }

    /// Accepts no more connections.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}
