//! Finds pages and files of a repository with projects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::document::{LatestPage, LatestState, ProjectContent, ProjectDocument, ProvenanceLinks};
use super::owner::{self, IndexPage, OwnedProject};
use super::{curated, serial};
use crate::index::{Priority, Validity};
use crate::serve::files::located::LocatedFile;
use crate::serve::selection::allowed::{self, View};
use crate::serve::selection::{name_guards, policies};
use crate::serve::{BlockedRelease, GuardedName, RepoError, Repositories};
use base::model::change::LifeKey;
use base::model::digest::Sha256;
use base::model::ids::{FileId, PackageId, Seq, SourceId};
use base::model::kind::ChangePolicy;
use base::model::point::{Point, PointTree};
use base::model::project_name::ProjectName;
use base::model::project_page::{PageFormat, ProjectStatus};
use base::model::project_path::FilePart;
use formats::language;
use runtime::catalog::{Catalog, Tree};
use store::db::project_file::{FoundFile, ListedFile};
use store::db::{self, Conn, DbError};

/// Returns the serial of the last change of a point: the highest of its projects, never decreasing for the
/// same subscriptions. `None` with a curated source, whose pages have no serials.
pub fn last_serial(catalog: &Catalog, point: &Point) -> Option<u64> {
    if point.trees.iter().any(|tree| tree.base.is_some()) {
        return None;
    }
    let of_tree = |tree: &PointTree| {
        if owner::is_index(tree) {
            let head = u64::try_from(tree.seq.0.saturating_add(1)).ok();
            head.map(|head| beside_steps(catalog, point, head))
        } else {
            serial::of_step(catalog, tree.tree, tree.seq)
        }
    };
    point.trees.iter().filter_map(of_tree).max()
}

/// Returns the serial of a change of an index in a point, see [`serial::beside_steps`].
fn beside_steps(catalog: &Catalog, point: &Point, serial: u64) -> u64 {
    let trees = point.trees.iter().filter(|tree| !owner::is_index(tree));
    serial::beside_steps(serial, |until| {
        trees.filter_map(|tree| serial::newest_step(catalog, tree, until)).max()
    })
}

/// The number of requests to other servers that a response about many packages may cause.
#[derive(Debug)]
pub struct RequestBudget(AtomicUsize);

impl RequestBudget {
    pub fn new(requests: usize) -> RequestBudget {
        RequestBudget(AtomicUsize::new(requests))
    }

    pub fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Returns false if none is left.
    pub(in crate::serve) fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
    }
}

#[derive(Clone, Debug)]
pub struct LocatedPage {
    /// The point, with only the tree that owns the project.
    pub point: Point,
    /// Whether locating it again under the same catalog gives the same page.
    pub is_cacheable: bool,
    /// The facts on the page besides its files, while the point may change.
    pub latest: LatestState,
}

impl LocatedPage {
    pub fn document(
        &self,
        project: ProjectName,
        format: PageFormat,
        links: ProvenanceLinks,
    ) -> ProjectDocument {
        let content = if self.point.follows_sources() {
            let state = self.latest.clone();
            ProjectContent::LatestPage(Box::new(LatestPage { project, links, state }))
        } else {
            ProjectContent::Page(project, links)
        };
        ProjectDocument { language: self.point.language, format, content }
    }
}

/// Finds the owner of a project. The returned point has only its tree, at the last change of the project, so
/// that it is equal on all days between two changes. The page of a project of an index is read if it was not
/// read for that time. Fails with [`RepoError::Blocked`] if all files are blocked, [`RepoError::Upstream`] if
/// the index does not answer and nothing is known.
pub async fn locate_page(
    repositories: &Repositories,
    point: &Point,
    project: &ProjectName,
) -> Result<LocatedPage, RepoError> {
    let page = find_page(repositories, point, project, None).await?;
    if page.point.trees.iter().all(|tree| tree.rules.is_none()) {
        return Ok(page);
    }
    let (views, name) = (View::of(&repositories.state, &page.point), project.clone());
    let blocked = repositories.state.db.read(move |c| {
        let Some(view) = views.first() else { return Ok(None) };
        let Some(package) = db::package::by_name(c, view.source, name.as_str())? else { return Ok(None) };
        let files = curated::with_blocked(c, view, package)?;
        allowed::project::blocked_project(c, view, &files)
    });
    // SECURITY: installers continue with the next index after 404, and after a page without files.
    match blocked.await? {
        Some(blocked) => {
            policies::log_frozen(&repositories.state, point, &blocked);
            Err(RepoError::Blocked(Box::new(blocked)))
        }
        None => Ok(page),
    }
}

