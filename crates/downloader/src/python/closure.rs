//! Reads the pages of the required Python projects and chooses their files; with dependencies also those that the
//! metadata of the chosen versions requires, until nothing new is required.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

use super::selection::{ChosenFile, Rule, choose};
use super::source::Source;
use crate::error::OfflineError;
use crate::progress::Output;
use crate::workers::run_all;
use base::model::project_name::ProjectName;
use base::model::project_page::MetadataFile;
use formats::bundle::self_digest;
use formats::python::archive::{SDIST_LIMITS, WHEEL_LIMITS, sdist, wheel};
use formats::python::closure::{
    Combinations, Expansion, ProjectRequirement, ProjectVersion, RequirementClosure,
};
use formats::python::file_name::FileKind;
use formats::python::metadata::Metadata;
use formats::python::requirement::Requirement;
use formats::python::simple::page::PageFile;
use formats::python::simple::read::ReadPage;
use upstream::{ByteSink, UpstreamError};

/// Maximum size in bytes of a file that is read only for its metadata, because the index does not have METADATA.
const MAX_FILE: usize = 256 << 20;

/// The chosen files and the pages that name them.
#[derive(Default)]
pub(super) struct Selection {
    /// The pages by project; `None` if the index does not have the page.
    pub(super) pages: BTreeMap<ProjectName, Option<ReadPage>>,
    /// The chosen files by project.
    pub(super) files: BTreeMap<ProjectName, BTreeSet<ChosenFile>>,
    /// Requirements that no file satisfies.
    pub(super) unsatisfied: Vec<String>,
    /// The files that satisfy all requirements of a project.
    of_all: BTreeMap<ProjectName, FilesOfAll>,
}

/// The chosen files for the set of all requirements of a project, which are the same for each of its requirements.
#[derive(Default)]
struct FilesOfAll {
    requirement_count: usize,
    files: Vec<ChosenFile>,
}

/// The parameters of a selection.
pub(super) struct Selector<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) rule: &'a Rule,
    /// Whether dependencies are chosen, too.
    pub(super) has_dependencies: bool,
    pub(super) concurrency: usize,
    pub(super) output: Output,
}

