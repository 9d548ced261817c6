//! Listeners, TLS, the route table, and responses.
//!
//! A request passes through [`listener`] → [`services`] → [`dispatch`] → [`route`] → [`r`], [`python`], [`public`],
//! [`web`] or [`admin`] → [`conditional`] → [`response`]. Handlers contain no SQL and no file paths. [`response`]
//! sets the headers of a resource, [`site`] those common to all responses; [`error`] maps the errors of other rooms
//! to statuses.

pub mod admin;
pub mod app;
mod base_url;
pub mod body;
pub mod budget;
pub mod conditional;
mod connections;
mod content_coding;
mod csv;
mod dispatch;
pub mod download_log;
pub mod drain;
pub mod error;
mod etag;
mod frame_socket;
pub mod handler;
mod host_header;
mod http2;
pub mod limits;
pub mod listener;
mod login;
mod metrics;
mod openapi;
mod operation;
pub mod peer;
mod permission;
mod platforms;
pub mod public;
mod python;
mod r;
pub mod read_body;
pub mod redirect;
mod refused_proof;
pub mod request_body;
mod request_log;
pub mod resolve_cache;
pub mod response;
pub mod route;
mod send_body;
mod send_budget;
mod services;
pub mod site;
pub mod summary;
pub mod switch;
pub mod target;
pub mod tls;
mod web;
mod wire_binary;
pub mod write_timeout;

pub use app::App;
pub use error::Failure;
pub use limits::Limits;
pub use listener::HttpServer;
pub use metrics::MetricsService;
pub use peer::Peer;
pub use services::{AdminService, PublicService};
pub use switch::{ServerContext, Switch};
pub use web::markdown_process::serve as convert_markdown;
