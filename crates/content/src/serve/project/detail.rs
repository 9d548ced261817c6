//! The releases of a project, for the public API and the JSON API of PyPI, and their stored files, for pages.

use super::file::{LocatedPage, RequestBudget, find_page, locate};
use super::names::newest;
use super::{curated, owner};
use crate::serve::files::package_files::StoredArchive;
use crate::serve::selection::allowed::{self, View};
use crate::serve::selection::{name_guards, policies};
use crate::serve::{BlockedRelease, RepoError, Repositories};
use base::model::ids::{SourceId, TreeId};
use base::model::kind::Language;
use base::model::point::Point;
use base::model::project_name::ProjectName;
use base::model::project_page::FileDescription;
use base::model::project_path::FilePart;
use base::model::time::Timestamp;
use formats::language::{self, Version};
use store::db;
use store::db::project_file::ListedFile;

#[derive(Clone, Debug)]
pub struct ProjectDetail {
    pub project: ProjectName,
    /// The name as the owner writes it.
    pub display_name: String,
    pub source: SourceId,
    pub tree: TreeId,
    /// Time of the last change of the project, if known.
    pub changed_at: Option<Timestamp>,
    /// Whether the page of the project may still change, see [`Point::open`].
    pub open: bool,
    /// The serial of a page that may still change.
    pub serial: Option<u64>,
    /// The requested release, or the one that installers prefer.
    pub release: ProjectRelease,
    /// All releases, the highest version first.
    pub releases: Vec<ProjectRelease>,
}

/// The files of one version: `1.0` and `1.0.0` are one version.
#[derive(Clone, Debug)]
pub struct ProjectRelease {
    pub language: Language,
    /// The version as its first file declares it.
    pub version: String,
    pub files: Vec<ListedFile>,
}

impl ProjectRelease {
    /// Returns the reason for the yank, which may be empty; `None` unless all files are yanked.
    pub fn yanked(&self) -> Option<&str> {
        if self.files.iter().any(|file| file.yanked.is_none()) {
            return None;
        }
        self.files.iter().find_map(|file| file.yanked.as_deref())
    }

    /// Returns the time of the first upload, if known.
    pub fn uploaded_at(&self) -> Option<Timestamp> {
        let rules = language::of(self.language);
        self.files.iter().filter_map(|file| rules.uploaded_at(&file.facts)).min()
    }

    pub fn descriptions(&self) -> impl Iterator<Item = FileDescription> {
        self.files.iter().map(|file| language::describe(self.language, &file.facts))
    }
}

/// Returns the releases of a project at a point; `name` and `version` in any spelling. Fails with
/// [`RepoError::Blocked`] for a version whose files are all blocked.
pub async fn project(
    repositories: &Repositories,
    point: &Point,
    name: &str,
    version: Option<&str>,
) -> Result<ProjectDetail, RepoError> {
    project_within(repositories, point, name, version, None).await
}

/// Like [`project`]; the page is requested from its index only while the budget lasts. Fails if nothing is known.
pub async fn project_within(
    repositories: &Repositories,
    point: &Point,
    name: &str,
    version: Option<&str>,
    budget: Option<&RequestBudget>,
) -> Result<ProjectDetail, RepoError> {
    let found = releases_within(repositories, point, name, budget).await?;
    let release = found.require_release(repositories, point, version)?.clone();
    found.into_detail(repositories, release)
}

/// The releases of a project at a point, and the files that block rules forbid.
#[derive(Clone, Debug)]
pub struct ProjectReleases {
    pub project: ProjectName,
    language: Language,
    /// The page of the project, which has at least one tree: that of the source that owns the project.
    page: LocatedPage,
    /// The name as the owner writes it, on the list of an index.
    list_name: Option<String>,
    /// The version that installers prefer; `None` if all files are blocked.
    preferred: Option<Version<'static>>,
    /// The releases with files that are not blocked, the highest version first.
    pub releases: Vec<ProjectRelease>,
    blocked: Vec<BlockedRelease>,
}

impl ProjectReleases {
    pub fn source(&self) -> Option<SourceId> {
        self.page.point.trees.first().map(|tree| tree.source)
    }

    /// Returns the name as the owner writes it: in the files of this release, else on the list of the index.
    pub fn display_name(&self, release: Option<&ProjectRelease>) -> String {
        let of_file = release.and_then(|release| release.descriptions().find_map(|file| file.display_name));
        of_file.or_else(|| self.list_name.clone()).unwrap_or_else(|| self.project.to_string())
    }

    /// Returns the release of a version, in any spelling.
    pub fn release(&self, version: &str) -> Option<&ProjectRelease> {
        self.release_of(&language::of(self.language).version(version))
    }

    /// Returns the release that installers prefer; `None` if all files are blocked.
    pub fn preferred(&self) -> Option<&ProjectRelease> {
        self.release_of(self.preferred.as_ref()?)
    }

