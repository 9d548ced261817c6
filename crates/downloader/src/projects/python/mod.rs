//! What only Python has: requirements files and lock files, targets of wheels, METADATA and provenance of files.

mod closure;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::download::{AttachedObjects, DownloadContext, blocking, write};
use super::selection::{ChosenFile, Selection, Selector};
use super::source::Source;
use crate::args::{GetProjects, GetPypi, PYPI_LANGUAGE};
use crate::error::{ExitStatus, OfflineError};
use crate::file::DownloadFailure;
use crate::progress::Output;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::model::project_page::{MetadataFile, UpstreamFile};
use formats::bundle::layout::{METADATA_EXTENSION, PROVENANCE_EXTENSION};
use formats::bundle::project_record::MetadataObject;
use formats::bundle::{FilesRule, self_digest};
use formats::python::archive::{WHEEL_LIMITS, wheel};
use formats::python::closure::ProjectRequirement;
use formats::python::environment::Environment;
use formats::python::file_name::{FileKind, FileName};
use formats::python::lock_file::{self, BadPythonLockFile, LockedPackage};
use formats::python::marker::Marker;
use formats::python::metadata::MAX_METADATA;
use formats::python::provenance::{self, MAX_PROVENANCE};
use formats::python::requirement::Requirement;
use formats::python::requirements_file::{self, Entry};
use formats::python::selection::environments;
use formats::python::specifier::Specifiers;
use formats::python::target::BadTarget;
use upstream::UpstreamError;

/// Maximum number of files that a requirements file includes, directly or through other files.
const MAX_FILES: usize = 100;
/// Endings of the names of lock files.
const LOCK_FILES: [&str; 2] = [".toml", ".lock"];

/// The flags that choose files.
pub(crate) struct Targets {
    pythons: Vec<String>,
    platforms: Vec<String>,
    /// Whether dependencies are chosen, too.
    dependencies: bool,
}

/// The requirements of a run.
pub(super) struct Request {
    pub(super) rule: Rule,
    requirements: Vec<ProjectRequirement>,
    /// Whether dependencies are chosen, too.
    has_dependencies: bool,
}

/// The environments for which wheels are chosen.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Every requested version of Python on every requested platform.
    pub(super) environments: Vec<Environment>,
    /// The rule as the head states it.
    pub(super) files: FilesRule,
}

impl Rule {
    /// Parses versions of Python and platform tags; an empty list stands for all.
    pub(super) fn parse(pythons: &[String], platforms: &[String]) -> Result<Rule, BadTarget> {
        let files = FilesRule { platforms: platforms.to_vec(), pythons: pythons.to_vec(), sdists: true };
        Ok(Rule { environments: environments(pythons, platforms)?, files })
    }
}

/// Downloads the packages that the file of `--file-in` requires, and the changes of the packages of earlier runs.
pub(crate) async fn get(args: GetPypi, output: Output) -> Result<ExitStatus, OfflineError> {
    let GetPypi {
        common,
        base_url,
        file_in,
        dependencies,
        platforms,
        pythons,
        file_hosts,
        starting_snapshot,
    } = args;
    let targets = Targets { pythons, platforms, dependencies };
    let args = GetProjects { common, base_url, file_in, file_hosts, starting_snapshot };
    super::get(PYPI_LANGUAGE, args, Some(targets), output).await
}

