//! The list of the servers: their names, which of them are gone, the leader, and differences from this server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Cluster, LEADER, Provider};
use base::config::Settings;
use base::model::ids::Identity;
use base::model::time::{SECOND, Timestamp};
use store::db::lease;
use store::db::node::{self, NodeRow};

/// Timeout of the query: the list must also be served while the database does not answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Tolerated difference of clocks, in microseconds.
const CLOCK_TOLERANCE: i64 = 2 * SECOND;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNode {
    /// Host name; a second server with the same name has a number: `pm1 (2)`.
    pub name: String,
    pub row: NodeRow,
    /// Whether its last heartbeat is too old.
    pub is_gone: bool,
    /// Whether it is this server, which returns the list.
    pub is_own: bool,
    /// Whether it runs the schedules.
    pub is_leader: bool,
    /// Whether other servers are missing from the list, because the database does not answer.
    pub lacks_others: bool,
    /// Differences from this server, and of its clock from that of the database. Each is a predicate whose subject
    /// is the server, such as `runs version …`.
    pub differences: Vec<String>,
}

/// Returns all servers, or only this server if the database does not answer.
pub async fn list(cluster: &Cluster) -> Vec<ListedNode> {
    let provider = cluster.0.database.lock().provider.clone();
    let cause = match provider {
        Provider::NotOpened => None,
        Provider::Sqlite(request) => {
            let row = own_row(cluster);
            return vec![ListedNode { is_leader: true, ..own_node(NodeRow { request, ..row }) }];
        }
        Provider::Postgres(link) => {
            let query = link.run(|c| {
                let now = lease::now(c)?;
                Ok((now, node::list(c)?, lease::holder(c, LEADER, now)?))
            });
            match tokio::time::timeout(TIMEOUT, query).await {
                Ok(Ok((now, rows, leader))) => return assemble(cluster, rows, leader.as_deref(), now),
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer in {} s", TIMEOUT.as_secs())),
            }
        }
    };
    let mut row = own_row(cluster);
    let lacks_others = cause.is_some();
    if let Some(cause) = cause {
        let note = format!("the other servers are unknown: {cause}");
        row.beat.message =
            if row.beat.message.is_empty() { note } else { format!("{}; {note}", row.beat.message) };
    }
    vec![ListedNode { lacks_others, ..own_node(row) }]
}

/// Returns the row of this server as of now.
fn own_row(cluster: &Cluster) -> NodeRow {
    let beat = cluster.beat();
    let now = beat.clock;
    let (started_at, mode_at) = (cluster.0.started_at, cluster.0.mode_since.lock().1);
    NodeRow { beat, started_at, beat_at: now, clock_ahead: 0, mode_at, request: None }
}

/// Returns the entry of this server, without the data that only the database has.
fn own_node(row: NodeRow) -> ListedNode {
    ListedNode {
        name: row.beat.name.clone(),
        row,
        is_gone: false,
        is_own: true,
        is_leader: false,
        lacks_others: false,
        differences: Vec::new(),
    }
}

