//! `export-files`: reads one state of a repository over HTTP, and writes the answers as files that any web server can serve.
//! Files are written before the indexes that list them; files that exist unchanged are not written again.
//!
//! The indexes are read again after the files were written: if they differ, the files that changed follow. No address makes
//! that unnecessary: an index of projects changes without a transaction, an import publishes at earlier times, block rules
//! apply to every state at once, and another server than this one may have no transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5 as Md5Hasher};
use percent_encoding::percent_decode_str;
use url::Url;

use super::args::ExportFiles;
use super::buffer::{BUDGET, Budget, FileBuffer};
use super::destination::{self, Destination, TEMP_PREFIX};
use super::error::{ExitStatus, OfflineError};
use super::file::{digest_of, for_each_piece};
use super::files::walk;
use super::metadata::MetadataReader;
use super::mirror::{INDEX_FILES, Tree};
use super::page::page;
use super::progress::{Output, Progress};
use super::setup::{client, now};
use super::workers::run_all;
use base::model::digest::{Md5, Sha256};
use base::model::project_name::ProjectName;
use base::model::project_page::{ListedName, MetadataFile, UpstreamFile};
use base::model::text::count_of;
use base::model::time::Timestamp;
use formats::language::with_directory;
use upstream::transport::Transport;
use upstream::{Mirror, UpstreamError};

/// The two forms of a page, with the names of their files.
const FORMATS: [(&str, &str); 2] =
    [("application/vnd.pypi.simple.v1+json", "index.v1_json"), ("text/html", "index.html")];
/// The folders that an export writes.
const FOLDERS: [&str; 3] = ["src", "simple", "packages"];
const ARCHIVE: &str = "src/contrib/Archive/";
const ARCHIVE_TABLE: &str = "Meta/archive.rds";
const DENIED: &str = "set PACKAGEMANAGER_TOKEN to a token with repos:read";
/// How often the files are written, if the indexes change each time, and how often indexes are read, if one disappears.
const MAX_ATTEMPTS: usize = 3;

/// A file of an export.
#[derive(Clone, Default, PartialEq)]
struct SiteFile {
    /// Relative to the address of the repository, and to the folder.
    path: String,
    /// An index or page; package files are read from the server.
    bytes: Option<Bytes>,
    /// Of an index or page: the time of its newest file.
    published: Option<Timestamp>,
    size: Option<u64>,
    sha256: Option<Sha256>,
    md5: Option<Md5>,
}

/// Files by path.
type Site = BTreeMap<String, SiteFile>;

/// The repository, as it is read.
struct Repository {
    mirror: Mirror,
    transport: Transport,
    has_archive: bool,
    concurrency: usize,
}

/// Where files come from, and where they are written.
#[derive(Clone)]
struct Export {
    mirror: Mirror,
    destination: Destination,
    /// The folder of another export.
    links: Option<PathBuf>,
    budget: Arc<Budget>,
    concurrency: usize,
}

/// What is in the folder.
#[derive(Default)]
struct Exported {
    files: Site,
    /// The paths of those that were not there before.
    written: BTreeSet<String>,
}

pub(super) async fn run(args: ExportFiles, output: Output) -> Result<ExitStatus, OfflineError> {
    let upstream = client(args.outbound_proxy.clone(), None)?;
    let base = address(&args.base_url)?;
    let (mirror, concurrency) = (upstream.mirror(&base)?, args.concurrency.get());
    let repository = Repository {
        mirror: mirror.clone(),
        transport: upstream.transport(&base)?,
        has_archive: !args.no_archive,
        concurrency,
    };
    let site = repository.read().await?;
    let destination = Destination::create(&args.to)?;
    let lock = destination.lock_itself()?;
    if lock.is_held() {
        remove_temp_files(&destination)?;
    }
    let export =
        Export { mirror, destination, links: args.hardlink, budget: Budget::new(BUDGET), concurrency };
    let mut exported = Exported::default();
    let site = export.write_packages(&repository, site, &mut exported, output).await?;
    let pages = site.values().filter(|file| file.bytes.is_some()).cloned().collect();
    export.write_all(pages, &mut exported, Output::Quiet).await?;
    if args.prune {
        prune(&export.destination, &site, output)?;
    }
    let written = exported.written.iter().filter(|path| site.contains_key(*path)).count();
    output.info(&format!("{}, {written} of them written", count_of(site.len(), "file", "files")));
    Ok(ExitStatus::Complete)
}

/// Returns whether a change of the repository between two requests can be the cause of an error.
fn can_be_a_change(error: &OfflineError) -> bool {
    use UpstreamError::{Missing, Refused};
    matches!(error, OfflineError::Refused(_) | OfflineError::Upstream(Missing(_) | Refused { .. }))
}

