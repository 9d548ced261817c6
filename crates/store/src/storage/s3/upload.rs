//! Writes objects to a bucket: one conditional put for small ones, a multipart upload for large ones.

use super::S3;
use crate::storage::{IfExists, Key, MarkerKey, Spool, StorageError};
use base::model::errors::error_chain;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{
    Attribute, Attributes, Error, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Maximum size, in bytes, of an object written with one put. A commit needs this memory, or that of parallel parts.
const MAX_SINGLE_PUT: u64 = 8 << 20;
/// Minimum size of a part, in bytes, and maximum number of parts of an upload, both set by S3.
const MIN_PART_SIZE: u64 = 5 << 20;
const MAX_PARTS: u64 = 10_000;
const PARALLEL_PARTS: usize = 2;

impl S3 {
    /// Stores a spool. Returns only when S3 has acknowledged an object of the spool's length.
    pub(in crate::storage) async fn commit(
        &self,
        spool: Spool,
        key: &Key,
        if_exists: IfExists,
    ) -> Result<(), StorageError> {
        let path = self.path(&key.path());
        let length = spool.size();
        let file = spool.file().try_clone().map_err(|e| StorageError::io("read", spool.path(), e))?;
        let file = Arc::new(file);
        match if_exists {
            IfExists::Keep if length <= MAX_SINGLE_PUT => {
                let bytes = read(&file, 0, length).await;
                self.put(key, bytes.map_err(|e| StorageError::io("read", spool.path(), e))?).await
            }
            IfExists::Keep if self.size_at(&path).await? == Some(length) => Ok(()),
            IfExists::Keep | IfExists::Replace => {
                self.write_file(&path, &file, length, key.media_type()).await
            }
        }
    }

    /// Writes a local file to `path`, replacing an object. Returns when S3 has acknowledged the file's length.
    pub(in crate::storage) async fn write_file(
        &self,
        path: &ObjectPath,
        file: &Arc<File>,
        length: u64,
        media_type: &'static str,
    ) -> Result<(), StorageError> {
        if length <= MAX_SINGLE_PUT {
            let bytes = read(file, 0, length).await;
            let to_error = |e| StorageError::Other(format!("could not read a file to be uploaded: {e}"));
            return self.overwrite(path, bytes.map_err(to_error)?, media_type).await;
        }
        self.attempt("write", path, || self.multipart(path, file, length, media_type)).await?;
        self.confirm(path, length).await
    }

    /// Stores bytes unless the object exists.
    pub(in crate::storage) async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        self.put_at(&self.path(&key.path()), bytes, key.media_type()).await
    }

    /// Writes a class's marker. Unless `replaces` is set, an existing marker is not replaced.
    pub(in crate::storage) async fn write_marker(
        &self,
        key: MarkerKey,
        bytes: Bytes,
        replaces: bool,
    ) -> Result<(), StorageError> {
        const TEXT: &str = "text/plain; charset=utf-8";
        let path = self.path(&key.path());
        match replaces {
            true => self.overwrite(&path, bytes, TEXT).await,
            false => {
                let create = || self.put_once(&path, bytes.clone(), TEXT, PutMode::Create);
                match self.attempt("write", &path, create).await {
                    Err(error) => match PutFailure::of(&error) {
                        PutFailure::Exists => Ok(()),
                        PutFailure::Unclear => self.overwrite(&path, bytes, TEXT).await,
                        PutFailure::Permanent => Err(error),
                    },
                    Ok(()) => Ok(()),
                }
            }
        }
    }

    /// Writes an empty object at a path below the prefix.
    pub(in crate::storage) async fn write_empty(&self, path: &str) -> Result<(), StorageError> {
        self.overwrite(&self.path(path), Bytes::new(), "text/plain; charset=utf-8").await
    }

    /// Stores bytes at `path`, unless an object of the same length exists there.
    pub(in crate::storage) async fn put_at(
        &self,
        path: &ObjectPath,
        bytes: Bytes,
        media_type: &'static str,
    ) -> Result<(), StorageError> {
        let length = bytes.len() as u64;
        let create = || self.put_once(path, bytes.clone(), media_type, PutMode::Create);
        let error = match self.attempt("write", path, create).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        match PutFailure::of(&error) {
            // "Exists" is also the response to a put that raced with a deletion, and to a retried put whose first
            // response was lost. An object of another length cannot have this digest: it is damaged.
            PutFailure::Exists if self.size_at(path).await? == Some(length) => return Ok(()),
            PutFailure::Exists | PutFailure::Unclear => {}
            PutFailure::Permanent => return Err(error),
        }
        self.overwrite(path, bytes, media_type).await
    }

    /// Writes an object unconditionally: the same bytes may be written twice under the same key.
    async fn overwrite(
        &self,
        path: &ObjectPath,
        bytes: Bytes,
        media_type: &'static str,
    ) -> Result<(), StorageError> {
        let put = || self.put_once(path, bytes.clone(), media_type, PutMode::Overwrite);
        self.attempt("write", path, put).await
    }

    async fn put_once(
        &self,
        path: &ObjectPath,
        bytes: Bytes,
        media_type: &'static str,
        mode: PutMode,
    ) -> Result<(), Error> {
        let options = PutOptions { mode, attributes: attributes(media_type), ..PutOptions::default() };
        self.store.put_opts(path, bytes.into(), options).await.map(|_| ())
    }

    async fn multipart(
        &self,
        path: &ObjectPath,
        file: &Arc<File>,
        length: u64,
        media_type: &'static str,
    ) -> Result<(), Error> {
        let options =
            PutMultipartOptions { attributes: attributes(media_type), ..PutMultipartOptions::default() };
        let mut upload = Upload(Some(self.store.put_multipart_opts(path, options).await?));
        let part_size = MIN_PART_SIZE.max(length.div_ceil(MAX_PARTS));
        let mut uploads = FuturesUnordered::new();
        let mut offset = 0;
        while offset < length {
            let part = read(file, offset, part_size.min(length - offset)).await;
            let part = part.map_err(|e| Error::Generic { store: "spool", source: Box::new(e) })?;
            offset += part.len() as u64;
            uploads.push(upload.parts().put_part(part.into()));
            if uploads.len() == PARALLEL_PARTS {
                uploads.next().await.unwrap_or(Ok(()))?;
            }
        }
        while let Some(result) = uploads.next().await {
            result?;
        }
        upload.parts().complete().await?;
        upload.0 = None;
        Ok(())
    }

    /// Checks the length of an object that was just written.
    async fn confirm(&self, path: &ObjectPath, expected: u64) -> Result<(), StorageError> {
        match self.size_at(path).await? {
            Some(length) if length == expected => Ok(()),
            length => {
                Err(StorageError::Length { object: self.name(path), expected, received: length.unwrap_or(0) })
            }
        }
    }

    /// Begins and aborts a multipart upload, to check the permission.
    pub(in crate::storage) async fn try_multipart(&self, path: &ObjectPath) -> Result<(), StorageError> {
        let begin = || self.store.put_multipart_opts(path, PutMultipartOptions::default());
        let mut upload = self.attempt("begin an upload of", path, begin).await?;
        upload.abort().await.map_err(|e| self.error("abort an upload of", path, e))
    }
}

/// An upload that is aborted unless completed: unfinished parts cost money and are in no listing.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    fn parts(&mut self) -> &mut Box<dyn MultipartUpload> {
        self.0.as_mut().expect("taken only when complete")
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

enum PutFailure {
    Exists,
    /// The connection was lost (the client library repeats only unsent requests), or the server lacks conditions.
    Unclear,
    /// Any other response, after retries.
    Permanent,
}

impl PutFailure {
    fn of(error: &StorageError) -> PutFailure {
        let StorageError::S3 { source, .. } = error else { return PutFailure::Permanent };
        if let Error::AlreadyExists { .. } = **source {
            return PutFailure::Exists;
        }
        let text = error_chain(source.as_ref());
        match !text.contains("Server returned") || text.contains("501 Not Implemented") {
            true => PutFailure::Unclear,
            false => PutFailure::Permanent,
        }
    }
}

fn attributes(media_type: &'static str) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, media_type)])
}

/// Reads a part of a spool outside of the async threads.
async fn read(file: &Arc<File>, offset: u64, length: u64) -> std::io::Result<Bytes> {
    let file = Arc::clone(file);
    let task = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(Bytes::from(bytes))
    });
    task.await.map_err(std::io::Error::other)?
}
