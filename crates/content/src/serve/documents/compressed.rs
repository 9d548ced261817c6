//! Documents compressed for the transfer: only those that have no compressed file of their own, such as lists and pages
//! of Python repositories. The first request that accepts gzip compresses a document; the result is cached in memory
//! and not stored.

use std::sync::Arc;

use super::document::{DocumentRequest, RenderedDocument};
use super::encoding::{EncodedDocument, compress};
use super::index::{self, CachedDocument};
use crate::serve::{RepoError, Repositories, task};

/// Returns a document compressed with gzip; the digest is that of the decoded content.
///
/// # Errors
/// As [`index::document`].
pub async fn document(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<RenderedDocument, RepoError> {
    let cache = index::cache_of(repositories, request);
    if let Some(cached) = cache.get(request.compressed_key()) {
        return Ok(request.rendered_document(&cached.encoded));
    }
    // In a separate task: a client that disconnects must not cancel a compression that other requests wait for.
    let (task_repositories, task_request) = (Arc::clone(repositories), request.clone());
    let compression = tokio::spawn(async move {
        let cache = index::cache_of(&task_repositories, &task_request);
        let key = task_request.compressed_key();
        cache.get_or_insert_async(key, compressed(&task_repositories, &task_request)).await
    });
    Ok(request.rendered_document(&task::join(compression).await??.encoded))
}

async fn compressed(
    repositories: &Arc<Repositories>,
    request: &DocumentRequest,
) -> Result<Arc<CachedDocument>, RepoError> {
    let RenderedDocument { content, bytes, .. } = index::document(repositories, request).await?;
    let _permit = repositories.indexes.render_permit().await;
    let work = move || Ok(EncodedDocument { content, bytes: compress(&bytes)?.into() });
    index::cached(repositories, request, index::run_blocking(work).await?).map(Arc::new)
}
