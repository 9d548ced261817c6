//! Curated sources of projects: the files of an index at one state that a definition allows.

use std::sync::Arc;

use futures_util::StreamExt;

use crate::index::{PageError, Priority};
use crate::serve::selection::allowed::{self, View};
use crate::serve::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, Seq, SourceId};
use base::model::kind::SourceKind;
use base::model::point::{Base, PointTree};
use base::model::project_name::ProjectName;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::language::{self, CuratedFiles};
use runtime::catalog::resolve::today;
use store::db::project_file::{self, FoundFile, ListedFile};
use store::db::{self, Conn, DbError};

/// Maximum number of pages, or of metadata files, that are read concurrently for a plan.
pub(in crate::serve) const CONCURRENT_READS: usize = 8;

/// The error for a stored rule that cannot be read.
pub(in crate::serve) const BAD_RULE: DbError =
    DbError::Shape { column: 0, found: "other text", expected: "a rule of a curated source" };

/// Returns the files of a project without blocked ones; for a curated source, the allowed files of its base.
pub(in crate::serve) fn of_project(
    c: &mut dyn Conn,
    view: &View,
    package: PackageId,
) -> Result<Vec<ListedFile>, DbError> {
    let mut files = with_blocked(c, view, package)?;
    allowed::project::retain_allowed(c, view, &mut files)?;
    Ok(files)
}

/// Like [`of_project`], including blocked files.
pub(in crate::serve) fn with_blocked(
    c: &mut dyn Conn,
    tree: &PointTree,
    package: PackageId,
) -> Result<Vec<ListedFile>, DbError> {
    let listing = tree.listing();
    let mut files = if listing.source.is_project_index() {
        project_file::of_index_project(c, listing.tree, listing.seq, package)?
    } else {
        project_file::of_project(c, listing.tree, listing.seq, package)?
    };
    retain_allowed(c, tree, &mut files)?;
    Ok(files)
}

/// Returns the files of a project at a state of the index, including blocked ones.
pub(in crate::serve) fn of_base(
    c: &mut dyn Conn,
    base: Base,
    name: &ProjectName,
) -> Result<Vec<ListedFile>, DbError> {
    match db::package::by_name(c, base.source, name.as_str())? {
        Some(package) => project_file::of_index_project(c, base.tree, base.seq, package),
        None => Ok(Vec::new()),
    }
}

/// Like [`of_project`], for several projects, in their order.
pub(in crate::serve) fn of_projects(
    c: &mut dyn Conn,
    tree: &View,
    packages: &[PackageId],
) -> Result<Vec<Vec<ListedFile>>, DbError> {
    let listing = tree.listing();
    let mut projects = project_file::of_projects(c, listing.tree, listing.seq, packages)?;
    for files in &mut projects {
        retain_allowed(c, tree, files)?;
        allowed::project::retain_allowed(c, tree, files)?;
    }
    Ok(projects)
}

/// Returns whether a tree offers a file; only a curated source does not offer every file of its list.
pub(in crate::serve) fn allows(
    c: &mut dyn Conn,
    tree: &PointTree,
    found: &FoundFile,
    sha256: Sha256,
) -> Result<bool, DbError> {
    let Some(base) = tree.base else { return Ok(true) };
    let allows = rule(c, tree, base, &found.project)?;
    Ok(allows.is_some_and(|allows| allows(&found.row.version, sha256)))
}

fn retain_allowed(c: &mut dyn Conn, tree: &PointTree, files: &mut Vec<ListedFile>) -> Result<(), DbError> {
    let (Some(base), Some(first)) = (tree.base, files.first()) else { return Ok(()) };
    match rule(c, tree, base, &first.project)? {
        Some(allows) => files.retain(|file| allows(&file.version, file.sha256)),
        None => files.clear(),
    }
    Ok(())
}

