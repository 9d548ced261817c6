//! Bodies from S3 that resume after a lost connection and end with exactly the declared length. At most 256 keep their
//! connection open; others are read by a range request for each chunk.

use super::S3;
use crate::storage::chunks::{self, OpenBody};
use crate::storage::{StorageError, memory_cache};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, unfold};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of further requests for the rest of one body. The client library resumes by itself only within its
/// retry timeout, and large objects on slow connections take longer.
const MAX_RESUMES: u32 = 5;

type Pieces = BoxStream<'static, object_store::Result<Bytes>>;

struct Body {
    s3: Arc<S3>,
    path: ObjectPath,
    etag: Option<String>,
    /// The range of the object not received yet.
    remaining: Range<u64>,
    /// The open response; `None` at the limit of open responses.
    open: Option<(Pieces, Option<OpenBody>)>,
    resumes: u32,
}

impl S3 {
    /// Requests an object or a part of it; returns the size of the whole object and a body that resumes. With `etag`,
    /// only that state of the object is accepted.
    pub(super) async fn get_body(
        self: &Arc<S3>,
        path: &ObjectPath,
        range: Option<GetRange>,
        etag: Option<String>,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, StorageError>>), StorageError> {
        let (size, etag, rest, pieces) = self.request(path, range, etag).await?;
        // Small objects are read at once. Dropping the response closes its connection.
        let open = match chunks::open_body() {
            None if size <= memory_cache::MAX_OBJECT_SIZE => Some((pieces, None)),
            None => None,
            counted => Some((pieces, counted)),
        };
        let body = Body { s3: Arc::clone(self), path: path.clone(), etag, remaining: rest, open, resumes: 0 };
        let stream = unfold(Some(body), |body| async {
            let mut body = body?;
            match body.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(body))),
                Ok(None) => None,
                Err(e) => Some((Err(e), None)),
            }
        });
        Ok((size, stream.boxed()))
    }

    async fn request(
        &self,
        path: &ObjectPath,
        range: Option<GetRange>,
        etag: Option<String>,
    ) -> Result<(u64, Option<String>, Range<u64>, Pieces), StorageError> {
        let options = || GetOptions { range: range.clone(), if_match: etag.clone(), ..GetOptions::default() };
        let found = self.attempt("read", path, || self.store.get_opts(path, options())).await?;
        let (size, range, etag) = (found.meta.size, found.range.clone(), found.meta.e_tag.clone());
        Ok((size, etag, range, found.into_stream()))
    }

    /// Requests exactly the bytes of a range.
    async fn part(
        &self,
        path: &ObjectPath,
        range: Range<u64>,
        etag: Option<String>,
    ) -> Result<Pieces, StorageError> {
        let (_, _, got, pieces) = self.request(path, Some(GetRange::Bounded(range.clone())), etag).await?;
        if got != range {
            let (expected, got) = (range.end - range.start, got.end - got.start);
            return Err(StorageError::Length { object: self.rest_of(path), expected, got });
        }
        Ok(pieces)
    }

    /// The bytes of a small range.
    async fn collect_part(
        &self,
        path: &ObjectPath,
        range: Range<u64>,
        etag: Option<String>,
    ) -> Result<Bytes, StorageError> {
        let mut bytes = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or_default());
        let mut pieces = self.part(path, range, etag).await?;
        while let Some(piece) = pieces.try_next().await.map_err(|e| self.error("read", path, e))? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    fn rest_of(&self, path: &ObjectPath) -> String {
        format!("the rest of {}", self.name(path))
    }
}

impl Body {
    /// Returns the next chunk; `None` if and only if all bytes were received.
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            let Some((pieces, _)) = &mut self.open else {
                if self.remaining.is_empty() {
                    return Ok(None);
                }
                match chunks::open_body() {
                    counted @ Some(_) => {
                        let pieces =
                            self.s3.part(&self.path, self.remaining.clone(), self.etag.clone()).await?;
                        self.open = Some((pieces, counted));
                    }
                    None => return self.piece().await.map(Some),
                }
                continue;
            };
            let failed = match pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => return self.count(piece).map(Some),
                None if self.remaining.is_empty() => return Ok(None),
                None => None,
                Some(Err(e)) => Some(e),
            };
            if self.resumes == MAX_RESUMES {
                return Err(match failed {
                    Some(e) => self.s3.error("read", &self.path, e),
                    None => self.length_error(0),
                });
            }
            tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(self.resumes)).await;
            self.resumes += 1;
            let resumed = self.s3.part(&self.path, self.remaining.clone(), self.etag.clone()).await?;
            if let Some((pieces, _)) = &mut self.open {
                *pieces = resumed;
            }
        }
    }

    /// Reads the next chunk with a range request.
    async fn piece(&mut self) -> Result<Bytes, StorageError> {
        let length = (chunks::chunk_size() as u64).min(self.remaining.end - self.remaining.start);
        loop {
            let range = self.remaining.start..self.remaining.start + length;
            let failed = match self.s3.collect_part(&self.path, range, self.etag.clone()).await {
                Ok(bytes) if bytes.len() as u64 == length => return self.count(chunks::count(bytes)),
                Ok(bytes) => self.length_error(bytes.len() as u64),
                Err(e) => e,
            };
            if self.resumes == MAX_RESUMES {
                return Err(failed);
            }
            tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(self.resumes)).await;
            self.resumes += 1;
        }
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes, StorageError> {
        let length = piece.len() as u64;
        if length > self.remaining.end - self.remaining.start {
            return Err(self.length_error(length));
        }
        self.remaining.start += length;
        Ok(piece)
    }

    fn length_error(&self, got: u64) -> StorageError {
        StorageError::Length {
            object: self.s3.rest_of(&self.path),
            expected: self.remaining.end - self.remaining.start,
            got,
        }
    }
}
