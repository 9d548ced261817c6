//! Receives a package archive: validates, rewrites and stores it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::Digest;
use tokio::sync::oneshot;

use super::durability::PendingWrite;
use super::prepare::{PreparedPackage, prepare};
use super::uploads::Uploads;
use super::uploads::{DigestReservation, Upload};
use crate::config::{Provider, Server, StorageClass};
use crate::db::{self, blob::Blob};
use crate::model::digest::Sha256;
use crate::model::time::Timestamp;
use crate::r::archive::Limits;
use crate::r::rewrite;
use crate::serve::RepoError;
use crate::state::State;
use crate::storage::{Key, Spool, StorageError};

/// Bytes gathered for one write to a spool, off the async threads. Smaller uploads are never written as received.
const WRITE_SIZE: usize = 512 << 10;

/// Receives a package archive from a stream of bytes: validates, rewrites and stores it. It becomes part of a
/// source with [`add`](super::add::add).
///
/// # Errors
/// [`RepoError::Invalid`] when it is not a valid source package, with the reason.
pub async fn receive(
    uploads: &Arc<Uploads>,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
) -> Result<Upload, RepoError> {
    receive_as(uploads, file, body, UploadKind::Source).await
}

/// Like [`receive`], for a binary; see [`add_binary`](super::add_binary::add).
///
/// # Errors
/// [`RepoError::Invalid`] when it is not a valid binary, with the reason.
pub async fn receive_binary(
    uploads: &Arc<Uploads>,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
) -> Result<Upload, RepoError> {
    receive_as(uploads, file, body, UploadKind::Binary).await
}

async fn receive_as(
    uploads: &Arc<Uploads>,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
    what: UploadKind,
) -> Result<Upload, RepoError> {
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file).to_owned();
    let given = receive_body(&uploads.state, &file, body, what.class()).await?;
    let since = (uploads.state.clock)();
    uploads.state.storage.may_store(what.class()).await?;
    let (answer, taken) = oneshot::channel();
    let checking = Arc::clone(uploads);
    tokio::task::spawn_blocking(move || check(&checking, &file, &given, what, since, answer));
    let UnstoredPackage { package: made, out, reservation: _kept } =
        match taken.await.map_err(|_| shutting_down())?? {
            CheckedUpload::Staged(upload) => return Ok(upload),
            CheckedUpload::Unstored(apart) => *apart,
        };
    reserve_blobs(&uploads.state, what.class(), &made).await?;
    let key = Key::Package(what.class(), made.upload.sha256);
    let readme = async {
        match &made.readme {
            Some((sha256, text)) => uploads.state.storage.put(&Key::Readme(*sha256), text.clone()).await,
            None => Ok(()),
        }
    };
    // Replaced even if it exists: an upload repairs a stored object that has its size but other bytes.
    let (package, readme) = tokio::join!(uploads.state.storage.replace(out, &key), readme);
    package.and(readme)?;
    uploads.fetches.integrity.remove(&key);
    Ok(uploads.insert(made.into_staged(Vec::new(), since)))
}

/// Checks a package and writes the bytes to be stored. A small one on a disk is answered before it is durable and
/// then made so; adding it waits for that. Blocks.
fn check(
    uploads: &Arc<Uploads>,
    file: &str,
    given: &UploadBody,
    what: UploadKind,
    since: Timestamp,
    answer: oneshot::Sender<Result<CheckedUpload, RepoError>>,
) {
    // The client may have disconnected.
    let apart = match prepare_package(uploads, file, given, what) {
        Ok(apart) => apart,
        Err(error) => return drop(answer.send(Err(error))),
    };
    let storage = uploads.state.storage.clone();
    let is_alone = uploads.state.config.load().database.provider == Provider::Sqlite;
    let is_small = matches!(given, UploadBody::Small(_));
    if !is_alone || !is_small || what == UploadKind::Binary || !storage.is_on_disk(what.class()) {
        return drop(answer.send(Ok(CheckedUpload::Unstored(Box::new(apart)))));
    }
    let UnstoredPackage { package: made, out, reservation: kept } = apart;
    let (landing, package) = PendingWrite::begin();
    let mut landings = vec![landing];
    if let Some((sha256, text)) = made.readme.clone() {
        let (landing, readme) = PendingWrite::begin();
        landings.push(landing);
        let storage = storage.clone();
        tokio::task::spawn_blocking(move || {
            let key = Key::Readme(sha256);
            readme.complete(logged(&key, storage.put_blocking(&key, &text)));
        });
    }
    let key = Key::Package(what.class(), made.upload.sha256);
    let upload = uploads.insert(made.into_staged(landings, since));
    // From now on the upload itself holds the digests.
    drop(kept);
    drop(answer.send(Ok(CheckedUpload::Staged(upload))));
    let stored = logged(&key, storage.replace_blocking(out, &key));
    uploads.fetches.integrity.remove(&key);
    package.complete(stored);
}

fn prepare_package(
    uploads: &Arc<Uploads>,
    file: &str,
    given: &UploadBody,
    what: UploadKind,
) -> Result<UnstoredPackage, RepoError> {
    let config = uploads.state.config.load();
    let out = uploads.state.storage.spool_blocking(what.class())?;
    let (made, out) = prepare(file, given, out, options(&config.server), what)?;
    let readme = made.readme.as_ref().map(|readme| readme.0);
    let kept = uploads.reserve([Some(made.upload.sha256), readme].into_iter().flatten().collect());
    Ok(UnstoredPackage { package: made, out, reservation: kept })
}

