//! The servers that share the database: their list, and the modes that administrators request. Served in every mode.

use http::StatusCode;
use std::time::Duration;

use super::audit;
use super::call::{Answer, ControlCall};
use crate::http::error::Failure;
use api::cluster::{ChangeNodes, ClusterNode, NodeName, RecordedRequest, RequestedMode};
use api::error::Code;
use runtime::cluster::list::ListedNode;
use runtime::cluster::mode_request::{self, ModeRequestError};
use runtime::cluster::{list, mode_request::ModeChange};

/// Maximum timeout of a change, in seconds.
const MAX_TIMEOUT: u64 = 24 * 3600;

pub(super) async fn nodes(call: ControlCall<'_>) -> Answer<Vec<ClusterNode>> {
    let nodes = list::list(&call.switch.context().cluster).await;
    Ok(nodes.into_iter().map(wire).collect())
}

pub(super) async fn online(call: ControlCall<'_>, body: ChangeNodes) -> Answer<RecordedRequest> {
    change(call, true, body).await
}

pub(super) async fn offline(call: ControlCall<'_>, body: ChangeNodes) -> Answer<RecordedRequest> {
    change(call, false, body).await
}

async fn change(call: ControlCall<'_>, online: bool, body: ChangeNodes) -> Answer<RecordedRequest> {
    let ControlCall { switch, actor, .. } = call;
    let ChangeNodes { nodes, timeout } = body;
    if nodes.is_empty() {
        return Err(Failure::bad_request("name at least one server"));
    }
    let timeout = Duration::from_secs(timeout.min(MAX_TIMEOUT));
    let change = ModeChange { names: nodes, online, timeout, actor: actor.to_owned() };
    let recorded =
        mode_request::set(&switch.context().cluster, change).await.map_err(|error| failure(&error))?;
    if let Some(app) = switch.app() {
        let action = if online { "request online" } else { "request offline" };
        let names: Vec<&str> = recorded.nodes.iter().map(|(_, name)| name.as_str()).collect();
        audit::record_operation(&app, action, "server", names.join(", "), String::new()).await;
    }
    let nodes = recorded.nodes.into_iter().map(|(id, name)| NodeName { id: id.to_string(), name });
    Ok(RecordedRequest { at: recorded.at.to_string(), nodes: nodes.collect() })
}

fn failure(error: &ModeRequestError) -> Failure {
    let text = error.to_string();
    match error {
        ModeRequestError::Unknown { .. } => Failure::not_found(text),
        ModeRequestError::NoCluster(_) => Failure::new(StatusCode::CONFLICT, Code::Conflict, text),
        ModeRequestError::NoDatabase | ModeRequestError::Db(_) => Failure::unavailable(text, 5),
    }
}

fn wire(node: ListedNode) -> ClusterNode {
    let ListedNode { name, row, is_gone, is_own, is_leader, lacks_others, differences } = node;
    let requested = row.request.map(|request| RequestedMode {
        mode: request.mode,
        by: request.actor,
        at: request.at.to_string(),
    });
    ClusterNode {
        id: row.beat.id.to_string(),
        name,
        address: row.beat.address,
        version: row.beat.version,
        schema: row.beat.schema,
        mode: if is_gone { "gone".to_owned() } else { row.beat.mode },
        leader: is_leader,
        lacks_others,
        own: is_own,
        started: row.started_at.to_string(),
        last_seen: row.beat_at.to_string(),
        since: row.mode_at.to_string(),
        message: row.beat.message,
        differences,
        requested,
        completed_request: row.beat.answered_at.map(|at| at.to_string()),
    }
}
