//! Syncs an index with one page per project: its list of projects, then the pages of projects that were requested before
//! and changed.
//!
//! The `head` of the tree is the instant up to which the list of projects is known: the time of the sync less a margin.
//! A project is a row of the table `project`; it has files once its page has been requested.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::SyncError;
use super::error::task_result;
use super::list_writer::{self, Circumstances, ListWriter};
use super::project_list::{self, ListCounts, ProjectList};
use super::task::{SyncTrigger, success_key};
use ::upstream::{MAX_DECODED_LIST, PageResponse, ProjectIndex, UpstreamError, Validators};
use base::config::IndexConfig;
use base::model::change::Counts;
use base::model::ids::{SourceId, TxId};
use base::model::kind::SourceKind;
use base::model::project_name::ProjectName;
use base::model::text::count_of;
use base::model::time::{DAY, SECOND, Timestamp, microseconds};
use content::index::{IndexReads, MARGIN, PageReads, wheel_metadata};
use formats::language::{self, Projects};
use runtime::catalog::Catalog;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::state::State;
use store::db::index_file::{self, IndexTarget};
use store::db::project::{self, ListInstants};
use store::db::tree::{Axis, Role, Tree};
use store::db::tx::{Publish, TxKind};
use store::db::upstream::{self, StoredValidators};
use store::db::{Conn, DbError, clock, name_overlap, package, skew, tree};

/// Time for which the page of a removed project is requested after each sync, in microseconds.
const REMOVAL_REFRESH_PERIOD: i64 = 7 * DAY;
/// Minimum time, in microseconds, by which a sync moves the head, also if the head is later than the delay permits: yanks
/// and removals would otherwise become visible only once the delay has passed. The changes of one sync to a file have
/// different times within it.
const MIN_ADVANCE: i64 = 1_000;
/// Maximum number of names of local packages in a message.
const MAX_NAMES: usize = 20;
/// Maximum number of pages that are read again after one sync because they changed.
const MAX_REFRESHED_PAGES: i64 = 20_000;
/// Age from which the page of a project is requested again although its serial is the same: PyPI adds
/// METADATA, provenance and the status of projects without a new serial.
const REVALIDATION_AGE: Duration = Duration::from_secs(30 * 86_400);
/// Maximum number of pages that are requested again after one sync because of their age.
const MAX_REVALIDATED_PAGES: i64 = 1_000;

/// Syncs the built-in index `source`. Returns a message about the result.
pub(super) async fn run(
    state: &Arc<State>,
    page_reads: &PageReads,
    source: SourceId,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<String, SyncError> {
    let no_index = || SyncError::Refused(format!("the source {source} is not an index of projects"));
    let config = state.config.load().index(source).cloned().ok_or_else(no_index)?;
    let projects = language::of(config.language).projects().ok_or_else(no_index)?;
    let page_reads = page_reads.of(source).map_err(|_| no_index())?;
    let name = config.language.mirror().as_str();
    let address = state.upstream.load().project_index(config.language, &config.url)?;
    let index = Index { address, state, source, name, config, projects, page_reads };
    let lease = Lease::claim(&state.db, state.node, &format!("sync:{name}")).await?;
    let result = sync(&index, &lease, trigger, report).await;
    lease.release().await;
    let (message, removed_at) = result?;
    if !index.config.follow {
        return Ok(message);
    }
    let followed = refresh_pages(&index, report, removed_at).await?;
    Ok(format!("{message}{followed}"))
}

/// An index that is synced.
struct Index<'a> {
    state: &'a Arc<State>,
    source: SourceId,
    /// The word of the source.
    name: &'static str,
    config: Arc<IndexConfig>,
    projects: &'static dyn Projects,
    page_reads: &'a Arc<IndexReads>,
    address: ProjectIndex,
}

