//! Syncs PyPI: its list of projects, then the pages of projects that were requested before and changed.

use std::sync::Arc;

use futures_util::StreamExt;

use super::SyncError;
use super::error::task_result;
use super::pypi_list::{self, ListCounts, ProjectList, Stored};
use super::task::{SyncTrigger, Task};
use crate::db::pypi::{self, ListChange, ListInstants};
use crate::db::tree::{Axis, Role, Tree};
use crate::db::tx::{Publish, TxKind};
use crate::db::upstream::{self, StoredValidators};
use crate::db::{Conn, DbError, clock, tree};
use crate::jobs::Reporter;
use crate::jobs::lease::Lease;
use crate::model::change::Counts;
use crate::model::count::count_of;
use crate::model::ids::{SourceId, TxId};
use crate::model::time::microseconds;
use crate::publish::transaction::CHUNK;
use crate::pypi::{MARGIN, PageReads};
use crate::python::accept::{ACCEPT, SimpleFormat};
use crate::python::name::NormalName;
use crate::state::State;
use crate::upstream::{Page, PythonIndex};

const SOURCE: SourceId = SourceId::PYPI;
/// The name of the only tree.
const LABEL: &str = "simple";
/// Number of changes from which the planner statistics of the database are refreshed.
const ANALYZE_THRESHOLD: usize = 10_000;
/// Maximum number of pages that are read again after one sync.
const MAX_FOLLOWED: i64 = 20_000;
/// Number of pages that are read at the same time after a sync.
const CONCURRENT_LOOKS: usize = 4;