impl Request {
    /// Reads the requirements of the file; without it, requests any versions of the projects of earlier runs. Without
    /// targets, the rule of the earlier runs applies.
    pub(super) fn read(
        targets: Targets,
        file_in: Option<&Path>,
        earlier_rule: Option<FilesRule>,
        earlier_names: &BTreeSet<ProjectName>,
        output: Output,
    ) -> Result<Request, OfflineError> {
        let (pythons, platforms) = match earlier_rule {
            Some(rule) if targets.pythons.is_empty() && targets.platforms.is_empty() => {
                (rule.pythons, rule.platforms)
            }
            _ => (targets.pythons, targets.platforms),
        };
        let rule =
            Rule::parse(&pythons, &platforms).map_err(|error| OfflineError::Usage(error.to_string()))?;
        let requirements = match file_in {
            Some(path) => read(path, &rule, output)?,
            None if earlier_names.is_empty() => {
                return Err(OfflineError::Usage(
                    "give --file-in with a requirements file or a lock file: all of PyPI would be tens of terabytes"
                        .to_owned(),
                ));
            }
            None => earlier_names.iter().cloned().map(ProjectRequirement::any).collect(),
        };
        Ok(Request { rule, requirements, has_dependencies: targets.dependencies })
    }

    /// Chooses the files for the requirements.
    pub(super) async fn select(&self, selector: &Selector<'_>) -> Result<Selection, OfflineError> {
        let mut selection = closure::select(self, selector).await?;
        for (project, chosen) in &selection.files {
            let is_wheel = |file: &ChosenFile| kind(&file.name) == Some(FileKind::Wheel);
            if !chosen.is_empty() && !chosen.iter().any(is_wheel) {
                selection.hints.push(format!(
                    "{project} has no wheel: its installation needs the packages that build its source distribution, such as \
                     setuptools; name them in --file-in, too"
                ));
            }
        }
        Ok(selection)
    }
}

fn kind(file: &str) -> Option<FileKind> {
    FileName::parse(file).ok().map(|name| name.kind())
}

/// Returns the packages that a file requires in any environment of the rule.
fn read(path: &Path, rule: &Rule, output: Output) -> Result<Vec<ProjectRequirement>, OfflineError> {
    let mut requirements = Vec::new();
    let mut read_paths = BTreeSet::new();
    let mut pending_paths = vec![path.to_owned()];
    while let Some(path) = pending_paths.pop() {
        let usage_error =
            |reason: String| OfflineError::Usage(format!("--file-in {}: {reason}", path.display()));
        if !read_paths.insert(path.clone()) {
            continue;
        }
        if read_paths.len() > MAX_FILES {
            return Err(usage_error(format!("it includes more than {MAX_FILES} files")));
        }
        let bytes = std::fs::read(&path).map_err(|error| usage_error(error.to_string()))?;
        if is_lock_file(&path) {
            requirements
                .extend(locked(&bytes, rule, output).map_err(|error| usage_error(error.to_string()))?);
            continue;
        }
        let (file, errors) = requirements_file::read(&bytes);
        let file = errors.or_value(file).map_err(|errors| usage_error(errors.to_string()))?;
        for (line, option) in &file.ignored {
            output.warn(&format!("{}:{line}: {option} has no effect", path.display()));
        }
        for skipped in &file.skipped {
            output.warn(&format!("{}:{}: {skipped}", path.display(), skipped.line));
        }
        for entry in file.entries {
            match entry {
                Entry::Requirement { requirement, sha256, .. } => {
                    let item = project_requirement(requirement, rule);
                    requirements.extend(item.map(|item| ProjectRequirement { digests: sha256, ..item }));
                }
                Entry::File { path: other, .. } => pending_paths.push(resolve(&path, &other)),
            }
        }
    }
    if requirements.is_empty() {
        let file = path.display();
        return Err(OfflineError::Usage(format!(
            "--file-in {file}: it requires no package for these targets"
        )));
    }
    Ok(requirements)
}

/// Resolves the path `other`, which the file at `path` names, relative to the directory of that file.
fn resolve(path: &Path, other: &str) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from(other), |folder| folder.join(other))
}

fn is_lock_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    LOCK_FILES.iter().any(|ending| name.ends_with(ending))
}

/// Converts a requirement; `None` if its marker is false in all environments, or it names a URL.
fn project_requirement(requirement: Requirement, rule: &Rule) -> Option<ProjectRequirement> {
    if !requirement.marker.as_ref().is_none_or(|marker| applies(marker, rule)) {
        return None;
    }
    ProjectRequirement::of(requirement, None)
}

