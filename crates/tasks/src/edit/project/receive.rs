//! Receives a file of a project: checks it, and stores its bytes unchanged. Publishes a file that a client uploads with a
//! form, such as twine: one form, one file, one transaction.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::OwnedSemaphorePermit;

use super::files;
use crate::edit::add::add;
use crate::edit::edited_source::{EditedSource, require_language};
use crate::edit::prepare::refused;
use crate::edit::upload::reserve_objects;
use crate::edit::upload_body::{BodyHasher, UploadBody, UploadKind};
use crate::edit::uploads::{StagedProjectFile, StagedUpload, Upload, Uploads};
use crate::edit::{Actor, AddStatus, OnExisting};
use base::model::change::{AttachedContent, AttachedFiles};
use base::model::digest::{FileDigests, FileHasher, Md5, Sha256};
use base::model::kind::Language;
use base::model::project_page::CheckedFile;
use base::model::time::Timestamp;
use content::serve::{RepoError, error, find};
use formats::language::{FileBytes, ProjectFiles};
use runtime::catalog::Catalog;
use store::storage::{Key, Spool};

/// A received file, which is not checked yet.
pub struct ReceivedFile {
    language: Language,
    name: String,
    body: UploadBody,
}

impl ReceivedFile {
    /// Opens the bytes for random access.
    ///
    /// # Errors
    /// [`RepoError::Storage`] if they cannot be read.
    pub fn open(&self) -> Result<Box<dyn FileBytes + '_>, RepoError> {
        self.body.open_seekable()
    }

    /// Returns the digests that clients declare; `None` if they were not computed while the bytes were received.
    pub fn digests(&self) -> Option<FileDigests> {
        self.body.digests()
    }

    pub fn sha256(&self) -> Sha256 {
        self.body.sha256()
    }

    /// Returns the error for a file that is refused for a reason.
    pub fn refusal(&self, reason: &str) -> RepoError {
        refused(&self.name, reason)
    }
}

/// A checked file, and the files that were uploaded with it.
pub struct CheckedUpload {
    pub file: CheckedFile,
    pub attached: AttachedContent,
}

/// Receives a file of a project from a stream of bytes: validates and stores it.
///
/// # Errors
/// [`RepoError::Invalid`] when it is not a valid file of the language, with the reason.
pub async fn receive(
    uploads: &Arc<Uploads>,
    language: Language,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
) -> Result<Upload, RepoError> {
    let class = UploadKind::Project(language).class();
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file).to_owned();
    let files = files(language)?;
    files.check_name(&name).map_err(|reason| refused(&name, &reason))?;
    let body = UploadBody::receive(&uploads.state, &name, body, class).await?;
    let permit = uploads.check_permit().await?;
    let check = |file: &ReceivedFile| {
        let checked = files.check(&file.name, &mut *file.open()?);
        let file = checked.map_err(|reason| file.refusal(&reason))?;
        Ok(CheckedUpload { file, attached: AttachedContent::default() })
    };
    stage(uploads, ReceivedFile { language, name, body }, check, permit).await
}