/// Reserves the blobs of an upload in the database: the clean-up of other servers does not know uploads in memory.
async fn reserve_blobs(state: &State, class: StorageClass, made: &PreparedPackage) -> Result<(), RepoError> {
    match state.config.load().database.provider {
        Provider::Sqlite => return Ok(()),
        Provider::Postgres => {}
    }
    let archive = (Key::Package(class, made.upload.sha256), made.upload.size);
    let readme = made.readme.as_ref().map(|(sha256, text)| (Key::Readme(*sha256), text.len() as u64));
    let created_at = (state.clock)();
    let blobs: Vec<Blob> = std::iter::once(archive)
        .chain(readme)
        .map(|(key, size)| Blob {
            sha256: *key.digest(),
            class: key.directory().to_owned(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            created_at,
        })
        .collect();
    let reserved = state.db.write(move |c| blobs.iter().try_for_each(|blob| db::blob::reserve(c, blob)));
    Ok(reserved.await?)
}

/// Reads a request body: a small one into memory, a larger one into a spool.
async fn receive_body(
    state: &State,
    file: &str,
    mut body: BoxStream<'static, Result<Bytes, io::Error>>,
    class: StorageClass,
) -> Result<UploadBody, RepoError> {
    let mut spooled: Option<SpooledUpload> = None;
    let mut waiting = BytesMut::new();
    loop {
        let piece = body.next().await;
        let last = piece.is_none();
        if let Some(piece) = piece {
            let cut = |error| RepoError::Invalid(format!("the upload of '{file}' was interrupted: {error}"));
            waiting.extend_from_slice(&piece.map_err(cut)?);
        }
        if waiting.len() >= WRITE_SIZE || (last && spooled.is_some() && !waiting.is_empty()) {
            let spool = match spooled {
                Some(spool) => spool,
                None => {
                    SpooledUpload { spool: state.storage.spool(class).await?, digest: sha2::Sha256::new() }
                }
            };
            spooled = Some(spool.append(waiting.split().freeze()).await?);
        }
        match spooled {
            Some(spooled) if last => return Ok(UploadBody::Spooled(spooled)),
            None if last => return Ok(UploadBody::Small(waiting.freeze())),
            Some(_) | None => {}
        }
    }
}

/// The expected kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadKind {
    Source,
    Binary,
}

impl UploadKind {
    fn class(self) -> StorageClass {
        match self {
            UploadKind::Source => StorageClass::Packages,
            UploadKind::Binary => StorageClass::Binaries,
        }
    }
}

/// The uploaded bytes.
pub(super) enum UploadBody {
    /// Less than [`WRITE_SIZE`].
    Small(Bytes),
    Spooled(SpooledUpload),
}

/// A reader with random access.
pub(super) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

impl UploadBody {
    /// Opens the bytes for sequential reading, with a buffer of `buffer` bytes.
    pub(super) fn open(&self, buffer: usize) -> Result<Box<dyn Read + '_>, RepoError> {
        match self {
            UploadBody::Small(bytes) => Ok(Box::new(bytes.as_ref())),
            UploadBody::Spooled(SpooledUpload { spool, .. }) => {
                let opened = File::open(spool.path());
                let file = opened.map_err(|error| StorageError::io("read", spool.path(), error))?;
                Ok(Box::new(BufReader::with_capacity(buffer.clamp(4 << 10, 16 << 20), file)))
            }
        }
    }

    /// Opens the bytes for random access.
    pub(super) fn seek(&self) -> Result<Box<dyn ReadSeek + '_>, RepoError> {
        match self {
            UploadBody::Small(bytes) => Ok(Box::new(io::Cursor::new(bytes.as_ref()))),
            UploadBody::Spooled(SpooledUpload { spool, .. }) => {
                let opened = File::open(spool.path());
                Ok(Box::new(opened.map_err(|error| StorageError::io("read", spool.path(), error))?))
            }
        }
    }

    pub(super) fn sha256(&self) -> Sha256 {
        Sha256(match self {
            UploadBody::Small(bytes) => sha2::Sha256::digest(bytes).into(),
            UploadBody::Spooled(SpooledUpload { digest, .. }) => digest.clone().finalize().into(),
        })
    }
}

pub(super) struct SpooledUpload {
    spool: Spool,
    digest: sha2::Sha256,
}

impl SpooledUpload {
    /// Writes and hashes off the async threads.
    async fn append(mut self, piece: Bytes) -> Result<SpooledUpload, RepoError> {
        let written = tokio::task::spawn_blocking(move || {
            self.digest.update(&piece);
            self.spool
                .write_all(&piece)
                .map_err(|error| StorageError::io("write", self.spool.path(), error))?;
            Ok(self)
        });
        match written.await {
            Ok(spooled) => spooled,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(shutting_down().into()),
        }
    }
}

/// The result of checking a package.
enum CheckedUpload {
    /// It was accepted, and its objects are being written to storage.
    Staged(Upload),
    /// It must still be stored: other servers share the database, it is a binary or large, or its class is not on a
    /// disk.
    Unstored(Box<UnstoredPackage>),
}

/// A prepared package with the bytes of its object.
struct UnstoredPackage {
    package: PreparedPackage,
    out: Spool,
    /// Protects its objects from the clean-up.
    reservation: DigestReservation,
}

/// Logs a failure after the client was answered: the client may never add the upload.
fn logged(key: &Key, stored: Result<(), StorageError>) -> Result<(), StorageError> {
    if let Err(error) = &stored {
        tracing::error!(object = %key, %error, "an uploaded package was not stored");
    }
    stored
}

fn shutting_down() -> StorageError {
    StorageError::Other("the server is shutting down".to_owned())
}

fn options(server: &Server) -> rewrite::Options {
    rewrite::Options {
        level: server.package_rewrite_compression_level,
        buffer: server.package_rewrite_buffer_size,
        limits: Limits::default(),
    }
}
