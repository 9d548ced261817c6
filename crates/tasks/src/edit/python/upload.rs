//! Publishes a file that a client such as twine uploads: one form, one file, one transaction.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::OwnedSemaphorePermit;

use super::receive;
use crate::edit::add::add;
use crate::edit::edited_source::{EditedSource, require_language};
use crate::edit::upload_body::{BodyHasher, UploadBody};
use crate::edit::{Actor, AddStatus, OnExisting, Upload, UploadKind, Uploads};
use base::model::language::Language;
use content::serve::{RepoError, find};
use formats::python::file_name::FileName;
use formats::python::upload::digest::FileHasher;
use formats::python::upload::form::UploadForm;
use runtime::catalog::Catalog;

/// A received file, which is not checked yet.
pub struct ReceivedFile {
    name: FileName,
    body: UploadBody,
}

/// Checks that clients can upload to a source.
///
/// # Errors
/// [`RepoError::Unknown`], and [`RepoError::Invalid`] for a source of another type.
pub fn check_source(catalog: &Catalog, source: &str) -> Result<(), RepoError> {
    let source = find::source(catalog, source)?;
    require_language(source, Language::Python)?;
    EditedSource::for_uploads(catalog, source).map(drop)
}

/// Receives the bytes of a file, and computes their digests.
///
/// # Errors
/// [`RepoError::Invalid`] if the body fails.
pub async fn receive_file(
    uploads: &Uploads,
    name: FileName,
    body: BoxStream<'_, Result<Bytes, io::Error>>,
) -> Result<ReceivedFile, RepoError> {
    let hasher = || BodyHasher::All(Box::<FileHasher>::default());
    let class = UploadKind::Python.class();
    let body = UploadBody::receive_hashed(&uploads.state, name.as_str(), body, class, hasher).await?;
    Ok(ReceivedFile { name, body })
}

/// Checks a received file, and adds it to a source in one transaction; visible when this returns. Nothing changes if
/// the source has it already. `permit` is one of [`Uploads::check_permit`]: a caller that continues when its client
/// disconnects waits for it before.
///
/// # Errors
/// [`RepoError::Upload`] and [`RepoError::Invalid`] for an invalid form or file, [`RepoError::FileExists`]
/// for different bytes under a name that was used before. Then nothing is added.
pub async fn publish(
    uploads: &Arc<Uploads>,
    source: &str,
    form: UploadForm,
    file: ReceivedFile,
    permit: OwnedSemaphorePermit,
    actor: &Actor,
) -> Result<(Upload, AddStatus), RepoError> {
    let upload = receive::stage(uploads, file.name, file.body, Some(form), permit).await?;
    let added = add(uploads, source, &[upload.id], OnExisting::Fail, actor).await;
    // Removed after a refusal, too: no other request has the number of this upload.
    uploads.remove(&[upload.id]);
    let (_, mut added) = added?;
    added.pop().ok_or(RepoError::NoUpload(upload.id))
}