/// Syncs the list of projects. Returns a message, and the head before the sync.
async fn sync(
    index: &Index<'_>,
    lease: &Lease,
    trigger: &SyncTrigger,
    report: &Reporter,
) -> Result<(String, i64), SyncError> {
    let Index { state, source, config, address, .. } = index;
    let (state, source, started_at) = (*state, *source, (state.clock)());
    check_source_name(&state.catalog.get(), source)?;
    report.progress("reading the list of projects", 0, None);
    let is_accepted = matches!(trigger, SyncTrigger::Confirmed(_));
    let known = match is_accepted {
        true => None,
        false => list_writer::validators(state, source, Circumstances::new(address, config.unlisted)).await?,
    };
    let ListResponse { list, age, validators } = tokio::select! {
        response = read_list(index, known) => response?,
        () = report.wait_halted() => return Err(SyncError::Halted),
    };
    report.progress("comparing with the database", 0, None);
    let label = language::of(config.language).nouns().directory;
    let tree = lease.write(&state.db, move |c| tree_of_index(c, source, label)).await?;
    let old_head = tree.head.map_or(0, |head| head.0);
    check_head(source, old_head, (state.clock)())?;
    let delay = microseconds(config.delay);
    // The list may come from a cache: its age there is subtracted.
    let listed_at = started_at.0.saturating_sub(age.saturating_mul(SECOND));
    let head =
        listed_at.saturating_sub(MARGIN).saturating_sub(delay).max(old_head.saturating_add(MIN_ADVANCE));
    let instants = ListInstants { old_head, head };
    let (count, counts) = match list {
        Some(list) => {
            lease.bulk(&state.db, move |c| project::reopen(c, source, old_head)).await?;
            let (is_incomplete, kind) = (config.unlisted, config.language.mirror());
            let writer = ListWriter { state, lease, report, source, kind, is_accepted, is_incomplete };
            let address = address.page_address(None);
            (Some(list.projects.len()), writer.write(list, instants, &address).await?)
        }
        // The rows are those of the known list, without those of an interrupted sync: counting a million takes some time.
        None => (None, ListCounts::default()),
    };
    // Before the head is published, so that pages declare METADATA from this state on.
    report.progress("reading METADATA of stored wheels", 0, None);
    let wheels = wheel_metadata::add_to_pages(index.page_reads, || report.is_halted()).await?;
    let has_changes = counts != ListCounts::default();
    let publish = Publish {
        source: Some(source),
        counts: Counts { added: counts.added, updated: counts.changed, archived: 0, removed: counts.removed },
        ..Publish::new(TxKind::Sync, (state.clock)(), started_at, trigger.actor())
    };
    let success = StoredValidators::success(address.address(), started_at);
    // The request may have shown where the index has its list.
    let circumstances = Circumstances::new(address, config.unlisted);
    // Files that are listed in spite of the delay.
    let rules = language::of(config.language);
    let undelayed: Vec<ProjectName> =
        config.delay_except.iter().filter_map(|name| rules.project_name(name).ok()).collect();
    let tx = lease.write(&state.db, move |c| {
        // The clock may have been corrected since the list was read.
        check_head(source, head, publish.now)?;
        project::publish_head(c, tree.id, head)?;
        for project in &undelayed {
            if let Some(package) = package::by_name(c, source, project.as_str())? {
                index_file::list_recent_files(c, IndexTarget { source, tree: tree.id, package }, head - 1)?;
            }
        }
        upstream::put(c, &success_key(source), &success)?;
        list_writer::store(c, source, &validators, circumstances, started_at)?;
        name_overlap::record_index(c, source, publish.now)?;
        if has_changes {
            return Ok(Some(clock::publish(c, &publish)?.tx));
        }
        clock::check(c, publish.now)?;
        clock::bump_catalog(c, clock::Change::Source(source))?;
        Ok(None)
    });
    let tx = tx.await?;
    state.catalog.refresh_after_publish(&state.db).await;
    let namesakes = if counts.added > 0 {
        state.db.read(move |c| project::namesakes(c, source, old_head)).await?
    } else {
        Vec::new()
    };
    for name in &namesakes {
        tracing::warn!(target: "sync", source = index.name, project = name, "a new project of the index has the name of a local package; in repositories that subscribe to the local source first, the name belongs to it");
    }
    let message = format!(
        "{}{}{}",
        message(index.name, tx, count, counts),
        wheels_message(wheels),
        namesakes_message(&namesakes)
    );
    Ok((if config.unlisted { format!("{message}; others are requested by name") } else { message }, old_head))
}

