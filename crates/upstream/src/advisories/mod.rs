//! Fetches advisories: the OSV database (a folder per ecosystem), an archive, JSON lines, a bundle, a folder.

mod bucket;
mod feed_file;
mod folder;

use super::origin::bundle::{Bundle, SharedCheck};
use super::transport::Transport;
use super::transport::decompress::{self, UnpackLimits};
use super::transport::file::{FileRequest, FileResponse, Validators};
use super::{Upstream, UpstreamError};
use base::config::without_userinfo;
use feed_file::FeedFileFormat;
use formats::advisory::Batch;
use formats::bundle::layout;
use formats::bundle::shared::SharedFolder;
use formats::language::Ecosystem;

/// Size limit of a fetched file, in bytes: ten times all advisories for PyPI.
const MAX_FETCHED_SIZE: u64 = 256 << 20;
/// Limits of all advisories of a feed, in bytes and in number.
const UNPACK_LIMITS: UnpackLimits =
    UnpackLimits { total_size: 512 << 20, file_size: formats::advisory::MAX_FILE_SIZE, file_count: 500_000 };

/// A file or folder of advisories with its own validators.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The URL, which may contain user and password.
    url: String,
    form: FeedForm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FeedForm {
    File(FeedFileFormat),
    /// The folder of an ecosystem in the OSV database.
    Bucket(Ecosystem),
    /// The folder of advisories in a bundle.
    Bundle(Vec<Ecosystem>),
    /// A `file:///` folder: its contents determine whether it is a copy of the OSV database, a folder of separate
    /// files, or the folder of a bundle.
    Folder(Vec<Ecosystem>),
}

#[derive(Debug)]
pub enum FeedRefresh {
    /// Unchanged since the given validators.
    Unchanged,
    /// The folder, or the file in it, does not exist.
    Absent,
    /// All advisories, and the new validators.
    Read(Box<Batch>, Validators),
}

impl Feed {
    /// Returns the feeds of a URL: a file (`….tar.gz`, `….zip`, `….ndjson`, `….ndjson.zst`), a folder (`file:///`),
    /// `vulns` of a bundle, or the root of the OSV database, whose folders of `ecosystems` become feeds.
    pub fn of(url: &str, ecosystems: &[Ecosystem]) -> Vec<Feed> {
        let url = url.trim_end_matches('/');
        let file = url.rsplit('/').next().unwrap_or_default();
        let form = match FeedFileFormat::of(file) {
            Some(format) => FeedForm::File(format),
            None if file == SharedFolder::Advisories.folder() && !url.starts_with("file:") => {
                FeedForm::Bundle(ecosystems.to_vec())
            }
            None if url.starts_with("file:") => FeedForm::Folder(ecosystems.to_vec()),
            None => {
                let bucket =
                    |ecosystem: &Ecosystem| Feed { url: url.to_owned(), form: FeedForm::Bucket(*ecosystem) };
                return ecosystems.iter().map(bucket).collect();
            }
        };
        vec![Feed { url: url.to_owned(), form }]
    }

    /// Returns whether a folder belongs to a bundle.
    fn is_bundle(&self, folder: &Transport) -> bool {
        let is_shared_folder = self.url.rsplit('/').next() == Some(SharedFolder::Advisories.folder());
        is_shared_folder && folder.directory().is_some_and(|root| root.join(layout::HEAD).is_file())
    }

    /// Returns the name of the feed: its address, without user and password.
    pub fn name(&self) -> String {
        let url = without_userinfo(&self.url);
        match &self.form {
            FeedForm::Bucket(ecosystem) => format!("{url}/{}", ecosystem.as_str()),
            FeedForm::File(_) | FeedForm::Bundle(_) | FeedForm::Folder(_) => url,
        }
    }
}

impl Upstream {
    /// Refreshes a feed. `stored_batch` returns the last stored contents of the feed, if any. It is awaited
    /// only if the feed is a changed folder of the OSV database, from which only the changes are fetched.
    pub async fn advisories(
        &self,
        feed: &Feed,
        known_validators: Option<Validators>,
        stored_batch: impl Future<Output = Option<Batch>> + Send,
    ) -> Result<FeedRefresh, UpstreamError> {
        let must_be_bundle = self.must_be_bundle(&feed.url);
        match &feed.form {
            FeedForm::File(_) | FeedForm::Bucket(_) if must_be_bundle => {
                let reason =
                    "is not the directory 'vulns' of a signed bundle, which Bundle.Key requires".to_owned();
                Err(UpstreamError::Refused { url: feed.name(), reason })
            }
            FeedForm::File(format) => {
                let (folder, file) = feed.url.rsplit_once('/').unwrap_or((&feed.url, ""));
                fetch_file(&self.transport(folder)?, file, *format, known_validators).await
            }
            FeedForm::Bucket(ecosystem) => {
                bucket::refresh(&self.transport(&feed.url)?, *ecosystem, known_validators, stored_batch).await
            }
            FeedForm::Bundle(ecosystems) => {
                refresh_bundle(&self.bundle_of(&feed.url)?, ecosystems, known_validators).await
            }
            FeedForm::Folder(ecosystems) if must_be_bundle || feed.is_bundle(&self.transport(&feed.url)?) => {
                refresh_bundle(&self.bundle_of(&feed.url)?, ecosystems, known_validators).await
            }
            FeedForm::Folder(ecosystems) => {
                folder::refresh(&self.transport(&feed.url)?, ecosystems, known_validators).await
            }
        }
    }
}

