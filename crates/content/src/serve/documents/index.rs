//! Generated documents of a point (indexes, package databases): rendered once per format, cached, and stored
//! once the point is closed.
//!
//! A point is closed if its content cannot change any more, such as a past day; its documents are stored once and never
//! rewritten. Compressed bytes depend on the version of the server: those that are stored first apply everywhere, so
//! they are stored before the response. Pages of Python repositories have the same bytes on every server, so a task
//! stores them 50 ms later, and a stopping server waits for it. The ETag is computed from the decoded content and kept
//! in the table `rendered`, so a 304 needs no rendering even after a restart.

use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache as WeightedCache;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::document::{Document, DocumentRequest, RenderedDocument};
use super::encoding::{ENCODER, EncodedDocument, compress, gunzip};
use crate::serve::r::render;
use crate::serve::selection::allowed::View;
use crate::serve::{RepoError, Repositories, error, project};
use base::model::digest::Sha256;
use base::model::owned_bytes::bytes_with;
use base::model::point::Point;
use store::db::rendered::{self, RenderedRow};
use store::db::{self, Db, DbError};
use store::storage::disk_cache::DiskCache;
use store::storage::{Key, StorageError, memory_cache};

/// Documents in memory, current and dated ones separately: a crawler with thousands of dates cannot evict `latest`.
pub(in crate::serve) struct Cache {
    current_documents: DocumentCache,
    dated_documents: DocumentCache,
    /// Package databases: the package database of CRAN is a third as large as all indexes of CRAN together.
    package_databases: DocumentCache,
    /// Lists of Python projects: the list of PyPI is larger than all the other documents in memory.
    project_lists: DocumentCache,
    /// Pages of Python projects at open points for which memory has no space: to render one takes ten times as long as to
    /// read it.
    pages: Arc<DiskCache>,
    /// Limits concurrent renderings, each of which uses tens of megabytes of memory.
    render_permits: Semaphore,
    database_render_permits: Semaphore,
    /// The memory budget of documents in KiB: those in the cache, and those that clients still read.
    memory: Arc<Semaphore>,
    /// As `memory`, for lists of Python projects: clients that read them slowly must not block all other documents.
    list_memory: Arc<Semaphore>,
    waiting_stores: Arc<Semaphore>,
    store_permits: Semaphore,
    rows: RenderedRows,
}

pub(in crate::serve) type DocumentCache = WeightedCache<String, Arc<CachedDocument>, ByteWeighter>;

/// In bytes. With dated documents and package databases, 48 MiB in total.
const CURRENT_BYTES: u64 = 24 << 20;
const DATED_BYTES: u64 = 8 << 20;
const DATABASE_BYTES: u64 = 16 << 20;
/// In bytes: the list of PyPI is 45 MB as JSON, and larger as HTML.
const LIST_BYTES: u64 = 128 << 20;
/// Size of the temporary file with pages of Python projects, in bytes.
const PAGE_FILE_BYTES: u64 = 1 << 30;
/// Maximum size of all lists of Python projects in memory, in bytes.
const MAX_LIST_MEMORY: usize = 256 << 20;
/// Maximum size of all documents in memory, in bytes: the cache, and 128 MiB of evicted documents that are still sent.
/// Otherwise a client that requests many dates and reads no response keeps all their documents in memory.
const MAX_MEMORY: usize = 176 << 20;
/// A document is only read or rendered while this many bytes are free.
const MIN_FREE_BYTES: usize = 1 << 20;
/// Time from rendering a document to storing it, which would delay the response, and often the client's next request.
const STORE_DELAY: Duration = Duration::from_millis(50);
/// Maximum size of the documents that wait to be stored after their responses, in KiB. Further requests store
/// theirs first, so that rendering is not faster than storing for long.
const MAX_WAITING_STORES: u32 = 16 << 10;
/// The size at which a smaller document is counted, in KiB, because each is a task.
const MIN_WAITING_STORE: u32 = 16;
/// Maximum number of documents that are stored at the same time after their responses.
const CONCURRENT_STORES: usize = 8;
/// `Retry-After` in seconds.
const RETRY_AFTER: u64 = 5;