/// Refuses a head in the future, caused by a clock that is ahead: later lists would be invisible until then.
fn check_head(index: SourceId, head: i64, now: Timestamp) -> Result<(), DbError> {
    skew::of_index(index, Timestamp(head), now).map_or(Ok(()), |skew| Err(skew.into()))
}

struct ListResponse {
    /// The list; `None` if it is the known one.
    list: Option<ProjectList>,
    /// Its age in a cache, in seconds.
    age: i64,
    validators: Validators,
}

/// Requests the list, conditionally if its validators are known, and parses it. If projects are also requested by name, a
/// missing list is empty.
async fn read_list(index: &Index<'_>, known: Option<Validators>) -> Result<ListResponse, SyncError> {
    let page = match index.address.root(known.as_ref()).await {
        Ok(PageResponse::Page(page)) => page,
        Ok(PageResponse::Unchanged(age)) => {
            let validators = known.unwrap_or_default();
            return Ok(ListResponse { list: None, age: age.seconds, validators });
        }
        Err(error @ UpstreamError::Missing(_)) if index.config.unlisted => {
            tracing::info!(target: "sync", source = index.name, %error, "the index has no list of projects; they are requested by name");
            let (list, validators) = (Some(ProjectList::default()), Validators::default());
            return Ok(ListResponse { list, age: 0, validators });
        }
        Err(error @ UpstreamError::Missing(_)) => {
            return Err(SyncError::Refused(no_list(index, &error)));
        }
        Err(error) => return Err(error.into()),
    };
    let (age, validators) = (page.age.seconds, page.validators.clone());
    let projects = index.projects;
    let work = move || {
        let (media_type, address) = (page.media_type.clone(), page.display_url());
        let list = page.into_reader().take(MAX_DECODED_LIST);
        project_list::read(projects, media_type.as_deref(), list)
            .map_err(|reason| SyncError::Refused(format!("{address}: {reason}")))
    };
    let list = Some(task_result(tokio::task::spawn_blocking(work).await)??);
    Ok(ListResponse { list, age, validators })
}

/// Returns the error for an index without a list of projects in any folder.
fn no_list(index: &Index<'_>, error: &UpstreamError) -> String {
    let (root, addresses) = (index.address.address(), index.projects.addresses());
    let place =
        |folder: &&str| if folder.is_empty() { format!("{root}/") } else { format!("{root}/{folder}/") };
    let others: Vec<String> = addresses.folders.iter().skip(1).rev().map(place).collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!(", and neither {} is a list of projects", others.join(" nor ")),
    };
    format!(
        "{error}{others}; if the index has pages of projects below {}, but no list of them, set [{}] Unlisted = true",
        place(&addresses.folder()),
        index.config.section()
    )
}