    fn release_of(&self, version: &Version<'_>) -> Option<&ProjectRelease> {
        let rules = language::of(self.language);
        self.releases.iter().find(|release| rules.version(&release.version) == *version)
    }

    /// Returns the blocked file of a version; if there is none and all are blocked, the one with the highest version.
    fn blocked_of(&self, version: Option<&Version<'_>>) -> Option<&BlockedRelease> {
        let rules = language::of(self.language);
        let requested = version.and_then(|version| {
            self.blocked.iter().find(|blocked| rules.version(&blocked.version) == *version)
        });
        let of_all = self.blocked.iter().filter(|_| self.releases.is_empty());
        requested.or_else(|| of_all.max_by_key(|blocked| rules.version(&blocked.version)))
    }

    /// Returns the release of a version, in any spelling; without a version, the one that installers prefer.
    /// Fails with [`RepoError::Blocked`] for a version whose files are all blocked.
    pub fn require_release(
        &self,
        repositories: &Repositories,
        point: &Point,
        version: Option<&str>,
    ) -> Result<&ProjectRelease, RepoError> {
        let requested = version.map(|version| language::of(self.language).version(version));
        let selected = requested.as_ref().or(self.preferred.as_ref());
        if let Some(release) = selected.and_then(|version| self.release_of(version)) {
            return Ok(release);
        }
        if let Some(blocked) = self.blocked_of(requested.as_ref()) {
            policies::log_frozen(&repositories.state, point, blocked);
            return Err(RepoError::Blocked(Box::new(blocked.clone())));
        }
        let project = &self.project;
        let Some(requested) = &requested else { return Err(unknown(project)) };
        let text: String = requested.as_str().escape_debug().take(128).collect();
        let text = format!("the project '{project}' has no version '{text}'");
        Err(name_guards::missing(&repositories.state, point, project.as_str(), text))
    }

    /// Returns the details of the project with one of its releases.
    pub fn into_detail(
        self,
        repositories: &Repositories,
        release: ProjectRelease,
    ) -> Result<ProjectDetail, RepoError> {
        let display_name = self.display_name(Some(&release));
        let ProjectReleases { project, page, releases, .. } = self;
        let tree = page.point.trees.first().copied().ok_or_else(|| unknown(&project))?;
        let catalog = repositories.state.catalog.get();
        let steps = catalog.tree(tree.tree).map(|tree| tree.steps.as_slice()).unwrap_or_default();
        let changed_at = steps.iter().rev().find(|step| step.seq == tree.seq).map(|step| step.at);
        Ok(ProjectDetail {
            display_name,
            source: tree.source,
            tree: tree.tree,
            changed_at: changed_at.or_else(|| releases.iter().filter_map(ProjectRelease::uploaded_at).max()),
            open: page.point.open,
            serial: page.latest.serial.filter(|_| page.point.follows_sources()),
            release,
            releases,
            project,
        })
    }

    /// Returns why a version has no release: one of its files is blocked, or all files of the project are.
    /// `None` if it has one, or if the project never had it.
    pub fn blocked(&self, version: &str) -> Option<&BlockedRelease> {
        match self.release(version) {
            Some(_) => None,
            None => self.blocked_of(Some(&language::of(self.language).version(version))),
        }
    }
}

/// Returns the releases of a project at a point; `name` in any spelling. The page is requested from its index
/// only while the budget lasts. Fails if nothing is known.
pub async fn releases_within(
    repositories: &Repositories,
    point: &Point,
    name: &str,
    budget: Option<&RequestBudget>,
) -> Result<ProjectReleases, RepoError> {
    let project = language::of(point.language).project_name(name);
    let project = project.map_err(|error| RepoError::NotFound(error.to_string()))?;
    let page = find_page(repositories, point, &project, budget).await?;
    let tree = page.point.trees.first().copied().ok_or_else(|| unknown(&project))?;
    let language = repositories.state.catalog.get().source_language(tree.source);
    // The tree of the page is at the last change of the files, at which the list may not have the project.
    let listing = point.trees.iter().find(|other| other.tree == tree.tree).unwrap_or(&tree).listing();
    let (name, views) = (project.clone(), View::of(&repositories.state, &page.point));
    let files = repositories.state.db.read(move |c| {
        let list_name = if owner::is_index(&tree) {
            db::project::display_names(c, listing.source, &[name.as_str()], listing.seq)?.pop().flatten()
        } else {
            None
        };
        match (db::package::by_name(c, tree.source, name.as_str())?, views.first()) {
            (Some(package), Some(view)) => {
                let mut files = curated::with_blocked(c, view, package)?;
                let decided = allowed::project::take_decided(c, view, &mut files)?;
                Ok((files, decided.blocked, list_name))
            }
            (None, _) | (_, None) => Ok((Vec::new(), Vec::new(), list_name)),
        }
    });
    let (files, blocked, list_name) = files.await?;
    let rules = language::of(language);
    let preferred = newest(&files, language).map(|file| rules.version(&file.version).into_owned());
    let releases = releases(files, language);
    Ok(ProjectReleases { project, language, page, list_name, preferred, releases, blocked })
}