/// Like [`locate_page`], also for a project whose files are all blocked. When the budget is used up, the last
/// known page is returned without a request.
pub(super) async fn find_page(
    repositories: &Repositories,
    point: &Point,
    project: &ProjectName,
    budget: Option<&RequestBudget>,
) -> Result<LocatedPage, RepoError> {
    let mut found = find_owner(repositories, point, project).await?;
    if let Some(index) = index_beyond_list(repositories, point, found.as_ref().map(|found| found.tree))
        && !name_guards::hides(&repositories.state, project.as_str(), index)
        && budget.is_none_or(RequestBudget::take)
        && repositories.page_reads.of(index)?.discover(project, Priority::Client).await?
    {
        found = find_owner(repositories, point, project).await?;
    }
    let Some(FoundOwner { tree, has_files, known_page }) = found else {
        let text = format!("there is no project '{project}' in this snapshot");
        return Err(name_guards::missing(&repositories.state, point, project.as_str(), text));
    };
    if let Some(page) = known_page {
        return Ok(located_page(repositories, point, page, true));
    }
    if owner::is_index(&tree) {
        return index_page(repositories, point, tree, project, budget).await;
    }
    if !has_files {
        let catalog = repositories.state.catalog.get();
        let source = catalog.source_by_id(tree.source).map(|source| source.name.to_string());
        let text = format!(
            "all files of the project '{project}' were removed from the source '{}', to which the name belongs in this \
             repository; other sources do not provide it",
            source.unwrap_or_default()
        );
        let language = catalog.source_language(tree.source);
        return Err(match name_guards::guard_of(&repositories.state, language, project.as_str()) {
            Some(guard) => RepoError::Guarded(Box::new(name_guards::guarded_name(&guard, project.as_str()))),
            None => RepoError::NotFound(text),
        });
    }
    let serial = serial::of_step(&repositories.state.catalog.get(), tree.tree, tree.seq);
    let latest = LatestState { serial, ..LatestState::default() };
    Ok(LocatedPage { point: Point { trees: vec![tree], ..point.clone() }, is_cacheable: true, latest })
}

struct FoundOwner {
    tree: PointTree,
    /// Whether the project has files in the tree; always false for the tree of an index.
    has_files: bool,
    known_page: Option<IndexPage>,
}

async fn find_owner(
    repositories: &Repositories,
    point: &Point,
    project: &ProjectName,
) -> Result<Option<FoundOwner>, RepoError> {
    let (views, name) = (View::of(&repositories.state, point), project.clone());
    let query = repositories.state.db.read(move |c| {
        let Some(owned) = owner::owner(c, &views, &name)? else { return Ok(None) };
        let OwnedProject { package, tree } = owned;
        if owner::is_index(&tree) {
            let known_page = known_page(c, tree, &name)?;
            return Ok(Some(FoundOwner { tree, has_files: false, known_page }));
        }
        let presence = match package {
            Some(package) => db::life::presence(c, tree.tree, tree.seq, package)?,
            None => None,
        };
        Ok(Some(FoundOwner { tree, has_files: presence.is_some(), known_page: None }))
    });
    Ok(query.await?)
}

