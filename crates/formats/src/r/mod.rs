//! Readers and writers for R's formats: DESCRIPTION, versions, index records, RDS files, package archives and
//! repository paths. No I/O beyond the `Read` and `Write` passed in.

pub mod archive;
pub mod binary;
pub mod binary_index;
pub mod bioconductor;
mod checksums;
pub mod closure;
pub mod curated;
pub mod dcf;
pub mod dependency;
pub mod description;
pub mod history;
pub mod index;
pub mod layout;
pub mod license;
pub mod lock_file;
pub mod name;
pub mod packages;
pub mod platform;
pub mod rds;
pub mod rewrite;
pub mod sysreqs;
pub mod user_agent;
pub mod version;
pub mod zip;
