//! The provenance objects of files (PEP 740). Those of an index are fetched on request, checked, and stored;
//! those of a local source were checked and stored when their files were uploaded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::metadata::{ReadError, read_file};
use crate::index::locator;
use crate::serve::project::file::{locate, restricted_trees};
use crate::serve::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::ids::{FileId, SourceId};
use base::model::kind::StorageClass;
use base::model::point::Point;
use base::model::project_path::FilePart;
use base::model::snapshot::Snapshot;
use formats::python::facts::FileFacts;
use formats::python::file_name::FileName;
use formats::python::provenance::{MAX_PROVENANCE, check};
use store::db::Conn;
use store::db::attached_file::{self, ProvenanceObject};
use store::storage::{Key, StorageError};
use upstream::{FileRequest, FileResponse, UpstreamError};

/// Age from which a stored object is requested again: an index may add attestations.
const MAX_AGE: Duration = Duration::from_secs(86_400);
const CONCURRENCY: usize = 4;
/// Time for which an object that could not be read is not requested again.
const FAILURE_TTL: Duration = Duration::from_secs(60);
/// Expired failures are removed whenever this many were recorded.
const PURGE_EVERY: usize = 256;

pub(in crate::serve) struct ProvenanceRequests {
    permits: Semaphore,
    failures: Mutex<HashMap<FileId, (Instant, UpstreamError)>>,
}

impl Default for ProvenanceRequests {
    fn default() -> ProvenanceRequests {
        ProvenanceRequests { permits: Semaphore::new(CONCURRENCY), failures: Mutex::default() }
    }
}

impl ProvenanceRequests {
    fn recent_failure(&self, file: FileId) -> Option<UpstreamError> {
        let failures = self.failures.lock();
        let (at, error) = failures.get(&file)?;
        (at.elapsed() < FAILURE_TTL).then(|| error.clone())
    }

    fn record_failure(&self, file: FileId, error: &UpstreamError) {
        let mut failures = self.failures.lock();
        if failures.len() % PURGE_EVERY == PURGE_EVERY - 1 {
            failures.retain(|_, (at, _)| at.elapsed() < FAILURE_TTL);
        }
        failures.insert(file, (Instant::now(), error.clone()));
    }
}

/// Returns the part of addresses of provenance objects before the digest of the file: `{repository}/{snapshot}`. The
/// snapshot is `latest`, so that pages are equal on all days between two changes, unless only files of each snapshot
/// are served, or a rule applies to `latest` but not to the snapshot.
pub fn link_base(repositories: &Repositories, point: &Point, repo: &str, snapshot: Snapshot) -> String {
    let is_restricted = restricted_trees(repositories, point).contains(&true);
    let has_other_rules = point.trees.iter().any(|tree| tree.rules.is_some_and(|rules| rules.is_dated));
    let snapshot = if is_restricted || has_other_rules { snapshot } else { Snapshot::Latest };
    format!("{repo}/{snapshot}")
}

/// Returns the provenance object of a file, from storage or fetched from the index; its structure is checked,
/// and that it is about this file. Fails with [`RepoError::Upstream`] also if the object is not valid.
pub async fn object(
    repositories: &Repositories,
    point: &Point,
    sha256: Sha256,
    file: &str,
) -> Result<Bytes, RepoError> {
    let located = locate(repositories, point, sha256, file, FilePart::Distribution).await?;
    if !located.source().is_project_index() {
        return uploaded(repositories, point, sha256, file).await;
    }
    let (state, id) = (&repositories.state, located.file());
    let row = state.db.read(move |c| attached_file::provenance(c, id)).await?;
    let facts = row.as_ref().map(|row| FileFacts::read(&row.facts)).unwrap_or_default();
    let stored = row.and_then(|row| row.object);
    let now = (state.clock)();
    let is_recent = |object: &&ProvenanceObject| now.since(object.stored_at) < MAX_AGE;
    if let Some(object) = stored.as_ref().filter(is_recent) {
        match read(repositories, object).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => {
                tracing::warn!(%file, %error, "could not read the stored provenance of a file; it is fetched again");
            }
        }
    }
    let fetched = match facts.provenance {
        Some(url) => fetch(repositories, located.source(), id, &url, sha256, file).await,
        None => Err(RepoError::NotFound(format!("this repository has no provenance of '{file}'"))),
    };
    match (fetched, stored) {
        (Ok(bytes), _) => Ok(bytes),
        (Err(error), None) => Err(error),
        // An earlier object is better than none while the index does not answer.
        (Err(error), Some(object)) => read(repositories, &object).await.map_err(|of_storage| match error {
            RepoError::NotFound(_) => of_storage,
            error => error,
        }),
    }
}

