//! Receives a package archive: validates, rewrites and stores it. It streams the upload to a spool, recognizes and
//! validates it (`r::archive`), rewrites `Repository:` (`r::rewrite`), and stores the blob and then the row of the
//! upload, which any server can add.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::prepare::{PreparedPackage, is_zip, prepare};
use super::upload_body::{UploadBody, UploadKind};
use super::uploads::{DigestReservation, PendingWrite, Upload, Uploads};
use base::config::{Provider, Server};
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use content::serve::{RepoError, error};
use formats::r::archive::ArchiveLimits;
use formats::r::rewrite;
use runtime::state::State;
use store::db::{self, blob::Blob};
use store::storage::{Key, Spool, StorageError};

/// Receives an archive of an R package from a stream of bytes: validates, rewrites and stores it. It becomes part of a
/// source with [`add`](super::add::add) or [`add_binary`](super::add_binary::add).
///
/// # Errors
/// [`RepoError::Invalid`] when it is not a valid package of this kind, with the reason.
pub async fn receive(
    uploads: &Arc<Uploads>,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
    kind: UploadKind,
) -> Result<Upload, RepoError> {
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file).to_owned();
    let body = UploadBody::receive(&uploads.state, &file, body, kind.class()).await?;
    let (body, permit) = zip_permit(uploads, body, kind).await?;
    let received_at = (uploads.state.clock)();
    uploads.state.storage.may_store(kind.class()).await?;
    let (answer, result) = oneshot::channel();
    let uploads_of_task = Arc::clone(uploads);
    tokio::task::spawn_blocking(move || {
        check(&uploads_of_task, &file, &body, kind, received_at, permit, answer);
    });
    let UnstoredPackage { package, out, reservation: _reservation } =
        match result.await.map_err(|_| error::stopping())?? {
            CheckedUpload::Staged(upload) => return Ok(upload),
            CheckedUpload::Unstored(package) => *package,
        };
    reserve_blobs(&uploads.state, kind.class(), &package).await?;
    let key = Key::Package(kind.class(), package.upload.sha256);
    let readme = async {
        match &package.readme {
            Some((sha256, text)) => uploads.state.storage.put(&Key::Readme(*sha256), text.clone()).await,
            None => Ok(()),
        }
    };
    // An existing object is replaced: the upload repairs an object of the same size with damaged bytes.
    let (package_result, readme_result) = tokio::join!(uploads.state.storage.replace(out, &key), readme);
    package_result.and(readme_result)?;
    uploads.fetches.integrity.remove(&key);
    Ok(uploads.insert(package.into_staged(Vec::new(), received_at)))
}

/// Waits for a permit of [`Uploads::check_permit`] if the body is a zip file, whose check needs memory for all its
/// members. A tar archive is checked as a stream, and needs none.
async fn zip_permit(
    uploads: &Uploads,
    body: UploadBody,
    kind: UploadKind,
) -> Result<(UploadBody, Option<OwnedSemaphorePermit>), RepoError> {
    if kind != UploadKind::Binary {
        return Ok((body, None));
    }
    let detection = error::run_blocking(move || is_zip(&body).map(|is_zip| (body, is_zip)));
    match detection.await?? {
        (body, true) => Ok((body, Some(uploads.check_permit().await?))),
        (body, false) => Ok((body, None)),
    }
}

