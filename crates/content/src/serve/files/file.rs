//! Locates package files by point and path, and serves them from storage, from a bundle, or from a fetch in
//! progress. `fetch::integrity` compares stored files with their digests, once per process.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt};

use super::located::{FileBody, LocatedFile, OpenFile};
use super::mirror_fetch::{fetch_error, fetch_to_storage, join_fetch};
use super::{bundle_files, bundles, upstream};
use crate::fetch::integrity::IntegrityError;
use crate::fetch::{self, Delivery, FetchOutcome, Subscriber};
use crate::serve::python::wheel_metadata;
use crate::serve::selection::allowed::{View, blocked};
use crate::serve::selection::{allowed, name_guards, policies};
use crate::serve::{RepoError, Repositories, error};
use base::config::{ClassLocation, Provider};
use base::model::change::LifeState;
use base::model::point::{Point, PointTree};
use store::db;
use store::storage::{Key, OpenObject, StorageError};

/// Cache of located files in storage. A step never changes, so entries stay valid; [`open`] detects an eviction.
pub(in crate::serve) type Cache = quick_cache::sync::Cache<FileKey, LocatedFile>;

/// Maximum number of entries of the [`Cache`], several hundred bytes each.
pub(in crate::serve) const CACHE_ENTRIES: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::serve) struct FileKey {
    trees: Vec<PointTree>,
    file: String,
    in_archive: bool,
}

/// Finds `src/contrib[/path]/{file}` or `src/contrib/Archive/{package}/{file}` at a point, of the owner of
/// the name. `in_archive` states which address was used; both find a release in either state, so that an
/// index read shortly before a new version was published still refers to existing files.
pub async fn locate(
    repositories: &Repositories,
    point: &Point,
    package: &str,
    version: &str,
    file: &str,
    in_archive: bool,
) -> Result<LocatedFile, RepoError> {
    let key = FileKey { trees: point.trees.clone(), file: file.to_owned(), in_archive };
    if let Some(located) = repositories.files.located.get(&key) {
        return Ok(located);
    }
    let (trees, name, path_and_file) =
        (View::of(&repositories.state, point), package.to_owned(), file.to_owned());
    let located_row = repositories
        .state
        .db
        .read(move |c| {
            let Some(tree) = allowed::owner(c, &trees, &name)? else { return Ok(None) };
            let preferred_state = if in_archive { LifeState::Archived } else { LifeState::Listed };
            let mut row = None;
            for state in [Some(preferred_state), None] {
                if row.is_none() {
                    row = tree.find_file(c, state, &name, &path_and_file)?;
                }
            }
            let Some(row) = row else { return Ok(None) };
            let decided = tree.decided(c, &name)?;
            let blocked = blocked::of_release(&decided, row.release);
            let warning = blocked::warning_of(&decided, row.release);
            Ok(Some((tree.listing(), row, blocked, warning)))
        })
        .await?;
    let Some((tree, row, blocked, warning)) = located_row else {
        let text = format!("there is no {package} {version} in this snapshot");
        return Err(name_guards::missing(&repositories.state, point, package, text));
    };
    if let Some(blocked) = blocked {
        policies::log_frozen(&repositories.state, point, &blocked);
        return Err(RepoError::Blocked(Box::new(blocked)));
    }
    let warning = warning.map(Arc::from);
    let located = LocatedFile { warning, ..LocatedFile::new(package, tree, row) };
    if located.stored {
        repositories.files.located.insert(key, located.clone());
    }
    Ok(located)
}

/// Discards the cache of stored files after an eviction. Other servers detect an evicted file when they open it.
pub fn clear_stored_files(repositories: &Repositories) {
    repositories.files.located.clear();
}

