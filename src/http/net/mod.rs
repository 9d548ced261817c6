//! Connections: listeners, TLS, HTTP/1 and HTTP/2, bodies, and the limits of all of them.

pub mod body;
pub mod budget;
mod connections;
pub mod drain;
mod frame_socket;
pub mod handler;
mod http2;
pub mod limits;
pub mod listener;
pub mod peer;
pub mod read_body;
pub mod request_body;
mod send_body;
mod send_budget;
pub mod tls;
pub mod write_timeout;
