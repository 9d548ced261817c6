//! Stores a missing or damaged object again: a package from its mirror, a README from the archive of its package.

use crate::fetch::{Delivery, FetchError, FetchOutcome, FetchRequest};
use base::model::digest::Sha256;
use base::model::kind::{Language, Layout, StorageClass};
use formats::r::platform::Platform;
use formats::r::version;
use store::db::stored_file::{self, FileOrigin, MirroredFile};
use store::storage::{Key, StorageError};

use super::located::LocatedFile;
use super::{archive_details, upstream};
use crate::serve::{RepoError, Repositories};

#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// No mirror has the object, and storage has no archive from which it could be extracted.
    #[error("no mirror has the object, and no stored archive contains it")]
    NoSource,
    /// The mirror, or the archive of its package, has different bytes, or lacks the object.
    #[error("{0}")]
    Gone(String),
    /// The mirror does not deliver the object now, or it cannot be stored.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// Fetches a package of a mirror again.
pub async fn package(repositories: &Repositories, sha256: Sha256) -> Result<(), RepairError> {
    let files = repositories.state.db.read(move |c| stored_file::mirrored_files(c, sha256)).await;
    let mut reason = RepairError::NoSource;
    for file in files.map_err(RepoError::from)? {
        match fetch(repositories, file).await {
            Ok(()) => return Ok(()),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

async fn fetch(repositories: &Repositories, mirrored: MirroredFile) -> Result<(), RepairError> {
    let MirroredFile { tree, package, platform, file } = mirrored;
    // Marked as not stored, so that a bundle is searched for the object by its digest.
    let located = LocatedFile { stored: false, ..LocatedFile::new(&package, tree, file) };
    let located = match platform.as_str() {
        "" => located,
        platform => LocatedFile { platform: Platform::parse_database_form(platform), ..located },
    };
    if !upstream::may_be_fetched(&repositories.state, &located) {
        return Err(RepairError::NoSource);
    }
    let failed = |error: RepoError| RepairError::Failed(error.to_string());
    let (candidates, class, form) = upstream::candidates(&repositories.state, &located).map_err(failed)?;
    let request = || FetchRequest::new(&located.row, form, candidates, class, located.tree, &located.package);
    let subscriber = repositories.fetches.join(located.row.file, request)?;
    match subscriber.wait_end().await {
        Some(FetchOutcome::Done(Delivery::Stored(_))) => Ok(()),
        Some(FetchOutcome::Done(Delivery::SentOnly)) => Err(RepairError::Failed(
            "the fetched file could not be stored; the server log has the reason".to_owned(),
        )),
        Some(FetchOutcome::Failed(error)) => Err(error.into()),
        None => Err(RepairError::Failed("the server is stopping".to_owned())),
    }
}

impl From<FetchError> for RepairError {
    fn from(error: FetchError) -> RepairError {
        let reason = error.to_string();
        match error {
            FetchError::Missing(_) | FetchError::Mismatch(_) => RepairError::Gone(reason),
            FetchError::Upstream(_) | FetchError::Storage(_) | FetchError::Cancelled => {
                RepairError::Failed(reason)
            }
        }
    }
}

/// Stores bytes in place of an object, which may have the same size: a damaged one that could not be moved away.
async fn replace(repositories: &Repositories, key: &Key, bytes: &[u8]) -> Result<(), StorageError> {
    let storage = &repositories.state.storage;
    let mut spool = storage.spool(key.class()).await?;
    spool.write_all(bytes).map_err(|error| StorageError::io("write", spool.path(), error))?;
    storage.replace(spool, key).await
}

/// Extracts a README from the archive of its package again.
pub async fn readme(repositories: &Repositories, sha256: Sha256) -> Result<(), RepairError> {
    let archives = repositories.state.db.read(move |c| stored_file::archives_of_readme(c, sha256)).await;
    let mut reason = RepairError::NoSource;
    for (class, archive) in archives.map_err(RepoError::from)? {
        let Some(class) = StorageClass::parse(&class) else { continue };
        match archive_details::readme(repositories, &Key::Package(class, archive)).await {
            Ok(Some((digest, text))) if digest == sha256 => {
                let result = replace(repositories, &Key::Readme(sha256), &text).await;
                return result.map_err(|error| RepairError::Failed(error.to_string()));
            }
            Ok(_) => {
                reason = RepairError::Gone("the archive of its package has another README".to_owned());
            }
            Err(error) => reason = RepairError::Failed(error.to_string()),
        }
    }
    Err(reason)
}

/// Returns the difference of name and version in the DESCRIPTION of a stored source package from its rows.
pub async fn differing_facts(repositories: &Repositories, key: &Key) -> Result<Option<String>, RepoError> {
    let sha256 = *key.digest();
    let origin = repositories.state.db.read(move |c| stored_file::origin(c, sha256)).await?;
    let has_description = |origin: &FileOrigin| {
        let layout = Language::parse(&origin.language).map(Language::layout);
        layout == Some(Layout::Lists) && origin.platform.is_empty()
    };
    let Some(origin) = origin.filter(has_description) else { return Ok(None) };
    let identity = archive_details::name_and_version(repositories, key).await?;
    Ok(match identity {
        Some(Ok((name, version)))
            if name == origin.package && version::compare(&version, &origin.version).is_eq() =>
        {
            None
        }
        Some(Ok((name, version))) => Some(format!(
            "its DESCRIPTION names {name} {version}, but its row in the database names {} {}",
            origin.package, origin.version
        )),
        Some(Err(error)) => Some(format!("its DESCRIPTION cannot be read: {error}")),
        None => None,
    })
}
