//! The server, access and service logs and the audit file, their rotation, and the reopening of files after a rotation.

pub mod access;
mod append;
mod event;
mod open;
pub mod rotation;
pub mod server;
pub mod service_log;
pub mod sink;
mod timestamp;

pub use access::{AccessEntry, AccessLog, AccessLogSettings, MAX_FIELD};
pub use open::{ReplacedFile, SinkError};
pub use server::{ServerLog, ServerLogSettings};
pub use service_log::{BinaryDetails, ServiceEntry, ServiceError, ServiceLog};
pub use sink::{OnFull, OptionalLog, Sink};