/// Returns an index's page if its last reading is valid: in the same read as the owner, as most requests need no other.
fn known_page(
    c: &mut dyn Conn,
    tree: PointTree,
    project: &ProjectName,
) -> Result<Option<IndexPage>, DbError> {
    let listing = tree.listing();
    let known = db::project::known(c, listing.source, project.as_str())?;
    let is_valid = known.and_then(|known| known.valid_at()).is_some_and(|valid_at| valid_at > listing.seq.0);
    if is_valid { owner::index_page(c, tree, project, true).map(Some) } else { Ok(None) }
}

/// Returns the page of a project of an index. `is_complete` is false if the project may have changed before the point.
fn located_page(
    repositories: &Repositories,
    point: &Point,
    page: IndexPage,
    is_complete: bool,
) -> LocatedPage {
    let mut latest = page.latest;
    if is_complete {
        let catalog = repositories.state.catalog.get();
        latest.serial = latest.serial.map(|serial| beside_steps(&catalog, point, serial));
    }
    let open = point.open || !is_complete;
    let point = Point { trees: vec![page.tree], open, ..point.clone() };
    LocatedPage { point, is_cacheable: is_complete, latest }
}

/// Returns the index that may have a project that its list lacks: if allowed by the configuration, at its
/// newest state, and no source before it has the project.
fn index_beyond_list(
    repositories: &Repositories,
    point: &Point,
    owner: Option<PointTree>,
) -> Option<SourceId> {
    let config = repositories.state.config.load();
    let may_have_others = |source| config.index(source).is_some_and(|index| index.unlisted);
    let is_owner = |tree: &PointTree| owner.is_some_and(|owner| owner.tree == tree.tree);
    let first = point.trees.iter().find(|tree| owner::is_whole_index(tree) || is_owner(tree));
    let catalog = repositories.state.catalog.get();
    let is_newest =
        |tree: &PointTree| catalog.tree(tree.tree).and_then(Tree::newest).is_some_and(|seq| seq == tree.seq);
    first
        .filter(|tree| may_have_others(tree.source) && owner::is_whole_index(tree))
        .filter(|tree| !is_owner(tree) && is_newest(tree))
        .map(|tree| tree.source)
}

/// Returns the page of a project that an index lists; reads the page from the index first if necessary.
async fn index_page(
    repositories: &Repositories,
    point: &Point,
    tree: PointTree,
    project: &ProjectName,
    budget: Option<&RequestBudget>,
) -> Result<LocatedPage, RepoError> {
    let (reads, seq) = (repositories.page_reads.of(tree.listing().source)?, tree.listing().seq);
    let may_request = match budget {
        Some(budget) => reads.is_known(project, seq).await? || budget.take(),
        None => true,
    };
    let validity =
        if may_request { reads.at(project, seq, Priority::Client).await? } else { Validity::Outdated };
    let is_complete = validity == Validity::Complete;
    let name = project.clone();
    let page = repositories.state.db.read(move |c| owner::index_page(c, tree, &name, is_complete)).await?;
    Ok(located_page(repositories, point, page, is_complete))
}

/// Returns the point for the list of projects: a closed one at the last changes of the lists of indexes, so
/// that all days between have one document. The list of PyPI is 45 MB, and clients choose the days.
pub async fn list_point(repositories: &Repositories, point: Point) -> Result<Point, RepoError> {
    if point.open || !point.trees.iter().any(owner::is_whole_index) {
        return Ok(point);
    }
    let trees = point.trees.clone();
    let query = repositories.state.db.read(move |c| owner::at_list_changes(c, &trees));
    Ok(Point { trees: query.await?, ..point })
}

/// Finds a file by its digest and name, or a stored file that belongs to it, in the owner of the project.
/// Removed and yanked files are still found, because lock files refer to them, except in a source to which
/// the repository no longer subscribes.
pub async fn locate(
    repositories: &Repositories,
    point: &Point,
    sha256: Sha256,
    file: &str,
    part: FilePart,
) -> Result<LocatedFile, RepoError> {
    let result = locate_row(repositories, point, sha256, file, part).await;
    match &result {
        Err(RepoError::NotFound(_) | RepoError::Guarded(_)) if part == FilePart::Metadata => {}
        _ => return result,
    }
    // The first request for metadata.
    match record_metadata(repositories, point, sha256, file).await? {
        true => locate_row(repositories, point, sha256, file, part).await,
        false => result,
    }
}

