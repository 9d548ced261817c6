//! Repositories of R packages: CRAN-like ones and Bioconductor.

pub(super) mod bioconductor;
mod package_file;
pub(super) mod platform_request;
pub(super) mod resolve;
