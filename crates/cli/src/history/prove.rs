//! `rspm history prove`: writes the proofs of packages that a repository had on a day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{not_proved, read};
use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;
use api::history::AddState;
use api::operations::admin as operations;
use base::model::kind::{Language, Layout};
use base::model::snapshot::Snapshot;
use base::model::text::count_of;
use formats::language;
use formats::tlog::record_proof::{INDEX, PROJECTS, records_of};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done; 1 refused; 2 wrong usage; 3 the server cannot be reached; 4 the snapshot does not \
    list all of the packages, and the proofs of the others are written.\n\
    Example: rspm history prove --repo=prod --snapshot=2026-11-26 --lockfile=renv.lock --out=proofs"
)]
pub struct Prove {
    /// The repository
    #[arg(long, value_name = "NAME")]
    pub repo: String,
    /// The day, or the number of a transaction
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub snapshot: Snapshot,
    /// The index, below the snapshot; simple/ of Python
    #[arg(long, value_name = "PATH", default_value = INDEX)]
    pub document: String,
    /// First add the state that the repository has now of this past day to the log, such as after it was renamed
    #[arg(long)]
    pub now: bool,
    /// A package, in any version or in this one (repeatable)
    #[arg(long, value_name = "NAME[=VERSION]", conflicts_with = "lockfile")]
    pub package: Vec<String>,
    /// All packages of a lock file: renv.lock, rv.lock, or the output of sessionInfo(); of Python a requirements file or a lock file
    #[arg(long, value_name = "FILE")]
    pub lockfile: Option<PathBuf>,
    /// Folder for the proofs (created if missing)
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

#[derive(Serialize)]
struct ProveResult {
    /// The written files.
    files: Vec<String>,
    not_listed: Vec<NotListed>,
    /// Packages of the lock file that are not from a repository.
    skipped: Vec<String>,
}

#[derive(Serialize)]
struct NotListed {
    package: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The version that the snapshot lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<String>,
}

/// Writes the proof of an index of R packages, and one for each package, or file of a version of a Python project.
///
/// # Errors
/// The log has no entry of the snapshot; [`CliError::Incomplete`] if a package is not listed.
pub(crate) async fn run(client: &Client, output: &Output, args: Prove) -> Result<(), CliError> {
    let (requested, skipped) = requested(&args)?;
    if args.now {
        let (repository, snapshot) = (args.repo.clone(), args.snapshot.to_string());
        client.send::<operations::AddState>([], &AddState { repository, snapshot }).await?;
    }
    let base = format!("/{}/{}", args.repo, args.snapshot);
    let mut files = Vec::new();
    let mut result = ProveResult { files: Vec::new(), not_listed: Vec::new(), skipped };
    let index = match args.document == PROJECTS {
        true => None,
        false => Some(Index::read(client, &format!("{base}/{}", args.document), &mut files).await?),
    };
    for (package, version) in requested {
        let found = match &index {
            Some(index) => index.find(&package, version.as_deref()),
            None => files_of_project(client, &base, &package, version.as_deref()).await?,
        };
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(listed) => {
                result.not_listed.push(NotListed { listed, package, version });
                continue;
            }
        };
        for address in addresses {
            let address = format!("{address}.proof");
            let proof = get(client, &address).await?;
            files.push((address, proof));
        }
    }
    let local = |operation: String| move |source| CliError::Local { operation, source };
    std::fs::create_dir_all(&args.out).map_err(local(format!("create {}", args.out.display())))?;
    for (address, proof) in files {
        let path = args.out.join(address.rsplit('/').next().unwrap_or_default());
        std::fs::write(&path, proof).map_err(local(format!("write {}", path.display())))?;
        result.files.push(path.display().to_string());
    }
    output.print(&result, || text(&result, &args.out))?;
    match result.not_listed.len() {
        0 => Ok(()),
        count => Err(CliError::Incomplete(format!("the snapshot does not list {count} of the packages"))),
    }
}

/// The addresses of the files of a package, or else the version that is listed.
type Found = Result<Vec<String>, Option<String>>;