#[derive(Clone)]
pub(in crate::serve) struct ByteWeighter;

impl Weighter<String, Arc<CachedDocument>> for ByteWeighter {
    fn weight(&self, key: &String, cached: &Arc<CachedDocument>) -> u64 {
        (key.len() + cached.encoded.bytes.len()) as u64 + 200
    }
}

pub(in crate::serve) struct CachedDocument {
    pub(in crate::serve) encoded: EncodedDocument,
    /// Whether it need not be stored: it is in storage and in the table `rendered`, or another one takes its place.
    is_stored: AtomicBool,
    is_being_stored: AtomicBool,
}

impl CachedDocument {
    fn new(encoded: EncodedDocument, is_stored: bool) -> CachedDocument {
        let (is_stored, is_being_stored) = (AtomicBool::new(is_stored), AtomicBool::new(false));
        CachedDocument { encoded, is_stored, is_being_stored }
    }
}

impl Cache {
    /// Creates an empty cache; its temporary file is in `directory`.
    pub(in crate::serve) fn new(directory: &Path) -> Cache {
        Cache::with_memory(directory, MAX_MEMORY)
    }

    fn with_memory(directory: &Path, memory: usize) -> Cache {
        let with_capacity = |bytes| memory_cache::with_shards(1, bytes, 256, ByteWeighter);
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Cache {
            current_documents: with_capacity(CURRENT_BYTES),
            dated_documents: with_capacity(DATED_BYTES),
            package_databases: with_capacity(DATABASE_BYTES),
            project_lists: with_capacity(LIST_BYTES),
            pages: Arc::new(DiskCache::new(directory.to_owned(), PAGE_FILE_BYTES)),
            render_permits: Semaphore::new(threads),
            database_render_permits: Semaphore::new(1),
            memory: Arc::new(Semaphore::new(memory >> 10)),
            list_memory: Arc::new(Semaphore::new(MAX_LIST_MEMORY >> 10)),
            waiting_stores: Arc::new(Semaphore::new(MAX_WAITING_STORES as usize)),
            store_permits: Semaphore::new(CONCURRENT_STORES),
            rows: RenderedRows::default(),
        }
    }

    pub(in crate::serve) async fn render_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.render_permits.acquire().await.ok()
    }

    fn budget(&self, document: &Document) -> &Arc<Semaphore> {
        if document.is_project_list() { &self.list_memory } else { &self.memory }
    }
}

fn check_memory(budget: &Semaphore) -> Result<(), RepoError> {
    let free_bytes = budget.available_permits() << 10;
    if free_bytes < MIN_FREE_BYTES { Err(RepoError::Busy { retry_after: RETRY_AFTER }) } else { Ok(()) }
}

/// Reserves the size of a document in a budget, until the last clone of its bytes is dropped.
fn reserve_memory(budget: &Arc<Semaphore>, encoded: EncodedDocument) -> Result<EncodedDocument, RepoError> {
    let EncodedDocument { content, bytes } = encoded;
    let kibibytes = u32::try_from(bytes.len() >> 10).unwrap_or(u32::MAX);
    let permit = Arc::clone(budget).try_acquire_many_owned(kibibytes);
    let permit = permit.map_err(|_| RepoError::Busy { retry_after: RETRY_AFTER })?;
    Ok(EncodedDocument { content, bytes: bytes_with(bytes, permit) })
}

pub(in crate::serve) fn cached(
    repositories: &Repositories,
    request: &DocumentRequest,
    encoded: EncodedDocument,
) -> Result<CachedDocument, RepoError> {
    let encoded = reserve_memory(repositories.indexes.budget(&request.document), encoded)?;
    Ok(CachedDocument::new(encoded, true))
}

/// Returns the bytes of all documents in memory: cached, and still read by clients. Each is counted in whole KiB.
pub fn document_bytes(repositories: &Repositories) -> usize {
    let Cache { memory, list_memory, .. } = &repositories.indexes;
    let free_bytes = (memory.available_permits() + list_memory.available_permits()) << 10;
    MAX_MEMORY + MAX_LIST_MEMORY - free_bytes
}

