//! A repository of R packages: `PACKAGES`, the tables of `Meta/` with times, otherwise listings of `Archive/` and the times of
//! the files.

use std::collections::{BTreeMap, BTreeSet};

use super::autoindex;
use super::events::{Events, MAX_FILES, modified};
use super::folder;
use super::index::CONCURRENCY;
use crate::error::OfflineError;
use crate::inventory::UpstreamFile;
use crate::metadata::MetadataReader;
use crate::mirror::Tree;
use crate::progress::Output;
use crate::workers::run_all;
use base::model::import_list::{AddedFile, Event};
use base::model::project_path::encoded;
use formats::r::layout::PackageFile;
use formats::r::version;
use upstream::{Mirror, Upstream, UpstreamError};

/// The folder of archived files.
const ARCHIVE: &str = "src/contrib/Archive";

/// A package file, with the evidence for its time; `None` if the repository does not have it.
struct DatedFile {
    file: UpstreamFile,
    exact: Option<&'static str>,
}

pub(super) async fn read(
    upstream: &Upstream,
    origin: &str,
    events: &mut Events,
    output: Output,
) -> Result<(), OfflineError> {
    let origin = origin.trim_end_matches('/');
    let url = origin.strip_suffix("/src/contrib").unwrap_or(origin);
    let mirror = upstream.mirror(url)?;
    let reader = MetadataReader::new(&mirror);
    let tree = Tree { reader: &reader, prefix: String::new(), folder: None, may_be_empty: true };
    let inventory = tree.read_inventory((None, events.now().day())).await?;
    let mut inventory = inventory.filter(|_| !mirror.is_bundle()).ok_or_else(|| {
        let remedy = match mirror.directory() {
            Some(_) => "list from-folder needs none",
            None => "for a server with snapshots add /latest",
        };
        OfflineError::Refused(format!("{} has no src/contrib/PACKAGES; {remedy}", mirror.address()))
    })?;
    inventory.warnings.iter().for_each(|warning| output.warn(warning));
    if !inventory.is_complete {
        inventory.files.extend(archived_files(upstream, &mirror, url, events).await?);
    }
    let (others, files): (Vec<_>, Vec<_>) = inventory.files.into_iter().partition(|it| it.folder.is_some());
    for UpstreamFile { folder, name, version, .. } in others {
        let folder = folder.unwrap_or_default();
        events.lose(format!("{folder}/{name}_{version}"), "is in a further folder")?;
    }
    report(&mirror, dated(&mirror, files).await?, events)
}

/// Finds the files in the archive of a repository without `Meta/archive.rds`.
async fn archived_files(
    upstream: &Upstream,
    mirror: &Mirror,
    url: &str,
    events: &mut Events,
) -> Result<Vec<UpstreamFile>, OfflineError> {
    let mut files = Vec::new();
    if let Some(root) = mirror.directory() {
        let archive = root.join(ARCHIVE);
        let found = if archive.is_dir() { folder::find(&archive, events)? } else { Vec::new() };
        files.extend(found.into_iter().filter_map(|file| archived(&file.relative)));
        return Ok(files);
    }
    let transport = upstream.transport(url)?;
    for package in autoindex::names(&transport, ARCHIVE).await? {
        let Some(package) = package.strip_suffix('/') else { continue };
        let names = autoindex::names(&transport, &format!("{ARCHIVE}/{package}")).await?;
        files.extend(names.iter().filter_map(|name| archived(&format!("{package}/{name}"))));
        if files.len() > MAX_FILES {
            return Err(OfflineError::Refused(format!(
                "{} has more than {MAX_FILES} files",
                mirror.address()
            )));
        }
    }
    Ok(files)
}

/// Returns the archived file with this path below the archive.
fn archived(path: &str) -> Option<UpstreamFile> {
    let (package, name) = path.split_once('/')?;
    let file = PackageFile::parse(name).filter(|file| file.package == package)?;
    Some(UpstreamFile {
        name: package.to_owned(),
        version: file.version.to_owned(),
        ext: file.extension.to_owned(),
        paths: vec![format!("{ARCHIVE}/{path}")],
        ..UpstreamFile::default()
    })
}

/// Completes the files with the times and sizes that the tables do not state.
async fn dated(mirror: &Mirror, files: Vec<UpstreamFile>) -> Result<Vec<DatedFile>, OfflineError> {
    let work = |mut file: UpstreamFile| {
        let mirror = mirror.clone();
        async move {
            let exact = match (file.published, file.is_listed) {
                (Some(_), true) => Some("Meta/current.rds"),
                (Some(_), false) => Some("Meta/archive.rds"),
                (None, _) => match complete(&mirror, &mut file).await {
                    Err(UpstreamError::Missing(_)) => None,
                    result => Some(result?),
                },
            };
            Ok::<_, UpstreamError>(DatedFile { file, exact })
        }
    };
    let results = run_all(files, CONCURRENCY, work).await;
    Ok(results.into_iter().collect::<Result<Vec<_>, UpstreamError>>()?)
}

async fn complete(mirror: &Mirror, file: &mut UpstreamFile) -> Result<&'static str, UpstreamError> {
    if mirror.directory().is_some() {
        let metadata = mirror.open_in_place(file.path()).await?.metadata;
        file.published = metadata.modified().ok().and_then(folder::timestamp);
        file.size = Some(metadata.len());
        return Ok("mtime");
    }
    let (published, size) = modified(mirror, file.path()).await?;
    (file.published, file.size) = (published, file.size.or(size));
    Ok("Last-Modified")
}

fn report(mirror: &Mirror, mut files: Vec<DatedFile>, events: &mut Events) -> Result<(), OfflineError> {
    files.sort_by(|a, b| {
        let key = |dated: &DatedFile| (dated.file.name.clone(), dated.file.published, dated.file.is_listed);
        key(a).cmp(&key(b)).then_with(|| version::compare(&a.file.version, &b.file.version))
    });
    let mut names = BTreeSet::new();
    // The highest version of a package, and whether it is listed.
    let mut highest: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for DatedFile { file, exact } in files {
        let (package, path) = (file.name.clone(), file.path().to_owned());
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(exact) = exact else {
            events.lose(name, "the index lists it, but there is no file")?;
            continue;
        };
        let from = match mirror.directory() {
            Some(_) => path,
            None => {
                let parts: Vec<String> = path.split('/').map(|part| encoded(part).to_string()).collect();
                format!("{}/{}", mirror.address(), parts.join("/"))
            }
        };
        let added = AddedFile {
            from: Some(from),
            sha256: file.sha256.map(|digest| digest.to_string()),
            md5: file.md5.map(|digest| digest.to_string()),
            size: file.size,
            ..AddedFile::new(&name, file.published, exact)
        };
        events.push(if names.insert(name) { Event::Add(added) } else { Event::Replace(added) })?;
        let current = highest.entry(package).or_insert_with(|| (file.version.clone(), file.is_listed));
        if version::compare(&file.version, &current.0).is_ge() {
            let is_listed = file.is_listed || (current.1 && current.0 == file.version);
            *current = (file.version, is_listed);
        }
    }
    let unlisted = highest.iter().filter(|(_, (_, is_listed))| !is_listed);
    unlisted.map(|(package, _)| package).try_for_each(|package| events.lose_archiving(package))
}
