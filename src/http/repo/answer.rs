//! Answers a GET or HEAD of a resolved address: with the content, a range, or 304 or 412 by the request's conditions.

use futures_util::StreamExt;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::conditional::{self, Extent};
use super::document::{ResolvedDocument, TransferForm};
use super::download_log::{Completion, PackageRequest, PendingRecord};
use super::package_file::{FileWithHeaders, ResolvedFile};
use super::r::platform_request::PlatformRequest;
use super::resolve_cache::Resource;
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::response::{self, ErrorFormat, RepresentationKind};
use base::model::time::Timestamp;
use content::serve::located::{FileBody, LocatedFile, OpenFile};
use content::serve::{self, RepoError};
use store::logs::ServiceError;

pub(in crate::http) async fn answer(
    app: &App,
    resource: &Resource,
    platform_request: &PlatformRequest<'_>,
    parts: &Parts,
    received_at: Timestamp,
) -> Response<Body> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return response::failure(&Failure::method_not_allowed("GET, HEAD"), ErrorFormat::Text);
    }
    match resource {
        Resource::Document(resolved) => match answer_document(app, resolved, parts).await {
            Ok(response) => response,
            Err(error) => response::failure(&error.into(), ErrorFormat::Text),
        },
        Resource::File(resolved) => answer_file(app, resolved, platform_request, parts, received_at).await,
    }
}

async fn answer_document(
    app: &App,
    resolved: &ResolvedDocument,
    parts: &Parts,
) -> Result<Response<Body>, RepoError> {
    let ResolvedDocument { document, modified, .. } = resolved;
    let modified = *modified;
    let form = resolved.transfer_form(&parts.headers);
    let is_conditional = conditional::is_conditional(&parts.headers);
    if is_conditional {
        // The digest may be known although the bytes are not cached. It suffices for a 304, without rendering.
        let representation = match resolved.known_representation(form) {
            Some(representation) => Some(representation),
            None => {
                let content = serve::index::content_digest(&app.repositories, document).await?;
                content.map(|content| resolved.representation(form, content))
            }
        };
        if let Some(response) = representation
            .and_then(|representation| response::check_preconditions(representation, modified, parts))
        {
            return Ok(response);
        }
    }
    let rendered = match form {
        TransferForm::Plain => serve::index::document(&app.repositories, document).await?,
        TransferForm::Gzip => serve::index::compressed_document(&app.repositories, document).await?,
    };
    let representation = resolved.representation(form, rendered.content);
    if is_conditional && let Some(response) = response::check_preconditions(representation, modified, parts) {
        return Ok(response);
    }
    let size = rendered.bytes.len() as u64;
    if parts.method == Method::HEAD {
        return Ok(response::whole(representation, Some(size), Body::empty()));
    }
    let extent = match &representation.kind {
        RepresentationKind::Document { accept_ranges: true, .. } => {
            conditional::extent(&parts.headers, representation.validators(modified), size)
        }
        RepresentationKind::Document { accept_ranges: false, .. } | RepresentationKind::Package(_) => {
            Extent::Whole
        }
    };
    Ok(match extent {
        Extent::Whole => response::whole(representation, Some(size), Body::full(rendered.bytes)),
        Extent::Unsatisfiable => response::unsatisfiable(representation, size),
        Extent::Part(range) => {
            #[allow(clippy::cast_possible_truncation, reason = "the range lies within bytes in memory")]
            let bytes = rendered.bytes.slice(range.start as usize..range.end as usize);
            response::part(representation, &range, size, Body::full(bytes))
        }
    })
}

enum OpenResult {
    /// A response without bytes of the file.
    Ready(Response<Body>),
    /// The bytes of the file, stored or being fetched.
    File(OpenFile),
}

