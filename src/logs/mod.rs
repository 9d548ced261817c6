//! The server, access and service logs, the log files that survive rotation, and the rotation.

pub mod access;
mod append;
mod event;
mod open;
pub mod rotation;
pub mod served;
pub mod server;
pub mod sink;
mod stamp;
mod stream;

pub(crate) use access::LONGEST_FIELD;
pub use access::{Access, NextAccess, Record};
pub use open::{Left, SinkError};
pub use served::{BinaryPart, ServiceError, ServiceLine, ServiceLog};
pub use server::{NextLog, ServerLog};
pub use sink::{Full, Sink};