/// Returns the content digest of a document if it is known, which suffices for a response 304 without rendering.
pub async fn content_digest(
    repositories: &Repositories,
    request: &DocumentRequest,
) -> Result<Option<Sha256>, RepoError> {
    if let Some(constant) = constant_document(&request.document) {
        return Ok(Some(constant.content));
    }
    let stored_key = request.stored_equivalent().map_or_else(|| request.key.clone(), |stored| stored.key);
    for key in [request.key.as_str(), stored_key.as_str(), request.compressed_key()] {
        let Cache { current_documents, dated_documents, package_databases, project_lists, .. } =
            &repositories.indexes;
        let cached = [current_documents, dated_documents, package_databases, project_lists]
            .into_iter()
            .find_map(|cache| cache.get(key));
        if let Some(cached) = cached {
            return Ok(Some(cached.encoded.content));
        }
        if let Some(page) = request.is_open_page().then(|| repositories.indexes.pages.find(key)).flatten() {
            return Ok(Some(page.content()));
        }
    }
    if !request.may_be_stored() {
        return Ok(None);
    }
    Ok(repositories.state.db.read(move |c| rendered::get(c, &stored_key)).await?.map(|row| row.content))
}

pub async fn document(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<RenderedDocument, RepoError> {
    if let Some(constant) = constant_document(&request.document) {
        return Ok(request.rendered_document(&constant));
    }
    let is_usable = |cached: &Arc<CachedDocument>| {
        request.point.open
            || cached.is_stored.load(Ordering::Relaxed)
            || cached.is_being_stored.load(Ordering::Relaxed)
    };
    if let Some(cached) = cache_of(repositories, request).get(&request.key).filter(is_usable) {
        return Ok(request.rendered_document(&cached.encoded));
    }
    // In a separate task: a client that disconnects must not cancel a rendering that other requests wait for.
    let (task_repositories, task_request) = (Arc::clone(repositories), request.clone());
    let rendering = tokio::spawn(async move { cached_document(&task_repositories, &task_request).await });
    Ok(request.rendered_document(&error::join(rendering).await??.encoded))
}

/// Returns the document from memory or storage, or renders it; once per key at a time.
async fn cached_document(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<Arc<CachedDocument>, RepoError> {
    let DocumentRequest { point, key, .. } = request;
    let cache = cache_of(repositories, request);
    let cached = cache.get_or_insert_async(key.as_str(), read_or_render(repositories, request)).await?;
    if point.open || cached.is_stored.load(Ordering::Relaxed) {
        return Ok(cached);
    }
    // The document was rendered just now, or while its point was open; the point is closed.
    if request.document.is_plain() && store_in_task(repositories, request, &cached) {
        return Ok(cached);
    }
    if let Some(stored) = request.stored_equivalent() {
        document_boxed(repositories, stored).await?;
        cached.is_stored.store(true, Ordering::Relaxed);
        return Ok(cached);
    }
    let encoded = EncodedDocument { content: cached.encoded.content, bytes: cached.encoded.bytes.clone() };
    let stored = Arc::new(store_document(repositories, request, encoded).await?);
    cache.insert(key.clone(), stored.clone());
    Ok(stored)
}

/// Stores a document after [`STORE_DELAY`], if every server renders its bytes alike, so that it does not
/// matter whose are stored. Returns false if too many bytes wait.
fn store_in_task(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
    cached: &Arc<CachedDocument>,
) -> bool {
    if cached.is_being_stored.swap(true, Ordering::Relaxed) {
        return true;
    }
    let kibibytes = u32::try_from(cached.encoded.bytes.len() >> 10).unwrap_or(u32::MAX);
    let permits = kibibytes.clamp(MIN_WAITING_STORE, MAX_WAITING_STORES);
    let Ok(waiting) = Arc::clone(&repositories.indexes.waiting_stores).try_acquire_many_owned(permits) else {
        cached.is_being_stored.store(false, Ordering::Relaxed);
        return false;
    };
    let (repositories, request, cached) = (Arc::clone(repositories), request.clone(), Arc::clone(cached));
    tokio::spawn(async move {
        tokio::time::sleep(STORE_DELAY).await;
        let permit = repositories.indexes.store_permits.acquire().await;
        let EncodedDocument { content, ref bytes } = cached.encoded;
        let encoded = EncodedDocument { content, bytes: bytes.clone() };
        match store_document(&repositories, &request, encoded).await {
            // The bytes of the first server apply.
            Ok(stored) if stored.encoded.content != content => {
                cache_of(&repositories, &request).insert(request.key.clone(), Arc::new(stored));
            }
            Ok(stored) => cached.is_stored.store(stored.is_stored.into_inner(), Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(key = %request.key, %error, "could not record the document of a closed snapshot");
            }
        }
        cached.is_being_stored.store(false, Ordering::Relaxed);
        drop((permit, waiting));
    });
    true
}

/// Waits until no task stores a document. Requests that arrive meanwhile store theirs before the response.
pub async fn wait_for_stores(repositories: &Repositories) {
    // The semaphore is never closed.
    let _permits = repositories.indexes.waiting_stores.acquire_many(MAX_WAITING_STORES).await.ok();
}

async fn read_or_render(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<Arc<CachedDocument>, RepoError> {
    let DocumentRequest { point, document, key, .. } = request;
    let budget = repositories.indexes.budget(document);
    check_memory(budget)?;
    if let Some(stored) = request.stored_equivalent() {
        let gz = document_boxed(repositories, stored).await?;
        let compressed = EncodedDocument { content: gz.content, bytes: gz.bytes };
        let encoded = reserve_memory(budget, run_blocking(move || gunzip(&compressed)).await?)?;
        return Ok(Arc::new(CachedDocument::new(encoded, !point.open)));
    }
    let stored = if request.may_be_stored() { stored_document(repositories, key).await? } else { None };
    if let Some(encoded) = stored {
        return Ok(Arc::new(CachedDocument::new(reserve_memory(budget, encoded)?, true)));
    }
    if let Some(encoded) = page_on_disk(repositories, request, key).await {
        return Ok(Arc::new(CachedDocument::new(reserve_memory(budget, encoded)?, false)));
    }
    let encoded = reserve_memory(budget, render_document(repositories, point, document).await?)?;
    write_page(repositories, request, key, &encoded);
    // `cached_document` starts the task that stores a plain document.
    let cached = if point.open || document.is_plain() {
        CachedDocument::new(encoded, false)
    } else {
        store_document(repositories, request, encoded).await?
    };
    Ok(Arc::new(cached))
}

/// Returns a page that was written to the temporary file.
async fn page_on_disk(
    repositories: &Repositories,
    request: &DocumentRequest,
    key: &str,
) -> Option<EncodedDocument> {
    if !request.is_open_page() {
        return None;
    }
    let pages = &repositories.indexes.pages;
    let object = pages.find(key)?;
    let bytes = match pages.read_cached(object) {
        Some(bytes) => bytes,
        None => {
            let pages = Arc::clone(pages);
            error::run_blocking(move || pages.read(object)).await.ok()??
        }
    };
    Some(EncodedDocument { content: object.content(), bytes })
}

/// Writes a page to the temporary file in the background, if pages are about to be evicted from memory.
fn write_page(repositories: &Repositories, request: &DocumentRequest, key: &str, page: &EncodedDocument) {
    let cache = cache_of(repositories, request);
    if request.is_open_page() && cache.weight() > cache.capacity() / 2 {
        let (pages, key, content) = (Arc::clone(&repositories.indexes.pages), key.to_owned(), page.content);
        let bytes = page.bytes.clone();
        tokio::task::spawn_blocking(move || pages.write(&key, content, &bytes));
    }
}

/// Boxes the future, because it is recursive: a document may be derived from the one that is stored in its place.
fn document_boxed(
    repositories: &Arc<Repositories>,
    request: DocumentRequest,
) -> std::pin::Pin<Box<dyn Future<Output = Result<RenderedDocument, RepoError>> + Send + '_>> {
    Box::pin(async move { document(repositories, &request).await })
}

async fn render_document(
    repositories: &Repositories,
    point: &Point,
    document: &Document,
) -> Result<EncodedDocument, RepoError> {
    let Cache { render_permits, database_render_permits, .. } = &repositories.indexes;
    let permits = if document.has_details() { database_render_permits } else { render_permits };
    let _permit = permits.acquire().await.ok();
    match document {
        Document::Lists(document) => {
            let (trees, request) = (View::of(&repositories.state, point), document.clone());
            let rows = repositories.state.db.read(move |c| render::rows(c, &trees, &request)).await?;
            let document = document.clone();
            run_blocking(move || render::encode(&document, &rows)).await
        }
        Document::Projects(document) => {
            let (trees, request) = (View::of(&repositories.state, point), document.clone());
            let catalog = repositories.state.catalog.get();
            let read = move |c: &mut dyn db::Conn| project::render::rows(c, &catalog, &trees, &request);
            let rows = repositories.state.db.read(read).await?;
            if rows.is_small() {
                return project::render::encode(document, rows).map_err(render_error);
            }
            let document = document.clone();
            run_blocking(move || project::render::encode(&document, rows)).await
        }
    }
}

fn constant_document(document: &Document) -> Option<EncodedDocument> {
    match document {
        Document::Lists(document) => render::constant(document),
        Document::Projects(_) => None,
    }
}

/// Reads the document that was stored under `key` once its point was closed.
pub(in crate::serve) async fn stored_document(
    repositories: &Repositories,
    key: &str,
) -> Result<Option<EncodedDocument>, RepoError> {
    let request = key.to_owned();
    let Some(row) = repositories.state.db.read(move |c| rendered::get(c, &request)).await? else {
        return Ok(None);
    };
    let bytes = repositories.fetches.integrity.read_verified(&Key::Index(row.sha256)).await?;
    if bytes.is_none() {
        tracing::warn!(
            key,
            "a stored document is missing or damaged in class persistent; rendering it again"
        );
    }
    Ok(bytes.map(|bytes| EncodedDocument { content: row.content, bytes }))
}

/// Stores the document of a closed point: object first, row second. Of several servers, the first one
/// applies. A storage error does not fail the request.
async fn store_document(
    repositories: &Repositories,
    request: &DocumentRequest,
    encoded: EncodedDocument,
) -> Result<CachedDocument, RepoError> {
    let key = request.key.as_str();
    let sha256 = if request.document.is_plain() { encoded.content } else { Sha256::of(&encoded.bytes) };
    if let Err(error) = repositories.state.storage.put(&Key::Index(sha256), encoded.bytes.clone()).await {
        tracing::warn!(key, %error, "could not store the document of a closed snapshot");
        return Ok(CachedDocument::new(encoded, false));
    }
    let row = RenderedRow {
        key: key.to_owned(),
        content: encoded.content,
        encoder: ENCODER.to_owned(),
        sha256,
        size: i64::try_from(encoded.bytes.len()).unwrap_or(i64::MAX),
        created_at: (repositories.state.clock)(),
    };
    let is_first = repositories.indexes.rows.put(&repositories.state.db, row).await?;
    let encoded = match if is_first { None } else { stored_document(repositories, key).await? } {
        Some(stored) => reserve_memory(repositories.indexes.budget(&request.document), stored)?,
        None => encoded,
    };
    Ok(CachedDocument::new(encoded, true))
}

pub(in crate::serve) fn cache_of<'a>(
    repositories: &'a Repositories,
    request: &DocumentRequest,
) -> &'a DocumentCache {
    let DocumentRequest { point, document, .. } = request;
    if document.has_details() {
        return &repositories.indexes.package_databases;
    }
    if document.is_project_list() {
        return &repositories.indexes.project_lists;
    }
    let catalog = repositories.state.catalog.get();
    // The point of the page of a Python project has the last change of the project, not of its source.
    let is_current = point.open && matches!(document, Document::Projects(_))
        || point.trees.iter().all(|tree| {
            catalog
                .tree(tree.tree)
                .and_then(|tree| tree.steps.last())
                .is_some_and(|step| step.seq == tree.seq)
        });
    if is_current { &repositories.indexes.current_documents } else { &repositories.indexes.dated_documents }
}

