//! Reads the pages of the required Python projects and chooses their files; with dependencies also those that the
//! metadata of the chosen versions requires, until nothing new is required.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

use super::{Request, Rule, kind, read_metadata};
use crate::error::OfflineError;
use crate::projects::selection::{ChosenFile, Selection, Selector};
use crate::projects::source::Source;
use crate::workers::run_all;
use base::model::project_name::ProjectName;
use base::model::project_page::{MetadataFile, UpstreamFile, UpstreamPage};
use formats::bundle::self_digest;
use formats::python::archive::{SDIST_LIMITS, WHEEL_LIMITS, sdist, wheel};
use formats::python::closure::{
    Combinations, Expansion, ProjectRequirement, ProjectVersion, RequirementClosure, allow_all,
};
use formats::python::facts::PageFacts;
use formats::python::file_name::{FileKind, FileName};
use formats::python::metadata::Metadata;
use formats::python::requirement::Requirement;
use formats::python::selection::{self, FileCandidate};
use formats::python::version::Pep440Version;
use upstream::{ByteSink, UpstreamError};

/// Maximum size in bytes of a file that is read only for its metadata, because the index does not have METADATA.
const MAX_FILE: usize = 256 << 20;

/// The chosen files for the set of all requirements of a project, which are the same for each of its requirements.
#[derive(Default)]
struct FilesOfAll {
    requirement_count: usize,
    files: Vec<ChosenFile>,
}

/// The choice of the files for the requirements of a request.
struct ClosureSelector<'a> {
    request: &'a Request,
    selector: &'a Selector<'a>,
    selection: Selection,
    /// The files that satisfy all requirements of a project.
    of_all: BTreeMap<ProjectName, FilesOfAll>,
}

/// Chooses the files for the requirements, and reads the pages of the projects.
pub(super) async fn select(request: &Request, selector: &Selector<'_>) -> Result<Selection, OfflineError> {
    let selection = Selection::default();
    let mut choice = ClosureSelector { request, selector, selection, of_all: BTreeMap::new() };
    let mut metadata_requirements: BTreeMap<ProjectVersion, Vec<Requirement>> = BTreeMap::new();
    let mut closure =
        RequirementClosure::new(request.rule.environments.clone(), request.requirements.clone());
    while !closure.is_complete() {
        selector.read_pages(&mut choice.selection, closure.pending_projects()).await?;
        let new_requirements = closure.take_pending().map_err(|error| {
            OfflineError::Refused(format!(
                "{error}; to download without it, name a lock file with --file-in, and omit --dependencies"
            ))
        })?;
        for requirement in &new_requirements {
            for file in choice.choose(requirement, closure.combinations(requirement)) {
                if request.has_dependencies {
                    closure.expand(requirement, &file.version);
                }
                choice.selection.files.entry(requirement.project.clone()).or_default().insert(file);
            }
        }
        let expansions = closure.take_expansions();
        choice.read_requirements(&expansions, &mut metadata_requirements).await;
        for expansion in &expansions {
            let required = metadata_requirements.get(&expansion.version).map(Vec::as_slice);
            closure.add_required(expansion, required.unwrap_or_default());
        }
    }
    Ok(choice.selection)
}

impl ClosureSelector<'_> {
    /// Returns the files that satisfy one of the sets of requirements, to each of which this requirement belongs. If there
    /// are none, returns the files that satisfy only this requirement.
    fn choose(
        &mut self,
        requirement: &ProjectRequirement,
        combinations: Combinations<'_>,
    ) -> BTreeSet<ChosenFile> {
        let label = format!("{} {}", requirement.project, requirement.versions);
        let (selection, rule) = (&mut self.selection, &self.request.rule);
        let Some(Some(page)) = selection.pages.get(&requirement.project) else {
            selection.unsatisfied.push(format!("{}: the index has no such project", label.trim()));
            return BTreeSet::new();
        };
        let Combinations { sets, all } = combinations;
        let mut files: BTreeSet<ChosenFile> = sets.iter().flat_map(|set| choose(page, set, rule)).collect();
        let of_all = self.of_all.entry(requirement.project.clone()).or_default();
        if of_all.requirement_count != all.len() {
            let all: Vec<&ProjectRequirement> = all.iter().collect();
            *of_all = FilesOfAll { requirement_count: all.len(), files: choose(page, &all, rule) };
        }
        files.extend(of_all.files.iter().cloned());
        if files.is_empty() {
            // A package requires a different version than the user.
            files.extend(choose(page, &[requirement], rule));
        }
        if files.is_empty() {
            let text = format!("{}: no file of the index satisfies it", label.trim());
            selection.unsatisfied.push(text);
        }
        files
    }

    /// Reads the requirements of versions. A version without readable metadata has none, which is reported.
    async fn read_requirements(
        &self,
        expansions: &[Expansion],
        metadata_requirements: &mut BTreeMap<ProjectVersion, Vec<Requirement>>,
    ) {
        let versions: BTreeSet<ProjectVersion> = expansions
            .iter()
            .map(|expansion| expansion.version.clone())
            .filter(|version| !metadata_requirements.contains_key(version))
            .collect();
        let mut files = Vec::new();
        for version in versions {
            if let Some(file) = metadata_file(&self.selection, &version) {
                files.push((version, file));
            }
        }
        let source = Arc::clone(self.selector.source);
        let read = move |(version, file): (ProjectVersion, UpstreamFile)| {
            let source = Arc::clone(&source);
            async move { (version, metadata_of(&source, &file).await, file) }
        };
        for (version, metadata, file) in run_all(files, self.selector.concurrency, read).await {
            let mut required = Vec::new();
            match metadata {
                Ok(metadata) => {
                    for text in &metadata.requires_dist {
                        match Requirement::parse(text) {
                            Ok(requirement) => required.push(requirement),
                            Err(error) => self.selector.output.warn(&format!("{}: {error}", file.name)),
                        }
                    }
                }
                Err(reason) => self.selector.output.warn(&format!(
                    "{}: its dependencies are not known ({reason}); name them in the file of --file-in",
                    file.name
                )),
            }
            metadata_requirements.insert(version, required);
        }
    }
}