impl Selector<'_> {
    /// Chooses the files for the requirements, and reads the pages of the other projects, too.
    pub(super) async fn select(
        &self,
        requirements: Vec<ProjectRequirement>,
        other_projects: BTreeSet<ProjectName>,
    ) -> Result<Selection, OfflineError> {
        let mut selection = Selection::default();
        let mut metadata_requirements: BTreeMap<ProjectVersion, Vec<Requirement>> = BTreeMap::new();
        let mut closure = RequirementClosure::new(self.rule.environments.clone(), requirements);
        while !closure.is_complete() {
            self.read_pages(&mut selection, closure.pending_projects()).await?;
            let new_requirements = closure.take_pending().map_err(|error| {
                OfflineError::Refused(format!(
                    "{error}; to download without it, name a lock file with --file-in, and omit --dependencies"
                ))
            })?;
            for requirement in &new_requirements {
                for file in self.choose(&mut selection, requirement, closure.combinations(requirement)) {
                    if self.has_dependencies {
                        closure.expand(requirement, &file.version);
                    }
                    selection.files.entry(requirement.project.clone()).or_default().insert(file);
                }
            }
            let expansions = closure.take_expansions();
            self.read_requirements(&selection, &expansions, &mut metadata_requirements).await;
            for expansion in &expansions {
                let required = metadata_requirements.get(&expansion.version).map(Vec::as_slice);
                closure.add_required(expansion, required.unwrap_or_default());
            }
        }
        self.read_pages(&mut selection, other_projects).await?;
        Ok(selection)
    }

    /// Returns the files that satisfy one of the sets of requirements, to each of which this requirement belongs. If there
    /// are none, returns the files that satisfy only this requirement.
    fn choose(
        &self,
        selection: &mut Selection,
        requirement: &ProjectRequirement,
        combinations: Combinations<'_>,
    ) -> BTreeSet<ChosenFile> {
        let label = format!("{} {}", requirement.project, requirement.versions);
        let Some(Some(read)) = selection.pages.get(&requirement.project) else {
            selection.unsatisfied.push(format!("{}: the index has no such project", label.trim()));
            return BTreeSet::new();
        };
        let Combinations { sets, all } = combinations;
        let mut files: BTreeSet<ChosenFile> =
            sets.iter().flat_map(|set| choose(&read.page, set, self.rule)).collect();
        let of_all = selection.of_all.entry(requirement.project.clone()).or_default();
        if of_all.requirement_count != all.len() {
            let all: Vec<&ProjectRequirement> = all.iter().collect();
            *of_all = FilesOfAll { requirement_count: all.len(), files: choose(&read.page, &all, self.rule) };
        }
        files.extend(of_all.files.iter().cloned());
        if files.is_empty() {
            // A package requires a different version than the user.
            files.extend(choose(&read.page, &[requirement], self.rule));
        }
        if files.is_empty() {
            let text = format!("{}: no file of the index satisfies it", label.trim());
            selection.unsatisfied.push(text);
        }
        files
    }

    /// Reads the pages of projects that were not read before.
    async fn read_pages(
        &self,
        selection: &mut Selection,
        projects: BTreeSet<ProjectName>,
    ) -> Result<(), OfflineError> {
        let projects: Vec<ProjectName> =
            projects.into_iter().filter(|project| !selection.pages.contains_key(project)).collect();
        let source = Arc::clone(self.source);
        let read = move |project: ProjectName| {
            let source = Arc::clone(&source);
            async move {
                let page = source.page(&project).await;
                (project, page)
            }
        };
        for (project, page) in run_all(projects, self.concurrency, read).await {
            selection.pages.insert(project, page?);
        }
        Ok(())
    }

    /// Reads the requirements of versions. A version without readable metadata has none, which is reported.
    async fn read_requirements(
        &self,
        selection: &Selection,
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
            if let Some(file) = metadata_file(selection, &version) {
                files.push((version, file));
            }
        }
        let source = Arc::clone(self.source);
        let read = move |(version, file): (ProjectVersion, PageFile)| {
            let source = Arc::clone(&source);
            async move { (version, read_metadata(&source, &file).await, file) }
        };
        for (version, metadata, file) in run_all(files, self.concurrency, read).await {
            let mut required = Vec::new();
            match metadata {
                Ok(metadata) => {
                    for text in &metadata.requires_dist {
                        match Requirement::parse(text) {
                            Ok(requirement) => required.push(requirement),
                            Err(error) => self.output.warn(&format!("{}: {error}", file.name)),
                        }
                    }
                }
                Err(reason) => self.output.warn(&format!(
                    "{}: its dependencies are not known ({reason}); name them in the file of --file-in",
                    file.name
                )),
            }
            metadata_requirements.insert(version, required);
        }
    }
}

/// Reads the metadata of a file, from METADATA of the index or from the file itself.
async fn read_metadata(source: &Source, file: &PageFile) -> Result<Metadata, String> {
    if file.core_metadata != MetadataFile::None
        && let Ok(bytes) = source.metadata(file).await
    {
        return Metadata::parse(&bytes).map_err(|error| error.to_string());
    }
    let (mirror, path) = source.file(file).map_err(|error| error.to_string())?;
    let mut buffer = MemoryFile { bytes: Vec::new(), url: file.url.clone() };
    mirror.download(&path, file.size, &mut buffer).await.map_err(|error| error.to_string())?;
    if file.sha256().is_some_and(|sha256| sha256 != self_digest::digest(&buffer.bytes)) {
        return Err("its sha256 is not the one that the page states".to_owned());
    }
    let name = file.name.clone();
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

/// Returns the chosen file of a version whose metadata is read: a wheel with METADATA on the index, another wheel, or a
/// source distribution.
fn metadata_file(
    selection: &Selection,
    ProjectVersion { project, version }: &ProjectVersion,
) -> Option<PageFile> {
    let page = &selection.pages.get(project)?.as_ref()?.page;
    let chosen = selection.files.get(project)?;
    let is_chosen = |file: &&PageFile| {
        chosen.iter().any(|chosen| chosen.version == *version && chosen.name == file.name.as_str())
    };
    let rank = |file: &&PageFile| {
        (file.core_metadata == MetadataFile::None, file.name.kind() != FileKind::Wheel, file.size)
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
