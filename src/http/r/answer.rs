//! Answers a GET or HEAD of a resolved address: whole or a range, 304 or 412 by its conditions.

use futures_util::StreamExt;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::document::ResolvedDocument;
use super::package_file::{FileWithHeaders, ResolvedFile};
use super::platform_request::PlatformRequest;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::conditional::{self, Extent};
use crate::http::download_log::{Completion, PackageRequest, PendingRecord};
use crate::http::error::Failure;
use crate::http::resolve_cache::Resource;
use crate::http::response::{self, ErrorFormat, RepresentationKind};
use crate::logs::ServiceError;
use crate::model::time::Timestamp;
use crate::serve::located::{FileBody, Located, OpenFile};
use crate::serve::{self, RepoError};

/// Answers a GET or HEAD of a resolved address.
pub(in crate::http) async fn answer(
    app: &App,
    resource: &Resource,
    asked: &PlatformRequest<'_>,
    parts: &Parts,
    began: Timestamp,
) -> Response<Body> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return response::failure(&Failure::method_not_allowed("GET, HEAD"), ErrorFormat::Text);
    }
    match resource {
        Resource::Document(resolved) => match answer_document(app, resolved, parts).await {
            Ok(response) => response,
            Err(error) => response::failure(&error.into(), ErrorFormat::Text),
        },
        Resource::File(resolved) => answer_file(app, resolved, asked, parts, began).await,
    }
}

async fn answer_document(
    app: &App,
    resolved: &ResolvedDocument,
    parts: &Parts,
) -> Result<Response<Body>, RepoError> {
    let ResolvedDocument { document, modified, .. } = resolved;
    let modified = *modified;
    let conditional = conditional::is_conditional(&parts.headers);
    if conditional {
        // The digest may be known although the bytes are not cached: enough for a 304 without rendering.
        let card = match resolved.known_representation() {
            Some(card) => Some(card),
            None => {
                let content = serve::index::content_digest(&app.repositories, document).await?;
                content.map(|content| resolved.representation(content))
            }
        };
        if let Some(response) = card.and_then(|card| response::check_preconditions(card, modified, parts)) {
            return Ok(response);
        }
    }
    let form = serve::index::document(&app.repositories, document).await?;
    let card = resolved.representation(form.content);
    if conditional && let Some(response) = response::check_preconditions(card, modified, parts) {
        return Ok(response);
    }
    let size = form.bytes.len() as u64;
    if parts.method == Method::HEAD {
        return Ok(response::whole(card, Some(size), Body::empty()));
    }
    let extent = match &card.kind {
        RepresentationKind::Document { accept_ranges: true, .. } => {
            conditional::extent(&parts.headers, card.validators(modified), size)
        }
        RepresentationKind::Document { accept_ranges: false, .. } | RepresentationKind::Package(_) => {
            Extent::Whole
        }
    };
    Ok(match extent {
        Extent::Whole => response::whole(card, Some(size), Body::full(form.bytes)),
        Extent::Unsatisfiable => response::unsatisfiable(card, size),
        Extent::Part(range) => {
            #[allow(clippy::cast_possible_truncation, reason = "the range lies within bytes in memory")]
            let bytes = form.bytes.slice(range.start as usize..range.end as usize);
            response::part(card, &range, size, Body::full(bytes))
        }
    })
}

/// A complete response, or the file to make it of.
enum Opened {
    /// A response without bytes of the file.
    Ready(Response<Body>),
    /// The bytes of the file, stored or being fetched.
    File(OpenFile),
}

