//! `rspm cluster nodes|offline|online`: the servers that share a database.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_time, table};
use api::cluster::{ChangeNodes, ClusterNode, NodeName, RecordedRequest, RequestedMode};
use api::operations::admin as operations;

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Time within which a server reports the end of a mode change, after the timeout of the change.
const REPORT_TIME: Duration = Duration::from_secs(10);

const ONLINE_TIMEOUT: &str = "Time to wait for the servers to be online: seconds, or 90s, 5m, 1h";

/// `rspm cluster …`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// List the servers, and the differences between them
    Nodes(ClusterNodes),
    /// Drain servers and stop serving on them (503)
    Offline(ChangeNodes),
    /// Make servers read their whole configuration and start serving
    #[command(mut_arg("timeout", |arg| arg.help(ONLINE_TIMEOUT)))]
    Online(ChangeNodes),
}

#[derive(Debug, Args)]
pub struct ClusterNodes {
    /// Exit with 1 if a server is gone or not online, if versions differ, or if the database does not answer
    #[arg(long)]
    pub strict: bool,
}

/// `rspm cluster nodes`.
///
/// # Errors
/// The server does not answer; with `--strict`, an upgrade may not begin.
pub async fn nodes(client: &Client, output: &Output, args: ClusterNodes) -> Result<(), CliError> {
    let nodes = client.call::<operations::Nodes>([], &()).await?;
    output.print(&nodes, || describe(&nodes))?;
    let problems = problems(&nodes);
    match args.strict && !problems.is_empty() {
        true => Err(CliError::refused(problems.join("; "))),
        false => Ok(()),
    }
}

/// Returns the problems that `--strict` reports: servers that are unknown, gone or not online, and several versions.
fn problems(nodes: &[ClusterNode]) -> Vec<String> {
    let mut problems = Vec::new();
    if nodes.iter().any(|node| node.lacks_others) {
        problems.push("the other servers are unknown, because the database does not answer".to_owned());
    }
    let names = |selected: &dyn Fn(&ClusterNode) -> bool| {
        let names: Vec<&str> =
            nodes.iter().filter(|node| selected(node)).map(|node| node.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    problems.extend(names(&is_gone).map(|names| format!("gone: {names}")));
    let is_not_online = |node: &ClusterNode| !is_gone(node) && node.mode != "online";
    problems.extend(names(&is_not_online).map(|names| format!("not online: {names}")));
    let running_nodes = nodes.iter().filter(|node| !is_gone(node));
    let versions: BTreeSet<(&str, i64)> =
        running_nodes.map(|node| (node.version.as_str(), node.schema)).collect();
    if versions.len() > 1 {
        let versions: Vec<String> =
            versions.iter().map(|(version, schema)| format!("{version} (schema {schema})")).collect();
        problems.push(format!("several versions: {}", versions.join(", ")));
    }
    problems
}

fn is_gone(node: &ClusterNode) -> bool {
    node.mode == "gone"
}

fn describe(nodes: &[ClusterNode]) -> String {
    let row = |node: &ClusterNode| {
        let leader = if node.leader { "*" } else { "" };
        vec![
            node.name.clone(),
            node.address.clone(),
            node.version.clone(),
            node.mode.clone(),
            leader.to_owned(),
            time(&node.last_seen),
            time(&node.since),
            node.message.clone(),
        ]
    };
    let header =
        ["Name", "Address", "Version", "Mode", "Leader", "Last seen (UTC)", "Mode since (UTC)", "Message"];
    let mut text = table(&header, nodes.iter().map(row));
    for node in nodes {
        for difference in &node.differences {
            text += &format!("\n{} {difference}", node.name);
        }
    }
    text
}

/// Formats a time for a column whose header names UTC.
fn time(rfc3339: &str) -> String {
    format_time(rfc3339).trim_end_matches(" UTC").to_owned()
}

/// Result of the mode change of one server.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct NodeModeChange {
    name: String,
    /// Current mode of the server.
    mode: String,
    /// Whether the server has the requested mode. Also true if `offline` was requested and the server is gone.
    done: bool,
    /// The reason, if the server does not have the requested mode.
    message: String,
}

/// `rspm cluster offline` and `rspm cluster online`; the name `*` means all servers. The server to which the command is
/// connected changes last.
///
/// # Errors
/// A name is unknown; a server did not change its mode.
pub async fn change_mode(
    client: &Client,
    output: &Output,
    args: ChangeNodes,
    requested_mode: &str,
) -> Result<(), CliError> {
    let ChangeNodes { nodes: names, timeout } = args;
    let servers = client.call::<operations::Nodes>([], &()).await?;
    let names: BTreeSet<String> = match names.iter().any(|name| name == "*") {
        true => servers.iter().filter(|node| !is_gone(node)).map(|node| node.name.clone()).collect(),
        false => names.iter().map(|name| name.trim().to_owned()).collect(),
    };
    let is_own = |name: &String| servers.iter().any(|node| node.own && node.name == *name);
    let (own_names, other_names): (Vec<String>, Vec<String>) = names.into_iter().partition(is_own);
    let mut changes = Vec::new();
    for nodes in [other_names, own_names].into_iter().filter(|names| !names.is_empty()) {
        let change = ChangeNodes { nodes, timeout };
        let request = match requested_mode {
            "online" => client.send::<operations::NodesOnline>([], &change).await?,
            _ => client.send::<operations::NodesOffline>([], &change).await?,
        };
        let deadline = Instant::now() + Duration::from_secs(timeout) + REPORT_TIME;
        wait(client, output, request, requested_mode, deadline, &mut changes).await?;
    }
    if !output.is_human() {
        output.print(&changes, String::new)?;
    }
    let failures = changes.iter().filter(|change| !change.done).map(|change| change.name.as_str());
    let failures: Vec<&str> = failures.collect();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(CliError::refused(format!("not {requested_mode}: {}", failures.join(", ")))),
    }
}