/// Reads the metadata of a file, from METADATA of the index or from the file itself.
async fn metadata_of(source: &Source, file: &UpstreamFile) -> Result<Metadata, String> {
    if file.metadata != MetadataFile::None
        && let Ok(bytes) = read_metadata(source, file).await
    {
        return Metadata::parse(&bytes).map_err(|error| error.to_string());
    }
    let (mirror, path) = source.file(file).map_err(|error| error.to_string())?;
    let mut buffer = MemoryFile { bytes: Vec::new(), url: file.url.clone() };
    mirror.download(&path, file.size, &mut buffer).await.map_err(|error| error.to_string())?;
    if file.sha256().is_some_and(|sha256| sha256 != self_digest::digest(&buffer.bytes)) {
        return Err("its sha256 is not the one that the page states".to_owned());
    }
    let name = FileName::parse(&file.name).map_err(|error| error.to_string())?;
    let task = tokio::task::spawn_blocking(move || {
        let mut bytes = Cursor::new(buffer.bytes);
        let read = match name.kind() {
            FileKind::Wheel => wheel::read_metadata(&mut bytes, name.as_str(), WHEEL_LIMITS),
            _ => sdist::read_metadata(&mut bytes, &name, SDIST_LIMITS),
        };
        read.map(|(metadata, _)| metadata).map_err(|error| error.to_string())
    });
    task.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Returns the chosen file whose metadata is read: a wheel with METADATA on the index, another, or an sdist.
fn metadata_file(
    selection: &Selection,
    ProjectVersion { project, version }: &ProjectVersion,
) -> Option<UpstreamFile> {
    let page = selection.pages.get(project)?.as_ref()?;
    let chosen = selection.files.get(project)?;
    let is_chosen = |file: &&UpstreamFile| {
        chosen.iter().any(|chosen| chosen.version == *version && chosen.name == file.name)
    };
    let rank = |file: &&UpstreamFile| {
        (file.metadata == MetadataFile::None, kind(&file.name) != Some(FileKind::Wheel), file.size)
    };
    page.files.iter().filter(is_chosen).min_by_key(rank).cloned()
}

/// A small file in memory.
struct MemoryFile {
    bytes: Vec<u8>,
    url: String,
}

impl ByteSink for MemoryFile {
    fn begin(&mut self, _: Option<u64>) {
        self.bytes.clear();
    }

    async fn take(&mut self, chunk: bytes::Bytes) -> Result<(), UpstreamError> {
        if self.bytes.len() + chunk.len() > MAX_FILE {
            let reason = format!("has more than {MAX_FILE} bytes");
            return Err(UpstreamError::Refused { url: self.url.clone(), reason });
        }
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }
}

/// A file that satisfies the requirements.
struct AllowedFile<'a> {
    name: FileName,
    version: Pep440Version,
    /// The version as the page lists it.
    text: &'a str,
    facts: PageFacts<'a>,
}