pub(in crate::serve) async fn run_blocking<F>(work: F) -> Result<EncodedDocument, RepoError>
where
    F: FnOnce() -> std::io::Result<EncodedDocument> + Send + 'static,
{
    error::run_blocking(work).await?.map_err(render_error)
}

fn render_error(error: std::io::Error) -> RepoError {
    StorageError::Other(format!("could not render a document: {error}")).into()
}

/// Returns a document compressed with gzip, for one without a compressed file, such as lists and pages of Python
/// repositories: cached by the first request and not stored. The digest is that of the decoded content.
pub async fn compressed_document(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<RenderedDocument, RepoError> {
    let cache = cache_of(repositories, request);
    if let Some(cached) = cache.get(request.compressed_key()) {
        return Ok(request.rendered_document(&cached.encoded));
    }
    // In a separate task: a client that disconnects must not cancel a compression that other requests wait for.
    let (task_repositories, task_request) = (Arc::clone(repositories), request.clone());
    let compression = tokio::spawn(async move {
        let cache = cache_of(&task_repositories, &task_request);
        let key = task_request.compressed_key();
        cache.get_or_insert_async(key, compress_document(&task_repositories, &task_request)).await
    });
    Ok(request.rendered_document(&error::join(compression).await??.encoded))
}

async fn compress_document(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<Arc<CachedDocument>, RepoError> {
    let key = request.compressed_key();
    if let Some(encoded) = page_on_disk(repositories, request, key).await {
        return cached(repositories, request, encoded).map(Arc::new);
    }
    let RenderedDocument { content, bytes, .. } = document(repositories, request).await?;
    let _permit = repositories.indexes.render_permit().await;
    let work = move || Ok(EncodedDocument { content, bytes: compress(&bytes)?.into() });
    let compressed = cached(repositories, request, run_blocking(work).await?)?;
    write_page(repositories, request, key, &compressed.encoded);
    Ok(Arc::new(compressed))
}

#[derive(Default)]
struct RenderedRows {
    waiting: Mutex<Vec<WaitingRow>>,
    transaction: tokio::sync::Mutex<()>,
}

struct WaitingRow {
    row: RenderedRow,
    /// Receives whether the row was written, see [`RenderedRows::put`].
    result: oneshot::Sender<bool>,
}

impl RenderedRows {
    /// Records a document permanently: the rows that arrive during a transaction are written by the next one, because each
    /// takes an fsync. Returns false and changes nothing if its key is already known.
    async fn put(&self, db: &Db, row: RenderedRow) -> Result<bool, DbError> {
        let (sender, result) = oneshot::channel();
        self.waiting.lock().push(WaitingRow { row: row.clone(), result: sender });
        self.write_waiting(db).await?;
        match result.await {
            Ok(is_written) => Ok(is_written),
            // The transaction with this row failed, possibly because of another row.
            Err(_) => db.write(move |c| rendered::put(c, &row)).await,
        }
    }

    /// Writes the rows that wait, after the running transaction. Their results are dropped if that fails.
    async fn write_waiting(&self, db: &Db) -> Result<(), DbError> {
        let _transaction = self.transaction.lock().await;
        let waiting = mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return Ok(());
        }
        let (rows, results): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.row, waiting.result)).unzip();
        let write = db.write(move |c| rows.iter().map(|row| rendered::put(c, row)).collect());
        let written: Vec<bool> = write.await?;
        for (result, is_written) in results.into_iter().zip(written) {
            // The task that waited for it may have ended.
            let _ = result.send(is_written);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Config;
    use base::model::time::Timestamp;

    #[test]
    fn a_crawler_cannot_evict_current_documents() {
        let cache = Cache::new(Path::new("/nonexistent"));
        let cached = |bytes: usize| {
            let encoded = EncodedDocument { content: Sha256([0; 32]), bytes: vec![0; bytes].into() };
            Arc::new(CachedDocument::new(encoded, true))
        };
        cache.current_documents.insert("latest".to_owned(), cached(6 << 20));
        for date in 0..3000 {
            cache.dated_documents.insert(format!("date {date}"), cached(1 << 20));
        }
        assert!(cache.current_documents.get("latest").is_some());
        assert!(cache.dated_documents.weight() <= DATED_BYTES, "{}", cache.dated_documents.weight());
        assert!(cache.dated_documents.len() >= 7);
    }

    #[test]
    fn documents_that_clients_read_are_counted_after_their_eviction() {
        let cache = Cache::with_memory(Path::new("/nonexistent"), 3 << 20);
        let encoded = || EncodedDocument { content: Sha256([0; 32]), bytes: vec![7; 1 << 20].into() };
        let first = reserve_memory(&cache.memory, encoded()).expect("two are free");
        check_memory(&cache.memory).expect("two are free");
        let clone = first.bytes.clone();
        let (second, third) = (
            reserve_memory(&cache.memory, encoded()).unwrap(),
            reserve_memory(&cache.memory, encoded()).unwrap(),
        );
        assert!(matches!(check_memory(&cache.memory), Err(RepoError::Busy { retry_after: RETRY_AFTER })));
        assert!(matches!(reserve_memory(&cache.memory, encoded()), Err(RepoError::Busy { .. })));
        reserve_memory(&cache.list_memory, encoded()).expect("lists of projects have their own budget");
        drop(first);
        assert!(check_memory(&cache.memory).is_err(), "a client reads it");
        assert_eq!(clone.len(), 1 << 20);
        drop(clone);
        check_memory(&cache.memory).expect("one is free");
        drop((second, third));
        assert_eq!(cache.memory.available_permits(), 3 << 10);
    }

    fn row(key: &str, byte: u8) -> RenderedRow {
        let digest = Sha256([byte; 32]);
        let (key, encoder) = (key.to_owned(), "plain".to_owned());
        RenderedRow { key, content: digest, encoder, sha256: digest, size: 1, created_at: Timestamp(0) }
    }

    async fn database(folder: &tempfile::TempDir) -> Db {
        let config = Config::example(folder.path(), "").expect("a configuration").config;
        let open = tokio::task::spawn_blocking(move || Db::open(&config));
        open.await.expect("no panic").expect("a database")
    }

    #[tokio::test]
    async fn rows_that_wait_are_written_by_one_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, rows) = (database(&folder).await, RenderedRows::default());
        let mut results = Vec::new();
        for (key, byte) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            let (sender, result) = oneshot::channel();
            rows.waiting.lock().push(WaitingRow { row: row(key, byte), result: sender });
            results.push(result);
        }
        rows.write_waiting(&db).await.expect("a write");
        assert!(rows.waiting.lock().is_empty());
        let results = results.iter_mut().map(|result| result.try_recv().expect("a result"));
        assert_eq!(results.collect::<Vec<_>>(), [true, true, false, true]);
        for (key, byte) in [("a", 1), ("b", 2), ("c", 4)] {
            let read = db.read(move |c| rendered::get(c, key)).await.expect("a read");
            assert_eq!(read, Some(row(key, byte)));
        }
    }

    #[tokio::test]
    async fn a_row_is_written_although_the_transaction_of_its_group_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, rows) = (database(&folder).await, Arc::new(RenderedRows::default()));
        let transaction = rows.transaction.lock().await;
        let put = {
            let (db, rows) = (db.clone(), Arc::clone(&rows));
            tokio::spawn(async move { rows.put(&db, row("a", 1)).await })
        };
        while rows.waiting.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        // As after an error of the transaction that took it.
        rows.waiting.lock().clear();
        drop(transaction);
        assert!(put.await.expect("no panic").expect("a write"));
        assert_eq!(db.read(|c| rendered::get(c, "a")).await.expect("a read"), Some(row("a", 1)));
    }
}