impl Repository {
    /// Reads the indexes, again if one that another lists has disappeared in the meantime.
    async fn read(&self) -> Result<Site, OfflineError> {
        let mut result = self.read_once().await;
        for _ in 1..MAX_ATTEMPTS {
            if result.as_ref().is_err_and(can_be_a_change) {
                result = self.read_once().await;
            }
        }
        result
    }

    async fn read_once(&self) -> Result<Site, OfflineError> {
        let files = match r_files(&MetadataReader::new(&self.mirror), self.has_archive).await? {
            Some(files) => files,
            None => python_files(&self.transport, self.concurrency).await?,
        };
        Ok(files.into_iter().map(|file| (file.path.clone(), file)).collect())
    }
}

/// Returns the address with the token in `PACKAGEMANAGER_TOKEN`, as a password.
fn address(base_url: &str) -> Result<String, OfflineError> {
    let usage = |reason: &str| OfflineError::Usage(format!("--base-url: {reason}"));
    let url = Url::parse(base_url.trim_end_matches('/')).ok();
    let mut url = url
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| usage("give an address that begins with http:// or https://"))?;
    let token = std::env::var("PACKAGEMANAGER_TOKEN").unwrap_or_default();
    if !token.trim().is_empty() && url.username().is_empty() {
        let result = url.set_username("__token__").and_then(|()| url.set_password(Some(token.trim())));
        result.map_err(|()| usage("cannot have a token"))?;
    }
    Ok(url.into())
}

/// Returns the files of a repository of R packages; `None` if it is none.
async fn r_files(
    reader: &MetadataReader<'_>,
    has_archive: bool,
) -> Result<Option<Vec<SiteFile>>, OfflineError> {
    let tree = Tree { reader, prefix: String::new(), folder: None, may_be_empty: true };
    let Some(inventory) =
        tree.read_inventory((None, now().day())).await.map_err(|error| error.if_denied(DENIED))?
    else {
        return Ok(None);
    };
    let mut files: Vec<SiteFile> = inventory
        .files
        .iter()
        .filter(|file| has_archive || !file.path().starts_with(ARCHIVE))
        .map(|file| SiteFile {
            path: file.path().to_owned(),
            bytes: None,
            published: file.published,
            size: file.size,
            sha256: file.sha256,
            md5: file.md5,
        })
        .collect();
    let published = files.iter().filter_map(|file| file.published).max();
    for name in INDEX_FILES.into_iter().chain(["Meta/current.rds", ARCHIVE_TABLE]) {
        let path = format!("src/contrib/{name}");
        if let Some(bytes) = reader.get(&path).await?.filter(|_| has_archive || name != ARCHIVE_TABLE) {
            files.push(SiteFile { path, bytes: Some(bytes), published, ..SiteFile::default() });
        }
    }
    Ok(Some(files))
}

/// Returns the files of a Python repository. The pages of `concurrency` projects are requested at the same time.
async fn python_files(transport: &Transport, concurrency: usize) -> Result<Vec<SiteFile>, OfflineError> {
    let base = format!("{}/", transport.address());
    let refused = |reason: String| OfflineError::Refused(format!("{base}simple/: {reason}"));
    let json = Some(FORMATS[0].0);
    let (_, projects) = with_directory("simple").ok_or_else(|| refused("has no projects".to_owned()))?;
    let mut list = pages(transport, "simple").await.map_err(|error| error.if_denied(DENIED))?;
    let mut names = Vec::new();
    let mut add = |listed: ListedName<'_>| names.push(ProjectName::folded(listed.name));
    let bytes = list[0].bytes.clone().unwrap_or_default();
    projects.read_list(json, &mut &bytes[..], &mut add).map_err(refused)?;
    let request = |name: ProjectName| {
        let transport = transport.clone();
        async move { pages(&transport, &format!("simple/{name}")).await.map(|pages| (name, pages)) }
    };
    let mut files = Vec::new();
    for project in run_all(names, concurrency, request).await {
        let (name, mut pages) = project?;
        let url = Url::parse(&format!("{base}simple/{name}/")).map_err(|error| refused(error.to_string()))?;
        let bytes = pages[0].bytes.as_deref().unwrap_or_default();
        let read = projects.read_page(json, bytes, &url, std::slice::from_ref(&name)).map_err(refused)?;
        let offered: Vec<&UpstreamFile> = read.iter().flat_map(|page| page.offered_files()).collect();
        let published = offered.iter().filter_map(|file| file.uploaded_at).max();
        pages.iter_mut().for_each(|page| page.published = published);
        list.iter_mut().for_each(|page| page.published = page.published.max(published));
        for file in offered {
            files.extend(distribution(file, &base)?);
        }
        files.extend(pages);
    }
    files.extend(list);
    Ok(files)
}

