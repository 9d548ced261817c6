//! State shared by all request handlers.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::http::net::budget::ResponseBudget;
use crate::http::net::limits::Limits;
use crate::http::net::tls::Tls;
use crate::http::net::{Client, Peer};
use crate::http::recent_requests::RecentRequests;
use crate::http::repo::download_log::DownloadRecorder;
use crate::http::repo::resolve_cache::ResolveCache;
use crate::http::site::SiteSettings;
use content::fetch::Fetches;
use content::serve::Repositories;
use runtime::auth::provider::Providers;
use runtime::auth::{DeviceLogins, Sessions, Tokens};
use runtime::state::State;
use tasks::build::Builds;
use tasks::edit::Uploads;
use tasks::history::History;
use tasks::sync::Sync;
use tasks::upkeep::Upkeep;
use tasks::usage::Usage;

/// Created by `daemon` each time the server goes online.
pub struct App {
    pub state: Arc<State>,
    pub tokens: Tokens,
    pub sessions: Sessions,
    pub device_logins: DeviceLogins,
    pub providers: Providers,
    pub fetches: Arc<Fetches>,
    pub repositories: Arc<Repositories>,
    pub uploads: Arc<Uploads>,
    pub builds: Arc<Builds>,
    pub upkeep: Arc<Upkeep>,
    pub history: Arc<History>,
    pub sync: Sync,
    pub usage: Usage,
    /// The HTTPS certificate in use, shared with `ServerContext`.
    pub tls: Tls,
    /// Shared with `ServerContext`.
    pub recent_requests: Arc<RecentRequests>,
    /// Common headers and the path prefix, shared with `ServerContext`.
    pub site: Arc<ArcSwap<SiteSettings>>,
    pub limits: Limits,
    pub resolve_cache: ResolveCache,
    /// Budget of public API responses that are held in memory for slow clients.
    pub response_budget: ResponseBudget,
    pub recorder: DownloadRecorder,
}

impl App {
    /// Returns the client to which the limits attribute the requests of a peer.
    pub(super) fn client(&self, peer: Peer) -> Client {
        self.site.load().client(peer)
    }
}