async fn uploaded(
    repositories: &Repositories,
    point: &Point,
    sha256: Sha256,
    file: &str,
) -> Result<Bytes, RepoError> {
    let located = locate(repositories, point, sha256, file, FilePart::Provenance).await?;
    read_file(repositories, &located, MAX_PROVENANCE).await.map_err(|error| match error {
        ReadError::Repo(error) => error,
        other => RepoError::Storage(StorageError::Other(format!("the provenance of '{file}': {other}"))),
    })
}

async fn read(repositories: &Repositories, object: &ProvenanceObject) -> Result<Bytes, RepoError> {
    let missing = || StorageError::NotFound("the provenance of a file".to_owned());
    let class = StorageClass::parse(&object.class).ok_or_else(missing)?;
    let bytes = repositories.fetches.integrity.read_verified(&Key::Package(class, object.sha256)).await?;
    Ok(bytes.ok_or_else(missing)?)
}

async fn fetch(
    repositories: &Repositories,
    source: SourceId,
    id: FileId,
    url: &str,
    sha256: Sha256,
    file: &str,
) -> Result<Bytes, RepoError> {
    let requests = &repositories.python.provenance_requests;
    let upstream_error = |source: UpstreamError| RepoError::Upstream { source, retry_after: 60 };
    if let Some(error) = requests.recent_failure(id) {
        return Err(upstream_error(error));
    }
    let _permit = requests.permits.acquire().await.ok();
    let (bytes, locator) = match request(repositories, source, url, sha256, file).await {
        Ok(fetched) => fetched,
        Err(error) => {
            tracing::warn!(%file, %error, "could not fetch the provenance of a file");
            requests.record_failure(id, &error);
            return Err(upstream_error(error));
        }
    };
    if let Err(error) = store(repositories, id, &locator, &bytes).await {
        tracing::error!(%file, %error, "could not store the provenance of a file; it was only sent to a client");
    }
    Ok(bytes)
}

async fn request(
    repositories: &Repositories,
    source: SourceId,
    url: &str,
    sha256: Sha256,
    file: &str,
) -> Result<(Bytes, String), UpstreamError> {
    let state = &repositories.state;
    let (config, upstream) = (state.config.load_full(), state.upstream.load_full());
    let refused =
        |reason: String| UpstreamError::Refused { url: format!("the provenance of {file}"), reason };
    let index = config.index(source).ok_or_else(|| refused("its source is no index".to_owned()))?;
    let name = FileName::parse(file).map_err(|error| refused(error.to_string()))?;
    let locator = locator::base(index)
        .and_then(|base| locator::locator(url, &base))
        .ok_or_else(|| refused("the index states an address that cannot be requested".to_owned()))?;
    let address = locator::address(&locator, index).map_err(refused)?;
    let request = FileRequest { path: &address.path, validators: None, limit: MAX_PROVENANCE };
    match upstream.transport(&address.folder)?.fetch(request).await? {
        FileResponse::Unchanged => {
            Err(refused("answered an unconditional request with 'not modified'".to_owned()))
        }
        FileResponse::Body { bytes, .. } => match check(&bytes, &name, sha256) {
            Ok(()) => Ok((bytes, locator)),
            Err(error) => Err(refused(error.to_string())),
        },
    }
}

async fn store(
    repositories: &Repositories,
    id: FileId,
    locator: &str,
    bytes: &Bytes,
) -> Result<(), RepoError> {
    let (sha256, locator) = (Sha256::of(bytes), locator.to_owned());
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let write_row =
        move |c: &mut dyn Conn| attached_file::put(c, id, FilePart::Provenance, &locator, sha256, size);
    super::store_object(repositories, sha256, bytes.clone(), write_row).await.map(drop)
}