/// Requests a page in each form.
async fn pages(transport: &Transport, path: &str) -> Result<[SiteFile; 2], OfflineError> {
    let mut files = [SiteFile::default(), SiteFile::default()];
    for (file, (accept, name)) in files.iter_mut().zip(FORMATS) {
        let bytes = page(transport, path, accept).await?;
        let is_json = |bytes: &Vec<u8>| bytes.trim_ascii_start().starts_with(b"{");
        let bytes = bytes.filter(|bytes| is_json(bytes) == name.ends_with("json")).ok_or_else(|| {
            let address = transport.address();
            OfflineError::Refused(format!(
                "{address} has neither src/contrib/PACKAGES nor {path}/ as {accept}: there is no such repository (rspm list \
                 repos), or it has no such day; an address of one in one state is http://host:4242/prod/latest"
            ))
        })?;
        *file = SiteFile { path: format!("{path}/{name}"), bytes: Some(bytes.into()), ..SiteFile::default() };
    }
    Ok(files)
}

/// Returns a file, and its metadata if the page states that there is some.
fn distribution(file: &UpstreamFile, base: &str) -> Result<Vec<SiteFile>, OfflineError> {
    let path = file.url.strip_prefix(base).and_then(|path| percent_decode_str(path).decode_utf8().ok());
    let path = path.ok_or_else(|| {
        OfflineError::Refused(format!("{} is not below {base}: the export would not have it", file.url))
    })?;
    let metadata = SiteFile {
        path: format!("{path}.metadata"),
        published: file.uploaded_at,
        sha256: match file.metadata {
            MetadataFile::Sha256(sha256) => Some(sha256),
            MetadataFile::Unverified | MetadataFile::None => None,
        },
        ..SiteFile::default()
    };
    let (path, sha256) = (path.into_owned(), file.sha256());
    let distribution =
        SiteFile { path, published: file.uploaded_at, size: file.size, sha256, ..SiteFile::default() };
    let has_metadata = file.metadata != MetadataFile::None;
    Ok([Some(distribution), has_metadata.then_some(metadata)].into_iter().flatten().collect())
}

impl Export {
    /// Writes package files until all of one site are there, and the repository still has that site; returns it.
    async fn write_packages(
        &self,
        repository: &Repository,
        mut site: Site,
        exported: &mut Exported,
        output: Output,
    ) -> Result<Site, OfflineError> {
        for _ in 0..MAX_ATTEMPTS {
            let is_new = |file: &&SiteFile| exported.files.get(&file.path) != Some(*file);
            let packages =
                site.values().filter(|file| file.bytes.is_none()).filter(is_new).cloned().collect();
            let result = self.write_all(packages, exported, output).await;
            if result.as_ref().is_err_and(|error| !can_be_a_change(error)) {
                return result.map(|()| site);
            }
            let current = repository.read().await?;
            if current == site {
                return result.map(|()| site);
            }
            site = current;
        }
        let address = self.mirror.address();
        Err(OfflineError::Refused(format!(
            "{address} changed while it was exported, {MAX_ATTEMPTS} times in a row, and no index was written: run the command \
             again, or export the state of a past day"
        )))
    }

