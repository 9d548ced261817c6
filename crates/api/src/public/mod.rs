//! Wire types of the public API, in the form that clients of Posit Package Manager expect.

pub mod alert;
pub mod bootstrap;
pub mod difference;
pub mod filter;
pub mod package;
pub mod repo;
pub mod source;
pub mod status;
pub mod sysreqs;
pub mod url;
pub mod usage;
pub mod vulnerability;
