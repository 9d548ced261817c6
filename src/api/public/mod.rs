//! Shapes of the public read API, as clients of the original know them.

pub mod alert;
pub mod filter;
pub mod package;
pub mod repo;
pub mod source;
pub mod status;
pub mod sysreqs;
pub mod url;
pub mod usage;
pub mod vulnerability;
