//! The received bytes of an upload: in memory, or in a spool.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::Digest;

use base::model::digest::{FileDigests, FileHasher, Sha256};
use base::model::kind::{Language, Layout, StorageClass};
use base::model::text::phrase;
use content::serve::RepoError;
use content::serve::error::run_blocking;
use formats::language::FileBytes;
use runtime::state::State;
use store::storage::{Spool, StorageError};

/// Size of one write to a spool, in bytes. Smaller uploads are in memory only.
const WRITE_SIZE: usize = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadKind {
    /// `{package}_{version}.tar.gz`.
    Source,
    /// An installed package, for Linux, macOS or Windows.
    Binary,
    /// A file of a language with projects.
    Project(Language),
}

impl UploadKind {
    /// Returns the kinds of uploads. Those of languages with projects have the word of the language.
    fn all() -> impl Iterator<Item = UploadKind> {
        let languages = Language::ALL.into_iter().filter(|language| language.layout() == Layout::Projects);
        [UploadKind::Source, UploadKind::Binary].into_iter().chain(languages.map(UploadKind::Project))
    }

    /// Returns the word in requests and in the rows of uploads.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            UploadKind::Source => "source",
            UploadKind::Binary => "binary",
            UploadKind::Project(language) => language.as_str(),
        }
    }

    pub fn parse(word: &str) -> Option<UploadKind> {
        UploadKind::all().find(|kind| kind.as_str() == word)
    }

    /// Returns the words that people choose from, in a sentence.
    pub fn words() -> String {
        let words: Vec<&str> =
            UploadKind::all().filter(|kind| kind.language().is_listed()).map(UploadKind::as_str).collect();
        phrase(&words, "or")
    }

    pub(super) fn language(self) -> Language {
        match self {
            UploadKind::Source | UploadKind::Binary => Language::R,
            UploadKind::Project(language) => language,
        }
    }

    pub(super) fn class(self) -> StorageClass {
        match self {
            UploadKind::Source | UploadKind::Project(_) => StorageClass::Packages,
            UploadKind::Binary => StorageClass::Binaries,
        }
    }
}

pub(super) enum UploadBody {
    /// An upload below [`WRITE_SIZE`].
    Small(Bytes),
    Spooled(SpooledUpload),
}

/// Computes digests while bytes are received.
pub(super) enum BodyHasher {
    Sha256(sha2::Sha256),
    /// All digests that clients declare.
    All(Box<FileHasher>),
}

impl BodyHasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            BodyHasher::Sha256(hasher) => hasher.update(bytes),
            BodyHasher::All(hasher) => hasher.update(bytes),
        }
    }

    fn sha256(&self) -> Sha256 {
        match self {
            BodyHasher::Sha256(hasher) => Sha256(hasher.clone().finalize().into()),
            BodyHasher::All(hasher) => hasher.clone().finish().sha256,
        }
    }
}

impl UploadBody {
    /// Reads a request body: a small one into memory, a larger one into a spool.
    pub(super) async fn receive(
        state: &State,
        file: &str,
        body: BoxStream<'_, Result<Bytes, io::Error>>,
        class: StorageClass,
    ) -> Result<UploadBody, RepoError> {
        UploadBody::receive_hashed(state, file, body, class, || BodyHasher::Sha256(sha2::Sha256::new())).await
    }

