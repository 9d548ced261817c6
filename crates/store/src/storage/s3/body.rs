//! Bodies from S3 that resume after a lost connection and end with exactly the declared length. At most 256 bodies keep
//! their connection open; the others are read by a range request for each chunk.

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

/// Maximum number of further requests for the rest of one body. The client library resumes only within its retry
/// timeout, and large objects on slow connections take longer.
const MAX_RESUMES: u32 = 5;

type ByteStream = BoxStream<'static, object_store::Result<Bytes>>;

struct Body {
    s3: Arc<S3>,
    path: ObjectPath,
    etag: Option<String>,
    /// The range of the object not received yet.
    remaining: Range<u64>,
    /// The open response; `None` at the limit of open responses.
    response: Option<(ByteStream, Option<OpenBody>)>,
    resumes: u32,
}

impl S3 {
    /// Requests an object or a part of it; returns the size of the whole object and a body that resumes. With `etag`,
    /// only that state of the object is accepted.
    pub(in crate::storage) async fn get_body(
        self: &Arc<S3>,
        path: &ObjectPath,
        range: Option<GetRange>,
        etag: Option<String>,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, StorageError>>), StorageError> {
        let (size, etag, rest, stream) = self.request(path, range, etag).await?;
        // At the limit of open bodies, only small objects are read. Dropping the response closes the connection.
        let response = match chunks::open_body() {
            None if size <= memory_cache::MAX_OBJECT_SIZE => Some((stream, None)),
            None => None,
            guard => Some((stream, guard)),
        };
        let body =
            Body { s3: Arc::clone(self), path: path.clone(), etag, remaining: rest, response, resumes: 0 };
        let stream = unfold(Some(body), |body| async {
            let mut body = body?;
            match body.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(body))),
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
    ) -> Result<(u64, Option<String>, Range<u64>, ByteStream), StorageError> {
        let options = || GetOptions { range: range.clone(), if_match: etag.clone(), ..GetOptions::default() };
        let response = self.attempt("read", path, || self.store.get_opts(path, options())).await?;
        let (size, range, etag) = (response.meta.size, response.range.clone(), response.meta.e_tag.clone());
        Ok((size, etag, range, response.into_stream()))
    }

    async fn request_range(
        &self,
        path: &ObjectPath,
        range: Range<u64>,
        etag: Option<String>,
    ) -> Result<ByteStream, StorageError> {
        let (_, _, received, stream) =
            self.request(path, Some(GetRange::Bounded(range.clone())), etag).await?;
        if received != range {
            let (expected, received) = (range.end - range.start, received.end - received.start);
            return Err(StorageError::Length { object: self.rest_of(path), expected, received });
        }
        Ok(stream)
    }

    /// Requests a small range and returns its bytes.
    async fn collect_part(
        &self,
        path: &ObjectPath,
        range: Range<u64>,
        etag: Option<String>,
    ) -> Result<Bytes, StorageError> {
        let mut bytes = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or_default());
        let mut stream = self.request_range(path, range, etag).await?;
        while let Some(chunk) = stream.try_next().await.map_err(|e| self.error("read", path, e))? {
            bytes.extend_from_slice(&chunk);
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
            let Some((stream, _)) = &mut self.response else {
                if self.remaining.is_empty() {
                    return Ok(None);
                }
                match chunks::open_body() {
                    guard @ Some(_) => {
                        let stream = self
                            .s3
                            .request_range(&self.path, self.remaining.clone(), self.etag.clone())
                            .await?;
                        self.response = Some((stream, guard));
                    }
                    None => return self.read_chunk().await.map(Some),
                }
                continue;
            };
            let error = match stream.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => return self.advance(chunk).map(Some),
                None if self.remaining.is_empty() => return Ok(None),
                None => None,
                Some(Err(e)) => Some(e),
            };
            if self.resumes == MAX_RESUMES {
                return Err(match error {
                    Some(e) => self.s3.error("read", &self.path, e),
                    None => self.length_error(0),
                });
            }
            tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(self.resumes)).await;
            self.resumes += 1;
            let rest = self.s3.request_range(&self.path, self.remaining.clone(), self.etag.clone()).await?;
            if let Some((stream, _)) = &mut self.response {
                *stream = rest;
            }
        }
    }

    /// Reads the next chunk with a range request.
    async fn read_chunk(&mut self) -> Result<Bytes, StorageError> {
        let length = (chunks::chunk_size() as u64).min(self.remaining.end - self.remaining.start);
        loop {
            let range = self.remaining.start..self.remaining.start + length;
            let error = match self.s3.collect_part(&self.path, range, self.etag.clone()).await {
                Ok(bytes) if bytes.len() as u64 == length => return self.advance(chunks::count_chunk(bytes)),
                Ok(bytes) => self.length_error(bytes.len() as u64),
                Err(e) => e,
            };
            if self.resumes == MAX_RESUMES {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(self.resumes)).await;
            self.resumes += 1;
        }
    }

    /// Removes the range of a received chunk from the remaining range, and returns the chunk.
    fn advance(&mut self, chunk: Bytes) -> Result<Bytes, StorageError> {
        let length = chunk.len() as u64;
        if length > self.remaining.end - self.remaining.start {
            return Err(self.length_error(length));
        }
        self.remaining.start += length;
        Ok(chunk)
    }

    fn length_error(&self, received: u64) -> StorageError {
        StorageError::Length {
            object: self.s3.rest_of(&self.path),
            expected: self.remaining.end - self.remaining.start,
            received,
        }
    }
}
