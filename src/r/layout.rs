//! Addresses of a CRAN-like repository: parsed and rendered in one place.
