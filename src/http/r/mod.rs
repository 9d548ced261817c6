//! Repositories of R packages: CRAN-like ones and Bioconductor.

pub(super) mod answer;
pub(super) mod bioconductor;
pub(super) mod choose_platform;
pub(super) mod document;
mod locate;
pub(super) mod package_file;
pub(super) mod platform_request;
pub(super) mod resolve;