/// Waits until each server has changed its mode, has failed to do so or is gone; prints a line for each.
async fn wait(
    client: &Client,
    output: &Output,
    request: RecordedRequest,
    requested_mode: &str,
    deadline: Instant,
    changes: &mut Vec<NodeModeChange>,
) -> Result<(), CliError> {
    let mut targets = request.nodes;
    loop {
        let nodes = client.call::<operations::Nodes>([], &()).await?;
        let is_past_deadline = Instant::now() >= deadline;
        let mut remaining_targets = Vec::new();
        for target in targets {
            let node = nodes.iter().find(|node| node.id == target.id);
            match mode_change(&target, node, &request.at, requested_mode, is_past_deadline) {
                Some(change) => {
                    if output.is_human() {
                        output.print(&(), || line(&change))?;
                    }
                    changes.push(change);
                }
                None => remaining_targets.push(target),
            }
        }
        if remaining_targets.is_empty() {
            return Ok(());
        }
        targets = remaining_targets;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the result of a mode change; `None` while it is in progress.
fn mode_change(
    target: &NodeName,
    node: Option<&ClusterNode>,
    requested_at: &str,
    requested_mode: &str,
    is_past_deadline: bool,
) -> Option<NodeModeChange> {
    let change = |mode: &str, done, message: &str| {
        Some(NodeModeChange {
            name: target.name.clone(),
            mode: mode.to_owned(),
            done,
            message: message.to_owned(),
        })
    };
    match node {
        Some(node) if is_gone(node) => {
            let message = format!("last seen {}", format_time(&node.last_seen));
            change("gone", requested_mode == "offline", &message)
        }
        Some(node) if node.completed_request.as_deref() == Some(requested_at) => {
            change(&node.mode, node.mode == requested_mode, &node.message)
        }
        Some(node) if replacement(node, requested_at).is_some() => {
            // The guard ensures that there is a replacement.
            let request = replacement(node, requested_at)?;
            let is_answered = node.completed_request.as_deref() == Some(&*request.at);
            match node.mode == requested_mode || request.mode != requested_mode || is_answered {
                true => {
                    let message = format!("replaced by the request of {} for {}", request.by, request.mode);
                    change(&node.mode, node.mode == requested_mode, &message)
                }
                false => None,
            }
        }
        Some(node) if is_past_deadline => change(
            &node.mode,
            false,
            "it has not reported the end of the change, and the request remains in effect; to cancel it, request the other mode",
        ),
        None if is_past_deadline => change("unknown", false, "it is no longer in the list of servers"),
        Some(_) | None => None,
    }
}

/// Returns the request that replaced the one made at `requested_at`.
fn replacement<'a>(node: &'a ClusterNode, requested_at: &str) -> Option<&'a RequestedMode> {
    node.requested.as_ref().filter(|request| request.at != requested_at)
}

