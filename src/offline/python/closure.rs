//! Reads the pages of the required projects and chooses their files; with dependencies also those that the metadata
//! of the chosen versions requires, until nothing new is required.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Cursor;
use std::sync::Arc;

use super::parallel::run_all;
use super::request_file::project_requirement;
use super::selection::{ChosenFile, ProjectRequirement, Rule, choose};
use super::source::Source;
use crate::bundle::self_digest;
use crate::offline::error::OfflineError;
use crate::offline::progress::Output;
use crate::python::archive::{SDIST_LIMITS, WHEEL_LIMITS, sdist, wheel};
use crate::python::file_name::FileKind;
use crate::python::metadata::Metadata;
use crate::python::name::NormalName;
use crate::python::requirement::Requirement;
use crate::python::simple::page::{MetadataFile, PageFile};
use crate::python::simple::read::ReadPage;
use crate::upstream::{ByteSink, UpstreamError};

/// Maximum number of requirements: a closure of real packages has several hundred.
const MAX_REQUIREMENTS: usize = 50_000;
/// Maximum size in bytes of a file that is read only for its metadata, because the index does not have METADATA.
const MAX_FILE: usize = 256 << 20;

/// The chosen files and the pages that name them.
#[derive(Default)]
pub(super) struct Selection {
    /// The pages by project; `None` if the index does not have the page.
    pub(super) pages: BTreeMap<NormalName, Option<ReadPage>>,
    /// The chosen files by project.
    pub(super) files: BTreeMap<NormalName, BTreeSet<ChosenFile>>,
    /// Requirements that no file satisfies.
    pub(super) unsatisfied: Vec<String>,
}

/// The parameters of a selection.
pub(super) struct Selector<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) rule: &'a Rule,
    /// Whether dependencies are chosen, too.
    pub(super) has_dependencies: bool,
    /// Number of concurrent requests.
    pub(super) concurrency: usize,
    pub(super) output: Output,
}

/// A project, one of its versions, and the extras with which the dependencies of this version are required.
type Expansion = (NormalName, String, Vec<String>);

impl Selector<'_> {
    /// Chooses the files for the requirements, and reads the pages of the other projects, too.
    pub(super) async fn select(
        &self,
        requirements: Vec<ProjectRequirement>,
        other_projects: BTreeSet<NormalName>,
    ) -> Result<Selection, OfflineError> {
        let mut selection = Selection::default();
        let mut known_requirements: BTreeMap<NormalName, Vec<ProjectRequirement>> = BTreeMap::new();
        let mut metadata_requirements: HashMap<(NormalName, String), Vec<Requirement>> = HashMap::new();
        let mut expansions: BTreeSet<Expansion> = BTreeSet::new();
        let (mut pending, mut requirement_count) = (requirements, 0);
        while !pending.is_empty() {
            requirement_count += pending.len();
            if requirement_count > MAX_REQUIREMENTS {
                return Err(OfflineError::Refused(format!(
                    "the dependencies have more than {MAX_REQUIREMENTS} requirements; the metadata of a package may be wrong; to \
                     download without it, name a lock file with --file-in, and omit --dependencies"
                )));
            }
            let projects = pending.iter().map(|requirement| requirement.project.clone()).collect();
            self.read_pages(&mut selection, projects).await?;
            // The requirements of the user restrict those of packages, so all are recorded before a file is chosen.
            let mut new_requirements = Vec::new();
            for requirement in pending {
                let known = known_requirements.entry(requirement.project.clone()).or_default();
                if !known.contains(&requirement) {
                    known.push(requirement.clone());
                    new_requirements.push(requirement);
                }
            }
            let mut new_expansions = Vec::new();
            for requirement in &new_requirements {
                let all = known_requirements.get(&requirement.project).map(Vec::as_slice).unwrap_or_default();
                for file in self.choose(&mut selection, requirement, all) {
                    let expansion =
                        (requirement.project.clone(), file.version.clone(), requirement.extras.clone());
                    if self.has_dependencies && expansions.insert(expansion.clone()) {
                        new_expansions.push(expansion);
                    }
                    selection.files.entry(requirement.project.clone()).or_default().insert(file);
                }
            }
            self.read_requirements(&selection, &new_expansions, &mut metadata_requirements).await;
            pending = Vec::new();
            for (project, version, extras) in new_expansions {
                let required =
                    metadata_requirements.get(&(project, version)).map(Vec::as_slice).unwrap_or_default();
                let requirements = required
                    .iter()
                    .filter_map(|required| project_requirement(required.clone(), self.rule, &extras, false));
                pending.extend(requirements);
            }
        }
        self.read_pages(&mut selection, other_projects).await?;
        Ok(selection)
    }

    /// Returns the union of two choices for the project of a requirement: the files that satisfy the requirement
    /// and all requirements of the user, and the files that satisfy all known requirements. If both are empty,
    /// returns the files that satisfy only the requirement.
    fn choose(
        &self,
        selection: &mut Selection,
        requirement: &ProjectRequirement,
        all: &[ProjectRequirement],
    ) -> Vec<ChosenFile> {
        let label = format!("{} {}", requirement.project, requirement.versions);
        let Some(Some(read)) = selection.pages.get(&requirement.project) else {
            selection.unsatisfied.push(format!("{}: the index has no such project", label.trim()));
            return Vec::new();
        };
        let requested: Vec<&ProjectRequirement> = all.iter().filter(|other| other.is_requested).collect();
        let mut files = if requirement.is_requested || requested.is_empty() {
            choose(&read.page, &[requirement], self.rule)
        } else {
            let mut requirements = requested;
            requirements.push(requirement);
            choose(&read.page, &requirements, self.rule)
        };
        let all: Vec<&ProjectRequirement> = all.iter().collect();
        files.extend(choose(&read.page, &all, self.rule));
        if files.is_empty() {
            // A package requires a different version than the user.
            files = choose(&read.page, &[requirement], self.rule);
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
        projects: BTreeSet<NormalName>,
    ) -> Result<(), OfflineError> {
        let projects: Vec<NormalName> =
            projects.into_iter().filter(|project| !selection.pages.contains_key(project)).collect();
        let source = Arc::clone(self.source);
        let read = move |project: NormalName| {
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
        metadata_requirements: &mut HashMap<(NormalName, String), Vec<Requirement>>,
    ) {
        let versions: BTreeSet<(NormalName, String)> = expansions
            .iter()
            .map(|(project, version, _)| (project.clone(), version.clone()))
            .filter(|key| !metadata_requirements.contains_key(key))
            .collect();
        let mut files = Vec::new();
        for key in versions {
            if let Some(file) = metadata_file(selection, &key) {
                files.push((key, file));
            }
        }
        let source = Arc::clone(self.source);
        let read = move |(key, file): ((NormalName, String), PageFile)| {
            let source = Arc::clone(&source);
            async move { (key, read_metadata(&source, &file).await, file) }
        };
        for (key, metadata, file) in run_all(files, self.concurrency, read).await {
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
            metadata_requirements.insert(key, required);
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
fn metadata_file(selection: &Selection, (project, version): &(NormalName, String)) -> Option<PageFile> {
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
