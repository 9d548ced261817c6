//! What tests of several folders share.

pub mod data;
pub mod rscript;