/// Checks a package and writes its rewritten bytes, and drops `permit`. The result is sent to `answer`: for a small package
/// in a class on a disk, before its objects are durable; [`add`](super::add::add) then waits until they are. Blocks.
fn check(
    uploads: &Arc<Uploads>,
    file: &str,
    body: &UploadBody,
    kind: UploadKind,
    received_at: Timestamp,
    permit: Option<OwnedSemaphorePermit>,
    answer: oneshot::Sender<Result<CheckedUpload, RepoError>>,
) {
    let prepared = prepare_package(uploads, file, body, kind);
    drop(permit);
    // Sending to `answer` fails only if the client has disconnected.
    let unstored_package = match prepared {
        Ok(unstored_package) => unstored_package,
        Err(error) => return drop(answer.send(Err(error))),
    };
    let storage = uploads.state.storage.clone();
    let is_single_server = uploads.state.config.load().database.provider == Provider::Sqlite;
    let is_small = matches!(body, UploadBody::Small(_));
    if !is_single_server || !is_small || kind == UploadKind::Binary || !storage.is_on_disk(kind.class()) {
        return drop(answer.send(Ok(CheckedUpload::Unstored(Box::new(unstored_package)))));
    }
    let UnstoredPackage { package, out, reservation } = unstored_package;
    let (archive_write, archive_guard) = PendingWrite::begin();
    let mut pending_writes = vec![archive_write];
    if let Some((sha256, text)) = package.readme.clone() {
        let (readme_write, readme_guard) = PendingWrite::begin();
        pending_writes.push(readme_write);
        let storage = storage.clone();
        tokio::task::spawn_blocking(move || {
            let key = Key::Readme(sha256);
            readme_guard.complete(log_error(&key, storage.put_blocking(&key, &text)));
        });
    }
    let key = Key::Package(kind.class(), package.upload.sha256);
    let upload = uploads.insert(package.into_staged(pending_writes, received_at));
    // From now on the upload itself reserves the digests.
    drop(reservation);
    drop(answer.send(Ok(CheckedUpload::Staged(upload))));
    let result = log_error(&key, storage.replace_blocking(out, &key));
    uploads.fetches.integrity.remove(&key);
    archive_guard.complete(result);
}

fn prepare_package(
    uploads: &Arc<Uploads>,
    file: &str,
    body: &UploadBody,
    kind: UploadKind,
) -> Result<UnstoredPackage, RepoError> {
    let config = uploads.state.config.load();
    let out = uploads.state.storage.spool_blocking(kind.class())?;
    let (package, out) = prepare(file, body, out, options(&config.server), kind)?;
    let readme = package.readme.as_ref().map(|readme| readme.0);
    let reservation = uploads.reserve([Some(package.upload.sha256), readme].into_iter().flatten().collect());
    Ok(UnstoredPackage { package, out, reservation })
}

/// Reserves the blobs of an upload in the database, because the sweep of another server does not know it.
async fn reserve_blobs(
    state: &State,
    class: StorageClass,
    package: &PreparedPackage,
) -> Result<(), RepoError> {
    let archive = (Key::Package(class, package.upload.sha256), package.upload.size);
    let readme = package.readme.as_ref().map(|(sha256, text)| (Key::Readme(*sha256), text.len() as u64));
    reserve_objects(state, &[Some(archive), readme].into_iter().flatten().collect::<Vec<_>>()).await
}

pub(super) async fn reserve_objects(state: &State, objects: &[(Key, u64)]) -> Result<(), RepoError> {
    match state.config.load().database.provider {
        Provider::Sqlite => return Ok(()),
        Provider::Postgres => {}
    }
    let created_at = (state.clock)();
    let blobs: Vec<Blob> = objects
        .iter()
        .map(|(key, size)| Blob {
            sha256: *key.digest(),
            class: key.directory().to_owned(),
            size: i64::try_from(*size).unwrap_or(i64::MAX),
            created_at,
        })
        .collect();
    let reservation = state.db.write(move |c| blobs.iter().try_for_each(|blob| db::blob::reserve(c, blob)));
    Ok(reservation.await?)
}

enum CheckedUpload {
    /// The upload; its objects are being written to storage.
    Staged(Upload),
    /// Must be stored before the answer: a shared database, a binary, a large package, or a class not on a disk.
    Unstored(Box<UnstoredPackage>),
}

/// A prepared package with the bytes of its object.
struct UnstoredPackage {
    package: PreparedPackage,
    out: Spool,
    /// Protects the objects from the sweep.
    reservation: DigestReservation,
}

/// Logs a failed write, which is otherwise reported only when the client adds the upload.
fn log_error(key: &Key, result: Result<(), StorageError>) -> Result<(), StorageError> {
    if let Err(error) = &result {
        tracing::error!(object = %key, %error, "could not store an uploaded package");
    }
    result
}

fn options(server: &Server) -> rewrite::RewriteOptions {
    rewrite::RewriteOptions {
        level: server.package_rewrite_compression_level,
        buffer: server.package_rewrite_buffer_size,
        limits: ArchiveLimits::default(),
    }
}
