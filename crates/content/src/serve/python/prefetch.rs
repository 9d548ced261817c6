//! Chooses the files of a project of an index that a requirements or lock file names, to store them before requests.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::index::Priority;
use crate::serve::files::located::LocatedFile;
use crate::serve::project::curated::base_state;
use crate::serve::selection::allowed::{self, View};
use crate::serve::selection::name_guards;
use crate::serve::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::ids::{FileId, SourceId};
use base::model::point::{Base, Point};
use base::model::project_name::ProjectName;
use base::model::project_page::ProjectStatus;
use base::model::project_path::FilePart;
use base::model::snapshot::Snapshot;
use formats::python::curated::rule::ProjectRule;
use formats::python::environment::Environment;
use formats::python::facts::FileFacts;
use formats::python::file_name::FileName;
use formats::python::selection::{self, FileCandidate};
use formats::python::version::Pep440Version;
use store::db::project_file::{self, ListedFile};
use store::db::{self, Conn, DbError};

#[derive(Clone)]
pub struct PrefetchScope {
    base: Base,
    /// The state under the rules of each of these repositories, all of which must block a file. Empty if a
    /// repository has no rules, or if there is none: then no file is left out.
    views: Vec<View>,
}

#[derive(Debug, Default)]
pub struct ChosenFiles {
    /// The versions of the files, the highest first.
    pub versions: Vec<String>,
    pub files: Vec<LocatedFile>,
    pub metadata: Vec<LocatedFile>,
    /// Sentences about requirements for which there is no file.
    pub problems: Vec<String>,
}

/// Returns the newest state of the index `source`; fails if its list was never synced.
pub async fn scope(repositories: &Repositories, source: SourceId) -> Result<PrefetchScope, RepoError> {
    let state = &repositories.state;
    let base = base_state(repositories, source, Snapshot::Latest)?.base;
    let tree = base.point_tree();
    let catalog = state.catalog.get();
    let has_files_of_index = |id: &SourceId| {
        let origin = catalog.source_by_id(*id).and_then(|source| source.kind.origin());
        *id == base.source || origin == Some(base.source)
    };
    let mut views = Vec::new();
    for repo in catalog.repos.iter().filter(|repo| repo.sources().iter().any(has_files_of_index)) {
        let point = Point::of_trees(repo.id, repo.kind.language(), vec![tree]);
        let point = allowed::with_rules(state, point, Snapshot::Latest).await;
        if point.trees.iter().all(|tree| tree.rules.is_none()) {
            views.clear();
            break;
        }
        views.extend(View::of(state, &point));
    }
    Ok(PrefetchScope { base, views })
}

/// Reads the page of a project, unless it is known for the state, and chooses the files that its rule allows:
/// for each alternative and each environment those of the newest version that has a file for it. Fails with
/// [`RepoError::Conflict`] if a name guard hides it or the index has quarantined it.
pub async fn choose(
    repositories: &Repositories,
    scope: &PrefetchScope,
    project: &ProjectName,
    rule: &ProjectRule,
    environments: &[Environment],
) -> Result<ChosenFiles, RepoError> {
    let state = &repositories.state;
    let (base, name) = (scope.base, project.clone());
    if let Some(reason) = name_guards::hiding_reason(state, project.as_str(), base.source) {
        return Err(RepoError::Conflict(format!("the name is {reason}; {}", name_guards::REMEDY)));
    }
    let is_listed =
        state.db.read(move |c| db::project::is_listed(c, base.source, name.as_str(), base.seq)).await?;
    let reads = repositories.page_reads.of(base.source)?;
    let may_be_unlisted = state.config.load().index(base.source).is_some_and(|index| index.unlisted);
    let is_known = is_listed || may_be_unlisted && reads.discover(project, Priority::Background).await?;
    if !is_known {
        return Err(RepoError::NotFound("the index has no project of this name".to_owned()));
    }
    reads.at(project, base.seq, Priority::Background).await?;
    let (scope, name) = (scope.clone(), project.clone());
    let (rule, environments) = (rule.clone(), environments.to_vec());
    let choose = move |c: &mut dyn Conn| -> Result<_, DbError> {
        let Some(package) = db::package::by_name(c, base.source, name.as_str())? else {
            return Ok(Some((ChosenFiles::default(), Vec::new())));
        };
        let reading = db::project::last_reading(c, base.source, package)?;
        if reading.is_some_and(|reading| reading.status == ProjectStatus::Quarantined.as_str()) {
            return Ok(None);
        }
        let mut files = project_file::of_index_project(c, base.tree, base.seq, package)?;
        retain_allowed(c, &scope.views, &mut files)?;
        let Chosen { positions, problems } = chosen(&name, &files, &rule, &environments);
        let chosen: Vec<&ListedFile> =
            positions.into_iter().filter_map(|position| files.get(position)).collect();
        let versions: BTreeMap<Pep440Version, &str> = chosen
            .iter()
            .map(|file| (Pep440Version::lenient(&file.version), file.version.as_str()))
            .collect();
        let metadata = located(c, base, &chosen, FilePart::Metadata)?;
        let is_recorded = |file: &ListedFile| metadata.iter().any(|located| located.row.name == file.name);
        let unrecorded = chosen
            .iter()
            .filter(|file| !is_recorded(file))
            .filter_map(|file| Some((file.key.file, FileFacts::read(&file.facts).unrecorded_metadata()?)));
        let unrecorded: Vec<(FileId, Sha256)> = unrecorded.collect();
        let chosen = ChosenFiles {
            versions: versions.into_values().rev().map(str::to_owned).collect(),
            files: located(c, base, &chosen, FilePart::Distribution)?,
            metadata,
            problems,
        };
        Ok(Some((chosen, unrecorded)))
    };
    let quarantined = || RepoError::Conflict("the index has quarantined the project".to_owned());
    let (chosen, unrecorded) = state.db.read(choose.clone()).await?.ok_or_else(quarantined)?;
    if unrecorded.is_empty() {
        return Ok(chosen);
    }
    state.db.write(move |c| db::attached_file::record_metadata(c, &unrecorded)).await?;
    let (chosen, _) = state.db.read(choose).await?.ok_or_else(quarantined)?;
    Ok(chosen)
}

