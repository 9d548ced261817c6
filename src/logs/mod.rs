//! Log files that survive rotation: the access log, the file sink below every log, the server log.

pub mod access;
pub mod sink;

pub use access::{Access, Record};
pub use sink::{Full, Sink, SinkError};