/// Opens a located file, whole or a range (byte positions, end exclusive, inside the file). A file that is not in
/// storage is served while it is fetched from its mirror. Fails with [`RepoError::Upstream`] or [`RepoError::NotFound`]
/// of the mirror, but [`RepoError::Storage`] or [`RepoError::Damaged`] if it was stored.
pub async fn open(
    repositories: &Repositories,
    located: &LocatedFile,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    // The other futures are boxed: most requests need only this one, and the future of each request is moved.
    let Some(key) = located.key() else {
        return Box::pin(open_absent(repositories, located, range)).await;
    };
    let attempt = || open_for_client(repositories, located, &key, range.clone());
    match when_visible(repositories, located, &key, attempt).await {
        Err(error) => Box::pin(open_again(repositories, located, &key, error, range)).await,
        result => result,
    }
}

async fn open_again(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    error: RepoError,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    if !is_fetched_instead(repositories, located, key, &error) {
        return Err(error);
    }
    if is_evicted(repositories, located, &error).await? {
        let evicted = LocatedFile { stored: false, ..located.clone() };
        return open_absent(repositories, &evicted, range).await;
    }
    tracing::error!(file = %located.name, "could not serve a stored package: {error}; fetching it again");
    let result = open_absent(repositories, located, range).await;
    result.map_err(|of_mirror| undeliverable(error, of_mirror))
}

/// Returns the error for a file that neither storage (`of_storage`) nor its mirror (`of_mirror`) delivers. One that was
/// stored is not gone: its storage may not be mounted or readable for a while, or can be restored.
fn undeliverable(of_storage: RepoError, of_mirror: RepoError) -> RepoError {
    if matches!(of_mirror, RepoError::NotFound(_)) { of_storage } else { of_mirror }
}

/// Opens a file that is not in storage: from a bundle, from its mirror, or METADATA that an index lacks from the wheel.
async fn open_absent(
    repositories: &Repositories,
    located: &LocatedFile,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    if let Some(open) = bundle_files::open(repositories, located, range.as_ref()).await? {
        return Ok(open);
    }
    match open_fetched(repositories, located, range.clone()).await {
        Err(error) => {
            let key = wheel_metadata::store(repositories, located, error).await?;
            let open = read_stored(repositories, located, &key, range).await?;
            Ok(with_transfer(repositories, open, key))
        }
        result => result,
    }
}

async fn open_fetched(
    repositories: &Repositories,
    located: &LocatedFile,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    let subscriber = join_fetch(repositories, located).await?;
    let mut progress = subscriber.fetch.progress.clone();
    // Clients read Python metadata by ranges, and refuse a whole file. METADATA with another digest is read
    // from the wheel, so none is sent before the digest is known.
    let waits_for_end =
        range.is_some() && located.source().is_project_index() || wheel_metadata::is_metadata(located);
    let current_progress = progress
        .wait_for(|p| if waits_for_end { p.outcome.is_some() } else { p.can_answer() })
        .await
        .map_err(|_| RepoError::Storage(error::stopping()))?
        .clone();
    match current_progress.outcome {
        Some(FetchOutcome::Failed(error)) => return Err(fetch_error(repositories, located, error).await),
        Some(FetchOutcome::Done(Delivery::Stored(key))) => {
            return Ok(with_transfer(
                repositories,
                read_stored(repositories, located, &key, range).await?,
                key,
            ));
        }
        Some(FetchOutcome::Done(Delivery::SentOnly)) | None => {}
    }
    Ok(open_fetch(subscriber, current_progress.size, range))
}

/// Checks for the errors of [`open`] that are known without reading the whole file and without a request to the mirror.
pub async fn check(repositories: &Repositories, located: &LocatedFile) -> Result<(), RepoError> {
    let stored_error = match located.key() {
        Some(key) => {
            let attempt = || check_stored(repositories, located, &key);
            match when_visible(repositories, located, &key, attempt).await {
                Err(error) if is_fetched_instead(repositories, located, &key, &error) => {
                    if is_evicted(repositories, located, &error).await? { None } else { Some(error) }
                }
                result => return result,
            }
        }
        None if !upstream::may_be_fetched(&repositories.state, located) => return Ok(()),
        None => None,
    };
    let (candidates, ..) = upstream::candidates(&repositories.state, located)?;
    let Err(error) = repositories.fetches.check(located.row.file, &candidates) else { return Ok(()) };
    let of_mirror = fetch_error(repositories, located, error).await;
    Err(match stored_error {
        Some(of_storage) => undeliverable(of_storage, of_mirror),
        None => of_mirror,
    })
}

