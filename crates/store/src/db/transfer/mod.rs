//! Copies a whole database: reads all rows from one snapshot in an encoding that is common to both databases, and
//! writes such rows to a blank database.

pub mod destination;
mod indexes;
mod postgres_rows;
pub mod reading;
pub mod row;
mod session;
pub mod source;
pub(super) mod sqlite_file;
mod sqlite_rows;
pub mod tables;

pub use destination::occupancy;