/// Answers with a package file, and records the request.
async fn answer_file(
    app: &App,
    resolved: &ResolvedFile,
    asked: &PlatformRequest<'_>,
    parts: &Parts,
    began: Timestamp,
) -> Response<Body> {
    let (mut sent, mut platform) = (&resolved.file, resolved.platform.as_ref());
    let mut lost = resolved.missing_binary.as_ref().map(|lost| (lost.kind, lost.error.as_str()));
    let mut opened = open(app, sent, parts).await;
    let why;
    if let (Err(error), Some(source)) = (&opened, &resolved.fallback) {
        tracing::warn!(file = %sent.located.name, %error, "could not serve the binary; serving the source package");
        why = error.to_string();
        lost = Some((service_error(error), why.as_str()));
        (sent, platform) = (source, None);
        opened = open(app, source, parts).await;
    }
    let note = |outcome: Completion<'_>, body_follows| {
        // A HEAD is not a download.
        if parts.method != Method::GET {
            return None;
        }
        let Located { package, version, archived, .. } = &sent.located;
        let (wish, archived) = (asked.requested_binary(parts), *archived);
        app.recorder.record(
            &PackageRequest {
                received_at: began,
                package,
                version,
                archived,
                requested_binary: wish,
                missing_binary: lost,
                outcome,
            },
            body_follows,
        )
    };
    let outcome =
        |status, from| Completion::Sent { source: sent.located.source(), platform, status, offset: from };
    match opened {
        Ok(Opened::Ready(response)) => {
            note(outcome(response.status(), 0), false);
            response
        }
        Ok(Opened::File(file)) => {
            let (status, from) = match &file.range {
                Some(range) => (StatusCode::PARTIAL_CONTENT, range.start),
                None => (StatusCode::OK, 0),
            };
            let ending = note(outcome(status, from), matches!(file.body, FileBody::Stream(_)));
            file_response(sent, file, ending)
        }
        Err(error) => {
            note(Completion::Failed { is_service_failure: true, error: &error.to_string() }, false);
            response::failure(&Failure::from(error), ErrorFormat::Text)
        }
    }
}

/// The kind of service failure when a binary cannot be opened.
fn service_error(error: &RepoError) -> ServiceError {
    match error {
        RepoError::Damaged { .. } => ServiceError::Ash,
        RepoError::NotFound(_)
        | RepoError::NoUpload(_)
        | RepoError::Unresolved(_)
        | RepoError::Unknown { .. }
        | RepoError::Conflict(_)
        | RepoError::Invalid(_)
        | RepoError::Upstream { .. }
        | RepoError::Db(_)
        | RepoError::Storage(_)
        | RepoError::Unsupported { .. }
        | RepoError::NoRules
        | RepoError::Busy { .. } => ServiceError::Fetch,
    }
}

/// Opens the file, unless the request's conditions or its method need no bytes.
async fn open(app: &App, of: &FileWithHeaders, parts: &Parts) -> Result<Opened, RepoError> {
    let FileWithHeaders { located, modified, representation: card } = of;
    if let Some(response) = response::check_preconditions(card, *modified, parts) {
        return Ok(Opened::Ready(response));
    }
    if parts.method == Method::HEAD {
        // Never fetches: the size is known only from an index or an earlier fetch. Where GET would fail now, and that
        // is known without reading the file and without a request to the mirror, HEAD fails too.
        serve::file::check(&app.repositories, located).await?;
        return Ok(Opened::Ready(response::whole(card, located.size, Body::empty())));
    }
    let range = match located.size {
        None => None,
        Some(size) => match conditional::extent(&parts.headers, card.validators(*modified), size) {
            Extent::Whole => None,
            Extent::Part(range) => Some(range),
            Extent::Unsatisfiable => return Ok(Opened::Ready(response::unsatisfiable(card, size))),
        },
    };
    serve::file::open(&app.repositories, located, range).await.map(Opened::File)
}

fn file_response(of: &FileWithHeaders, file: OpenFile, mut ending: Option<PendingRecord>) -> Response<Body> {
    let length = match (&file.range, file.size) {
        (Some(range), _) => Some(range.end - range.start),
        (None, size) => size,
    };
    let body = match file.body {
        FileBody::Memory(bytes) => Body::full(bytes),
        FileBody::Stream(stream) => {
            let name = of.located.name.clone();
            let stream = stream.map(move |piece| {
                piece.map_err(|error| {
                    tracing::error!(file = %name, "download interrupted: {error}");
                    ending.iter_mut().for_each(|ending| ending.fail(&error));
                    error.into()
                })
            });
            Body::stream(stream.boxed(), length)
        }
    };
    match (file.range, file.size) {
        (Some(range), Some(size)) => response::part(&of.representation, &range, size, body),
        (Some(_), None) | (None, _) => response::whole(&of.representation, length, body),
    }
}