/// Returns whether a marker may be true in any environment of the rule.
fn applies(marker: &Marker, rule: &Rule) -> bool {
    rule.environments.iter().any(|environment| environment.may_satisfy(marker, &[]))
}

/// Converts the packages of a lock file to requirements of exact versions, with their digests.
fn locked(bytes: &[u8], rule: &Rule, output: Output) -> Result<Vec<ProjectRequirement>, BadPythonLockFile> {
    let file = lock_file::parse(bytes)?;
    for package in &file.skipped {
        output.warn(&format!("{} is left out: {}", package.name, package.reason));
    }
    let is_needed = |package: &LockedPackage| {
        // A marker that cannot be read does not exclude the package.
        let marker = package.marker.as_deref().and_then(|text| Marker::parse(text).ok());
        marker.is_none_or(|marker| applies(&marker, rule))
    };
    let requirements = file.packages.into_iter().filter(is_needed).filter_map(|package| {
        let exact = format!("=={}", package.version).parse::<Specifiers>();
        let versions = exact.or_else(|_| format!("==={}", package.version).parse()).ok()?;
        let digests = package.files.iter().filter_map(|file| file.sha256).collect();
        Some(ProjectRequirement { versions, digests, ..ProjectRequirement::any(package.name) })
    });
    Ok(requirements.collect())
}

/// Fetches METADATA and provenance of a file that was stored at `object`. METADATA of a wheel for which the index has none
/// is read from the wheel.
pub(super) async fn attached(
    context: &DownloadContext,
    file: &UpstreamFile,
    sha256: Sha256,
    object: PathBuf,
) -> Result<AttachedObjects, DownloadFailure> {
    let kind = kind(&file.name);
    let metadata = match (file.metadata, kind) {
        (MetadataFile::None, Some(FileKind::Wheel)) => {
            let (path, name) = (object.clone(), file.name.clone());
            blocking(&object, move || metadata_in_wheel(&path, &name, MetadataFile::None)).await?
        }
        (MetadataFile::None, _) => None,
        (declared, kind) => match read_metadata(&context.source, file).await {
            Err(UpstreamError::Missing(_)) if kind == Some(FileKind::Wheel) => {
                let (path, name) = (object.clone(), file.name.clone());
                blocking(&object, move || metadata_in_wheel(&path, &name, declared)).await?
            }
            result => Some(result.map_err(DownloadFailure::Mirror)?),
        },
    };
    let meta = store(context.object_path(sha256, METADATA_EXTENSION), metadata).await?;
    let provenance = read_provenance(context, file, sha256).await;
    let prov = store(context.object_path(sha256, PROVENANCE_EXTENSION), provenance).await?;
    Ok(AttachedObjects { meta, prov })
}

/// Reads METADATA of a file, and compares it with the digest on the page, if the page states one.
async fn read_metadata(source: &Source, file: &UpstreamFile) -> Result<Bytes, UpstreamError> {
    let url = format!("{}.metadata", file.url);
    let bytes = source.object(&url, MAX_METADATA).await?;
    match file.metadata {
        MetadataFile::Sha256(sha256) if self_digest::digest(&bytes) != sha256 => {
            let reason = format!("its sha256 is not {sha256}, which the page states");
            Err(UpstreamError::Refused { url, reason })
        }
        _ => Ok(bytes),
    }
}

/// Stores an object beside a file.
async fn store(path: PathBuf, bytes: Option<Bytes>) -> Result<Option<MetadataObject>, DownloadFailure> {
    let Some(bytes) = bytes else { return Ok(None) };
    let object = MetadataObject { sha256: self_digest::digest(&bytes), size: bytes.len() as u64 };
    let target = path.clone();
    blocking(&path, move || write(&target, &bytes)).await?;
    Ok(Some(object))
}