    /// As [`UploadBody::receive`], with the digests of this hasher.
    pub(super) async fn receive_hashed(
        state: &State,
        file: &str,
        mut body: BoxStream<'_, Result<Bytes, io::Error>>,
        class: StorageClass,
        hasher: impl Fn() -> BodyHasher,
    ) -> Result<UploadBody, RepoError> {
        let mut upload: Option<SpooledUpload> = None;
        let mut buffer = BytesMut::new();
        loop {
            let chunk = body.next().await;
            let is_last = chunk.is_none();
            if let Some(chunk) = chunk {
                let receive_error =
                    |error| RepoError::Invalid(format!("the upload of '{file}' was interrupted: {error}"));
                buffer.extend_from_slice(&chunk.map_err(receive_error)?);
            }
            if buffer.len() >= WRITE_SIZE || (is_last && upload.is_some() && !buffer.is_empty()) {
                let spool = match upload {
                    Some(spool) => spool,
                    None => SpooledUpload { spool: state.storage.spool(class).await?, hasher: hasher() },
                };
                upload = Some(spool.append(buffer.split().freeze()).await?);
            }
            match upload {
                Some(upload) if is_last => return Ok(UploadBody::Spooled(upload)),
                None if is_last => return Ok(UploadBody::Small(buffer.freeze())),
                Some(_) | None => {}
            }
        }
    }

    /// Opens the bytes for sequential reading, with a buffer of `buffer` bytes.
    pub(super) fn open(&self, buffer: usize) -> Result<Box<dyn Read + '_>, RepoError> {
        match self {
            UploadBody::Small(bytes) => Ok(Box::new(bytes.as_ref())),
            UploadBody::Spooled(SpooledUpload { spool, .. }) => {
                Ok(Box::new(BufReader::with_capacity(buffer.clamp(4 << 10, 16 << 20), open_spool(spool)?)))
            }
        }
    }

    /// Opens the bytes for random access.
    pub(super) fn open_seekable(&self) -> Result<Box<dyn FileBytes + '_>, RepoError> {
        match self {
            UploadBody::Small(bytes) => Ok(Box::new(io::Cursor::new(bytes.as_ref()))),
            UploadBody::Spooled(SpooledUpload { spool, .. }) => Ok(Box::new(open_spool(spool)?)),
        }
    }

    /// Converts the bytes to a spool, which is stored unchanged. Blocks.
    pub(super) fn into_spool(self, state: &State, class: StorageClass) -> Result<Spool, StorageError> {
        match self {
            UploadBody::Spooled(SpooledUpload { spool, .. }) => Ok(spool),
            UploadBody::Small(bytes) => {
                let mut spool = state.storage.spool_blocking(class)?;
                let result = spool.write_all(&bytes);
                result.map_err(|error| StorageError::io("write", spool.path(), error))?;
                Ok(spool)
            }
        }
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            UploadBody::Small(bytes) => bytes.len() as u64,
            UploadBody::Spooled(SpooledUpload { spool, .. }) => spool.size(),
        }
    }

    pub(super) fn sha256(&self) -> Sha256 {
        match self {
            UploadBody::Small(bytes) => Sha256::of(bytes),
            UploadBody::Spooled(SpooledUpload { hasher, .. }) => hasher.sha256(),
        }
    }

    /// Returns all digests; `None` if they were not computed while the bytes were received.
    pub(super) fn digests(&self) -> Option<FileDigests> {
        match self {
            UploadBody::Small(bytes) => {
                let mut hasher = FileHasher::default();
                hasher.update(bytes);
                Some(hasher.finish())
            }
            UploadBody::Spooled(SpooledUpload { hasher: BodyHasher::All(hasher), .. }) => {
                Some(hasher.as_ref().clone().finish())
            }
            UploadBody::Spooled(SpooledUpload { hasher: BodyHasher::Sha256(_), .. }) => None,
        }
    }
}

pub(super) struct SpooledUpload {
    spool: Spool,
    hasher: BodyHasher,
}

fn open_spool(spool: &Spool) -> Result<File, RepoError> {
    let file = File::open(spool.path());
    Ok(file.map_err(|error| StorageError::io("read", spool.path(), error))?)
}

impl SpooledUpload {
    /// Writes and hashes a chunk on a thread for blocking work.
    async fn append(mut self, chunk: Bytes) -> Result<SpooledUpload, RepoError> {
        run_blocking(move || {
            self.hasher.update(&chunk);
            self.spool
                .write_all(&chunk)
                .map_err(|error| StorageError::io("write", self.spool.path(), error))?;
            Ok(self)
        })
        .await?
    }
}
