//! The server, access and service logs, the log files that survive rotation, and the rotation.

pub mod access;
mod append;
mod event;
mod open;
pub mod rotation;
pub mod server;
pub mod service_log;
pub mod sink;
mod stream;
mod timestamp;

pub(crate) use access::MAX_FIELD;
pub use access::{AccessLog, NextAccess, Record};
pub use open::{ReplacedFile, SinkError};
pub use server::{NextLog, ServerLog};
pub use service_log::{BinaryDetails, ServiceError, ServiceLine, ServiceLog};
pub use sink::{OnFull, Sink};
