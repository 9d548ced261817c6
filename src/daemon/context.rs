//! State that exists in every mode of the server, for the lifetime of the process.

use std::path::PathBuf;

use super::handover::incoming::Predecessor;
use super::handover::outgoing::Handover;
use super::listeners::Listeners;
use super::logging::Logs;
use super::notify::Notifier;
use crate::http::Switch;
use crate::http::net::tls::Tls;
use base::config::{Config, Listen};
use runtime::jobs::Jobs;

pub(super) struct ProcessContext {
    pub(super) file: PathBuf,
    pub(super) switch: Switch,
    pub(super) logs: Logs,
    pub(super) tls: Tls,
    pub(super) notifier: Notifier,
    pub(super) jobs: Jobs,
    pub(super) addresses: ListenAddresses,
    /// The sockets and the command line that a hand-over passes to a successor.
    pub(super) handover: Handover,
    /// The open listeners, and those that could not be opened.
    pub(super) listeners: Listeners,
    /// The old server, which may still finish its requests.
    pub(super) predecessor: Predecessor,
}

/// The addresses of a configuration, which only a restart applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenAddresses {
    http: Option<Listen>,
    https: Option<Listen>,
    redirect: Option<Listen>,
    metrics: Option<Listen>,
    admin: PathBuf,
}

impl ListenAddresses {
    pub(super) fn from_config(config: &Config) -> ListenAddresses {
        ListenAddresses {
            http: config.http.listen.clone(),
            https: config.https.listen.clone(),
            redirect: config.http_redirect.listen.clone(),
            metrics: config.metrics.listen.clone(),
            admin: config.server.sock_file_dir.clone(),
        }
    }
}