fn retain_allowed(c: &mut dyn Conn, views: &[View], files: &mut Vec<ListedFile>) -> Result<(), DbError> {
    if views.is_empty() {
        return Ok(());
    }
    let mut allowed: HashSet<FileId> = HashSet::new();
    for view in views {
        let mut of_repository = files.clone();
        allowed::project::retain_allowed(c, view, &mut of_repository)?;
        allowed.extend(of_repository.iter().map(|file| file.key.file));
    }
    files.retain(|file| allowed.contains(&file.key.file));
    Ok(())
}

/// The positions of chosen files, and sentences about alternatives without one.
struct Chosen {
    positions: BTreeSet<usize>,
    problems: Vec<String>,
}

fn chosen(
    project: &ProjectName,
    files: &[ListedFile],
    rule: &ProjectRule,
    environments: &[Environment],
) -> Chosen {
    let parsed: Vec<(Option<FileName>, Pep440Version, FileFacts)> = files
        .iter()
        .map(|file| {
            let version = Pep440Version::lenient(&file.version);
            (FileName::parse(&file.name).ok(), version, FileFacts::read(&file.facts))
        })
        .collect();
    let mut chosen = Chosen { positions: BTreeSet::new(), problems: Vec::new() };
    for alternative in rule.alternatives() {
        let (mut positions, mut candidates) = (Vec::new(), Vec::new());
        for (position, (file, (name, version, facts))) in files.iter().zip(&parsed).enumerate() {
            let Some(name) = name else { continue };
            let is_offered = file.yanked.is_none() || alternative.is_pinned();
            if is_offered && alternative.allows(version, file.sha256) {
                positions.push(position);
                let (version, requires_python) = (version.clone(), facts.requires_python.as_deref());
                candidates.push(FileCandidate { name, version, requires_python });
            }
        }
        let names_pre_release = selection::names_pre_release(alternative.versions());
        let newest = selection::newest(&candidates, environments, names_pre_release);
        if newest.is_empty() {
            let versions = alternative.versions();
            chosen.problems.push(format!(
                "there is no file of '{project}{versions}' that can be installed: the index has none, block rules hide \
                 all, or none is for the requested versions of Python and platforms"
            ));
        }
        chosen.positions.extend(newest.into_iter().filter_map(|position| positions.get(position)));
    }
    chosen
}

/// Returns the rows of files, or of their METADATA if they have it.
fn located(
    c: &mut dyn Conn,
    base: Base,
    files: &[&ListedFile],
    part: FilePart,
) -> Result<Vec<LocatedFile>, DbError> {
    let tree = base.point_tree();
    let mut located_files = Vec::with_capacity(files.len());
    for file in files {
        let found = project_file::find(c, base.tree, file.sha256, &file.name, part, Some(base.seq))?;
        located_files.extend(found.map(|found| {
            let mut located = LocatedFile::new(&found.project, tree, found.row);
            located.name.push_str(part.suffix());
            located
        }));
    }
    Ok(located_files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::change::{LifeKey, LifeState};
    use base::model::digest::Sha256;
    use base::model::ids::{PackageId, ReleaseId};
    use formats::python::name;

    fn file(name: &str, version: &str, digest: u8, yanked: bool) -> ListedFile {
        ListedFile {
            key: LifeKey {
                state: LifeState::Listed,
                package: PackageId(1),
                path: String::new(),
                release: ReleaseId(1),
                file: FileId(i64::from(digest)),
                from_seq: 0,
            },
            project: "odd".to_owned(),
            version: version.to_owned(),
            revision: 0,
            name: name.to_owned(),
            size: 1,
            sha256: Sha256([digest; 32]),
            facts: b"{}".to_vec(),
            variant: 0,
            yanked: yanked.then(String::new),
            metadata: None,
        }
    }

    #[test]
    fn each_line_gets_its_newest_version_or_its_pin() {
        let files = [
            file("odd-1.0.tar.gz", "1.0", 1, false),
            file("odd-2.0.tar.gz", "2.0", 2, false),
            file("odd-2.0-py3-none-any.whl", "2.0", 3, false),
            file("odd-3.0.tar.gz", "3.0", 4, true),
            file("odd-4.0rc1.tar.gz", "4.0rc1", 5, false),
        ];
        let project = name::parse("odd").expect("a name");
        let choose = |rule: &str| {
            let rule = ProjectRule::parse(rule).expect(rule);
            let Chosen { positions, problems } = chosen(&project, &files, &rule, &[Environment::default()]);
            (positions.into_iter().collect::<Vec<_>>(), problems.len())
        };
        assert_eq!(choose(""), (vec![1, 2], 0), "neither a yanked version nor a pre-release");
        assert_eq!(choose("<2"), (vec![0], 0));
        assert_eq!(choose("==3.0"), (vec![3], 0), "a pin of a yanked version");
        assert_eq!(choose(">=4.0rc1"), (vec![4], 0));
        assert_eq!(choose(&format!("==2.0 --hash=sha256:{}", "03".repeat(32))), (vec![2], 0));
        assert_eq!(choose("<2\n==2.0"), (vec![0, 1, 2], 0), "each line");
        assert_eq!(choose("<1\n==1.0"), (vec![0], 1), "one line has no file");
    }
}
