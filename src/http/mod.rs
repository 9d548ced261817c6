//! Listeners, TLS, the route table, and responses.
//!
//! A request passes through [`net`] → [`services`] → [`dispatch`] → [`route`] → [`repo`], [`api`], [`login`] or [`web`]
//! → [`response`]. Handlers contain no SQL and no file paths. [`response`] sets the headers of a resource, [`site`]
//! those common to all responses; [`error`] maps the errors of other rooms to statuses.

pub mod api;
pub mod app;
mod base_url;
mod dispatch;
pub mod error;
mod host_header;
mod log;
mod login;
mod metrics;
pub mod net;
mod problems;
pub mod recent_requests;
pub mod redirect;
pub mod repo;
mod request_log;
pub mod response;
pub mod route;
mod services;
pub mod site;
pub mod summary;
pub mod switch;
pub mod target;
mod web;

pub use app::App;
pub use error::Failure;
pub use metrics::MetricsService;
pub use net::Peer;
pub use net::limits::Limits;
pub use net::listener::HttpServer;
pub use services::{AdminService, PublicService};
pub use switch::{ServerContext, Switch};
pub use web::markdown_process::serve as convert_markdown;