/// Syncs the built-in source of PyPI. Returns a message for people.
pub(super) async fn run(
    state: &Arc<State>,
    page_reads: &Arc<PageReads>,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<String, SyncError> {
    let (config, upstream) = (state.config.load_full(), state.upstream.load_full());
    let index = upstream.python_index(&config.pypi.url)?;
    let lease = Lease::claim(&state.db, state.node, "sync:pypi").await?;
    let result = sync(state, &index, &lease, trigger, report).await;
    lease.release().await;
    let (message, removed_at) = result?;
    if !config.pypi.follow {
        return Ok(message);
    }
    let followed = follow(state, page_reads, report, removed_at).await?;
    Ok(format!("{message}{followed}"))
}

/// Syncs the list of projects. Returns a message, and the head before the sync.
async fn sync(
    state: &State,
    index: &PythonIndex,
    lease: &Lease,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<(String, i64), SyncError> {
    let started_at = (state.clock)();
    report.progress("reading the list of projects", 0, None);
    let list = tokio::select! {
        list = read_list(index) => list?,
        () = report.wait_halted() => return Err(SyncError::Halted),
    };
    let (invalid_count, first_invalid) = &list.invalid;
    if let Some(name) = first_invalid {
        tracing::warn!(target: "sync", source = "pypi", name, names = invalid_count, "names of the list are not those of projects; they are left out");
    }
    report.progress("comparing with the database", 0, None);
    let tree = lease.write(&state.db, tree_of_index).await?;
    let old_head = tree.head.map_or(0, |head| head.0);
    let stored = state.db.read(stored).await?;
    let stored_serial = stored.iter().filter_map(|project| project.serial).max();
    let is_accepted = matches!(trigger, SyncTrigger::Confirmed(_));
    if let Some(reason) = pypi_list::refusal(&list, stored.len(), stored_serial)
        && (!is_accepted || list.projects.is_empty())
    {
        return Err(SyncError::Refused(format!("{}/simple/: {reason}", index.address())));
    }
    let count = list.projects.len();
    let result = tokio::task::spawn_blocking(move || pypi_list::compare(list.projects, stored)).await;
    let (changes, counts) = task_result(result)?;
    let delay = microseconds(state.config.load().pypi.delay);
    let head = started_at.0.saturating_sub(MARGIN).saturating_sub(delay).max(old_head).max(1);
    let instants = ListInstants { old_head, head };
    let has_changes = !changes.is_empty();
    write(state, lease, report, changes, instants).await?;
    let publish = Publish {
        source: Some(SOURCE),
        counts: Counts { added: counts.added, updated: counts.changed, archived: 0, removed: counts.removed },
        ..Publish::new(TxKind::Sync, (state.clock)(), started_at, trigger.actor())
    };
    let success = StoredValidators::success(index.address(), started_at);
    let tx = lease.write(&state.db, move |c| {
        pypi::publish_head(c, tree.id, head)?;
        upstream::put(c, &Task::Pypi.success_key(), &success)?;
        if has_changes {
            return Ok(Some(clock::publish(c, &publish)?.tx));
        }
        clock::check(c, publish.now)?;
        clock::bump_catalog(c)?;
        Ok(None)
    });
    let tx = tx.await?;
    state.catalog.refresh_after_publish(&state.db).await;
    Ok((message(tx, count, counts), old_head))
}

/// Requests the list and parses it.
async fn read_list(index: &PythonIndex) -> Result<ProjectList, SyncError> {
    let page = index.root(ACCEPT).await?;
    let work = move || {
        let refuse =
            |page: &Page, reason: String| SyncError::Refused(format!("{}: {reason}", page.display_url()));
        let format = page.media_type.as_deref().and_then(SimpleFormat::of_media_type);
        let Some(format) = format else {
            let media_type: String =
                page.media_type.as_deref().unwrap_or_default().escape_debug().take(80).collect();
            let reason =
                format!("the media type '{media_type}' is not that of a simple index; check PyPI.URL");
            return Err(refuse(&page, reason));
        };
        pypi_list::read(format, page.reader()).map_err(|error| refuse(&page, error.to_string()))
    };
    task_result(tokio::task::spawn_blocking(work).await)?
}

/// Returns the tree of the index, which the first sync creates.
fn tree_of_index(c: &mut dyn Conn) -> Result<Tree, DbError> {
    if !tree::of_source(c, SOURCE)?.iter().any(|tree| tree.role == Role::Source) {
        tree::create(c, SOURCE, LABEL, Role::Source, Axis::Time)?;
    }
    tree::built_in(c, SOURCE)
}

/// The projects that the source lists, in the order of their names.
fn stored(c: &mut dyn Conn) -> Result<Vec<Stored>, DbError> {
    let mut stored = Vec::new();
    pypi::each_listed(c, SOURCE, &mut |fold, from_at, serial| {
        stored.push(Stored { fold: fold.into(), from_at, serial });
    })?;
    // The databases sort bytes, as Rust does.
    Ok(stored)
}

/// Writes the changes of the list in chunks. They are invisible until the head moves, and right if it never does: the
/// next sync finds them.
async fn write(
    state: &State,
    lease: &Lease,
    report: &Reporter,
    changes: Vec<ListChange>,
    instants: ListInstants,
) -> Result<(), SyncError> {
    let total = changes.len();
    let mut changes = changes.into_iter();
    let mut done_count = 0;
    loop {
        let chunk: Arc<[ListChange]> = changes.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        if report.is_halted() {
            return Err(SyncError::Halted);
        }
        report.progress("writing projects", done_count, Some(total as u64));
        done_count += chunk.len() as u64;
        lease.bulk(&state.db, move |c| pypi::apply(c, SOURCE, instants, &chunk)).await?;
    }
    if total >= ANALYZE_THRESHOLD {
        state.db.analyze().await?;
    }
    Ok(())
}

/// Reads the pages of projects that were requested before and changed. A page that cannot be read is read when it is
/// requested. Returns the part of the message for people.
async fn follow(
    state: &Arc<State>,
    page_reads: &Arc<PageReads>,
    report: &Reporter,
    removed_at: i64,
) -> Result<String, SyncError> {
    let names = state.db.read(move |c| pypi::followed(c, SOURCE, removed_at, MAX_FOLLOWED)).await?;
    if names.is_empty() {
        return Ok(String::new());
    }
    let total = names.len();
    let names = names.into_iter().filter_map(|name| name.parse::<NormalName>().ok());
    let mut reads = futures_util::stream::iter(names)
        .map(|name| {
            let page_reads = Arc::clone(page_reads);
            async move { page_reads.refresh(&name).await.is_ok() }
        })
        .buffer_unordered(CONCURRENT_LOOKS);
    let (mut done_count, mut read_count) = (0, 0);
    while let Some(is_read) = reads.next().await {
        done_count += 1;
        read_count += usize::from(is_read);
        report.progress("reading pages of projects that changed", done_count, Some(total as u64));
        if report.is_halted() {
            break;
        }
    }
    let pages = count_of(total, "page", "pages");
    Ok(format!("; read {read_count} of {pages} again that were requested before and changed"))
}

fn message(tx: Option<TxId>, count: usize, counts: ListCounts) -> String {
    let projects = count_of(count, "project", "projects");
    match tx {
        None => format!("pypi is up to date: {projects}, none changed"),
        Some(tx) => format!(
            "pypi was synced (transaction {tx}): {projects}, {} added, {} changed, {} removed",
            counts.added, counts.changed, counts.removed
        ),
    }
}
