//! Objects in an S3 bucket: requests, their retries and errors.

mod body;
mod connect;
mod credentials;
mod upload;

use super::{
    Area, BackendObject, BucketFile, Content, Key, ListedObject, MarkerKey, OpenObject, Spool, StorageError,
    chunks, clamp_range, memory_cache, spool,
};
use base::config::S3Location;
use base::model::digest::Sha256;
use base::model::errors::error_chain;
use base::model::kind::StorageClass;
use base::model::owned_bytes::bytes_with;
use bytes::Bytes;
use credentials::{Credentials, NoCredentials};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path as ObjectPath;
use object_store::{Error, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Maximum number of objects on a page of a listing.
const MAX_KEYS: usize = 1000;

/// A bucket, or the part of it below a prefix.
pub(super) struct S3 {
    store: AmazonS3,
    credentials: Arc<Credentials>,
    bucket: String,
    prefix: String,
    spools: PathBuf,
}

impl S3 {
    /// Creates the client without sending a request. Spools are in a directory of this user below `spool_dir`.
    pub(super) async fn open(location: &S3Location, spool_dir: &Path) -> Result<S3, StorageError> {
        let spools = spool_dir.join(format!("rstudio-pm-{}", nix::unistd::geteuid()));
        let credentials = Arc::new(Credentials::new(location.clone()));
        let store = connect::connect(location, Arc::clone(&credentials)).await?;
        let prefix = location.prefix.trim_matches('/').to_owned();
        Ok(S3 { store, credentials, bucket: location.bucket.clone(), prefix, spools })
    }

    /// Creates the directory of spools if missing, and checks it.
    pub(super) fn prepare(&self) -> Result<(), StorageError> {
        spool::prepare(&self.spools)
    }

    pub(super) fn spool(&self, class: StorageClass) -> Result<Spool, StorageError> {
        match Spool::create(&self.spools, class) {
            // The operating system may clean up temporary directories.
            Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                self.prepare()?;
                Spool::create(&self.spools, class)
            }
            other => other,
        }
    }

    /// Creates a temporary file without a name in the directory of spools.
    pub(super) fn unnamed_file(&self) -> Result<File, StorageError> {
        tempfile::tempfile_in(&self.spools).map_err(|e| StorageError::io("create a file in", &self.spools, e))
    }

    pub(super) fn remove_abandoned_spools(&self) -> Result<usize, StorageError> {
        match self.spools.is_dir() {
            true => spool::remove_abandoned(&self.spools),
            false => Ok(0),
        }
    }

    /// Returns the whole object if it is small and no range was requested; else the range as a stream.
    pub(super) async fn get(
        self: &Arc<S3>,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<BackendObject, StorageError> {
        if range.as_ref().is_some_and(Range::is_empty) {
            // S3 has no empty ranges.
            let size = self.size(key).await?.ok_or_else(|| StorageError::NotFound(key.to_string()))?;
            clamp_range(range.as_ref(), size, key)?;
            return Ok(BackendObject::Part(OpenObject { size, content: Content::Memory(Bytes::new()) }));
        }
        let path = self.path(&key.path());
        let result = self.get_body(&path, range.clone().map(GetRange::Bounded), None).await;
        let (size, body) = match result {
            Ok(response) => response,
            // S3 answers 416 to a range beyond the end; the error needs the size.
            Err(e) if range.is_some() && !matches!(e, StorageError::NotFound(_)) => {
                // A second error would hide the first.
                if let Ok(Some(size)) = self.size(key).await {
                    clamp_range(range.as_ref(), size, key)?;
                }
                return Err(e);
            }
            Err(e) => return Err(e),
        };
        if range.is_none()
            && size <= memory_cache::MAX_OBJECT_SIZE
            && let Some(reservation) = chunks::reserve_memory(size)
        {
            return Ok(BackendObject::Whole(bytes_with(collect(size, body).await?, reservation)));
        }
        Ok(BackendObject::Part(OpenObject { size, content: Content::Stream(body) }))
    }

    /// Opens an object of an area as a stream.
    pub(super) async fn content_in(self: &Arc<S3>, area: Area, key: &Key) -> Result<Content, StorageError> {
        let (_, body) = self.get_body(&self.path(&area.path(&key.path())), None, None).await?;
        Ok(Content::Stream(body))
    }

    pub(super) async fn size(&self, key: &Key) -> Result<Option<u64>, StorageError> {
        self.size_at(&self.path(&key.path())).await
    }

    pub(super) async fn delete(&self, area: Area, key: &Key) -> Result<(), StorageError> {
        self.delete_at(&self.path(&area.path(&key.path()))).await
    }

    /// Moves an object from one area to another; returns false if it does not exist. The copy has the time of the move.
    pub(super) async fn transfer(&self, key: &Key, from: Area, to: Area) -> Result<bool, StorageError> {
        let [source, target] = [from, to].map(|area| self.path(&area.path(&key.path())));
        match self.attempt("copy", &source, || self.store.copy(&source, &target)).await {
            Ok(()) => self.delete_at(&source).await.map(|()| true),
            Err(StorageError::NotFound(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Returns the bytes of a class's marker; `None` if there is none.
    pub(super) async fn read_marker(self: &Arc<S3>, key: MarkerKey) -> Result<Option<Bytes>, StorageError> {
        match self.read_small(&self.path(&key.path())).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Returns whether there is an object at a path below the prefix.
    pub(super) async fn has(&self, path: &str) -> Result<bool, StorageError> {
        Ok(self.size_at(&self.path(path)).await?.is_some())
    }

    /// Deletes the object at a path below the prefix; a missing one is not an error.
    pub(super) async fn delete_path(&self, path: &str) -> Result<(), StorageError> {
        self.delete_at(&self.path(path)).await
    }

    pub(super) async fn delete_at(&self, path: &ObjectPath) -> Result<(), StorageError> {
        match self.attempt("delete", path, || self.store.delete(path)).await {
            Err(StorageError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// Returns at most `limit` objects of an area that are in the directory of `from`, in the order of their keys:
    /// those after `from`, or if `inclusive`, from it on.
    pub(super) async fn list(
        &self,
        area: Area,
        from: &Key,
        inclusive: bool,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        let fanout_directory = format!("{}/{:02x}", from.directory(), from.digest().0[0]);
        let directory = self.path(&area.path(from.directory()));
        // The name of the fan-out directory alone sorts before every object in it.
        let offset = match inclusive {
            true => self.path(&area.path(&fanout_directory)),
            false => self.path(&area.path(&from.path())),
        };
        // The prefix may contain other objects; only those of this server are listed.
        let to_listed_object = |object: ObjectMeta| {
            let digest = object.location.filename().and_then(|name| name.parse::<Sha256>().ok());
            let key = digest.map(|digest| from.with_digest(digest));
            let key = key.filter(|key| self.path(&area.path(&key.path())) == object.location);
            let modified = SystemTime::from(object.last_modified);
            future::ready(Ok(key.map(|key| ListedObject { key, size: object.size, modified })))
        };
        let page = || async {
            let objects = self.objects_below(&directory, Some(&offset), limit);
            objects.try_filter_map(to_listed_object).take(limit).try_collect().await
        };
        self.attempt("list", &directory, page).await
    }

    /// Returns all objects below a directory, with their paths below the prefix.
    pub(super) async fn list_below(&self, directory: &ObjectPath) -> Result<Vec<BucketFile>, StorageError> {
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let to_listed_file = |object: ObjectMeta| {
            let path = object.location.as_ref().strip_prefix(&prefix)?.to_owned();
            Some(BucketFile { path, size: object.size, modified: SystemTime::from(object.last_modified) })
        };
        let list = || async {
            let objects = self.objects_below(directory, None, MAX_KEYS);
            objects.try_filter_map(|object| future::ready(Ok(to_listed_file(object)))).try_collect().await
        };
        self.attempt("list", directory, list).await
    }

    /// Lists the objects below a directory, those after `offset`, in pages of at most `page_size` objects.
    fn objects_below(
        &self,
        directory: &ObjectPath,
        offset: Option<&ObjectPath>,
        page_size: usize,
    ) -> impl Stream<Item = object_store::Result<ObjectMeta>> {
        let prefix = Some(format!("{directory}/")).filter(|prefix| prefix != "/");
        let offset = offset.map(ToString::to_string);
        let begin = offset.clone();
        let list = move |page_token| {
            let (prefix, offset, max_keys) = (prefix.clone(), offset.clone(), Some(page_size.min(MAX_KEYS)));
            async move {
                let options = PaginatedListOptions { offset, max_keys, page_token, ..Default::default() };
                let page = self.store.list_paginated(prefix.as_deref(), options).await?;
                Ok::<_, Error>((page.result.objects, page.page_token))
            }
        };
        without_repeats(begin, pages(list))
    }

    /// Reads a small object at `path`.
    pub(super) async fn read_small(self: &Arc<S3>, path: &ObjectPath) -> Result<Bytes, StorageError> {
        let (size, body) = self.get_body(path, None, None).await?;
        if size > memory_cache::MAX_OBJECT_SIZE {
            let limit = memory_cache::MAX_OBJECT_SIZE;
            return Err(StorageError::TooLarge { object: self.name(path), size, limit });
        }
        collect(size, body).await
    }

    /// Lists `path`, to check the permission.
    pub(super) async fn try_list(&self, path: &ObjectPath) -> Result<(), StorageError> {
        let list_one = || async { self.store.list(Some(path)).try_next().await };
        self.attempt("list", path, list_one).await.map(|_| ())
    }

    pub(super) async fn size_at(&self, path: &ObjectPath) -> Result<Option<u64>, StorageError> {
        match self.attempt("look up", path, || self.store.head(path)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(StorageError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Returns a path below the prefix. Segments are plain ASCII, so nothing is escaped.
    pub(super) fn path(&self, path: &str) -> ObjectPath {
        match self.prefix.is_empty() {
            true => ObjectPath::from(path),
            false => ObjectPath::from(format!("{}/{path}", self.prefix)),
        }
    }

    /// Returns bucket and prefix, for messages.
    pub(in crate::storage) fn location_name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Returns `s3://bucket/path`, for messages.
    pub(super) fn name(&self, path: &ObjectPath) -> String {
        format!("s3://{}/{path}", self.bucket)
    }

    /// Runs a request; if S3 refuses the credentials, renews them and runs it again.
    async fn attempt<T, F>(
        &self,
        action: &'static str,
        path: &ObjectPath,
        request: impl Fn() -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let start = Instant::now();
        let error = match request().await {
            Ok(value) => return Ok(value),
            Err(e) => e,
        };
        let is_dropped = match refusal(&error) {
            Refusal::Expired => self.credentials.drop_refused(start, true).await,
            Refusal::Unspecified => self.credentials.drop_refused(start, false).await,
            Refusal::None => false,
        };
        match is_dropped {
            true => request().await.map_err(|e| self.error(action, path, e)),
            false => Err(self.error(action, path, error)),
        }
    }

    fn error(&self, action: &'static str, path: &ObjectPath, error: Error) -> StorageError {
        let object = self.name(path);
        match error {
            // A listing reports a missing bucket in an error of another kind.
            Error::NotFound { .. } | Error::Generic { .. }
                if error_chain(&error).contains("NoSuchBucket") =>
            {
                StorageError::NoBucket { action, object, bucket: self.bucket.clone() }
            }
            Error::NotFound { .. } => StorageError::NotFound(object),
            Error::Generic { source, .. } if source.is::<NoCredentials>() => {
                StorageError::Credentials { bucket: self.bucket.clone(), reason: source.to_string() }
            }
            other => StorageError::S3 { action, object, source: Box::new(other) },
        }
    }
}

/// Requests the pages of a listing, each but the first with the continuation token of the one before. Ends with an error
/// when a token repeats: the listing would have no end, even if its pages are empty.
fn pages<F, R>(list: F) -> impl Stream<Item = object_store::Result<ObjectMeta>>
where
    F: Fn(Option<String>) -> R,
    R: Future<Output = object_store::Result<(Vec<ObjectMeta>, Option<String>)>>,
{
    let list = Arc::new(list);
    let first = Some((None, HashSet::new()));
    let pages = stream::try_unfold(first, move |next: Option<(Option<String>, HashSet<String>)>| {
        let list = Arc::clone(&list);
        async move {
            let Some((token, mut tokens)) = next else { return Ok(None) };
            let (objects, token) = list(token).await?;
            let token = token.filter(|token| !token.is_empty());
            if token.as_ref().is_some_and(|token| !tokens.insert(token.clone())) {
                return Err(endless("the server sends the same continuation token twice".to_owned()));
            }
            Ok(Some((objects, token.map(|token| (Some(token), tokens)))))
        }
    });
    pages.map_ok(|objects| stream::iter(objects.into_iter().map(Ok))).try_flatten()
}

/// Ends a listing with an error when it lists its first object again, or one that is not after `offset`: the server ignores
/// the position at which a page or a listing begins, and the listing, or the series of listings, would have no end.
fn without_repeats(
    offset: Option<String>,
    objects: impl Stream<Item = object_store::Result<ObjectMeta>>,
) -> impl Stream<Item = object_store::Result<ObjectMeta>> {
    let mut first: Option<ObjectPath> = None;
    objects.and_then(move |object| {
        let ignored = if first.as_ref() == Some(&object.location) {
            Some("the continuation token")
        } else if offset.as_ref().is_some_and(|offset| object.location.as_ref() <= offset.as_str()) {
            Some("start-after")
        } else {
            None
        };
        first.get_or_insert_with(|| object.location.clone());
        future::ready(match ignored {
            None => Ok(object),
            Some(parameter) => {
                Err(endless(format!("the server lists {} twice: it ignores {parameter}", object.location)))
            }
        })
    })
}

fn endless(reason: String) -> Error {
    Error::Generic { store: "S3", source: reason.into() }
}

/// Collects a body of at most [`memory_cache::MAX_OBJECT_SIZE`] bytes.
async fn collect(
    size: u64,
    mut body: BoxStream<'static, Result<Bytes, StorageError>>,
) -> Result<Bytes, StorageError> {
    let mut bytes = Vec::with_capacity(
        usize::try_from(size.min(memory_cache::MAX_OBJECT_SIZE))
            .expect("at most the size of a cached object"),
    );
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Whether an error is caused by the credentials.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Expired,
    /// Access was denied without a reason: the response to HEAD has no body.
    Unspecified,
    None,
}

fn refusal(error: &Error) -> Refusal {
    const EXPIRED: [&str; 5] =
        ["ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId", "RequestExpired"];
    let text = error_chain(error);
    if EXPIRED.iter().any(|code| text.contains(code)) {
        return Refusal::Expired;
    }
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Refusal::Unspecified,
        // S3 answers a HEAD with expired credentials with a 400 without a body.
        _ if text.contains("400 Bad Request") && !text.contains("<Code>") => Refusal::Unspecified,
        _ => Refusal::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listing_that_begins_again_ends_with_an_error() {
        let object = |name: &str| {
            Ok(ObjectMeta {
                location: ObjectPath::from(name),
                last_modified: Default::default(),
                size: 1,
                e_tag: None,
                version: None,
            })
        };
        let list_after = |offset: Option<&str>, names: &'static [&'static str]| {
            let objects = futures_util::stream::iter(names.iter().copied().map(object)).boxed();
            without_repeats(offset.map(str::to_owned), objects).try_collect::<Vec<_>>()
        };
        let list = |names| list_after(None, names);
        assert_eq!(list(&["a", "b", "c"]).await.unwrap().len(), 3);
        assert!(list(&[]).await.unwrap().is_empty());
        for repeated in [&["a", "a"][..], &["a", "b", "a", "b"], &["a", "b", "c", "a"]] {
            let error = list(repeated).await.unwrap_err().to_string();
            assert!(error.contains("continuation token"), "{error}");
        }
        assert_eq!(list_after(Some("a"), &["b", "c"]).await.unwrap().len(), 2);
        for before_offset in [&["b"][..], &["a", "c"], &["c", "a"]] {
            let error = list_after(Some("b"), before_offset).await.unwrap_err().to_string();
            assert!(error.contains("start-after"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_listing_with_a_repeated_token_ends_with_an_error() {
        let list = |tokens: &'static [&'static str]| {
            let requests = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let next = move |_| {
                let number = requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                // The last token is repeated without end.
                let token = tokens.get(number).or(tokens.last()).map(|token| (*token).to_owned());
                future::ready(Ok((Vec::new(), token)))
            };
            pages(next).try_collect::<Vec<_>>()
        };
        for ended in [&[][..], &[""], &["a", "b", ""]] {
            assert!(list(ended).await.unwrap().is_empty(), "{ended:?}");
        }
        for repeated in [&["a"][..], &["a", "b", "a"], &["a", "b", "c"]] {
            let error = list(repeated).await.unwrap_err().to_string();
            assert!(error.contains("same continuation token"), "{error}");
        }
    }
}
