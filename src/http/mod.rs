//! Listeners, TLS, the route table, and responses.
//!
//! A request goes [`listener`] → [`switch`] → [`app`] → [`route`] → [`cran`] or [`public`] (or [`admin`] on the admin
//! socket) → [`conditional`] → [`response`]. Handlers hold no SQL and no file paths; [`response`] is the only place
//! that sets headers, [`error`] the only place that chooses a status.

mod access;
pub mod admin;
pub mod app;
mod authority;
mod binaries;
mod bioconductor;
pub mod body;
pub mod budget;
mod built;
pub mod conditional;
mod connections;
pub mod cran;
pub mod drain;
pub mod error;
mod file;
mod frames;
mod home;
mod http2;
pub mod incoming;
pub mod limits;
pub mod listener;
mod metrics;
mod openapi;
mod origin;
mod platforms;
pub mod public;
pub mod redirect;
pub mod request;
pub mod response;
mod room;
pub mod route;
mod sending;
pub mod served;
pub mod stream;
pub mod summary;
pub mod switch;
pub mod target;
pub mod tls;
pub mod warm;

pub use app::App;
pub use error::Failure;
pub use limits::Limits;
pub use listener::{House, Peer};
pub use metrics::MetricsDoor;
pub use switch::{AdminDoor, Porch, PublicDoor, Switch};
