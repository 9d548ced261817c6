//! The server, access and service logs and the audit file, their rotation, and the reopening of files after a rotation.

pub mod access;
mod append;
mod event;
mod open;
mod optional_log;
mod regions;
pub mod rotation;
pub mod server;
pub mod service_log;
pub mod sink;
mod stream;
mod timestamp;

pub use access::MAX_FIELD;
pub use access::{AccessEntry, AccessLog, AccessLogSettings};
pub use open::{ReplacedFile, SinkError};
pub use optional_log::OptionalLog;
pub use server::{ServerLog, ServerLogSettings};
pub use service_log::{BinaryDetails, ServiceEntry, ServiceError, ServiceLog};
pub use sink::{OnFull, Sink};
