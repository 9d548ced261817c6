//! Reads what the plan of a curated source of Python packages needs: pages of projects, decisions of block rules and name
//! guards, and metadata for the search for dependencies.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::StreamExt;

use super::metadata::{self, ReleaseMetadata};
use crate::index::PageError;
use crate::serve::project::curated::{BAD_RULE, CONCURRENT_READS, listed_names, of_base, read_pages};
use crate::serve::project::detail::ProjectRelease;
use crate::serve::selection::allowed::{self, View};
use crate::serve::selection::name_guards;
use crate::serve::{BlockedRelease, RepoError, Repositories, error};
use base::model::ids::{RepoId, SourceId};
use base::model::point::{Base, Point};
use base::model::project_name::ProjectName;
use formats::python::closure::ProjectVersion;
use formats::python::curated::PythonDefinition;
use formats::python::curated::candidates::{
    HiddenFiles, Project, ProjectFile, ProjectFiles, Unreadable, base_project,
};
use formats::python::curated::dependencies::{Dependencies, Search, VersionMetadata};
use formats::python::curated::plan::{BaseFile, BaseProject};
use formats::python::curated::rule::ProjectRule;
use formats::python::file_name::{FileKind, FileName};
use formats::python::version::Pep440Version;
use store::db::project_file::ListedFile;
use store::db::{Conn, DbError};

/// The first `Metadata-Version` in which a source distribution states which fields are final.
const WITH_DYNAMIC: (u32, u32) = (2, 2);

pub fn parse_rule(text: &str) -> Result<ProjectRule, DbError> {
    ProjectRule::parse(text).map_err(|_| BAD_RULE)
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

/// Finds the dependencies of a definition at a state of the index. Unknown pages and metadata are read from
/// the index, eight at a time; what cannot be read is a problem or a notice. Also returns the files of all
/// projects. Fails for too many requirements.
pub async fn find_dependencies(
    repositories: &Repositories,
    source: SourceId,
    base: Base,
    search: Search,
) -> Result<(Dependencies, BTreeMap<ProjectName, BaseProject>), RepoError> {
    let reader = Reader::open(repositories, source, base).await;
    let (mut search, mut projects) = (search, BTreeMap::new());
    while !search.is_complete() {
        let pending = search.pending_projects();
        let new: Vec<ProjectName> = pending.into_iter().filter(|name| !projects.contains_key(name)).collect();
        projects.extend(reader.projects(new).await?);
        let versions;
        (search, projects, versions) = choose(search, projects).await?;
        search.add_metadata(reader.metadata(versions).await?);
    }
    let dependencies = search.finish(&projects);
    let projects = projects.into_iter().map(|(name, project)| (name, base_project(project))).collect();
    Ok((dependencies, projects))
}

type Projects = BTreeMap<ProjectName, Project>;

/// Compares requirements with all files, on a blocking thread.
async fn choose(
    mut search: Search,
    projects: Projects,
) -> Result<(Search, Projects, BTreeSet<ProjectVersion>), RepoError> {
    let work = move || {
        let versions = search.choose(&projects);
        (search, projects, versions)
    };
    match error::run_blocking(work).await? {
        (search, projects, Ok(versions)) => Ok((search, projects, versions)),
        (.., Err(error)) => Err(RepoError::Invalid(format!(
            "{error}; leave out --dependencies, and name the packages of a lock file"
        ))),
    }
}

struct Reader<'a> {
    repositories: &'a Repositories,
    source: SourceId,
    base: Base,
    /// The state under the rules of each repository with rules that subscribes to the source.
    views: Vec<(String, View)>,
    /// Whether a repository without rules subscribes to the source, or none.
    has_unrestricted: bool,
}

