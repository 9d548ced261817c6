//! `rspm history prove`: writes the proofs of packages that a repository had on a day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{not_proved, read};
use crate::client::Client;
use crate::error::CliError;
use crate::output::Output;
use base::model::snapshot::Snapshot;
use formats::r::lock_file;
use formats::tlog::record_proof::{INDEX, records_of};

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
    /// The index, below the snapshot
    #[arg(long, value_name = "PATH", default_value = INDEX)]
    pub document: String,
    /// A package, in any version or in this one (repeatable)
    #[arg(long, value_name = "NAME[=VERSION]", conflicts_with = "lockfile")]
    pub package: Vec<String>,
    /// All packages of a lock file: renv.lock, rv.lock, or the output of sessionInfo()
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

/// Writes the proof of the index, and one for each package.
///
/// # Errors
/// The log has no entry of the snapshot; [`CliError::Incomplete`] if a package is not listed.
pub(crate) async fn run(client: &Client, output: &Output, args: Prove) -> Result<(), CliError> {
    let (folder, index) = args.document.rsplit_once('/').unwrap_or(("", &args.document));
    let base = format!("/{}/{}/{folder}", args.repo, args.snapshot);
    let (wanted, skipped) = requested(&args)?;
    let index_proof = get(client, &format!("{base}/{index}.proof")).await?;
    let listed = versions(&get(client, &format!("{base}/{index}")).await?);
    let create = std::fs::create_dir_all(&args.out);
    create
        .map_err(|source| CliError::Local { operation: format!("create {}", args.out.display()), source })?;
    let mut result = ProveResult { files: Vec::new(), not_listed: Vec::new(), skipped };
    let mut files = vec![(format!("{index}.proof"), index_proof)];
    for (package, version) in wanted {
        let found = listed.get(&package);
        let Some(found) = found.filter(|found| version.as_ref().is_none_or(|version| version == *found))
        else {
            result.not_listed.push(NotListed { listed: found.cloned(), package, version });
            continue;
        };
        let file = format!("{package}_{found}.tar.gz.proof");
        let proof = get(client, &format!("{base}/{file}")).await?;
        files.push((file, proof));
    }
    for (file, proof) in files {
        let path = args.out.join(file);
        let written = std::fs::write(&path, proof);
        written
            .map_err(|source| CliError::Local { operation: format!("write {}", path.display()), source })?;
        result.files.push(path.display().to_string());
    }
    output.print(&result, || text(&result, &args.out))?;
    match result.not_listed.len() {
        0 => Ok(()),
        count => Err(CliError::Incomplete(format!("the snapshot does not list {count} of the packages"))),
    }
}

fn text(result: &ProveResult, out: &Path) -> String {
    let mut lines = vec![format!("{} has {} proofs.", out.display(), result.files.len())];
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

/// Packages, with the version if one is wanted.
type RequestedPackages = Vec<(String, Option<String>)>;

/// Returns the packages that are wanted, and those of a lock file that are not from a repository.
fn requested(args: &Prove) -> Result<(RequestedPackages, Vec<String>), CliError> {
    let Some(path) = &args.lockfile else {
        let packages = args.package.iter().map(|text| match text.split_once('=') {
            Some((package, version)) => (package.to_owned(), Some(version.to_owned())),
            None => (text.clone(), None),
        });
        return Ok((packages.collect(), Vec::new()));
    };
    let lock = lock_file::parse(&read(path)?).map_err(|error| not_proved(path, error))?;
    let packages = lock.packages.into_iter().map(|(package, version)| (package, Some(version)));
    Ok((packages.collect(), lock.skipped))
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
