//! What tests of several folders share.

pub(crate) mod data;
pub(crate) mod rscript;
