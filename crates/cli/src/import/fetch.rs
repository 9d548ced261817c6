//! The bytes of the files of a list: below its folder, or at addresses on permitted hosts.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use tempfile::NamedTempFile;
use url::Url;

use super::list::is_permitted;
use crate::error::CliError;
use crate::remote::client_builder;
use base::model::digest::{FileDigests, FileHasher};
use base::model::errors::error_chain;
use base::model::import_list::{AddedFile, Event};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time without a byte of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const MAX_REDIRECTS: usize = 10;
/// Maximum size of a file, in bytes, as that of an upload.
const MAX_BYTES: u64 = 10 << 30;
const PIECE: usize = 128 << 10;

pub(super) struct Origins {
    folder: PathBuf,
    /// The address of the origin, with the user and password of its server.
    address: Option<Url>,
    client: reqwest::Client,
}

/// The path of a file with the bytes that the list declares; a download is deleted when this is dropped.
pub(super) type Fetched = Box<dyn AsRef<Path> + Send + Sync>;

impl Origins {
    /// Creates the origins of a list in `folder`, which may fetch from `hosts`; `address` has the user and password of a server.
    pub(super) fn new(
        folder: PathBuf,
        hosts: Vec<String>,
        address: Option<Url>,
    ) -> Result<Origins, CliError> {
        // SECURITY: this client has no token, and requests only addresses that a list may contain. A redirect to another
        // server does not get the user and password.
        let redirects = Policy::custom(move |attempt| {
            let (url, count) = (attempt.url(), attempt.previous().len());
            let is_encrypted = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            let refusal = if count > MAX_REDIRECTS {
                format!("more than {MAX_REDIRECTS} redirects")
            } else if !is_permitted(url, &hosts) {
                format!("{url} is not an address on a host that --host names")
            } else if is_encrypted && url.scheme() != "https" {
                format!("it redirects to {url}, without encryption")
            } else {
                return attempt.follow();
            };
            attempt.error(refusal)
        });
        let builder = client_builder().redirect(redirects).referer(false);
        let builder = builder.connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
        let client = builder.build().map_err(|error| CliError::refused(error_chain(&error)))?;
        Ok(Origins { folder, address, client })
    }

    /// Fetches a file if it is not on this machine, and compares its size and digests with those of the list. The error is
    /// the reason why it is not imported.
    pub(super) async fn fetch(&self, file: &AddedFile) -> Result<Fetched, String> {
        let fetched: Fetched = match file.origin() {
            (Some(url), _) => Box::new(self.download(url, file.size.unwrap_or(MAX_BYTES)).await?),
            (None, path) => Box::new(local(&self.folder, path)?),
        };
        let (path, declared) = ((*fetched).as_ref().to_owned(), file.clone());
        let verification = tokio::task::spawn_blocking(move || verify(&path, &declared)).await;
        verification.map_err(|error| error.to_string())??;
        Ok(fetched)
    }

    async fn download(&self, url: Url, limit: u64) -> Result<NamedTempFile, String> {
        let failure = |error: reqwest::Error| format!("{url}: {}", error_chain(&error.without_url()));
        let mut address = url.clone();
        if let Some(origin) = self.address.as_ref().filter(|origin| origin.origin() == url.origin()) {
            let result = address.set_username(origin.username());
            let result = result.and_then(|()| address.set_password(origin.password()));
            result.map_err(|()| format!("{url}: it cannot have a user"))?;
        }
        let mut response = self.client.get(address).send().await.map_err(failure)?;
        if !response.status().is_success() {
            let remedy = match response.status() {
                StatusCode::UNAUTHORIZED => "; give the origin as http://USER:PASSWORD@HOST",
                _ => "",
            };
            return Err(format!("{}: {}{remedy}", response.url(), response.status()));
        }
        let local = |error: std::io::Error| format!("a temporary file: {error}");
        let (mut file, mut size) = (NamedTempFile::new().map_err(local)?, 0);
        while let Some(piece) = response.chunk().await.map_err(failure)? {
            size += piece.len() as u64;
            if size > limit {
                return Err(format!("{url}: it has more than {limit} bytes"));
            }
            file.write_all(&piece).map_err(local)?;
        }
        Ok(file)
    }
}

/// Returns a regular file below the folder; no part of its path is a symbolic link.
fn local(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let mut full_path = folder.to_owned();
    for part in Path::new(path).components() {
        full_path.push(part);
        let metadata = full_path.symlink_metadata().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let folder = folder.display();
                format!("{path} is not in {folder}; name the folder of the origin with --origin=DIR")
            }
            _ => format!("{path}: {error}"),
        })?;
        if metadata.is_symlink() {
            return Err(format!("{path}: symbolic links are not followed"));
        }
    }
    match full_path.is_file() {
        true => Ok(full_path),
        false => Err(format!("{path}: it is not a file")),
    }
}

/// Checks that a file without an address is in the folder, with the size in the list.
pub(super) fn check_local(folder: &Path, file: &AddedFile) -> Result<(), String> {
    let (None, path) = file.origin() else { return Ok(()) };
    let metadata = local(folder, path)?.metadata().map_err(|error| format!("{path}: {error}"))?;
    check_size(file, metadata.len())
}

fn check_size(declared: &AddedFile, actual: u64) -> Result<(), String> {
    match declared.size.filter(|size| *size != actual) {
        Some(size) => Err(format!("it has {actual} bytes, and {size} in the list")),
        None => Ok(()),
    }
}

/// Sets the SHA-256 of a file without an address that a change with a time adds, if the list has none; not of one that cannot be
/// read. Blocks.
pub(super) fn complete(folder: &Path, event: &mut Event) {
    let (Event::Add(file) | Event::Replace(file)) = event else { return };
    let path = match file.origin() {
        (None, path) if file.at.is_some() && file.sha256.is_none() => local(folder, path),
        _ => return,
    };
    if let Some(digests) = path.ok().and_then(|path| digests(&path).ok()) {
        file.sha256 = Some(digests.sha256.to_string());
    }
}

/// Returns the digests of a file. Blocks.
fn digests(path: &Path) -> std::io::Result<FileDigests> {
    let mut file = File::options().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    let (mut hasher, mut piece) = (FileHasher::default(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&piece[..count]),
        }
    }
}

/// Compares a file with its size and its digests in the list. Blocks.
fn verify(path: &Path, declared: &AddedFile) -> Result<(), String> {
    let failure = |error: std::io::Error| format!("{}: {error}", path.display());
    check_size(declared, path.symlink_metadata().map_err(failure)?.len())?;
    let digests = digests(path).map_err(failure)?;
    for (name, declared, actual) in [
        ("SHA-256", &declared.sha256, digests.sha256.to_string()),
        ("MD5", &declared.md5, digests.md5.to_string()),
    ] {
        if let Some(declared) = declared.as_ref().filter(|declared| !declared.eq_ignore_ascii_case(&actual)) {
            return Err(format!("its {name} is {actual}, and {declared} in the list"));
        }
    }
    Ok(())
}