/// Returns the files that satisfy all requirements: for each environment those of the newest version that has any. A
/// file for which the page declares no SHA-256 satisfies no requirement with digests.
fn choose(page: &UpstreamPage, requirements: &[&ProjectRequirement], rule: &Rule) -> Vec<ChosenFile> {
    let names_pre_release = requirements.iter().any(|requirement| requirement.names_pre_release());
    let allowed_files: Vec<AllowedFile<'_>> = page
        .offered_files()
        .iter()
        .filter_map(|file| {
            let text = file.version.as_deref()?;
            let version = Pep440Version::lenient(text);
            let is_allowed = allow_all(requirements, &version, file.sha256(), file.yanked.is_some());
            let name = is_allowed.then(|| FileName::parse(&file.name).ok())??;
            Some(AllowedFile { name, version, text, facts: PageFacts::read(&file.facts) })
        })
        .collect();
    let candidates: Vec<FileCandidate<'_>> = allowed_files
        .iter()
        .map(|file| FileCandidate {
            name: &file.name,
            version: file.version.clone(),
            requires_python: file.facts.requires_python(),
        })
        .collect();
    let chosen = selection::newest(&candidates, &rule.environments, names_pre_release);
    let files: BTreeMap<&str, &str> = chosen
        .into_iter()
        .filter_map(|position| allowed_files.get(position))
        .map(|file| (file.name.as_str(), file.text))
        .collect();
    let chosen_file =
        |(name, version): (&str, &str)| ChosenFile { name: name.to_owned(), version: version.to_owned() };
    files.into_iter().map(chosen_file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Sha256;
    use base::model::project_page::ProjectStatus;
    use formats::python::facts::FileFacts;

    fn page(files: &[(&str, &str)]) -> UpstreamPage {
        let project = ProjectName::folded("odd");
        let file = |(name, requires_python): &(&str, &str)| UpstreamFile {
            name: (*name).to_owned(),
            version: FileName::parse(name).expect(name).version(&project, None),
            url: format!("http://h/{name}"),
            hashes: BTreeMap::from([("sha256".to_owned(), "ab".repeat(32))]),
            size: None,
            uploaded_at: None,
            yanked: None,
            metadata: MetadataFile::None,
            provenance: None,
            facts: FileFacts::of_requires_python(Some(*requires_python).filter(|text| !text.is_empty()))
                .write(),
        };
        UpstreamPage {
            files: files.iter().map(file).collect(),
            serial: None,
            status: ProjectStatus::Active,
            status_reason: None,
            skipped_files: Vec::new(),
            project,
        }
    }

    fn requirement(versions: &str) -> ProjectRequirement {
        let any = ProjectRequirement::any(ProjectName::folded("odd"));
        ProjectRequirement { versions: versions.parse().expect(versions), ..any }
    }

    fn names(
        page: &UpstreamPage,
        requirements: &[&ProjectRequirement],
        pythons: &[&str],
        platforms: &[&str],
    ) -> Vec<String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = Rule::parse(&texts(pythons), &texts(platforms)).expect("targets");
        choose(page, requirements, &rule).into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn the_newest_allowed_version_is_taken_for_each_environment() {
        let page = page(&[
            ("odd-1.0.tar.gz", ""),
            ("odd-1.0-py3-none-any.whl", ""),
            ("odd-2.0.tar.gz", ">=3.12"),
            ("odd-2.0-cp312-cp312-manylinux_2_17_x86_64.whl", ">=3.12"),
            ("odd-2.0-cp312-cp312-win_amd64.whl", ">=3.12"),
            ("odd-3.0rc1.tar.gz", ""),
            ("odd-0.9.exe", ""),
        ]);
        let any = requirement("");
        let newest = [
            "odd-2.0-cp312-cp312-manylinux_2_17_x86_64.whl",
            "odd-2.0-cp312-cp312-win_amd64.whl",
            "odd-2.0.tar.gz",
        ];
        assert_eq!(names(&page, &[&any], &[], &[]), newest);
        assert_eq!(names(&page, &[&any], &["3.12"], &["win_amd64"]), newest[1..]);
        let old = ["odd-1.0-py3-none-any.whl", "odd-1.0.tar.gz"];
        assert_eq!(names(&page, &[&any], &["3.11"], &["win_amd64"]), old);
        assert_eq!(names(&page, &[&any], &["3.11", "3.12"], &["win_amd64", "any"]).len(), 4);
        assert_eq!(names(&page, &[&requirement("<2")], &[], &[]), old);
        assert_eq!(names(&page, &[&any, &requirement("<2")], &[], &[]), old);
        assert_eq!(names(&page, &[&requirement(">=3.0rc1")], &[], &[]), ["odd-3.0rc1.tar.gz"]);
        assert!(names(&page, &[&requirement("<0.5")], &[], &[]).is_empty());
    }

    #[test]
    fn yanked_files_and_files_without_a_required_digest_are_left_out() {
        let mut page = page(&[("odd-1.0.tar.gz", ""), ("odd-2.0.tar.gz", ""), ("odd-3.0.tar.gz", "")]);
        page.files[1].yanked = Some(String::new());
        page.files[2].hashes.clear();
        assert_eq!(names(&page, &[&requirement("")], &[], &[]), ["odd-3.0.tar.gz"]);
        assert_eq!(names(&page, &[&requirement("==2.0")], &[], &[]), ["odd-2.0.tar.gz"]);
        let other = ProjectRequirement { digests: vec![Sha256([1; 32])], ..requirement("") };
        assert!(names(&page, &[&other], &[], &[]).is_empty());
        let same = ProjectRequirement { digests: vec![Sha256([0xab; 32])], ..requirement("==1.0") };
        assert_eq!(names(&page, &[&same], &[], &[]), ["odd-1.0.tar.gz"]);
        let unknown = ProjectRequirement { digests: vec![Sha256([0xab; 32])], ..requirement("==3.0") };
        assert!(names(&page, &[&unknown], &[], &[]).is_empty());
    }
}
