//! Dispatches uploads and removals of packages to the implementation for their kind.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::uploads::{Upload, Uploads};
use super::{Actor, RemoveScope, UploadKind, curated, project, python, remove, upload};
use base::model::kind::{Layout, Supply};
use content::serve::{RepoError, Repositories, find};
use runtime::state::State;

/// Receives a package from a stream of bytes for a client: validates and stores it. Every server can then add it
/// to a source, but only for `actor`.
///
/// # Errors
/// [`RepoError::Invalid`] when it is not a valid package of this kind, with the reason.
pub async fn receive(
    uploads: &Arc<Uploads>,
    file: &str,
    body: BoxStream<'static, Result<Bytes, io::Error>>,
    kind: UploadKind,
    actor: &Actor,
) -> Result<Upload, RepoError> {
    let upload = match kind {
        UploadKind::Source | UploadKind::Binary => upload::receive(uploads, file, body, kind).await?,
        UploadKind::Project(language) => project::receive::receive(uploads, language, file, body).await?,
    };
    uploads.share(upload.id, &actor.0).await?;
    Ok(upload)
}

/// Removes releases or files of a package from a local source, not from older snapshots. Returns what was removed.
pub async fn remove(
    repositories: &Repositories,
    state: &State,
    source: &str,
    package: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let kind = find::source(&state.catalog.get(), source)?.kind;
    match (kind.layout(), kind.supply()) {
        (Layout::Lists, Supply::Curated) => {
            curated::remove(repositories, state, source, package, scope, comment, actor).await
        }
        (Layout::Projects, Supply::Curated) => {
            python::remove(repositories, state, source, package, scope, comment, actor).await
        }
        (Layout::Lists, _) => remove::remove(state, source, package, scope, comment, actor).await,
        (Layout::Projects, _) => project::remove::remove(state, source, package, scope, comment, actor).await,
    }
}