/// Checks a received file, and stores it. Needs a [`Uploads::check_permit`].
async fn stage(
    uploads: &Arc<Uploads>,
    file: ReceivedFile,
    check: impl FnOnce(&ReceivedFile) -> Result<CheckedUpload, RepoError> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> Result<Upload, RepoError> {
    let (state, class) = (&uploads.state, UploadKind::Project(file.language).class());
    let received_at = (state.clock)();
    state.storage.may_store(class).await?;
    let files = files(file.language)?;
    let strict_section = files.strict_section().filter(|_| state.config.load().local_python.strict);
    let state_of_task = Arc::clone(state);
    let check = error::run_blocking(move || -> Result<_, RepoError> {
        // Held by the check, which continues when its client disconnects.
        let _permit = permit;
        let checked = check(&file)?;
        if let Some((section, notice)) = strict_section.zip(checked.file.notices.first()) {
            let name = &file.name;
            return Err(RepoError::Invalid(format!(
                "'{name}' is refused: {notice}; this server is strict ([{section}] Strict)"
            )));
        }
        let staged = StoredUpload::new(&file, checked, files, received_at);
        Ok((staged, file.body.into_spool(&state_of_task, class)?))
    });
    let (StoredUpload { staged, small_files }, spool): (StoredUpload, Spool) = check.await??;
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
    Ok(uploads.insert(staged))
}

/// Stores the bytes of a spool, also if the object exists.
async fn replace(uploads: &Uploads, spool: Spool, key: &Key) -> Result<(), RepoError> {
    uploads.state.storage.replace(spool, key).await?;
    uploads.fetches.integrity.remove(key);
    Ok(())
}

/// An upload whose objects are to be stored.
struct StoredUpload {
    staged: StagedUpload,
    /// The digests and bytes of its other objects: its metadata, and the files that were uploaded with it.
    small_files: Vec<(Sha256, Vec<u8>)>,
}

impl StoredUpload {
    fn new(
        file: &ReceivedFile,
        CheckedUpload { file: checked, attached }: CheckedUpload,
        files: &dyn ProjectFiles,
        received_at: Timestamp,
    ) -> StoredUpload {
        let mut small_files: Vec<(Sha256, Vec<u8>)> = Vec::new();
        let mut add_small_file = |bytes: Vec<u8>| {
            let (digest, size) = (Sha256::of(&bytes), bytes.len());
            small_files.push((digest, bytes));
            (digest, size)
        };
        let metadata = checked.metadata.map(&mut add_small_file).map(|(digest, size)| (digest, size as u64));
        let mut attach = |bytes: Option<Vec<u8>>| {
            let (digest, size) = add_small_file(bytes?);
            Some((digest, i64::try_from(size).unwrap_or(i64::MAX)))
        };
        let attached =
            AttachedFiles { signature: attach(attached.signature), provenance: attach(attached.provenance) };
        let facts = files.with_attached(&checked.facts, &attached).unwrap_or(checked.facts);
        let sha256 = file.sha256();
        let staged = StagedUpload {
            upload: Upload {
                id: 0,
                file: file.name.clone(),
                package: checked.project.to_string(),
                version: checked.version,
                original: sha256,
                sha256,
                size: file.body.size(),
                notices: checked.notices,
            },
            stanza: Vec::new(),
            description: Vec::new(),
            md5: Md5([0; 16]),
            binary_target: None,
            readme: None,
            project_file: Some(StagedProjectFile { language: file.language, facts, metadata, attached }),
            pending_writes: Vec::new(),
            received_at,
        };
        StoredUpload { staged, small_files }
    }
}

/// Checks that clients can upload files of a language to a source.
///
/// # Errors
/// [`RepoError::Unknown`], and [`RepoError::Invalid`] for a source of another type.
pub fn check_source(catalog: &Catalog, source: &str, language: Language) -> Result<(), RepoError> {
    let source = find::source(catalog, source)?;
    require_language(source, &[language])?;
    EditedSource::for_uploads(catalog, source).map(drop)
}

/// Receives the bytes of a file, whose name has been checked, and computes the digests that clients declare.
///
/// # Errors
/// [`RepoError::Invalid`] if the body fails.
pub async fn receive_file(
    uploads: &Uploads,
    language: Language,
    name: &str,
    body: BoxStream<'_, Result<Bytes, io::Error>>,
) -> Result<ReceivedFile, RepoError> {
    let hasher = || BodyHasher::All(Box::<FileHasher>::default());
    let class = UploadKind::Project(language).class();
    let body = UploadBody::receive_hashed(&uploads.state, name, body, class, hasher).await?;
    Ok(ReceivedFile { language, name: name.to_owned(), body })
}

/// Checks a received file, together with the form that declares it, and adds it to a source in one transaction; visible when
/// this returns. Nothing changes if the source has it already. `permit` is one of [`Uploads::check_permit`]: a caller that
/// continues when its client disconnects waits for it before.
///
/// # Errors
/// Those of `check`, and [`RepoError::FileExists`] for different bytes under a used name. Then nothing is added.
pub async fn publish(
    uploads: &Arc<Uploads>,
    source: &str,
    file: ReceivedFile,
    check: impl FnOnce(&ReceivedFile) -> Result<CheckedUpload, RepoError> + Send + 'static,
    permit: OwnedSemaphorePermit,
    actor: &Actor,
) -> Result<(Upload, AddStatus), RepoError> {
    let upload = stage(uploads, file, check, permit).await?;
    let added = add(uploads, source, &[upload.id], OnExisting::Fail, actor).await;
    // Removed after a refusal, too: no other request has the number of this upload.
    uploads.remove(&[upload.id]);
    let (_, mut added, _) = added?;
    added.pop().ok_or(RepoError::NoUpload(upload.id))
}