/// Reads and checks the provenance object of a file. A file is complete without it, so errors are warnings.
async fn read_provenance(context: &DownloadContext, file: &UpstreamFile, sha256: Sha256) -> Option<Bytes> {
    let url = file.provenance.as_deref()?;
    let checked = match context.source.object(url, MAX_PROVENANCE).await {
        Ok(bytes) => check_provenance(&bytes, &file.name, sha256).map(|()| bytes),
        Err(error) => Err(error.to_string()),
    };
    match checked {
        Ok(bytes) => Some(bytes),
        Err(reason) => {
            context.output.warn(&format!("{}: its provenance is left out: {reason}", file.name));
            None
        }
    }
}

fn check_provenance(bytes: &[u8], file: &str, sha256: Sha256) -> Result<(), String> {
    let name = FileName::parse(file).map_err(|error| error.to_string())?;
    provenance::check(bytes, &name, sha256).map_err(|error| error.to_string())
}

/// Reads METADATA from a stored wheel. This is needed if the index declares none, or declares a metadata file and does
/// not have it, as on partial mirrors. Returns `None` if METADATA of the wheel is missing, invalid, or has another
/// digest than the index declares: installers then read the wheel.
fn metadata_in_wheel(path: &Path, name: &str, declared: MetadataFile) -> io::Result<Option<Bytes>> {
    let metadata = wheel::read_metadata(&mut File::open(path)?, name, WHEEL_LIMITS).ok();
    let bytes = metadata.map(|(_, raw)| Bytes::from(raw));
    Ok(bytes.filter(|bytes| match declared {
        MetadataFile::Sha256(sha256) => self_digest::digest(bytes) == sha256,
        MetadataFile::None | MetadataFile::Unverified => true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pythons: &[&str], platforms: &[&str]) -> Rule {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Rule::parse(&texts(pythons), &texts(platforms)).expect("targets")
    }

    #[test]
    fn requirements_and_the_files_that_they_name_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("requirements.txt");
        let digest = "ab".repeat(32);
        let text = format!(
            "-r more.txt\nflask>=2  # web\nodd==1.0 --hash=sha256:{digest}\nwin ; sys_platform == 'win32'\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("more.txt"), "-r requirements.txt\nmore[b,A]\n").unwrap();
        let requirements = read(&path, &rule(&["3.11"], &["manylinux_2_17_x86_64"]), Output::Quiet).unwrap();
        let names: Vec<&str> = requirements.iter().map(|requirement| requirement.project.as_str()).collect();
        assert_eq!(names, ["flask", "odd", "more"]);
        assert_eq!(requirements[1].digests.len(), 1);
        assert_eq!(requirements[2].extras, ["a", "b"]);
        assert_eq!(read(&path, &rule(&[], &[]), Output::Quiet).unwrap().len(), 4);
        let error = read(&dir.path().join("none.txt"), &rule(&[], &[]), Output::Quiet).unwrap_err();
        assert!(matches!(error, OfflineError::Usage(text) if text.contains("none.txt")));
    }

    #[test]
    fn lock_files_give_exact_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("poetry.lock");
        let text = format!(
            "[[package]]\nname = \"Odd.Lib\"\nversion = \"1.0\"\noptional = false\npython-versions = \"*\"\n\
             files = [{{file = \"odd_lib-1.0.tar.gz\", hash = \"sha256:{}\"}}]\n\
             [metadata]\nlock-version = \"2.1\"\npython-versions = \"*\"\ncontent-hash = \"x\"\n",
            "ab".repeat(32)
        );
        std::fs::write(&path, text).unwrap();
        let requirements = read(&path, &rule(&[], &[]), Output::Quiet).unwrap();
        let [requirement] = &requirements[..] else { panic!("{requirements:?}") };
        assert_eq!((requirement.project.as_str(), requirement.versions.as_str()), ("odd-lib", "==1.0"));
        assert_eq!(requirement.digests.len(), 1);
    }
}
