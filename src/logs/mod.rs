//! Log files that survive rotation: the file sink below every log, the access log, the server log.

pub mod access;
mod event;
pub mod server;
pub mod sink;
mod stamp;

pub use access::{Access, Record};
pub use server::ServerLog;
pub use sink::{Full, Sink, SinkError};
