//! R's formats, compared with real R on real packages.

mod curated;
mod rds_matrix;
mod rds_meta;
mod rds_read;
mod sysreqs;
mod text;
mod zip;
mod zip64;
