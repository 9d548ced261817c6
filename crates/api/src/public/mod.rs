//! Wire types of the public API, in the form that clients of Posit Package Manager expect.

pub mod filter;
pub mod package;
pub mod repo;
pub mod status;
pub mod sysreqs;
pub mod vulnerability;
