//! The heartbeat: writes the row of this server, reads requests for it, and claims or renews the lease of the leader. The
//! node markers of servers in storage, which heartbeats restore and remove.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Cluster, LEADER, Leadership, Provider, mode_request};
use crate::control::Mode;
use crate::jobs;
use base::model::ids::Identity;
use base::model::kind::StorageClass;

use store::db::lease::Fence;
use store::db::link::Link;
use store::db::node::{Beat, ModeRequest};
use store::db::{Conn, DbError, lease, node};
use store::storage::{NodeMarker, Storage};

const INTERVAL: Duration = Duration::from_secs(5);
/// Term of the leader's lease, longer than that of jobs: when another server replaces a killed leader, the leases of
/// its jobs have expired, so that a missed sync can start immediately.
const LEADER_TERM: Duration = Duration::from_secs(jobs::lease::TERM.as_secs() + 15);

/// Writes heartbeats until the task is dropped. Never waits for jobs or other transactions of this server.
pub async fn run(cluster: Cluster) {
    cluster.0.is_registered.store(true, Ordering::Relaxed);
    let mut modes = cluster.0.control.subscribe();
    let mut is_failing = false;
    loop {
        if let Err(error) = beat(&cluster).await {
            if !is_failing {
                tracing::warn!(%error, "could not write the heartbeat of this server");
            }
            is_failing = true;
        } else {
            is_failing = false;
        }
        let link = cluster.link();
        let notification = async {
            match &link {
                Some(link) => link.wait_for_nodes().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = notification => {}
            () = cluster.0.wake.notified() => {}
            changed = modes.changed() => if changed.is_err() { return },
        }
    }
}

/// Writes the row now if the heartbeat runs; in a hand-over, the new process starts the heartbeat later.
pub(super) async fn write_now(cluster: &Cluster) -> Result<(), DbError> {
    if cluster.0.is_registered.load(Ordering::Relaxed) { beat(cluster).await } else { Ok(()) }
}

struct HeartbeatResult {
    request: Option<ModeRequest>,
    /// Whether there was no row of this server.
    is_new: bool,
    fence: Option<Fence>,
    /// Other servers with this host name.
    same_name_count: usize,
    /// Servers whose rows were removed because they were gone.
    removed_nodes: Vec<Identity>,
}

async fn beat(cluster: &Cluster) -> Result<(), DbError> {
    let _guard = cluster.0.row_lock.lock().await;
    let provider = cluster.0.database.lock().provider.clone();
    match provider {
        Provider::NotOpened => Ok(()),
        Provider::Sqlite(_) => {
            set_leader(cluster, true);
            Ok(())
        }
        Provider::Postgres(link) => beat_shared(cluster, &link).await,
    }
}

async fn beat_shared(cluster: &Cluster, link: &Link) -> Result<(), DbError> {
    let (beat, fence) = (cluster.beat(), cluster.0.leadership.lock().fence);
    let may_lead = cluster.0.control.mode() == Mode::Online;
    let start = Instant::now();
    let result = link.run(move |c| write(c, &beat, fence, may_lead)).await;
    let result = match result {
        Ok(result) => result,
        Err(error) => {
            let renewed_at = cluster.0.leadership.lock().renewed_at;
            if renewed_at.is_none_or(|renewed_at| renewed_at.elapsed() > LEADER_TERM) {
                set_leader(cluster, false);
            }
            return Err(error);
        }
    };
    *cluster.0.leadership.lock() = Leadership { fence: result.fence, renewed_at: Some(start) };
    set_leader(cluster, result.fence.is_some());
    if result.same_name_count > cluster.0.same_name_count.swap(result.same_name_count, Ordering::Relaxed) {
        tracing::warn!(
            "another server with the host name {} uses this database; rspm cluster nodes adds a number to the name of the \
             one that started later",
            cluster.0.name
        );
    }
    let had_row = cluster.0.has_row.swap(true, Ordering::Relaxed);
    if let (true, true, Some(storage)) = (result.is_new, had_row, cluster.storage()) {
        tracing::warn!(
            "another server treated this one as gone and removed its row and node markers; writing them again"
        );
        let id = cluster.0.id;
        tokio::spawn(async move { write_markers(&storage, id).await });
    }
    if let (false, Some(storage)) = (result.removed_nodes.is_empty(), cluster.storage()) {
        tokio::spawn(async move {
            for node in result.removed_nodes {
                remove_markers(&storage, node).await;
            }
        });
    }
    if let Some(request) = result.request {
        mode_request::execute(cluster, request);
    }
    Ok(())
}

fn write(
    c: &mut dyn Conn,
    beat: &Beat,
    fence: Option<Fence>,
    may_lead: bool,
) -> Result<HeartbeatResult, DbError> {
    let now = lease::now(c)?;
    let is_new = !node::exists(c, beat.id)?;
    let request = node::beat(c, beat, now)?;
    let removed_nodes = node::remove_gone(c, beat.id, &beat.name, now)?;
    let others = node::list(c)?;
    let same_name_count =
        others.iter().filter(|other| other.beat.name == beat.name && other.beat.id != beat.id);
    let same_name_count = same_name_count.filter(|other| !other.is_gone(now)).count();
    let term_end = now + LEADER_TERM;
    let fence = match (may_lead, fence) {
        (false, None) => None,
        (false, Some(fence)) => {
            lease::release(c, LEADER, fence)?;
            None
        }
        (true, Some(fence)) if lease::renew(c, LEADER, fence, term_end)? => Some(fence),
        (true, _) => lease::claim(c, LEADER, &beat.id.to_string(), now, term_end)?,
    };
    Ok(HeartbeatResult { request, is_new, fence, same_name_count, removed_nodes })
}

fn set_leader(cluster: &Cluster, is_leader: bool) {
    let is_change = cluster.0.leader.send_if_modified(|leader| {
        let is_change = *leader != is_leader;
        *leader = is_leader;
        is_change
    });
    if is_change && cluster.link().is_some() {
        match is_leader {
            true => tracing::info!("this server runs the schedules now"),
            false => tracing::info!("this server no longer runs the schedules"),
        }
    }
}

/// The classes that all servers must share. The objects of the other classes can be generated again.
pub(super) const SHARED_CLASSES: [StorageClass; 7] = [
    StorageClass::Packages,
    StorageClass::Binaries,
    StorageClass::Cran,
    StorageClass::Bioconductor,
    StorageClass::Pypi,
    StorageClass::Persistent,
    StorageClass::Metrics,
];

/// Writes the markers of a server; returns the names of the classes that have them, separated by spaces.
pub(super) async fn write_markers(storage: &Storage, node: Identity) -> String {
    let mut marked_classes = Vec::new();
    for class in SHARED_CLASSES {
        match storage.write_node_marker(NodeMarker { class, node }).await {
            Ok(()) => marked_classes.push(class.as_str()),
            // The class is not in the row's list, so other servers do not check this marker.
            Err(error) => {
                tracing::warn!(class = class.as_str(), %error, "could not write the node marker of this server")
            }
        }
    }
    marked_classes.join(" ")
}

/// Removes the markers of a server. Errors are ignored: a marker without a row has no effect.
pub(super) async fn remove_markers(storage: &Storage, node: Identity) {
    for class in SHARED_CLASSES {
        let _ = storage.remove_node_marker(NodeMarker { class, node }).await;
    }
}
