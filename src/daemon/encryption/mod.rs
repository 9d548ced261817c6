//! Creates and rotates the encryption key of the server, and compares it with the database.

pub(super) mod check;
pub(super) mod command;
pub(in crate::daemon) mod compare;
mod create;
mod error;
mod rotate;
