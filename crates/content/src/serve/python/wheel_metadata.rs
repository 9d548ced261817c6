//! METADATA that an index declares for a wheel but lacks, as some partial mirrors: it is read from the wheel,
//! and stored if it has the declared digest.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::index::wheel_metadata::{WheelError, read};
use crate::serve::files::located::LocatedFile;
use crate::serve::files::mirror_fetch;
use crate::serve::{RepoError, Repositories};
use base::model::digest::Sha256;
use base::model::ids::FileId;
use base::model::kind::StorageClass;
use base::model::project_path::FilePart;
use store::db::attached_file::{self, StoredWheel};
use store::db::file::{FetchedFacts, FileState};
use store::db::project_file;
use store::db::{self, Conn};
use store::storage::Key;
use upstream::UpstreamError;

const CONCURRENCY: usize = 2;
/// The sentence about METADATA that the wheel does not have either.
const UNUSABLE: &str = "the wheel has no METADATA with the digest that the index declares";

/// Running readings of wheels, and the METADATA that they did not have.
pub(in crate::serve) struct WheelReads {
    permits: Semaphore,
    /// The rows of METADATA that a wheel lacks with the declared digest: it is not read again until a restart.
    unusable: Mutex<HashSet<FileId>>,
}

impl Default for WheelReads {
    fn default() -> WheelReads {
        WheelReads { permits: Semaphore::new(CONCURRENCY), unusable: Mutex::default() }
    }
}

pub(in crate::serve) fn is_metadata(located: &LocatedFile) -> bool {
    located.source().is_project_index()
        && located.name.strip_suffix(FilePart::Metadata.suffix()) == Some(located.row.name.as_str())
}

/// Stores METADATA from its wheel after the index did not deliver it because of `error`. Returns the stored
/// object. Fails with `error` if the file is not METADATA of a wheel, if the index may deliver it later, or
/// if the wheel lacks it; with [`RepoError::Upstream`] if the wheel may be fetched later.
pub(in crate::serve) async fn store(
    repositories: &Repositories,
    located: &LocatedFile,
    error: RepoError,
) -> Result<Key, RepoError> {
    let is_absent = match &error {
        RepoError::NotFound(_) => true,
        RepoError::Upstream { source, .. } => !matches!(source, UpstreamError::Unavailable { .. }),
        _ => false,
    };
    let Some(declared) = located.sha256.filter(|_| is_absent && is_metadata(located)) else {
        return Err(error);
    };
    let (reads, id) = (&repositories.python.wheel_reads, located.file());
    if reads.unusable.lock().contains(&id) {
        return Err(with_reason(error, UNUSABLE));
    }
    let Some(wheel) = wheel_of(repositories, located).await? else { return Err(error) };
    let key = match wheel.key() {
        Some(key) => key,
        None => match mirror_fetch::fetch_to_storage(repositories, &wheel).await {
            Ok(key) => key,
            Err(of_wheel) if of_wheel.may_succeed_later() => return Err(of_wheel),
            Err(_) => return Err(error),
        },
    };
    let _permit = reads.permits.acquire().await.ok();
    // Another request may have stored it meanwhile. If the row says so, its object is missing or damaged.
    if !located.stored
        && let Some(key) = stored_object(repositories, id).await?
    {
        return Ok(key);
    }
    let stored_wheel = StoredWheel {
        project: wheel.package.clone(),
        file: wheel.file(),
        name: wheel.row.name.clone(),
        sha256: *key.digest(),
        class: key.class().as_str().to_owned(),
        facts: Vec::new(),
    };
    let reason = match read(&repositories.state, &stored_wheel).await {
        Ok(metadata) => {
            let digest = Sha256::of(&metadata);
            if digest == declared {
                return put(repositories, id, declared, metadata).await;
            }
            format!("its SHA-256 is {digest}, not {declared}")
        }
        Err(WheelError::Package(reason)) => reason.to_string(),
        Err(reason) => {
            tracing::warn!(file = %located.name, %reason, "could not read METADATA from a wheel");
            return Err(error);
        }
    };
    tracing::warn!(file = %located.name, reason, "the index does not have METADATA that it declares, and that of the wheel cannot be used");
    reads.unusable.lock().insert(id);
    Err(with_reason(error, UNUSABLE))
}

async fn wheel_of(
    repositories: &Repositories,
    located: &LocatedFile,
) -> Result<Option<LocatedFile>, RepoError> {
    let (id, tree, name) = (located.file(), located.tree(), located.row.name.clone());
    let query = repositories.state.db.read(move |c| {
        let Some(sha256) = attached_file::wheel_of(c, id)? else { return Ok(None) };
        project_file::find(c, tree.tree, sha256, &name, FilePart::Distribution, None)
    });
    let found = query.await?;
    Ok(found.map(|found| LocatedFile::new(&found.project, tree, found.row)))
}

/// Returns the object of a file, if its row states that it is in storage.
async fn stored_object(repositories: &Repositories, file: FileId) -> Result<Option<Key>, RepoError> {
    let stored = repositories.state.db.read(move |c| db::file::stored_blob(c, file)).await?;
    Ok(stored.and_then(|(class, sha256)| Some(Key::Package(StorageClass::parse(&class)?, sha256))))
}

async fn put(
    repositories: &Repositories,
    file: FileId,
    sha256: Sha256,
    metadata: Vec<u8>,
) -> Result<Key, RepoError> {
    let size = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
    let facts =
        FetchedFacts { file, sha256: Some(sha256), size: Some(size), state: FileState::Stored, built: None };
    let write_row = move |c: &mut dyn Conn| db::file::update(c, std::slice::from_ref(&facts));
    super::store_object(repositories, sha256, metadata.into(), write_row).await
}

fn with_reason(error: RepoError, sentence: &str) -> RepoError {
    match error {
        RepoError::NotFound(text) => RepoError::NotFound(format!("{text}; {sentence}")),
        RepoError::Upstream { source: UpstreamError::Refused { url, reason }, retry_after } => {
            let reason = format!("{reason}; {sentence}");
            RepoError::Upstream { source: UpstreamError::Refused { url, reason }, retry_after }
        }
        error => error,
    }
}
