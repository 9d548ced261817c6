//! `POST /upload/pypi/{source}`: the upload API of PyPI, as twine, `uv publish`, Poetry, Hatch, Flit and PDM
//! use it. Clients compare statuses and texts with PyPI's: Poetry and twine treat 409, or 400 with "already
//! exist", as a file that was uploaded before, and retry after 5xx.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};
use hyper::body::Body as _;

use crate::http::api::admin;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::net::body::Body;
use crate::http::net::read_body;
use crate::http::net::request_body::{self, Incoming};
use crate::http::response;
use crate::http::route::access;
use api::error::Code;
use base::model::kind::Language;
use content::serve::{ExistingFile, RepoError};
use formats::python::archive::{self, CheckedDistribution};
use formats::python::file_name::FileName;
use formats::python::upload::multipart::{self, BadForm, FormEvent, FormReader};
use formats::python::upload::{
    ATTESTATIONS, BadUpload, CONTENT, MAX_ATTESTATIONS, MAX_FIELD, MAX_FIELD_SUM, MAX_FIELDS, MAX_SIGNATURE,
    SIGNATURE, UploadForm,
};
use store::db::{DbError, author};
use tasks::edit::project::receive::{self, CheckedUpload, ReceivedFile};

/// The language whose clients use this API.
const LANGUAGE: Language = Language::Python;
/// `Retry-After` in seconds of an upload that collided with another change.
const RETRY_AFTER: u64 = 5;
/// Maximum size of a form without its file, in bytes. It exceeds the sum of the limits of all fields.
const MAX_OVERHEAD: u64 = 64 << 20;

/// Handles an upload of a client that may write the source. The response contains the notices about the file,
/// one per line. Fails with 410 for a registration.
pub(in crate::http) async fn answer(
    app: &Arc<App>,
    source: &str,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let headers = &head.parts.headers;
    let boundary = match check_head(app, source, head, &body) {
        Ok(boundary) => boundary,
        Err(failure) => {
            return Err(failure);
        }
    };
    let mut form = FormStream {
        stream: read_body::stream(body, u64::MAX, app.limits.body_timeout),
        reader: FormReader::new(&boundary),
        max_file_size: app.state.config.load().local_python.max_upload_size,
        failure: None,
    };
    let read = form.read(app).await;
    // Also after a complete form: the connection accepts the next request only at the end of the body.
    request_body::discard_rest(form.stream);
    let FormFile { mut form, name, file } = read?;
    // Not in the task below, so that the wait ends when the client disconnects.
    let permit = app.uploads.check_permit().await.map_err(failure)?;
    form.set_publisher(head.principal.publisher().cloned());
    // SECURITY: an upload may take an hour, in which the token may be revoked, or the name given to another source.
    head.principal.require_valid(app)?;
    head.principal.require(&app.state.catalog.get(), access::write_source(source))?;
    let actor = admin::actor(head.principal, head.peer).await;
    let address = app.site.load().client_address(head.peer, headers);
    let author = admin::author(head.principal, &actor, address, head.received_at);
    let (app, source_name) = (Arc::clone(app), source.to_owned());
    // A separate task, which continues without the client: after the commit the catalog must be refreshed.
    let task = tokio::spawn(author::scope(author, async move {
        let check = move |file: &ReceivedFile| check(form, &name, file);
        let published = receive::publish(&app.uploads, &source_name, file, check, permit, &actor).await;
        if let Ok((upload, status)) = &published {
            let by = author::log_name(&actor.0);
            tracing::info!(%by, source = %source_name, file = %upload.file, ?status, "upload of a Python package");
        }
        published
    }));
    let (upload, _) = match task.await {
        Ok(published) => published.map_err(failure)?,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => return Err(Failure::unavailable("the server is stopping", RETRY_AFTER)),
    };
    let notices: String = upload.notices.iter().map(|notice| format!("{notice}\n")).collect();
    Ok(response::text("text/plain; charset=utf-8", notices.into_bytes()))
}

/// Checks a received file, and compares it with the form that declares it.
fn check(
    mut form: UploadForm,
    name: &FileName,
    received_file: &ReceivedFile,
) -> Result<CheckedUpload, RepoError> {
    let refusal = |error: BadUpload| RepoError::Invalid(error.to_string());
    // Checked first: a file that was changed during the transfer may have any other defect.
    if let Some(digests) = received_file.digests() {
        form.check_file(name, &digests).map_err(refusal)?;
    }
    let checked = archive::check(&mut received_file.open()?, name);
    let CheckedDistribution { file, version } = checked.map_err(|reason| received_file.refusal(&reason))?;
    form.check_package(name, &file.project, &version).map_err(refusal)?;
    let attached = form.take_attached(name, received_file.sha256()).map_err(refusal)?;
    Ok(CheckedUpload { file, attached })
}