impl Upstream {
    /// Returns the bundle that a folder of shared data belongs to.
    fn bundle_of(&self, url: &str) -> Result<Bundle, UpstreamError> {
        let (root, _) = url.rsplit_once('/').unwrap_or((url, ""));
        self.bundle(root)
    }
}

/// Parses a fetched file of advisories; the extension of `file` determines the format.
pub fn parse_file(file: &str, bytes: &[u8]) -> Result<Batch, String> {
    feed_file::unpack(FeedFileFormat::of(file).ok_or("not a file of advisories")?, file, bytes)
}

async fn fetch_file(
    transport: &Transport,
    path: &str,
    format: FeedFileFormat,
    known_validators: Option<Validators>,
) -> Result<FeedRefresh, UpstreamError> {
    match transport.fetch(FileRequest { path, validators: known_validators, limit: MAX_FETCHED_SIZE }).await?
    {
        FileResponse::Unchanged => Ok(FeedRefresh::Unchanged),
        FileResponse::Body { bytes, validators } => {
            let name = path.to_owned();
            let result = decompress::run_blocking(move || feed_file::unpack(format, &name, &bytes)).await;
            let batch = result.and_then(|batch| batch.validate().map_err(|error| error.to_string()));
            Ok(FeedRefresh::Read(
                Box::new(batch.map_err(|reason| refusal(transport, path, reason))?),
                validators,
            ))
        }
    }
}

fn refusal(transport: &Transport, path: &str, reason: String) -> UpstreamError {
    let address = transport.address();
    UpstreamError::Refused {
        url: if path.is_empty() { address } else { format!("{address}/{path}") },
        reason,
    }
}

/// Reads the advisories of a bundle, JSON lines per ecosystem listed by the head of `vulns`, unless they are unchanged.
async fn refresh_bundle(
    bundle: &Bundle,
    ecosystems: &[Ecosystem],
    known_validators: Option<Validators>,
) -> Result<FeedRefresh, UpstreamError> {
    let shared_folder = SharedFolder::Advisories;
    let refusal = |reason: String| refusal(bundle.transport(), shared_folder.folder(), reason);
    let names: Vec<String> = ecosystems.iter().map(|ecosystem| ecosystem.file_name()).collect();
    let shared_check =
        bundle.check_shared(shared_folder, names.iter().map(String::as_str), known_validators.as_ref()).await;
    let (files, validators) = match shared_check.map_err(|error| refusal(error.to_string()))? {
        SharedCheck::Absent => return Ok(FeedRefresh::Absent),
        SharedCheck::Unchanged => return Ok(FeedRefresh::Unchanged),
        SharedCheck::Changed(files, validators) => (files, validators),
    };
    let mut batch = Batch::default();
    for file in files {
        let lines =
            bundle.shared_file(shared_folder, &file).await.map_err(|error| refusal(error.to_string()))?;
        let file_batch = decompress::run_blocking(move || {
            let mut batch = Batch::default();
            batch.add_lines(&file.path, &lines);
            Ok(batch)
        });
        batch.merge(file_batch.await.map_err(refusal)?);
    }
    let batch = batch.validate().map_err(|error| refusal(error.to_string()))?;
    Ok(FeedRefresh::Read(Box::new(batch), validators))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_determines_the_kind_of_feed() {
        let names = |url: &str| {
            Feed::of(url, &[Ecosystem::Cran, Ecosystem::Pypi]).iter().map(Feed::name).collect::<Vec<_>>()
        };
        assert_eq!(names("https://u:p@h/osv/"), ["https://***@h/osv/CRAN", "https://***@h/osv/PyPI"]);
        assert_eq!(names("https://h/main.tar.gz"), ["https://h/main.tar.gz"]);
        assert_eq!(names("https://h/CRAN/all.zip"), ["https://h/CRAN/all.zip"]);
        assert_eq!(names("file:///srv/data/vulns/"), ["file:///srv/data/vulns"]);
        assert_eq!(names("file:///srv/all.ndjson.zst"), ["file:///srv/all.ndjson.zst"]);
    }
}
