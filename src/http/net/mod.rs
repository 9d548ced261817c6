//! Connections: listeners, TLS, HTTP/1 and HTTP/2, bodies, and the limits of all of them.

pub mod body;
pub mod budget;
mod connections;
pub mod drain;
mod frame_socket;
mod http2;
pub mod limits;
pub mod listener;
pub mod read_body;
pub mod request_body;
mod send_body;
mod send_budget;
pub mod tls;
mod turns;
pub mod write_timeout;

use std::net::{IpAddr, SocketAddr};

use http::{Request, Response};

use crate::http::net::body::Body;
use crate::http::net::request_body::Incoming;

/// Handles requests: the public service, the admin service, the redirect.
pub trait Service: Clone + Send + Sync + 'static {
    /// Handles one request. A failure is a response too.
    fn handle(&self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// The client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp {
        address: SocketAddr,
        /// Whether the connection is encrypted.
        tls: bool,
    },
    /// A process of this machine, on the admin socket; the kernel provides the ids (`SO_PEERCRED`).
    Unix {
        uid: u32,
        gid: u32,
        /// Process id, where the kernel provides it.
        pid: Option<i32>,
    },
}

/// The unit to which limits apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A client of the admin socket; it has no limit.
    Admin,
    /// A trusted proxy or a loopback address, which many clients share: only the total is limited.
    Shared,
    /// Any other address on the network.
    Address(IpAddr),
}

/// Returns the network that counts as one client: an IPv4 address, or the 64-bit prefix of an IPv6 address.
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
