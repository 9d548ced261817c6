//! The encryption key of the server: compared with the database, created, rotated.

pub(super) mod check;
pub(super) mod command;
pub(in crate::daemon) mod compare;
mod create;
mod error;
mod rotate;
