//! Receives a wheel or a source distribution: checks it, and stores its bytes unchanged. Publishes a file that a client such
//! as twine uploads: one form, one file, one transaction.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::edit::add::add;
use crate::edit::edited_source::{EditedSource, require_language};
use crate::edit::prepare::invalid_package;
use crate::edit::upload::reserve_objects;
use crate::edit::upload_body::{BodyHasher, UploadBody, UploadKind};
use crate::edit::uploads::{StagedPython, StagedUpload, Upload, Uploads};
use crate::edit::{Actor, AddStatus, OnExisting};
use base::model::change::AttachedFiles;
use base::model::digest::{Md5, Sha256};
use content::serve::{RepoError, error, find};
use formats::python::archive::{DistributionArchive, SDIST_LIMITS, WHEEL_LIMITS, sdist, wheel};
use formats::python::facts::FileFacts;
use formats::python::file_name::{FileKind, FileName};
use formats::python::upload::{AttachedContent, FileHasher, UploadForm};
use formats::python::version::Pep440Version;
use runtime::catalog::Catalog;
use store::storage::{Key, Spool};

/// Receives a file of a Python package from a stream of bytes: validates and stores it.
///
/// # Errors
/// [`RepoError::Invalid`] when it is not a valid package, with the reason.
pub async fn receive(
    uploads: &Arc<Uploads>,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
) -> Result<Upload, RepoError> {
    let (state, class) = (&uploads.state, UploadKind::Python.class());
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let name = FileName::parse(file).map_err(|error| invalid_package(file, &error))?;
    let body = UploadBody::receive(state, file, body, class).await?;
    let permit = uploads.check_permit().await?;
    stage(uploads, name, body, None, permit).await
}

/// Checks a received file against the form that declares it, and stores it. Needs a [`Uploads::check_permit`].
pub(super) async fn stage(
    uploads: &Arc<Uploads>,
    name: FileName,
    body: UploadBody,
    form: Option<UploadForm>,
    permit: OwnedSemaphorePermit,
) -> Result<Upload, RepoError> {
    let (state, class) = (&uploads.state, UploadKind::Python.class());
    let received_at = (state.clock)();
    state.storage.may_store(class).await?;
    let is_strict = state.config.load().local_python.strict;
    let state_of_task = Arc::clone(state);
    let check = error::run_blocking(move || -> Result<_, RepoError> {
        // Held by the check, which continues when its client disconnects.
        let _permit = permit;
        let checked = check(&name, &body, form)?;
        if let Some(notice) = checked.staged.upload.notices.first().filter(|_| is_strict) {
            return Err(RepoError::Invalid(format!(
                "'{name}' is refused: {notice}; this server is strict ([LocalPython] Strict)"
            )));
        }
        Ok((checked, body.into_spool(&state_of_task, class)?))
    });
    let (CheckedFile { staged, small_files }, spool): (CheckedFile, Spool) = check.await??;
    let objects = staged.objects();
    // Protects the objects from the sweep until the upload itself does.
    let _reservation = uploads.reserve(objects.iter().map(|(key, _)| *key.digest()).collect());
    reserve_objects(state, &objects).await?;
    // Existing objects are replaced: the upload repairs an object of the same size with damaged bytes.
    replace(uploads, spool, &Key::Package(class, staged.upload.sha256)).await?;
    for (sha256, bytes) in small_files {
        let mut spool = state.storage.spool(class).await?;
        spool = tokio::task::spawn_blocking(move || -> Result<Spool, RepoError> {
            let result = spool.write_all(&bytes);
            result.map_err(|error| store::storage::StorageError::io("write", spool.path(), error))?;
            Ok(spool)
        })
        .await
        .map_err(|_| error::stopping())??;
        replace(uploads, spool, &Key::Package(class, sha256)).await?;
    }
    Ok(uploads.insert(StagedUpload { received_at, ..staged }))
}

/// Stores the bytes of a spool, also if the object exists.
async fn replace(uploads: &Uploads, spool: Spool, key: &Key) -> Result<(), RepoError> {
    uploads.state.storage.replace(spool, key).await?;
    uploads.fetches.integrity.remove(key);
    Ok(())
}