/// Returns the entries of all rows, ordered by name.
fn assemble(cluster: &Cluster, rows: Vec<NodeRow>, leader: Option<&str>, now: Timestamp) -> Vec<ListedNode> {
    let own_row = rows.iter().find(|row| row.beat.id == cluster.0.id).cloned();
    let mut nodes: Vec<ListedNode> = with_names(rows, now)
        .into_iter()
        .map(|(name, row)| ListedNode {
            name,
            is_gone: row.is_gone(now),
            is_own: row.beat.id == cluster.0.id,
            is_leader: leader == Some(&*row.beat.id.to_string()),
            lacks_others: false,
            differences: own_row.as_ref().map_or_else(Vec::new, |own_row| differences(own_row, &row, now)),
            row,
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Returns the servers with unique names: the host name, with a number if an earlier server has the same host
/// name. Servers that are gone count as later than all others.
pub(super) fn with_names(mut rows: Vec<NodeRow>, now: Timestamp) -> Vec<(String, NodeRow)> {
    rows.sort_by_key(|row| (row.is_gone(now), row.started_at));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    rows.into_iter()
        .map(|row| {
            let count = counts.entry(row.beat.name.clone()).or_default();
            *count += 1;
            let name = match *count {
                1 => row.beat.name.clone(),
                n => format!("{} ({n})", row.beat.name),
            };
            (name, row)
        })
        .collect()
}

/// Returns the differences of a server from this server.
fn differences(own: &NodeRow, other: &NodeRow, now: Timestamp) -> Vec<String> {
    let mut differences = Vec::new();
    if other.is_gone(now) {
        return differences;
    }
    if other.clock_ahead.abs() >= CLOCK_TOLERANCE {
        let seconds = other.clock_ahead.abs() / SECOND;
        let side = if other.clock_ahead > 0 { "ahead of" } else { "behind" };
        differences.push(format!("has a clock that is {seconds} s {side} that of the database"));
    }
    if other.beat.id == own.beat.id {
        return differences;
    }
    if other.beat.name == own.beat.name {
        differences.push("has the same host name as this server".to_owned());
    }
    if other.beat.version != own.beat.version {
        differences.push(format!("runs version {}, this server {}", other.beat.version, own.beat.version));
    }
    if other.beat.schema != own.beat.schema {
        differences.push(format!("supports schema {}, this server {}", other.beat.schema, own.beat.schema));
    }
    let properties = differing_properties(&own.beat.config, &other.beat.config);
    if !properties.is_empty() {
        let properties = properties.into_iter().collect::<Vec<_>>().join(", ");
        differences.push(format!("has another configuration: {properties}"));
    }
    differences
}

/// Returns a line with digest and name for each property that is set, ordered by name. The digests are salted and
/// short, so that a value cannot be recovered from them.
pub fn digests(settings: &Settings, salt: Identity) -> String {
    let mut lines: Vec<String> = settings
        .iter()
        .map(|setting| {
            let name = match &setting.sub {
                None => format!("{}.{}", setting.section.name, setting.property.name),
                Some(sub) => format!("{} \"{sub}\".{}", setting.section.name, setting.property.name),
            };
            let mut digest = Sha256::new_with_prefix(salt.0);
            for text in std::iter::once(&name).chain(setting.values.iter().map(|value| &value.text)) {
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
            let digest: [u8; 32] = digest.finalize().into();
            format!("{} {name}", hex::encode(&digest[..4]))
        })
        .collect();
    lines.sort_unstable_by(|a, b| {
        a.split_once(' ').map(|line| line.1).cmp(&b.split_once(' ').map(|line| line.1))
    });
    lines.join("\n")
}

/// Returns the names of the properties that differ, or are set in only one of the two configurations.
pub fn differing_properties<'a>(own: &'a str, other: &'a str) -> BTreeSet<&'a str> {
    let parse = |text: &'a str| -> BTreeMap<&'a str, &'a str> {
        text.lines().filter_map(|line| line.split_once(' ')).map(|(digest, name)| (name, digest)).collect()
    };
    let (own_values, other_values) = (parse(own), parse(other));
    let names = own_values.keys().chain(other_values.keys()).copied();
    names.filter(|name| own_values.get(name) != other_values.get(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Config;

    #[test]
    fn differing_properties_are_named_without_their_values() {
        let dir = std::path::Path::new("/d");
        let digests_of = |lines: &str| {
            let file = Config::example(dir, lines).expect("a configuration");
            digests(&file.settings, Identity([7; 16]))
        };
        let own_digests = digests_of(
            "[CRAN]\nURL = https://a\n[Proxy]\nPassword = hunter2\n[Logging]\nSystemLog = STDERR\n",
        );
        let reordered_digests = digests_of(
            "[Logging]\nSystemLog = STDERR\n[Proxy]\nPassword = hunter2\n[CRAN]\nURL = https://a\n",
        );
        assert_eq!(own_digests, reordered_digests);
        assert!(!own_digests.contains("hunter"));
        let other_digests = digests_of(
            "[CRAN]\nURL = https://b\n[Proxy]\nPassword = hunter3\n[FileStorage \"cran\"]\nLocation = /c\n",
        );
        let names: Vec<&str> = differing_properties(&own_digests, &other_digests).into_iter().collect();
        assert_eq!(
            names,
            ["CRAN.URL", "FileStorage \"cran\".Location", "Logging.SystemLog", "Proxy.Password"]
        );
    }
}