/// Stores a located file that can be fetched, for no client. Returns false if it is in storage, or in a
/// bundle in a directory. Fails as [`open`], and if the fetched file cannot be stored.
pub async fn store(repositories: &Repositories, located: &LocatedFile) -> Result<bool, RepoError> {
    if is_local(repositories, located) {
        return Ok(false);
    }
    match fetch_to_storage(repositories, located).await {
        Ok(_) => Ok(true),
        Err(error) => wheel_metadata::store(repositories, located, error).await.map(|_| true),
    }
}

/// Returns whether a located file can be served without fetching it: from storage, or from a bundle under its digest.
pub fn is_local(repositories: &Repositories, located: &LocatedFile) -> bool {
    located.stored || bundles::of_file(repositories, located).is_some()
}

/// Returns whether a file whose object is missing or damaged is fetched again; a missing one is else recorded as lost.
fn is_fetched_instead(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    error: &RepoError,
) -> bool {
    let is_missing = matches!(error, RepoError::Storage(StorageError::NotFound(_)));
    if !is_missing && !matches!(error, RepoError::Damaged { .. }) {
        return false;
    }
    let is_fetched = upstream::may_be_fetched(&repositories.state, located);
    if is_missing && !is_fetched && repositories.state.storage.add_lost(key) {
        tracing::error!(file = %located.name, object = %key, "a requested package is not in storage, and no mirror has it");
    }
    is_fetched
}

pub(in crate::serve) async fn open_stored(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    check_integrity(repositories, located, key).await?;
    read_stored(repositories, located, key, range).await
}

/// Opens a stored file for a client: the access is recorded, and the object is not evicted during the transfer.
async fn open_for_client(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    let open = open_stored(repositories, located, key, range).await?;
    repositories.fetches.accesses.record(key, (repositories.state.clock)());
    Ok(with_transfer(repositories, open, *key))
}

/// Marks the object of an open file as being transferred until its stream is dropped; bytes in memory need no mark.
fn with_transfer(repositories: &Repositories, open: OpenFile, key: Key) -> OpenFile {
    let body = match open.body {
        FileBody::Stream(stream) => {
            let transfer = repositories.fetches.accesses.begin_transfer(key);
            let stream = stream.inspect(move |_| {
                let _ = &transfer;
            });
            FileBody::Stream(stream.boxed())
        }
        body @ FileBody::Memory(_) => body,
    };
    OpenFile { body, ..open }
}

/// Returns whether a file is missing because it was evicted after it was located.
async fn is_evicted(
    repositories: &Repositories,
    located: &LocatedFile,
    error: &RepoError,
) -> Result<bool, RepoError> {
    if !matches!(error, RepoError::Storage(StorageError::NotFound(_))) {
        return Ok(false);
    }
    let file = located.file();
    Ok(repositories.state.db.read(move |c| db::file::is_evicted(c, file)).await?)
}

async fn check_integrity(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
) -> Result<(), RepoError> {
    repositories.fetches.integrity.check(key).await.map_err(|error| match error {
        IntegrityError::Damaged(reason) => RepoError::Damaged { file: located.name.clone(), reason },
        IntegrityError::Storage(error) => error.into(),
    })
}