/// Writes the rows of metadata that indexes declare for a file. Returns false if none declares any.
async fn record_metadata(
    repositories: &Repositories,
    point: &Point,
    sha256: Sha256,
    file: &str,
) -> Result<bool, RepoError> {
    let Some(projects) = language::of(point.language).projects() else { return Ok(false) };
    let (trees, name) = (point.trees.clone(), file.to_owned());
    let declared = repositories.state.db.read(move |c| {
        let mut declared = Vec::new();
        for tree in trees.iter().map(PointTree::listing) {
            let found = db::project_file::find(c, tree.tree, sha256, &name, FilePart::Distribution, None)?;
            declared.extend(
                found.and_then(|found| Some((found.row.file, projects.unrecorded_metadata(&found.facts)?))),
            );
        }
        Ok(declared)
    });
    let declared: Vec<(FileId, Sha256)> = declared.await?;
    if declared.is_empty() {
        return Ok(false);
    }
    repositories.state.db.write(move |c| db::attached_file::record_metadata(c, &declared)).await?;
    Ok(true)
}

async fn locate_row(
    repositories: &Repositories,
    point: &Point,
    sha256: Sha256,
    file: &str,
    part: FilePart,
) -> Result<LocatedFile, RepoError> {
    let (trees, name) = (point.trees.clone(), file.to_owned());
    let views = View::of(&repositories.state, point);
    let restricted = restricted_trees(repositories, point);
    let guarded: Vec<(ProjectName, GuardedName)> = guarded_projects(repositories, point, file);
    let query = repositories.state.db.read(move |c| {
        let mut is_hidden = false;
        for ((tree, view), is_restricted) in trees.iter().zip(&views).zip(&restricted) {
            let listing = tree.listing();
            let step = is_restricted.then_some(listing.seq);
            let Some(found) = db::project_file::find(c, listing.tree, sha256, &name, part, step)? else {
                continue;
            };
            if !curated::allows(c, tree, &found, sha256)? {
                continue;
            }
            let project = ProjectName::folded(found.project.as_str());
            if view.hides(project.as_str()) {
                is_hidden = true;
                continue;
            }
            let owner = match owner::owner(c, &views, &project)? {
                Some(owner) => Some(owner),
                None => owner::owner(c, &at_head(&views), &project)?,
            };
            // A file of a project that its index removed is served as long as no other source has the name.
            if owner.map_or(owner::is_index(tree), |owner| owner.tree.tree == tree.tree) {
                let is_quarantined =
                    owner::is_index(tree) && is_quarantined(c, listing.source, found.row.package)?;
                let decision = decide_file(c, view, &found, sha256)?;
                return Ok(Ok((listing, found, is_quarantined, decision)));
            }
        }
        for (project, guarded) in &guarded {
            // A hidden project is treated in the same way whether or not its page was ever read.
            is_hidden |= views.iter().any(|view| view.hides(project.as_str()));
            if is_hidden || owner::owner(c, &views, project)?.is_none() {
                return Ok(Err(Some(guarded.clone())));
            }
        }
        Ok(Err(None))
    });
    let found = query.await?;
    if let Err(Some(guarded)) = found {
        return Err(RepoError::Guarded(Box::new(guarded)));
    }
    let Ok((tree, found, is_quarantined, decision)) = found else {
        let part = match part {
            FilePart::Distribution => "no file",
            FilePart::Metadata => "no metadata of the file",
            FilePart::Signature => "no signature of the file",
            FilePart::Provenance => "no provenance of the file",
        };
        // A lock file may still name a removed file.
        let removed = if point.trees.iter().any(owner::is_index) {
            "; a file that the index removed before its project was first requested here is not available"
        } else {
            ""
        };
        return Err(RepoError::NotFound(format!(
            "there is {part} '{file}' with this digest in this repository; the page of its project lists its addresses\
             {removed}"
        )));
    };
    if is_quarantined {
        return Err(RepoError::NotFound(format!(
            "the index has quarantined the project '{}'; its files are not served",
            found.project
        )));
    }
    let warning = decision.map_err(|blocked| {
        policies::log_frozen(&repositories.state, point, &blocked);
        RepoError::Blocked(Box::new(blocked))
    })?;
    let upload_time = language::of(point.language).uploaded_at(&found.facts);
    let mut located = LocatedFile::new(&found.project, tree, found.row);
    located.modified = match part {
        FilePart::Distribution | FilePart::Metadata => upload_time,
        // Later uploads may replace them.
        FilePart::Signature | FilePart::Provenance => None,
    };
    located.warning = warning.map(Arc::from);
    located.name.push_str(part.suffix());
    Ok(located)
}

