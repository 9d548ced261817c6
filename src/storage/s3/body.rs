//! Bodies from S3 that resume after a lost connection and end with exactly the declared length.

use super::S3;
use crate::storage::StorageError;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of further requests for the rest of one body. The client library resumes by itself only within its
/// retry timeout, and large objects on slow connections take longer.
const RESUMES: u32 = 5;

type Pieces = BoxStream<'static, object_store::Result<Bytes>>;

struct Body {
    s3: Arc<S3>,
    path: ObjectPath,
    etag: Option<String>,
    /// The range of the object not received yet.
    rest: Range<u64>,
    pieces: Pieces,
    resumed: u32,
}

impl S3 {
    /// Requests an object or a part of it; returns the size of the whole object and a body that resumes. With `etag`,
    /// only that state of the object is accepted.
    pub(super) async fn begin(
        self: &Arc<S3>,
        path: &ObjectPath,
        range: Option<GetRange>,
        etag: Option<String>,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, StorageError>>), StorageError> {
        let (size, etag, rest, pieces) = self.request(path, range, etag).await?;
        let body = Body { s3: Arc::clone(self), path: path.clone(), etag, rest, pieces, resumed: 0 };
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
}

impl Body {
    /// Returns the next chunk; `None` if and only if all bytes were received.
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            let failed = match self.pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => return self.count(piece).map(Some),
                None if self.rest.is_empty() => return Ok(None),
                None => None,
                Some(Err(e)) => Some(e),
            };
            if self.resumed == RESUMES {
                return Err(match failed {
                    Some(e) => self.s3.error("read", &self.path, e),
                    None => self.wrong(0),
                });
            }
            tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(self.resumed)).await;
            self.resumed += 1;
            let wanted = self.rest.clone();
            let etag = self.etag.clone();
            let range = Some(GetRange::Bounded(wanted.clone()));
            let (_, _, got, pieces) = self.s3.request(&self.path, range, etag).await?;
            if got != wanted {
                return Err(self.wrong(got.end - got.start));
            }
            self.pieces = pieces;
        }
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes, StorageError> {
        let length = piece.len() as u64;
        if length > self.rest.end - self.rest.start {
            return Err(self.wrong(length));
        }
        self.rest.start += length;
        Ok(piece)
    }

    fn wrong(&self, got: u64) -> StorageError {
        let object = format!("the rest of {}", self.s3.name(&self.path));
        StorageError::Length { object, expected: self.rest.end - self.rest.start, got }
    }
}
