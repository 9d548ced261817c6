//! Curated sources of Python packages: the files of an index at one state that a definition allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;

use crate::index::{PageError, Priority};
use crate::serve::selection::allowed::{self, View};
use crate::serve::selection::name_guards;
use crate::serve::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::ids::{PackageId, Seq, SourceId};
use base::model::kind::SourceKind;
use base::model::point::{Base, PointTree};
use base::model::project_name::ProjectName;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::python::curated::PythonDefinition;
use formats::python::curated::plan::{BaseFile, BaseProject};
use formats::python::curated::rule::ProjectRule;
use formats::python::version::Pep440Version;
use runtime::catalog::resolve::today;
use store::db::project_file::{self, FoundFile, ListedFile};
use store::db::{self, Conn, DbError};

/// Maximum number of pages, or of metadata files, that are read concurrently for a plan.
pub(in crate::serve) const CONCURRENT_READS: usize = 8;

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
    if tree.base.is_none() {
        return Ok(true);
    }
    let rule = rule(c, tree, &found.project)?;
    Ok(rule.is_some_and(|rule| rule.allows(&Pep440Version::lenient(&found.row.version), sha256)))
}

fn retain_allowed(c: &mut dyn Conn, tree: &PointTree, files: &mut Vec<ListedFile>) -> Result<(), DbError> {
    let Some(project) = files.first().filter(|_| tree.base.is_some()).map(|file| file.project.clone()) else {
        return Ok(());
    };
    let rule = rule(c, tree, &project)?.unwrap_or_default();
    files.retain(|file| rule.allows(&Pep440Version::lenient(&file.version), file.sha256));
    Ok(())
}

fn rule(c: &mut dyn Conn, tree: &PointTree, project: &str) -> Result<Option<ProjectRule>, DbError> {
    let text = db::curation::rule(c, tree.tree, tree.seq, project)?;
    text.map(|text| parse_rule(&text)).transpose()
}

/// Reads a stored rule.
pub fn parse_rule(text: &str) -> Result<ProjectRule, DbError> {
    let bad = |_| DbError::Shape { column: 0, found: "other text", expected: "a rule of a curated source" };
    ProjectRule::parse(text).map_err(bad)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PythonBaseState {
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
) -> Result<PythonBaseState, RepoError> {
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
    Ok(PythonBaseState {
        base: Base { source, tree, seq: Seq(at.0), is_whole: false },
        at,
        is_open: head < end,
    })
}

/// Returns the stored facts about the projects of a definition. If it allows only some files of a project,
/// the page is read first, unless it is known for that time; eight at a time.
pub async fn base_projects(
    repositories: &Repositories,
    base: Base,
    definition: &PythonDefinition,
) -> Result<BTreeMap<ProjectName, BaseProject>, RepoError> {
    let names = definition.rules.keys().cloned().collect();
    let mut projects = BTreeMap::new();
    let mut restricted: Vec<ProjectName> = Vec::new();
    for (name, is_listed) in listed_names(repositories, base, names).await? {
        if !is_listed {
            projects.insert(name, BaseProject::Unlisted);
        } else if definition.rules.get(&name).is_some_and(ProjectRule::allows_all) {
            projects.insert(name, BaseProject::NotRead);
        } else {
            restricted.push(name);
        }
    }
    let (known, failed) = read_pages(repositories, base, restricted).await;
    for (name, error) in failed {
        projects.insert(name, BaseProject::Unreadable(error.to_string()));
    }
    let files = repositories.state.db.read(move |c| {
        let mut files = Vec::with_capacity(known.len());
        for name in &known {
            let file = |file: ListedFile| BaseFile {
                version: Pep440Version::lenient(&file.version),
                sha256: file.sha256,
            };
            let files_of_project = of_base(c, base, name)?.into_iter().map(file).collect();
            files.push((name.clone(), BaseProject::Files(files_of_project)));
        }
        Ok(files)
    });
    projects.extend(files.await?);
    Ok(projects)
}

/// Leaves out projects that another source of this server provides, with a notice for each: the lock file of
/// a team names its own packages, too. Fails if no project is left.
pub async fn leave_out_names_of_others(
    repositories: &Repositories,
    source: SourceId,
    base: Base,
    definition: &mut PythonDefinition,
) -> Result<(), RepoError> {
    let names = definition.rules.keys().cloned().collect();
    for (name, is_listed) in listed_names(repositories, base, names).await? {
        let state = &repositories.state;
        let provider = name_guards::other_provider(state, name.as_str(), source, is_listed);
        let Some(reason) = provider else { continue };
        definition.rules.remove(&name);
        definition.extras.remove(&name);
        let origin = definition.origins.remove(&name).unwrap_or_default();
        definition.notices.push(format!("{origin}: '{name}' is left out: {reason}"));
    }
    match definition.notices.last() {
        Some(notice) if definition.rules.is_empty() => {
            Err(RepoError::Invalid(format!("no package is left in the definition; the last one: {notice}")))
        }
        Some(_) | None => Ok(()),
    }
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedFiles {
    /// The number of hidden files in the repository that hides most; `None` if a name guard hides all files.
    pub count: Option<usize>,
    /// The repository and the reason of one of the files, or the name guard.
    pub reason: String,
    pub remedy: &'static str,
}

/// Returns, by project, the allowed files that a name guard or the block rules of a subscribed repository
/// hide. Block rules are compared with stored files only.
pub async fn blocked_files(
    repositories: &Repositories,
    source: SourceId,
    base: Base,
    rules: &BTreeMap<ProjectName, ProjectRule>,
) -> Result<BTreeMap<ProjectName, BlockedFiles>, RepoError> {
    let state = &repositories.state;
    let mut blocked: BTreeMap<ProjectName, BlockedFiles> = BTreeMap::new();
    for name in rules.keys() {
        if let Some(reason) = name_guards::hiding_reason(state, name.as_str(), source) {
            let files = BlockedFiles { count: None, reason, remedy: name_guards::REMEDY };
            blocked.insert(name.clone(), files);
        }
    }
    for (repo, view) in allowed::base_views(state, source, base).await {
        let rules = rules.clone();
        let found = state.db.read(move |c| {
            let mut found = Vec::new();
            for (name, rule) in &rules {
                let mut files = of_base(c, base, name)?;
                files.retain(|file| rule.allows(&Pep440Version::lenient(&file.version), file.sha256));
                let hidden = allowed::project::take_decided(c, &view, &mut files)?.blocked;
                if let Some(first) = hidden.first() {
                    let reason = format!("blocked in '{repo}' by {}", first.reason);
                    let remedy = "allow other versions, or create an exception";
                    found.push((name.clone(), BlockedFiles { count: Some(hidden.len()), reason, remedy }));
                }
            }
            Ok(found)
        });
        for (name, files) in found.await? {
            let entry = blocked.entry(name).or_insert_with(|| files.clone());
            if entry.count.is_some_and(|count| Some(count) < files.count) {
                *entry = files;
            }
        }
    }
    Ok(blocked)
}