fn rule(
    c: &mut dyn Conn,
    tree: &PointTree,
    base: Base,
    project: &str,
) -> Result<Option<CuratedFiles>, DbError> {
    let Some(text) = db::curation::rule(c, tree.tree, tree.seq, project)? else { return Ok(None) };
    let language = SourceKind::of_built_in(base.source).map(SourceKind::language);
    let projects = language.and_then(|language| language::of(language).projects());
    let allows = projects.and_then(|projects| projects.curated_files(&text));
    allows.map(Some).ok_or(BAD_RULE)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectBaseState {
    pub base: Base,
    pub at: Timestamp,
    /// Whether the same snapshot may later contain more files: the day is not over, or not synced to its end.
    pub is_open: bool,
}

/// Returns the state of the index `source` in a snapshot: the end of a day, or the newest one. Fails with
/// [`RepoError::Conflict`] before the first sync of the index, [`RepoError::Invalid`] for a future day.
pub fn base_state(
    repositories: &Repositories,
    source: SourceId,
    snapshot: Snapshot,
) -> Result<ProjectBaseState, RepoError> {
    let state = &repositories.state;
    let catalog = state.catalog.get();
    let mut trees = catalog.source_package_trees(source);
    let synced = trees.find_map(|tree| Some((tree.id, tree.time_head?)));
    let (tree, head) = synced.ok_or_else(|| {
        let kind = catalog.source_kind(source);
        RepoError::Conflict(format!(
            "the list of {} was not synced yet; run: rspm sync --type={} --wait",
            kind.map(SourceKind::label).unwrap_or_default(),
            kind.map(SourceKind::as_str).unwrap_or_default()
        ))
    })?;
    let end = match snapshot {
        Snapshot::Latest => Timestamp(i64::MAX),
        Snapshot::Date(day) => {
            let today = today(&catalog, (state.clock)());
            if day > today {
                return Err(RepoError::Invalid(format!(
                    "--snapshot={day} is in the future; the newest snapshot is {today}"
                )));
            }
            day.end()
        }
        Snapshot::Alias(alias) => {
            return Err(RepoError::Invalid(format!(
                "--snapshot={alias} is the fixed URL of a repository; choose a day or a transaction"
            )));
        }
        Snapshot::Transaction(id) => match catalog.instant(id) {
            Some(at) => Timestamp(at.0.saturating_add(1)),
            None => {
                return Err(RepoError::NotFound(format!(
                    "there is no transaction {id}; choose a day, such as --snapshot={}",
                    Timestamp(head.0 - 1).day()
                )));
            }
        },
    };
    let at = Timestamp(head.min(end).0 - 1);
    Ok(ProjectBaseState {
        base: Base { source, tree, seq: Seq(at.0), is_whole: false },
        at,
        is_open: head < end,
    })
}

pub(in crate::serve) async fn listed_names(
    repositories: &Repositories,
    base: Base,
    names: Vec<ProjectName>,
) -> Result<Vec<(ProjectName, bool)>, RepoError> {
    let listed = repositories.state.db.read(move |c| {
        let is_listed = |name: &ProjectName| {
            let is_listed = db::project::is_listed(c, base.source, name.as_str(), base.seq)?;
            Ok((name.clone(), is_listed))
        };
        names.iter().map(is_listed).collect::<Result<Vec<_>, DbError>>()
    });
    Ok(listed.await?)
}

/// Reads the pages of projects that are not known at the base. Returns the known projects, and the errors of others.
pub(in crate::serve) async fn read_pages(
    repositories: &Repositories,
    base: Base,
    names: Vec<ProjectName>,
) -> (Vec<ProjectName>, Vec<(ProjectName, PageError)>) {
    let mut reads = futures_util::stream::iter(names)
        .map(|name| {
            let page_reads = Arc::clone(&repositories.page_reads);
            async move {
                let result = match page_reads.of(base.source) {
                    Ok(reads) => reads.at(&name, base.seq, Priority::Background).await,
                    Err(error) => Err(error),
                };
                (name, result)
            }
        })
        .buffer_unordered(CONCURRENT_READS);
    let (mut known, mut failed) = (Vec::new(), Vec::new());
    while let Some((name, result)) = reads.next().await {
        match result {
            Ok(_) => known.push(name),
            Err(error) => failed.push((name, error)),
        }
    }
    (known, failed)
}