async fn answer_file(
    app: &App,
    resolved: &ResolvedFile,
    platform_request: &PlatformRequest<'_>,
    parts: &Parts,
    received_at: Timestamp,
) -> Response<Body> {
    let (mut served, mut platform) = (&resolved.file, resolved.platform.as_ref());
    let mut missing_binary =
        resolved.missing_binary.as_ref().map(|missing| (missing.kind, missing.error.as_str()));
    let mut open_result = open(app, served, parts).await;
    let reason;
    if let (Err(error), Some(source)) = (&open_result, &resolved.fallback) {
        tracing::warn!(file = %served.located.name, %error, "could not serve the binary; serving the source package");
        reason = error.to_string();
        missing_binary = Some((service_error(error), reason.as_str()));
        (served, platform) = (source, None);
        open_result = Box::pin(open(app, source, parts)).await;
    }
    let record = |outcome: Completion<'_>, body_follows| {
        // A HEAD is not a download.
        if parts.method != Method::GET || !resolved.is_download {
            return None;
        }
        let LocatedFile { package, version, archived, .. } = &served.located;
        let (requested_binary, archived) = (platform_request.requested_binary(parts), *archived);
        app.recorder.record(
            &PackageRequest {
                received_at,
                package,
                version,
                archived,
                requested_binary,
                missing_binary,
                outcome,
            },
            body_follows,
        )
    };
    let outcome =
        |status, offset| Completion::Sent { source: served.located.source(), platform, status, offset };
    match open_result {
        Ok(OpenResult::Ready(response)) => {
            record(outcome(response.status(), 0), false);
            response
        }
        Ok(OpenResult::File(file)) => {
            let (status, offset) = match &file.range {
                Some(range) => (StatusCode::PARTIAL_CONTENT, range.start),
                None => (StatusCode::OK, 0),
            };
            let pending_record = record(outcome(status, offset), matches!(file.body, FileBody::Stream(_)));
            file_response(served, file, pending_record)
        }
        Err(error) => {
            record(Completion::Failed { is_service_failure: true, error: &error.to_string() }, false);
            response::failure(&Failure::from(error), ErrorFormat::Text)
        }
    }
}

fn service_error(error: &RepoError) -> ServiceError {
    match error {
        RepoError::Damaged { .. } => ServiceError::Binary,
        RepoError::NotFound(_)
        | RepoError::NoUpload(_)
        | RepoError::Unresolved(_)
        | RepoError::Unknown { .. }
        | RepoError::Conflict(_)
        | RepoError::AdministratorOnly(_)
        | RepoError::FileExists(_)
        | RepoError::Invalid(_)
        | RepoError::Upstream { .. }
        | RepoError::Db(_)
        | RepoError::Storage(_)
        | RepoError::Unsupported { .. }
        | RepoError::NoRules
        | RepoError::Blocked(_)
        | RepoError::Guarded(_)
        | RepoError::Superseded(_)
        | RepoError::Busy { .. } => ServiceError::Fetch,
    }
}

async fn open(app: &App, file: &FileWithHeaders, parts: &Parts) -> Result<OpenResult, RepoError> {
    let FileWithHeaders { located, modified, representation } = file;
    if let Some(response) = response::check_preconditions(representation, *modified, parts) {
        return Ok(OpenResult::Ready(response));
    }
    if parts.method == Method::HEAD {
        // Never fetches: the size is known from an index or an earlier fetch. HEAD fails if GET would, as far
        // as is known without a read or a request to the mirror.
        Box::pin(serve::file::check(&app.repositories, located)).await?;
        return Ok(OpenResult::Ready(response::whole(representation, located.size, Body::empty())));
    }
    let range = match located.size {
        None => None,
        Some(size) => match conditional::extent(&parts.headers, representation.validators(*modified), size) {
            Extent::Whole => None,
            Extent::Part(range) => Some(range),
            Extent::Unsatisfiable => {
                return Ok(OpenResult::Ready(response::unsatisfiable(representation, size)));
            }
        },
    };
    serve::file::open(&app.repositories, located, range).await.map(OpenResult::File)
}

fn file_response(
    served: &FileWithHeaders,
    file: OpenFile,
    mut pending_record: Option<PendingRecord>,
) -> Response<Body> {
    let length = match (&file.range, file.size) {
        (Some(range), _) => Some(range.end - range.start),
        (None, size) => size,
    };
    let body = match file.body {
        FileBody::Memory(bytes) => Body::full(bytes),
        FileBody::Stream(stream) => {
            let name = served.located.name.clone();
            let stream = stream.map(move |piece| {
                piece.map_err(|error| {
                    tracing::error!(file = %name, "download interrupted: {error}");
                    pending_record.iter_mut().for_each(|record| record.fail(&error));
                    error.into()
                })
            });
            Body::stream(stream.boxed(), length)
        }
    };
    match (file.range, file.size) {
        (Some(range), Some(size)) => response::part(&served.representation, &range, size, body),
        (Some(_), None) | (None, _) => response::whole(&served.representation, length, body),
    }
}
