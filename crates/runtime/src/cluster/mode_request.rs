//! Requests to change the mode of servers: records those for named servers, executes those for this server.

use std::time::{Duration, Instant};

use super::{Cluster, Provider, RequestState, list};
use crate::control::Command;
use base::model::ids::Identity;
use base::model::time::Timestamp;
use store::db::author::{self, Author};
use store::db::node::{self, ModeRequest};
use store::db::{DbError, lease};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange {
    /// Names as in the list of servers.
    pub names: Vec<String>,
    /// True to serve, false to stop serving.
    pub online: bool,
    /// Time limit for running requests and jobs.
    pub timeout: Duration,
    pub actor: String,
}

/// The reason why a request was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum ModeRequestError {
    #[error("no server is called '{name}'; the servers are: {}", names.join(", "))]
    Unknown {
        name: String,
        /// The names of all servers.
        names: Vec<String>,
    },
    #[error("this server uses SQLite and is in no cluster; the only accepted server name is {0}")]
    NoCluster(String),
    #[error("this server has not opened its database, which the other servers share")]
    NoDatabase,
    #[error(transparent)]
    Db(#[from] DbError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The time of the request, which identifies it.
    pub at: Timestamp,
    /// Ids and names of the servers that the request is for.
    pub nodes: Vec<(Identity, String)>,
}

/// Records a request for servers, in one transaction.
///
/// # Errors
/// A name is unknown; then nothing is recorded.
pub async fn set(cluster: &Cluster, change: ModeChange) -> Result<RecordedRequest, ModeRequestError> {
    let mode = if change.online { "online" } else { "offline" };
    let timeout = i64::try_from(change.timeout.as_secs()).unwrap_or(i64::MAX);
    let request = move |at| ModeRequest { mode: mode.to_owned(), actor: change.actor.clone(), at, timeout };
    let provider = cluster.0.database.lock().provider.clone();
    match provider {
        Provider::NotOpened => Err(ModeRequestError::NoDatabase),
        Provider::Sqlite(_) => {
            if change.names.iter().any(|name| *name != cluster.0.name) {
                return Err(ModeRequestError::NoCluster(cluster.0.name.clone()));
            }
            let request = request((cluster.0.clock)());
            let at = request.at;
            cluster.0.database.lock().provider = Provider::Sqlite(Some(request.clone()));
            execute(cluster, request);
            Ok(RecordedRequest { at, nodes: vec![(cluster.0.id, cluster.0.name.clone())] })
        }
        Provider::Postgres(link) => {
            let names = change.names;
            let recording = link.run(move |c| {
                let now = lease::now(c)?;
                let servers = list::with_names(node::list(c)?, now);
                let mut at = now;
                let mut nodes = Vec::with_capacity(names.len());
                for name in &names {
                    let Some((_, row)) = servers.iter().find(|(listed_name, _)| listed_name == name) else {
                        let names = servers.iter().map(|(listed_name, _)| listed_name.clone()).collect();
                        return Err(DbError::refuse(UnknownName { name: name.clone(), names }));
                    };
                    // The new request is later than the last request, even if the clock was set back.
                    at = at.max(
                        row.request.as_ref().map_or(at, |request| Timestamp(request.at.0.saturating_add(1))),
                    );
                    nodes.push((row.beat.id, name.clone()));
                }
                for (id, _) in &nodes {
                    node::set_request(c, *id, &request(at))?;
                }
                c.announce_nodes()?;
                Ok(RecordedRequest { at, nodes })
            });
            recording.await.map_err(|error| match error.into_refusal::<UnknownName>() {
                Ok(UnknownName { name, names }) => ModeRequestError::Unknown { name, names },
                Err(error) => error.into(),
            })
        }
    }
}

/// The refusal of an unknown name within a transaction.
#[derive(Debug, thiserror::Error)]
#[error("no server is called '{name}'")]
struct UnknownName {
    name: String,
    names: Vec<String>,
}

/// Executes a request for this server in the background, unless it was executed before.
pub(super) fn execute(cluster: &Cluster, request: ModeRequest) {
    {
        let mut state = cluster.0.request_state.lock();
        if state.started >= Some(request.at) {
            return;
        }
        state.started = Some(request.at);
    }
    let cluster = cluster.clone();
    tokio::spawn(async move {
        let ModeRequest { mode, actor, at, timeout } = request;
        tracing::info!(by = author::log_name(&actor), "{mode} was requested for this server by rspm cluster");
        let timeout = Duration::from_secs(timeout.clamp(0, 86_400).unsigned_abs());
        let command = if mode == "online" { Command::Online } else { Command::Offline { timeout } };
        let run = author::scope(Author::job(&actor, at), cluster.0.control.run(command));
        let failure = run.await.err().map(|error| (error.to_string(), Instant::now()));
        let mut state = cluster.0.request_state.lock();
        // A later request may have ended first.
        if state.completed < Some(at) {
            *state = RequestState { started: state.started, completed: Some(at), failure };
        }
        drop(state);
        cluster.0.wake.notify_one();
    });
}