fn line(change: &NodeModeChange) -> String {
    let NodeModeChange { name, mode, message, .. } = change;
    match message.is_empty() {
        true => format!("{name}: {mode}"),
        false => format!("{name}: {mode}; {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(mode: &str, completed_request: Option<&str>) -> ClusterNode {
        ClusterNode {
            id: "1".to_owned(),
            name: "pm1".to_owned(),
            address: "10.0.0.1:4242".to_owned(),
            version: "0.1.0".to_owned(),
            schema: 7,
            mode: mode.to_owned(),
            leader: true,
            lacks_others: false,
            own: false,
            started: "2026-11-20T00:00:00Z".to_owned(),
            last_seen: "2026-11-20T10:00:00Z".to_owned(),
            since: "2026-11-20T09:00:00Z".to_owned(),
            message: String::new(),
            differences: vec!["has another configuration: CRAN.URL".to_owned()],
            requested: None,
            completed_request: completed_request.map(str::to_owned),
        }
    }

    #[test]
    fn a_change_ends_with_an_answer_to_this_request_or_when_the_server_is_gone() {
        let target = NodeName { id: "1".to_owned(), name: "pm1".to_owned() };
        let end = |node: Option<&ClusterNode>, is_past_deadline| {
            mode_change(&target, node, "now", "offline", is_past_deadline)
        };
        assert_eq!(end(Some(&node("draining", None)), false), None);
        assert_eq!(end(Some(&node("offline", Some("before"))), false), None, "of an earlier request");
        let is_done = |node: ClusterNode| end(Some(&node), false).map(|change| change.done);
        assert_eq!(is_done(node("offline", Some("now"))), Some(true));
        assert_eq!(is_done(node("online", Some("now"))), Some(false));
        assert_eq!(is_done(node("gone", None)), Some(true));
        let replaced = |mode: &str, requested: &str, completed: Option<&str>| {
            let (mode_text, by, at) = (requested.to_owned(), "alice".to_owned(), "later".to_owned());
            let request = Some(RequestedMode { mode: mode_text, by, at });
            end(Some(&ClusterNode { requested: request, ..node(mode, completed) }), false)
        };
        let change = replaced("draining", "online", None).expect("another mode was requested");
        assert!(
            !change.done && change.message == "replaced by the request of alice for online",
            "{change:?}"
        );
        assert_eq!(replaced("draining", "offline", None), None, "the same mode was requested");
        assert!(replaced("offline", "offline", None).is_some_and(|change| change.done));
        assert!(replaced("online", "offline", Some("later")).is_some_and(|change| !change.done));
        assert_eq!(end(None, false), None);
        assert!(end(None, true).is_some_and(|change| !change.done));
        assert!(end(Some(&node("online", None)), true).is_some_and(|change| !change.done));
    }

    #[test]
    fn strict_refuses_servers_that_are_unknown_gone_or_not_online_and_several_versions() {
        assert_eq!(problems(&[node("online", None), node("online", None)]), [""; 0]);
        assert_eq!(problems(&[node("online", None), node("gone", None)]), ["gone: pm1"]);
        assert_eq!(problems(&[node("offline", None), node("draining", None)]), ["not online: pm1, pm1"]);
        let newer = ClusterNode { version: "0.2.0".to_owned(), ..node("online", None) };
        let versions = "several versions: 0.1.0 (schema 7), 0.2.0 (schema 7)";
        assert_eq!(problems(&[node("online", None), newer.clone()]), [versions]);
        let gone_node = ClusterNode { mode: "gone".to_owned(), ..newer };
        assert_eq!(
            problems(&[node("online", None), gone_node]),
            ["gone: pm1"],
            "its version does not matter"
        );
        let isolated_node = ClusterNode { lacks_others: true, ..node("online", None) };
        assert_eq!(problems(&[isolated_node]).len(), 1);
    }

    #[test]
    fn differences_are_sentences_below_the_table() {
        let text = describe(&[node("online", None)]);
        assert!(text.contains("10.0.0.1:4242") && text.contains(" *"), "{text}");
        assert!(text.ends_with("\npm1 has another configuration: CRAN.URL"), "{text}");
    }
}