/// Checks the head of the request, before the body is read. Returns the boundary of the form.
fn check_head(app: &App, source: &str, head: &RequestHead<'_>, body: &Incoming) -> Result<String, Failure> {
    let (headers, config) = (&head.parts.headers, app.state.config.load());
    if !config.authentication.api_token_auth && *head.principal != Principal::Administrator {
        return Err(Failure::not_found(
            "uploads from other machines are turned off on this server ([Authentication] APITokenAuth)",
        ));
    }
    // SECURITY: a page of another site can make a browser send a form with a password that was typed once.
    if admin::is_cross_site(app, headers) {
        let text = "uploads from pages of other sites are not accepted";
        return Err(Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, text));
    }
    receive::check_source(&app.state.catalog.get(), source, LANGUAGE)?;
    let limit = config.local_python.max_upload_size;
    if body.size_hint().lower() > limit.saturating_add(MAX_OVERHEAD) {
        return Err(too_large(limit));
    }
    multipart::boundary(content_type(headers)).map_err(bad_form)
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A form, and the file in it.
struct FormFile {
    form: UploadForm,
    name: FileName,
    file: ReceivedFile,
}

struct FormStream {
    stream: BoxStream<'static, Result<Bytes, io::Error>>,
    reader: FormReader,
    max_file_size: u64,
    failure: Option<Failure>,
}

impl FormStream {
    /// Reads the whole form: the fields in any order, the file into a spool.
    async fn read(&mut self, app: &App) -> Result<FormFile, Failure> {
        let (mut form, mut file) = (UploadForm::default(), None);
        let (mut count, mut sum) = (0, 0);
        loop {
            let head = match self.next().await? {
                FormEvent::Part(head) => head,
                FormEvent::End => break,
                FormEvent::Content(_) | FormEvent::PartEnd => continue,
            };
            count += 1;
            if count > MAX_FIELDS {
                return Err(bad_upload(&BadUpload::TooMany));
            }
            match (&*head.name, head.file) {
                (CONTENT, _) if file.is_some() => return Err(bad_upload(&BadUpload::SecondFile)),
                (CONTENT, None) => return Err(bad_upload(&BadUpload::NoFileName)),
                (CONTENT, Some(name)) => {
                    let name =
                        FileName::parse(&name).map_err(|error| Failure::bad_request(error.to_string()))?;
                    let received =
                        receive::receive_file(&app.uploads, LANGUAGE, name.as_str(), self.file()).await;
                    let received =
                        received.map_err(|error| self.failure.take().unwrap_or_else(|| failure(error)))?;
                    file = Some((name, received));
                }
                (ATTESTATIONS, _) => {
                    let value = self.field(ATTESTATIONS, MAX_ATTESTATIONS, true, &mut sum).await?;
                    form.set_attestations(value).map_err(|error| bad_upload(&error))?;
                }
                (SIGNATURE, name) => {
                    let value = self.field(SIGNATURE, MAX_SIGNATURE, true, &mut sum).await?;
                    form.set_signature(name, value).map_err(|error| bad_upload(&error))?;
                }
                (name, _) => {
                    let compared = UploadForm::compared_field(name);
                    let value = self.field(name, MAX_FIELD, compared.is_some(), &mut sum).await?;
                    if let Some(field) = compared {
                        form.set(field, &value).map_err(|error| bad_upload(&error))?;
                    }
                }
            }
        }
        form.check_action().map_err(|error| bad_upload(&error))?;
        let (name, file) = file.ok_or_else(|| bad_upload(&BadUpload::NoFile))?;
        Ok(FormFile { form, name, file })
    }

    async fn next(&mut self) -> Result<FormEvent, Failure> {
        loop {
            if let Some(event) = self.reader.take().map_err(bad_form)? {
                return Ok(event);
            }
            match self.stream.next().await {
                Some(Ok(bytes)) => self.reader.push(&bytes),
                Some(Err(error)) => return Err(read_body::body_failure(&error, u64::MAX)),
                None => return Err(bad_form(BadForm::Incomplete)),
            }
        }
    }

