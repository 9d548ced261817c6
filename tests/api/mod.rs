//! The public JSON API over HTTP, as clients use it.

mod alerts;
mod bioconductor;
mod bioconductor_named;
mod filter;
mod manners;
mod packages;
mod recorded;
mod requirements;
mod rules;
