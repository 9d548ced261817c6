//! R's formats as pure words: what a DESCRIPTION, a version, an index record, an RDS file, a source archive and
//! a repository address are, and how they are read and written. No I/O beyond the `Read` and `Write` handed in.

pub mod archive;
pub mod binary;
pub mod bioconductor;
pub mod database;
pub mod dcf;
pub mod dependency;
pub mod description;
pub mod encoding;
pub mod history;
pub mod index;
pub mod layout;
pub mod name;
pub mod offered;
pub mod packages;
pub mod platform;
pub mod rds;
pub mod readme;
pub mod rewrite;
pub mod sysreqs;
pub mod user_agent;
pub mod version;
pub mod zip;