/// An index of R packages.
struct Index {
    folder: String,
    /// The version of each package.
    versions: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index, and adds its proof to `files`.
    async fn read(
        client: &Client,
        address: &str,
        files: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<Index, CliError> {
        let proof = format!("{address}.proof");
        files.push((proof.clone(), get(client, &proof).await?));
        let folder = address.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        Ok(Index { folder, versions: versions(&get(client, address).await?) })
    }

    fn find(&self, package: &str, version: Option<&str>) -> Found {
        match self.versions.get(package) {
            Some(found) if version.is_none_or(|version| version == found) => {
                Ok(vec![format!("{}/{package}_{found}.tar.gz", self.folder)])
            }
            other => Err(other.cloned()),
        }
    }
}

/// Returns the addresses of the files of a version of a project; without one, of its newest version.
async fn files_of_project(
    client: &Client,
    base: &str,
    project: &str,
    version: Option<&str>,
) -> Result<Found, CliError> {
    #[derive(Deserialize)]
    struct Document {
        urls: Vec<ProjectFile>,
    }
    #[derive(Deserialize)]
    struct ProjectFile {
        filename: String,
        digests: BTreeMap<String, String>,
    }
    let version = version.map(|version| format!("{version}/")).unwrap_or_default();
    let Ok(document) = client.read(&format!("{base}/pypi/{project}/{version}json")).await? else {
        return Ok(Err(None));
    };
    let document: Document = serde_json::from_slice(&document)?;
    let addresses = document.urls.iter().filter_map(|file| {
        Some(format!("{base}/packages/{}/{}", file.digests.get("sha256")?, file.filename))
    });
    Ok(Ok(addresses.collect()))
}

fn text(result: &ProveResult, out: &Path) -> String {
    let mut lines =
        vec![format!("{} has {}.", out.display(), count_of(result.files.len(), "proof", "proofs"))];
    lines.extend(result.not_listed.iter().map(|package| {
        let version = package.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let listed = package.listed.as_ref().map(|listed| format!(", but {listed}")).unwrap_or_default();
        format!("Not listed: {}{version}{listed}", package.package)
    }));
    lines.extend(result.skipped.iter().map(|package| format!("Not from a repository: {package}")));
    lines.join("\n")
}

async fn get(client: &Client, path: &str) -> Result<Vec<u8>, CliError> {
    let found = client.read(path).await?;
    found.map(|bytes| bytes.to_vec()).map_err(|reason| CliError::refused(format!("{path}: {reason}")))
}

/// Packages, with the version if one is requested.
type RequestedPackages = Vec<(String, Option<String>)>;

/// Returns the requested packages, and those of a lock file that are not from a repository.
fn requested(args: &Prove) -> Result<(RequestedPackages, Vec<String>), CliError> {
    let Some(path) = &args.lockfile else {
        let packages = args.package.iter().map(|text| match text.split_once('=') {
            Some((package, version)) => (package.to_owned(), Some(version.to_owned())),
            None => (text.clone(), None),
        });
        return Ok((packages.collect(), Vec::new()));
    };
    let layout = if args.document == PROJECTS { Layout::Projects } else { Layout::Lists };
    let (bytes, mut languages) = (read(path)?, Language::ALL.into_iter());
    let language = languages.find(|language| language.layout() == layout);
    let lock = language.map_or_else(
        || Err("no language has such lock files".to_owned()),
        |language| language::of(language).exact_versions(&bytes),
    );
    let lock = lock.map_err(|error| not_proved(path, error))?;
    let packages = lock.packages.into_iter().map(|(package, version)| (package, Some(version)));
    Ok((packages.collect(), lock.skipped.into_iter().map(|skipped| skipped.name).collect()))
}

/// Returns the version of each package of an index.
fn versions(index: &[u8]) -> BTreeMap<String, String> {
    let field = |record: &[u8], name: &[u8]| {
        let mut lines = record.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(name))?;
        Some(String::from_utf8_lossy(value.trim_ascii()).into_owned())
    };
    let version = |record: &[u8]| Some((field(record, b"Package:")?, field(record, b"Version:")?));
    records_of(index).filter_map(version).collect()
}
