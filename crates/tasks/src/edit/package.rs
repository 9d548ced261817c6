//! Dispatches uploads, additions and removals of packages to the implementation for their language.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::uploads::{Upload, Uploads};
use super::{Actor, AddStatus, OnExisting, RemoveScope, UploadKind, add, curated, python, remove, upload};
use base::model::ids::TxId;
use base::model::language::Language;
use base::model::source::SourceKind;
use content::serve::{RepoError, Repositories, find};
use runtime::state::State;

fn language(state: &State, source: &str) -> Result<Language, RepoError> {
    Ok(find::source(&state.catalog.get(), source)?.kind.language())
}

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
        UploadKind::Python => python::receive::receive(uploads, file, body).await?,
    };
    uploads.share(upload.id, &actor.0).await?;
    Ok(upload)
}

/// Adds uploads to a local source in one transaction, visible when this returns.
///
/// # Errors
/// The errors of [`add::add`] and [`python::add::add`].
pub async fn add(
    uploads: &Uploads,
    source: &str,
    ids: &[u64],
    existing: OnExisting,
    actor: &Actor,
) -> Result<(Option<TxId>, Vec<(Upload, AddStatus)>), RepoError> {
    match language(&uploads.state, source)? {
        Language::R => add::add(uploads, source, ids, existing, actor).await,
        Language::Python => python::add::add(uploads, source, ids, existing, actor).await,
    }
}

/// Removes releases or files of a package from a local source; older snapshots still serve them. Returns what was
/// removed.
///
/// # Errors
/// The errors of [`remove::remove`] and [`python::remove::remove`].
pub async fn remove(
    repositories: &Repositories,
    state: &State,
    source: &str,
    package: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    match find::source(&state.catalog.get(), source)?.kind {
        SourceKind::CuratedPypi => {
            return python::curated::remove(repositories, state, source, package, scope, comment, actor)
                .await;
        }
        SourceKind::CuratedCran => {
            return curated::remove(repositories, state, source, package, scope, comment, actor).await;
        }
        _ => {}
    }
    match language(state, source)? {
        Language::R => remove::remove(state, source, package, scope, comment, actor).await,
        Language::Python => python::remove::remove(state, source, package, scope, comment, actor).await,
    }
}
