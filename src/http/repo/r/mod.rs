//! Repositories of R packages: CRAN-like ones and Bioconductor.

pub(crate) mod answer;
pub(crate) mod bioconductor;
pub(crate) mod choose_platform;
pub(crate) mod document;
mod locate;
pub(crate) mod package_file;
pub(crate) mod platform_request;
pub(crate) mod resolve;