impl Reader<'_> {
    async fn open(repositories: &Repositories, source: SourceId, base: Base) -> Reader<'_> {
        let views = allowed::base_views(&repositories.state, source, base).await;
        let catalog = repositories.state.catalog.get();
        let repo_count = catalog.repos.iter().filter(|repo| repo.subscribes_to(source)).count();
        let has_unrestricted = repo_count == 0 || repo_count > views.len();
        Reader { repositories, source, base, views, has_unrestricted }
    }

    async fn projects(&self, names: Vec<ProjectName>) -> Result<Projects, RepoError> {
        let (mut projects, mut admitted) = (Projects::new(), Vec::new());
        for name in names {
            match name_guards::hiding_reason(&self.repositories.state, name.as_str(), self.source) {
                Some(reason) => drop(projects.insert(name, Project::Guarded(reason))),
                None => admitted.push(name),
            }
        }
        let mut listed = Vec::new();
        for (name, is_listed) in listed_names(self.repositories, self.base, admitted).await? {
            if is_listed {
                listed.push(name);
            } else {
                projects.insert(name, Project::Unlisted);
            }
        }
        let (known, failed) = read_pages(self.repositories, self.base, listed).await;
        for (name, error) in failed {
            let is_temporary = match &error {
                PageError::Missing(_) | PageError::NoPage { .. } | PageError::Unlisted(_) => false,
                PageError::Guarded(_)
                | PageError::ClockRepaired
                | PageError::Busy
                | PageError::Upstream(_)
                | PageError::Failed(_) => true,
            };
            projects
                .insert(name, Project::Unreadable(Unreadable { reason: error.to_string(), is_temporary }));
        }
        let (base, views, has_unrestricted) = (self.base, self.views.clone(), self.has_unrestricted);
        let files = self.repositories.state.db.read(move |c| {
            let mut projects = Vec::with_capacity(known.len());
            for name in &known {
                let files = of_base(c, base, name)?;
                let files = with_decisions(c, files, &views, has_unrestricted)?;
                projects.push((name.clone(), Project::Files(files)));
            }
            Ok(projects)
        });
        projects.extend(files.await?);
        Ok(projects)
    }

    async fn metadata(
        &self,
        versions: BTreeSet<ProjectVersion>,
    ) -> Result<BTreeMap<ProjectVersion, VersionMetadata>, RepoError> {
        let base = self.base;
        let language = self.repositories.state.catalog.get().source_language(base.source);
        let releases = self.repositories.state.db.read(move |c| {
            let mut releases = Vec::with_capacity(versions.len());
            for version in &versions {
                let mut files = of_base(c, base, &version.project)?;
                files.retain(|file| file.version == version.version);
                let release = ProjectRelease { language, version: version.version.clone(), files };
                releases.push((version.clone(), release));
            }
            Ok(releases)
        });
        let tree = base.point_tree();
        // Files of the state are readable whatever the rules of repositories are.
        let point = Point::of_trees(RepoId(0), language, vec![tree]);
        let reads = futures_util::stream::iter(releases.await?).map(|(version, release)| {
            let point = &point;
            async move {
                let read = metadata::of_any_file(self.repositories, point, &release).await;
                (version, read.map_or_else(VersionMetadata::Unreadable, |read| requirements(&read)))
            }
        });
        Ok(reads.buffer_unordered(CONCURRENT_READS).collect().await)
    }
}

fn with_decisions(
    c: &mut dyn Conn,
    files: Vec<ListedFile>,
    views: &[(String, View)],
    has_unrestricted: bool,
) -> Result<ProjectFiles, DbError> {
    let (mut repositories, mut has_unrestricted) = (Vec::new(), has_unrestricted);
    for (repo, view) in views {
        let mut allowed = files.clone();
        let blocked = allowed::project::take_decided(c, view, &mut allowed)?.blocked;
        if blocked.is_empty() {
            has_unrestricted = true;
            continue;
        }
        let allowed: HashSet<_> = allowed.iter().map(|file| file.key.file).collect();
        let hidden = files.iter().enumerate().filter(|(_, file)| !allowed.contains(&file.key.file));
        let reason =
            |release: BlockedRelease| (release.version, format!("blocked in '{repo}' by {}", release.reason));
        repositories.push(HiddenFiles {
            files: hidden.map(|(position, _)| position).collect(),
            reasons: blocked.into_iter().map(reason).collect(),
        });
    }
    if has_unrestricted {
        repositories.push(HiddenFiles::default());
    }
    Ok(ProjectFiles { files: files.into_iter().map(project_file).collect(), repositories })
}

fn project_file(file: ListedFile) -> ProjectFile {
    let kind = FileName::parse(&file.name).ok().map(|name| name.kind());
    ProjectFile {
        file: BaseFile { version: Pep440Version::lenient(&file.version), sha256: file.sha256 },
        is_installable: matches!(kind, Some(FileKind::Wheel | FileKind::Sdist)),
        is_yanked: file.yanked.is_some(),
    }
}

/// Returns the requirements of metadata. A source distribution may state none although its wheel has some.
fn requirements(read: &ReleaseMetadata) -> VersionMetadata {
    let metadata = &read.metadata;
    let is_dynamic = || metadata.dynamic.iter().any(|field| field.eq_ignore_ascii_case("requires-dist"));
    let is_final = read.kind == FileKind::Wheel
        || !metadata.requires_dist.is_empty()
        || (metadata.metadata_version >= WITH_DYNAMIC && !is_dynamic());
    match is_final {
        true => VersionMetadata::Requires(metadata.requires_dist.clone()),
        false => VersionMetadata::Undeclared,
    }
}