    /// Reads a field of at most `limit` bytes; its bytes are returned if `is_used`.
    async fn field(
        &mut self,
        name: &str,
        limit: u64,
        is_used: bool,
        sum: &mut u64,
    ) -> Result<Vec<u8>, Failure> {
        let (mut size, mut value) = (0, Vec::new());
        while let FormEvent::Content(bytes) = self.next().await? {
            size += bytes.len() as u64;
            *sum += bytes.len() as u64;
            if size > limit {
                let field = name.escape_debug().take(80).collect();
                return Err(bad_upload(&BadUpload::TooLong { field, limit }));
            }
            if *sum > MAX_FIELD_SUM {
                return Err(bad_upload(&BadUpload::TooLarge));
            }
            if is_used {
                value.extend_from_slice(&bytes);
            }
        }
        Ok(value)
    }

    /// Returns the bytes of the file, up to the end of its part.
    fn file(&mut self) -> BoxStream<'_, Result<Bytes, io::Error>> {
        let limit = self.max_file_size;
        let pieces = stream::unfold(Some((self, limit)), move |state| async move {
            let (form, remaining) = state?;
            let failure = match form.next().await {
                Ok(FormEvent::Content(bytes)) => match remaining.checked_sub(bytes.len() as u64) {
                    Some(remaining) => return Some((Ok(bytes), Some((form, remaining)))),
                    None => too_large(limit),
                },
                Ok(FormEvent::Part(_) | FormEvent::PartEnd | FormEvent::End) => return None,
                Err(failure) => failure,
            };
            let error = io::Error::other(failure.phrase.clone());
            form.failure = Some(failure);
            Some((Err(error), None))
        });
        pieces.boxed()
    }
}

fn too_large(limit: u64) -> Failure {
    let phrase = format!(
        "the file is larger than {limit} bytes, the maximum on this server ([LocalPython] MaxUploadSize)"
    );
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::Invalid, phrase)
}

fn bad_form(error: BadForm) -> Failure {
    Failure::bad_request(error.to_string())
}

fn bad_upload(error: &BadUpload) -> Failure {
    let is_gone = *error == BadUpload::Registration;
    let status = if is_gone { StatusCode::GONE } else { StatusCode::BAD_REQUEST };
    Failure { status, ..Failure::bad_request(error.to_string()) }
}

/// Returns the failure for a refused file; never 409, after which `poetry publish --skip-existing` would continue.
fn failure(error: RepoError) -> Failure {
    match error {
        RepoError::FileExists(existing) => {
            let ExistingFile { file, new_file, sha256, is_listed, .. } = *existing;
            let is_other = file != new_file;
            let suffix =
                if is_other { format!("; '{new_file}' is the same distribution") } else { String::new() };
            Failure::bad_request(if is_listed {
                format!(
                    "File already exists ('{file}', with sha256 hash '{sha256}'){suffix}. Build a new version."
                )
            } else {
                format!(
                    "This filename has already been used ('{file}', with sha256 hash '{sha256}', which was removed){suffix}, use a \
                     different version."
                )
            })
        }
        RepoError::Conflict(message) => Failure::bad_request(message),
        RepoError::Db(DbError::Busy { .. } | DbError::Conflict(_)) => {
            Failure::unavailable("another change prevented the upload; upload the file again", RETRY_AFTER)
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_existing_file_makes_clients_skip_it() {
        // The responses that twine and Poetry treat as an existing file.
        let is_skipped = |failure: &Failure| {
            failure.status == StatusCode::CONFLICT || failure.phrase.to_lowercase().contains("already exist")
        };
        let existing = |is_listed| {
            RepoError::FileExists(Box::new(ExistingFile {
                source_name: "team".to_owned(),
                file: "a-1.0.tar.gz".to_owned(),
                new_file: "a-1.tar.gz".to_owned(),
                sha256: base::model::digest::Sha256([0; 32]),
                is_listed,
            }))
        };
        for (error, status, skipped) in [
            (existing(true), 400, true),
            (existing(false), 400, false),
            (RepoError::Conflict("two".to_owned()), 400, false),
            (DbError::Conflict("row".to_owned()).into(), 503, false),
            (RepoError::Invalid("x".to_owned()), 400, false),
            (RepoError::NotFound("x".to_owned()), 404, false),
        ] {
            let failure = failure(error);
            assert_eq!(
                (failure.status.as_u16(), is_skipped(&failure)),
                (status, skipped),
                "{}",
                failure.phrase
            );
        }
        assert_eq!(bad_upload(&BadUpload::NoFile).status, StatusCode::BAD_REQUEST);
        assert_eq!(bad_upload(&BadUpload::Registration).status, StatusCode::GONE);
    }
}