/// Refuses the first sync of an index whose name another source has.
fn check_source_name(catalog: &Catalog, source: SourceId) -> Result<(), SyncError> {
    let Some(kind) = SourceKind::of_built_in(source) else { return Ok(()) };
    match catalog.source(kind.as_str()) {
        Some(other) if other.id != source => Err(SyncError::Refused(format!(
            "another source has the name '{kind}' of the built-in source; rename it with \
             rspm edit source --name={kind} --new-name=NAME, and sync again"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Returns the tree of the index, which the first sync creates.
fn tree_of_index(c: &mut dyn Conn, source: SourceId, label: &str) -> Result<Tree, DbError> {
    if !tree::of_source(c, source)?.iter().any(|tree| tree.role == Role::Source) {
        if let Some(kind) = SourceKind::of_built_in(source) {
            store::db::source::ensure_built_in(c, source, kind)?;
        }
        tree::create(c, source, label, Role::Source, Axis::Time)?;
    }
    tree::built_in(c, source)
}

/// Reads the pages of projects that were requested before and changed, and revalidates those that were read long ago. A
/// page that cannot be read is read when it is requested. Returns the part of the result message about these pages.
async fn refresh_pages(index: &Index<'_>, report: &Reporter, removed_at: i64) -> Result<String, SyncError> {
    let (state, source) = (index.state, index.source);
    // Includes projects that an earlier sync removed: only the page states that a project is quarantined, and
    // it may have been unavailable then.
    let removed_at = removed_at.saturating_sub(REMOVAL_REFRESH_PERIOD);
    let names = state
        .db
        .read(move |c| project::outdated_readings(c, source, removed_at, MAX_REFRESHED_PAGES))
        .await?;
    let (changed, read) = (names.len(), read_pages(index, report, names).await);
    let before = (state.clock)() - REVALIDATION_AGE;
    let names =
        state.db.read(move |c| project::old_readings(c, source, before, MAX_REVALIDATED_PAGES)).await?;
    let (old, revalidated) = (names.len(), read_pages(index, report, names).await);
    let mut text = String::new();
    if changed > 0 {
        text += &format!("; changed pages of requested projects: {read} of {changed} read again");
    }
    if old > 0 {
        text += &format!("; pages that were read more than 30 days ago: {revalidated} of {old} revalidated");
    }
    Ok(text)
}

/// Reads the pages of projects again. Returns the number of pages that were read.
async fn read_pages(index: &Index<'_>, report: &Reporter, names: Vec<String>) -> usize {
    let total = names.len();
    let names: Vec<ProjectName> = names.into_iter().map(ProjectName::folded).collect();
    let batches: Vec<Vec<ProjectName>> =
        names.chunks(index.address.batch().max(1)).map(<[ProjectName]>::to_vec).collect();
    // The other half of the requests is for clients.
    let concurrency = (index.config.concurrency / 2).max(1);
    let mut reads = futures_util::stream::iter(batches)
        .map(|batch| {
            let page_reads = Arc::clone(index.page_reads);
            async move { (batch.len(), page_reads.refresh(&batch).await) }
        })
        .buffer_unordered(concurrency);
    let (mut done_count, mut read_count) = (0, 0);
    while let Some((count, read)) = reads.next().await {
        done_count += count as u64;
        read_count += read;
        report.progress("reading pages that were requested before", done_count, Some(total as u64));
        if report.is_halted() {
            break;
        }
    }
    read_count
}

/// Returns the result message; `count` is the number of projects, if the list was read.
fn message(name: &str, tx: Option<TxId>, count: Option<usize>, counts: ListCounts) -> String {
    let Some(count) = count else {
        return format!("{name} is up to date: the list of projects is unchanged");
    };
    let projects = count_of(count, "project", "projects");
    match tx {
        None => format!("{name} is up to date: {projects}, none changed"),
        Some(tx) => format!(
            "{name} was synced (transaction {tx}): {projects}, {} added, {} changed, {} removed",
            counts.added, counts.changed, counts.removed
        ),
    }
}

/// Returns the part of the result message about stored wheels whose METADATA was read.
fn wheels_message(wheels: usize) -> String {
    match wheels {
        0 => String::new(),
        wheels => format!("; METADATA was read from {}", count_of(wheels, "stored wheel", "stored wheels")),
    }
}

/// Returns the part of the result message about new projects with the names of local packages.
fn namesakes_message(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let excerpt = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if names.len() > MAX_NAMES {
        format!(" and {} more", names.len() - MAX_NAMES)
    } else {
        String::new()
    };
    format!("; new projects have the names of local packages: {excerpt}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::catalog::Source;

    #[test]
    fn a_source_with_the_name_of_an_index_is_renamed_before_the_first_sync() {
        let source = |id| Source {
            id: SourceId(id),
            name: "pypi".parse().expect("a name"),
            kind: SourceKind::LocalPython,
            created_at: Timestamp(0),
        };
        let catalog = |id| Catalog { sources: [source(id)].into_iter().collect(), ..Catalog::default() };
        let error = check_source_name(&catalog(77), SourceId::PYPI).expect_err("the name is taken");
        assert!(error.to_string().contains("rspm edit source --name=pypi --new-name=NAME"), "{error}");
        assert!(check_source_name(&catalog(SourceId::PYPI.0), SourceId::PYPI).is_ok());
        assert!(check_source_name(&Catalog::default(), SourceId::PYPI).is_ok());
    }
}
