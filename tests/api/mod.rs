//! The public JSON API over HTTP, as clients use it.

mod alerts;
mod bioconductor;
mod bioconductor_names;
mod client_requests;
mod requirements;