fn unknown(project: &ProjectName) -> RepoError {
    RepoError::NotFound(format!("there is no project '{project}' in this snapshot"))
}

/// Groups the files of a project by version, the highest first.
fn releases(files: Vec<ListedFile>, language: Language) -> Vec<ProjectRelease> {
    let rules = language::of(language);
    let mut files: Vec<(Version<'static>, ListedFile)> =
        files.into_iter().map(|file| (rules.version(&file.version).into_owned(), file)).collect();
    files.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| (&x.name, x.key.file).cmp(&(&y.name, y.key.file))));
    let mut releases: Vec<(Version<'static>, Vec<ListedFile>)> = Vec::new();
    for (version, file) in files {
        match releases.last_mut() {
            Some((last, files)) if *last == version => files.push(file),
            Some(_) | None => releases.push((version, vec![file])),
        }
    }
    let release = |(version, files): (Version<'static>, Vec<ListedFile>)| {
        let first = files.iter().min_by_key(|file| (rules.uploaded_at(&file.facts), file.key.file));
        let version = first.map_or_else(|| version.as_str().to_owned(), |file| file.version.clone());
        ProjectRelease { language, version, files }
    };
    releases.into_iter().map(release).collect()
}

/// Maximum number of files of a release that are searched for in storage: each is a query.
const MAX_FILES: usize = 100;

/// A file of a release.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub name: String,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// The archive; `None` if it is not in storage, has another format, or is not served.
    pub archive: Option<StoredArchive>,
}

/// Returns the first 100 files of a release, in the order of the page of the project.
pub async fn of_release(
    repositories: &Repositories,
    point: &Point,
    release: &ProjectRelease,
) -> Result<Vec<Distribution>, RepoError> {
    let projects = language::of(release.language).projects();
    let mut distributions = Vec::new();
    for file in release.files.iter().take(MAX_FILES) {
        let size = u64::try_from(file.size).ok();
        let archive = match projects.and_then(|projects| projects.archive_kind(&file.name)) {
            Some(kind) => {
                match locate(repositories, point, file.sha256, &file.name, FilePart::Distribution).await {
                    Ok(located) => located
                        .key()
                        .zip(located.size.or(size))
                        .map(|(key, size)| StoredArchive { key, size, kind }),
                    Err(RepoError::NotFound(_) | RepoError::Blocked(_) | RepoError::Guarded(_)) => None,
                    Err(error) => return Err(error),
                }
            }
            None => None,
        };
        distributions.push(Distribution { name: file.name.clone(), size, archive });
    }
    Ok(distributions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::change::{LifeKey, LifeState};
    use base::model::digest::Sha256;
    use base::model::ids::{FileId, PackageId, ReleaseId};
    use formats::python::facts::FileFacts;

    fn file(id: i64, version: &str, name: &str, yanked: Option<&str>) -> ListedFile {
        ListedFile {
            key: LifeKey {
                state: LifeState::Listed,
                package: PackageId(1),
                path: String::new(),
                release: ReleaseId(id),
                file: FileId(id),
                from_seq: 1,
            },
            project: "odd".to_owned(),
            version: version.to_owned(),
            revision: 0,
            name: name.to_owned(),
            size: 1,
            sha256: Sha256([0; 32]),
            facts: FileFacts::default().uploaded_at(Timestamp(id)).write(),
            variant: 0,
            yanked: yanked.map(str::to_owned),
            metadata: None,
        }
    }

    #[test]
    fn equal_versions_are_one_release_with_the_spelling_of_the_first_upload() {
        let files = vec![
            file(2, "1.0", "odd-1.0.tar.gz", None),
            file(1, "1.0.0", "odd-1.0.0-py3-none-any.whl", Some("bad")),
            file(3, "2004d", "odd-2004d.tar.gz", None),
            file(4, "1.1rc1", "odd-1.1rc1.tar.gz", Some("")),
        ];
        let releases = releases(files, Language::Python);
        let texts: Vec<_> =
            releases.iter().map(|release| (release.version.as_str(), release.files.len())).collect();
        assert_eq!(texts, [("1.1rc1", 1), ("1.0.0", 2), ("2004d", 1)]);
        assert_eq!(releases[0].yanked(), Some(""));
        assert_eq!(releases[1].yanked(), None, "one file is not yanked");
        assert_eq!(releases[1].uploaded_at(), Some(Timestamp(1)));
    }
}