/// Checks that a stored file exists, has the recorded size and is not known to be damaged.
async fn check_stored(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
) -> Result<(), RepoError> {
    if repositories.fetches.integrity.is_known_damaged(key) {
        check_integrity(repositories, located, key).await?;
    }
    match read_stored(repositories, located, key, Some(0..1)).await {
        Err(missing @ RepoError::Storage(StorageError::NotFound(_))) => {
            // An object in the directory `damaged` is reported as damaged.
            check_integrity(repositories, located, key).await?;
            Err(missing)
        }
        result => result.map(drop),
    }
}

/// Opens a stored file. If its size is not the recorded one, [`check_integrity`] reads it; reopens an intact one.
async fn read_stored(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    range: Option<Range<u64>>,
) -> Result<OpenFile, RepoError> {
    let storage = &repositories.state.storage;
    let has_other_size = |blob: &Result<OpenObject, StorageError>| {
        let size = match blob {
            Ok(OpenObject { size, .. }) | Err(StorageError::Range { size, .. }) => Some(*size),
            Err(_) => None,
        };
        size.is_some_and(|size| located.size.is_some_and(|recorded_size| recorded_size != size))
    };
    let mut blob = storage.get(key, range.clone()).await;
    if has_other_size(&blob) {
        repositories.fetches.integrity.remove(key);
        Box::pin(check_integrity(repositories, located, key)).await?;
        blob = storage.get(key, range.clone()).await;
        if has_other_size(&blob) {
            return Err(StorageError::UnstableRead(key.path()).into());
        }
    }
    let OpenObject { size, content } = blob?;
    Ok(OpenFile { size: Some(size), range, body: content.into() })
}

/// Opens a file during its fetch: the whole file for a range far beyond the fetched bytes (RFC 9110, section 14.2).
fn open_fetch(subscriber: Subscriber, size: Option<u64>, range: Option<Range<u64>>) -> OpenFile {
    let range = range.filter(|range| size.is_some() && fetch::is_near(&subscriber.fetch, range.start));
    let requested_range = range.clone().unwrap_or(0..size.unwrap_or(u64::MAX));
    let stream = fetch::read(subscriber, requested_range).map_err(RepoError::from).boxed();
    OpenFile { size, range, body: FileBody::Stream(stream) }
}

/// Delays before each repeated search for an object that another server may have written to a network file system. An
/// NFS client that caches absent names may see a new file late; `lookupcache=positive` prevents it (nfs(5)).
const VISIBILITY_DELAYS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Calls `attempt`, which reads an object, and calls it again if the object was not found and then became visible.
async fn when_visible<T, F: Future<Output = Result<T, RepoError>>>(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    attempt: impl Fn() -> F,
) -> Result<T, RepoError> {
    let result = attempt().await;
    match &result {
        Err(error) if Box::pin(becomes_visible(repositories, located, key, error)).await? => {
            Box::pin(attempt()).await
        }
        _ => result,
    }
}

/// Waits for an object, at most the sum of [`VISIBILITY_DELAYS`], and returns whether it is visible. Does not wait if no
/// other server can have stored it, if a mirror has the file, or if the object is known to be lost.
async fn becomes_visible(
    repositories: &Repositories,
    located: &LocatedFile,
    key: &Key,
    error: &RepoError,
) -> Result<bool, RepoError> {
    let state = &repositories.state;
    let may_become_visible = matches!(error, RepoError::Storage(StorageError::NotFound(_)))
        && is_shared(repositories, key)
        && state.storage.is_own(key.class())
        && !state.storage.is_lost(key)
        && !upstream::may_be_fetched(state, located);
    if !may_become_visible {
        return Ok(false);
    }
    for delay in VISIBILITY_DELAYS {
        tokio::time::sleep(delay).await;
        if state.storage.size(key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether several servers can use the directory of an object.
fn is_shared(repositories: &Repositories, key: &Key) -> bool {
    let config = repositories.state.config.load();
    config.database.provider == Provider::Postgres
        && matches!(config.storage.location(key.class()), ClassLocation::File(_))
}
