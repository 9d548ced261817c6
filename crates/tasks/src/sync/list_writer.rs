//! Compares the list of projects of an index with the database, and writes the changes. They are invisible until the head
//! of the tree is set. The validators of the list state that the rows of projects are those of the list, so they are stored
//! by the transaction that publishes the list, and removed before a row of another one is written.

use std::sync::Arc;

use ::upstream::{ProjectIndex, Validators};
use sha2::{Digest, Sha256 as Hasher};

use super::SyncError;
use super::error::task_result;
use super::project_list::{self, Changes, ListCounts, ProjectList, StoredProjects};
use super::task::success_key;
use base::model::digest::Sha256;
use base::model::ids::SourceId;
use base::model::kind::SourceKind;
use base::model::time::Timestamp;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::publish::transaction::CHUNK;
use runtime::state::State;
use store::db::project::{self, ListChange, ListInstants};
use store::db::upstream::{self, StoredValidators};
use store::db::{Conn, DbError};

/// Minimum number of changes after which the planner statistics of the database are refreshed.
const ANALYZE_THRESHOLD: usize = 10_000;

pub(super) struct ListWriter<'a> {
    pub(super) state: &'a State,
    pub(super) lease: &'a Lease,
    pub(super) report: &'a Reporter,
    /// The index of the list.
    pub(super) source: SourceId,
    pub(super) kind: SourceKind,
    /// Whether an administrator confirmed that the list may lose projects or serials.
    pub(super) is_accepted: bool,
    /// Whether projects that the list lacks stay. Such a list may also be missing, or become shorter.
    pub(super) is_incomplete: bool,
}

impl ListWriter<'_> {
    /// Writes the changes of a list, unless it is refused; `address` is for the message.
    pub(super) async fn write(
        &self,
        list: ProjectList,
        instants: ListInstants,
        address: &str,
    ) -> Result<ListCounts, SyncError> {
        let &ListWriter { state, lease, source, kind, is_accepted, is_incomplete, .. } = self;
        let (invalid_count, first_invalid) = &list.invalid;
        if let Some(name) = first_invalid {
            let source = state.catalog.get().source_name(source);
            tracing::warn!(target: "sync", source = source.as_str(), name, names = invalid_count, "the list contains names that are not valid; they are left out");
        }
        let old_head = instants.old_head;
        // From here to the publish, the rows may be those of no list.
        lease.write(&state.db, move |c| remove(c, source)).await?;
        let stored = state.db.read(move |c| stored(c, source)).await?;
        let stored_serial = stored.highest_serial();
        let stored_count = if is_incomplete { 0 } else { stored.len() };
        if !(is_incomplete && list.projects.is_empty())
            && let Some(reason) = project_list::refusal(kind, &list, stored_count, stored_serial)
            && (!is_accepted || list.projects.is_empty())
        {
            return Err(SyncError::Refused(format!("{address}: {reason}")));
        }
        if list.serial.zip(stored_serial).is_some_and(|(new, old)| new < old) {
            lease.bulk(&state.db, move |c| project::remove_serials(c, source, old_head)).await?;
        }
        self.write_changes(Changes::between(stored, list.projects, is_incomplete), instants).await
    }

    /// Writes the changes in chunks. If the head is never set, they do no harm: the next sync finds them.
    async fn write_changes(
        &self,
        mut changes: Changes,
        instants: ListInstants,
    ) -> Result<ListCounts, SyncError> {
        let &ListWriter { state, lease, report, source, .. } = self;
        let mut done_count = 0;
        loop {
            // Finding few changes among a million names takes some time.
            let find = move || {
                let chunk: Arc<[ListChange]> = changes.by_ref().take(CHUNK).collect();
                (changes, chunk)
            };
            let chunk;
            (changes, chunk) = task_result(tokio::task::spawn_blocking(find).await)?;
            if chunk.is_empty() {
                break;
            }
            if report.is_halted() {
                return Err(SyncError::Halted);
            }
            report.progress("writing projects", done_count as u64, None);
            done_count += chunk.len();
            lease.bulk(&state.db, move |c| project::apply(c, source, instants, &chunk)).await?;
        }
        if done_count >= ANALYZE_THRESHOLD {
            state.db.analyze().await?;
        }
        Ok(changes.counts)
    }
}

/// Returns the projects that the source lists, in the order of their names.
fn stored(c: &mut dyn Conn, source: SourceId) -> Result<StoredProjects, DbError> {
    let mut stored = StoredProjects::with_room();
    let mut fits = true;
    project::each_listed(c, source, &mut |normalized_name, from_at, serial| {
        fits = fits && stored.push(&normalized_name, from_at, serial);
    })?;
    if !fits {
        return Err(DbError::Shape {
            column: 0,
            found: "names of 4 GiB",
            expected: "names of a list of projects",
        });
    }
    // The databases sort bytes, as Rust does.
    Ok(stored)
}

/// What else than the list determines its rows, as a digest. Another version of the program may read other names from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances(Sha256);

impl Circumstances {
    /// `is_incomplete` states whether projects that the list lacks stay.
    pub(super) fn new(index: &ProjectIndex, is_incomplete: bool) -> Circumstances {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("{version} {is_incomplete} {}", index.page_address(None));
        Circumstances(Sha256(Hasher::digest(text).into()))
    }
}

/// Returns the key of the row with the validators. Its `sha256` is that of the [`Circumstances`].
fn key(source: SourceId) -> String {
    format!("{}:list", success_key(source))
}

/// Returns the validators of the list that was published last, if the same list has the same rows now.
pub(super) async fn validators(
    state: &State,
    source: SourceId,
    circumstances: Circumstances,
) -> Result<Option<Validators>, SyncError> {
    let read = state.db.read(move |c| {
        Ok::<_, DbError>((upstream::get(c, &key(source))?, upstream::get(c, &success_key(source))?))
    });
    let (list, success) = read.await?;
    // Those of an earlier sync describe another list.
    let is_of_last_sync = |list: &StoredValidators| {
        success.as_ref().is_some_and(|success| success.fetched_at == list.fetched_at)
    };
    let list = list.filter(|list| list.sha256 == circumstances.0 && is_of_last_sync(list));
    Ok(list.map(|list| Validators { etag: list.etag, modified: list.modified }))
}

fn remove(c: &mut dyn Conn, source: SourceId) -> Result<(), DbError> {
    upstream::delete(c, &key(source))
}

/// Writes the validators of the list that the transaction publishes; `started_at` is the time of the last success.
pub(super) fn store(
    c: &mut dyn Conn,
    source: SourceId,
    validators: &Validators,
    circumstances: Circumstances,
    started_at: Timestamp,
) -> Result<(), DbError> {
    let Validators { etag, modified } = validators.clone();
    if etag.is_none() && modified.is_none() {
        return remove(c, source);
    }
    let row = StoredValidators { etag, modified, sha256: circumstances.0, fetched_at: started_at };
    upstream::put(c, &key(source), &row)
}