    /// Writes files; returns the first error after all others were tried.
    async fn write_all(
        &self,
        files: Vec<SiteFile>,
        exported: &mut Exported,
        output: Output,
    ) -> Result<(), OfflineError> {
        let size = files.iter().filter_map(|file| file.size).sum();
        let progress = Arc::new(Progress::new(output, files.len() as u64, size));
        let work = |file: SiteFile| {
            let (export, progress) = (self.clone(), Arc::clone(&progress));
            async move {
                let is_written = export.write(&file).await?;
                progress.add_file(file.size.unwrap_or_default());
                Ok::<(SiteFile, bool), OfflineError>((file, is_written))
            }
        };
        let mut result = Ok(());
        for file in run_all(files, self.concurrency, work).await {
            match file {
                Ok((file, is_written)) => {
                    exported.written.extend(is_written.then(|| file.path.clone()));
                    exported.files.insert(file.path.clone(), file);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        progress.finish();
        result
    }

    /// Returns a file, with the SHA-256 that the server states as its `ETag` if the index states no digest. `None` if the
    /// server does not answer: a download makes further attempts.
    async fn with_digest(&self, file: &SiteFile) -> Option<SiteFile> {
        let mut file = file.clone();
        if file.bytes.is_none() && file.sha256.is_none() && file.md5.is_none() {
            let headers = self.mirror.request_headers(&file.path).await.ok()?;
            let etag = headers.get("etag").and_then(|etag| etag.to_str().ok());
            file.sha256 = etag.and_then(|etag| etag.trim_matches('"').parse().ok());
        }
        Some(file)
    }

    /// Writes a file, unless it is there; returns whether it was written.
    async fn write(&self, file: &SiteFile) -> Result<bool, OfflineError> {
        let (path, folder) = (self.destination.path(&file.path), destination::folder_of(&file.path));
        let to_error = |e| OfflineError::destination("write", &path, e);
        let exists = path.exists();
        let link = self.links.as_ref().map(|links| links.join(&file.path));
        let link = link.filter(|link| file.bytes.is_none() && link.exists());
        // A missing file needs no request and no thread for the comparison.
        let stated = if exists || link.is_some() { self.with_digest(file).await } else { None };
        let is_current = |path: &Path| {
            stated.as_ref().is_some_and(|file| tokio::task::block_in_place(|| is_same(path, file)))
        };
        if exists && is_current(&path) {
            return Ok(false);
        }
        if let Some(bytes) = &file.bytes {
            self.destination.put(&file.path, bytes)?;
            let written = File::options().append(true).open(&path).map_err(to_error)?;
            destination::set_published_time(&written, file.published);
            return Ok(true);
        }
        if let Some(link) = link.filter(|link| is_current(link)) {
            // The link gets a temporary name first: a rename replaces another file.
            let folder = self.destination.folder(folder)?;
            let temporary = Destination::temp_file(&folder).map_err(to_error)?.into_temp_path();
            let result = fs::remove_file(&temporary).and_then(|()| fs::hard_link(&link, &temporary));
            result.and_then(|()| fs::rename(&temporary, &path)).map_err(to_error)?;
            return Ok(true);
        }
        let folder = self.destination.path(folder);
        let mut buffer = FileBuffer::new(folder.clone(), self.budget.clone());
        if let Err(error) = self.mirror.download(&file.path, file.size, &mut buffer).await {
            return Err(match buffer.take_error() {
                Some((error, folder)) => OfflineError::destination("write", &folder, error),
                None => error.into(),
            });
        }
        let complete = buffer.finish().map_err(to_error)?;
        let is_expected = file.sha256.is_none_or(|digest| digest == complete.sha256)
            && file.md5.is_none_or(|digest| digest == complete.md5);
        if !is_expected {
            let address = self.mirror.address();
            let text = format!(
                "{address}/{}: its digest is not that of the index: run the command again",
                file.path
            );
            return Err(OfflineError::Refused(text));
        }
        let is_written = !exists || !digest_of(&path).is_ok_and(|digest| digest == complete.sha256);
        if is_written {
            let complete = complete.into_file(&folder).map_err(to_error)?;
            destination::set_published_time(complete.as_file(), file.published);
            destination::persist(complete, &path).map_err(to_error)?;
        }
        Ok(is_written)
    }
}

/// Returns whether a regular file is that of the export: by its bytes or a digest; by its size and time if none is stated.
fn is_same(path: &Path, file: &SiteFile) -> bool {
    let Some(metadata) = path.symlink_metadata().ok().filter(fs::Metadata::is_file) else { return false };
    let has_time = || {
        let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        file.published
            .is_some_and(|time| modified.is_some_and(|modified| modified.as_second() == time.seconds()))
    };
    match (&file.bytes, file.sha256, file.md5) {
        (Some(bytes), _, _) => fs::read(path).is_ok_and(|current| current == *bytes),
        (None, Some(sha256), _) => digest_of(path).is_ok_and(|digest| digest == sha256),
        (None, None, Some(md5)) => md5_of(path).is_ok_and(|digest| digest == md5),
        (None, None, None) => file.size == Some(metadata.len()) && has_time(),
    }
}

fn md5_of(path: &Path) -> io::Result<Md5> {
    let mut hasher = Md5Hasher::new();
    for_each_piece(&mut File::open(path)?, |piece| hasher.update(piece))?;
    Ok(Md5(hasher.finalize().into()))
}

/// Removes the temporary files of killed exports; the caller holds the lock.
fn remove_temp_files(destination: &Destination) -> Result<(), OfflineError> {
    let found = walk(destination, &FOLDERS.map(str::to_owned))?;
    let paths = destination::names(destination.root())?.into_iter().chain(found.files.into_keys());
    let is_temporary = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with(TEMP_PREFIX) && destination.path(path).is_file()
    };
    paths.filter(is_temporary).try_for_each(|path| destination.remove(&path))
}

/// Removes files that the export does not have.
fn prune(destination: &Destination, kept: &Site, output: Output) -> Result<(), OfflineError> {
    let found = walk(destination, &FOLDERS.map(str::to_owned))?;
    if let Some((folder, reason)) = found.unreadable_folders.first() {
        return Err(OfflineError::Refused(format!("{folder} cannot be read: {reason}")));
    }
    for path in found.files.keys().filter(|path| path.contains('/') && !kept.contains_key(*path)) {
        output.info(&format!("removed {path}"));
        destination.remove(path)?;
    }
    Ok(())
}
