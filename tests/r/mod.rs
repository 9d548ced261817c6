//! R's formats against real R and real packages.

mod rds_hostile;
mod rds_matrix;
mod rds_meta;
mod rds_read;
mod sysreqs;
mod text;
mod zip;
