//! The JSON APIs: the calls of the handlers from the tables of operations, and what both APIs share.

pub mod admin;
pub(super) mod csv;
mod openapi;
mod operation;
pub(super) mod platforms;
pub mod public;