struct CheckedFile {
    staged: StagedUpload,
    /// The digests and bytes of its other objects: METADATA of a wheel, and the files that were uploaded with it.
    small_files: Vec<(Sha256, Bytes)>,
}

fn check(name: &FileName, body: &UploadBody, form: Option<UploadForm>) -> Result<CheckedFile, RepoError> {
    let file = name.as_str();
    // Checked first: a file that was changed during the transfer may have any other defect.
    if let Some((form, digests)) = form.as_ref().zip(body.digests()) {
        form.check_file(name, &digests)?;
    }
    let mut source = body.open_seekable()?;
    let size = source.seek(io::SeekFrom::End(0));
    let size = size.and_then(|size| source.seek(io::SeekFrom::Start(0)).map(|_| size));
    let size = size.map_err(|error| invalid_package(file, &error))?;
    let archive = match name.kind() {
        FileKind::Wheel => wheel::read(&mut source, file, WHEEL_LIMITS),
        FileKind::Sdist => sdist::read(&mut source, name, SDIST_LIMITS),
        FileKind::Egg
        | FileKind::WindowsInstaller
        | FileKind::Msi
        | FileKind::Rpm
        | FileKind::Deb
        | FileKind::Dmg => {
            return Err(RepoError::Invalid(format!(
                "'{file}' is refused: installers use wheels (.whl) and source distributions (.tar.gz) only"
            )));
        }
    };
    let DistributionArchive { metadata, metadata_raw, notices } =
        archive.map_err(|error| invalid_package(file, &error))?;
    let project = metadata.project().map_err(|error| invalid_package(file, &error))?;
    let version: Pep440Version = metadata.version.parse().map_err(|error| invalid_package(file, &error))?;
    let sha256 = body.sha256();
    let content = match form {
        Some(mut form) => {
            form.check_package(name, &project, &version)?;
            form.take_attached(name, sha256)?
        }
        None => AttachedContent::default(),
    };
    let mut small_files: Vec<(Sha256, Bytes)> = Vec::new();
    let mut add_small_file = |bytes: Vec<u8>| {
        let (digest, size) = (Sha256::of(&bytes), bytes.len());
        small_files.push((digest, bytes.into()));
        (digest, size)
    };
    // Clients use only METADATA of wheels: that of a source distribution may differ from the built wheel (PEP 658).
    let metadata_object = (name.kind() == FileKind::Wheel).then(|| add_small_file(metadata_raw));
    let mut attach = |bytes: Option<Vec<u8>>| {
        let (digest, size) = add_small_file(bytes?);
        Some((digest, i64::try_from(size).unwrap_or(i64::MAX)))
    };
    let attached =
        AttachedFiles { signature: attach(content.signature), provenance: attach(content.provenance) };
    let staged = StagedUpload {
        upload: Upload {
            id: 0,
            file: file.to_owned(),
            package: project.to_string(),
            version: version.normalized(),
            original: sha256,
            sha256,
            size,
            notices,
        },
        stanza: Vec::new(),
        description: Vec::new(),
        md5: Md5([0; 16]),
        binary_target: None,
        readme: None,
        python: Some(StagedPython {
            facts: FileFacts::of_metadata(&metadata).with_attached(&attached),
            metadata: metadata_object.map(|(digest, size)| (digest, size as u64)),
            attached,
        }),
        pending_writes: Vec::new(),
        received_at: base::model::time::Timestamp(0),
    };
    Ok(CheckedFile { staged, small_files })
}

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
    require_language(source, &[UploadKind::Python.language()])?;
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
    let upload = stage(uploads, file.name, file.body, Some(form), permit).await?;
    let added = add(uploads, source, &[upload.id], OnExisting::Fail, actor).await;
    // Removed after a refusal, too: no other request has the number of this upload.
    uploads.remove(&[upload.id]);
    let (_, mut added) = added?;
    added.pop().ok_or(RepoError::NoUpload(upload.id))
}