/// Returns for each tree of a point whether only the files that it lists at the point are served.
pub(in crate::serve) fn restricted_trees(repositories: &Repositories, point: &Point) -> Vec<bool> {
    // SECURITY: the source may have become private, so an old snapshot must not give access to its other files. A
    // curated source offers only what its definition allows at the point, and a promoted repository what it lists.
    let catalog = repositories.state.catalog.get();
    let repo = catalog.repo_by_id(point.repo).filter(|repo| repo.changes == ChangePolicy::Any);
    let subscribed = repo.map(|repo| repo.sources()).unwrap_or_default();
    point.trees.iter().map(|tree| tree.base.is_some() || !subscribed.contains(&tree.source)).collect()
}

/// Returns the guarded projects to which a file may belong: the name is the text before one of its hyphens.
fn guarded_projects(
    repositories: &Repositories,
    point: &Point,
    file: &str,
) -> Vec<(ProjectName, GuardedName)> {
    let rules = language::of(point.language);
    let stem = rules.projects().map_or(file, |projects| projects.stem(file));
    let projects = stem.match_indices('-').filter_map(|(at, _)| rules.project_name(&stem[..at]).ok());
    let guarded = projects.filter_map(|project| {
        let guarded = name_guards::guarded(&repositories.state, point, project.as_str())?;
        Some((project, guarded))
    });
    guarded.collect()
}

/// Returns the warning about a file, or why it is blocked. An unlisted one is compared with listed ones.
fn decide_file(
    c: &mut dyn Conn,
    view: &View,
    found: &FoundFile,
    sha256: Sha256,
) -> Result<Result<Option<String>, BlockedRelease>, DbError> {
    if view.rules.is_none() {
        return Ok(Ok(None));
    }
    let mut files = curated::with_blocked(c, view, found.row.package)?;
    let position = files.iter().position(|file| file.sha256 == sha256 && file.version == found.row.version);
    let position = match position {
        Some(position) => position,
        None => {
            files.push(ListedFile {
                key: LifeKey {
                    state: found.row.state,
                    package: found.row.package,
                    path: String::new(),
                    release: found.row.release,
                    file: found.row.file,
                    from_seq: 0,
                },
                project: found.project.clone(),
                version: found.row.version.clone(),
                revision: found.row.revision,
                name: found.row.name.clone(),
                size: found.row.size.unwrap_or(-1),
                sha256,
                facts: found.facts.clone(),
                variant: 0,
                yanked: None,
                metadata: None,
            });
            files.len() - 1
        }
    };
    allowed::project::decide_file(c, view, &files, position)
}

/// Returns true for a quarantined project. Its files may be harmful, so they are not served for lock files either.
fn is_quarantined(c: &mut dyn Conn, source: SourceId, package: PackageId) -> Result<bool, DbError> {
    let reading = db::project::last_reading(c, source, package)?;
    Ok(reading.is_some_and(|reading| reading.status == ProjectStatus::Quarantined.as_str()))
}

/// Returns the trees at their newest state, which determines the owner of a file that was published after the point.
fn at_head(views: &[View]) -> Vec<View> {
    views.iter().map(|view| view.at_step(Seq(Seq::OPEN.0 - 1))).collect()
}
