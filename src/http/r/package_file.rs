//! Responses with a package file: a binary or, as a fallback, the source package; whole or a range.

use futures_util::StreamExt;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::platform_request::PlatformRequest;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::conditional::{self, Extent};
use crate::http::download_log::{Completion, PackageRequest, PendingRecord};
use crate::http::error::Failure;
use crate::http::response::{
    self, ErrorFormat, PackageHeaders, Representation, RepresentationKind, header_value,
};
use crate::logs::ServiceError;
use crate::model::time::Timestamp;
use crate::r::platform::Platform;
use crate::serve::RepoError;
use crate::serve::binaries::BinarySelector;
use crate::serve::file::{FileBody, Located, OpenFile};

/// The file to serve at the address of a package file.
pub struct ResolvedFile {
    file: FileWithHeaders,
    /// The platform of a binary; `None` for a source package.
    platform: Option<Platform>,
    /// The source package, served if the binary cannot be opened.
    fallback: Option<FileWithHeaders>,
    /// Why it is the source package, although a binary was looked up.
    missing_binary: Option<MissingBinary>,
    /// Whether resolving again would give the same.
    cacheable: bool,
}

/// A file and its headers.
struct FileWithHeaders {
    located: Located,
    /// `Last-Modified` in seconds since the epoch.
    modified: Option<i64>,
    representation: Representation,
}

/// Why there is no binary.
struct MissingBinary {
    kind: ServiceError,
    error: String,
}

impl ResolvedFile {
    /// A source package, or its binary for the requested platform.
    pub(in crate::http) async fn source_or_binary(
        app: &App,
        source: Located,
        builds: Option<&BinarySelector>,
    ) -> ResolvedFile {
        // The size of a file that is not fetched yet may become known with the first fetch.
        let lasting = app.repositories.is_local(&source);
        let plain = |source, lost, lasting| ResolvedFile {
            file: FileWithHeaders::new(app, source, None),
            platform: None,
            fallback: None,
            missing_binary: lost,
            cacheable: lasting,
        };
        let Some(builds) = builds else { return plain(source, None, lasting) };
        match app.repositories.binary_of(&source, builds).await {
            Ok(Some(build)) => ResolvedFile {
                fallback: Some(FileWithHeaders::new(app, source, None)),
                ..ResolvedFile::binary(app, build, builds)
            },
            Ok(None) => {
                let (package, version, platform) = (&source.package, &source.version, &builds.platform);
                let error = format!("there is no binary of {package} {version} for {platform}");
                // A binary server that is queried for each package may have it the next time.
                let lasting = lasting && !app.repositories.probes_binary_servers();
                plain(source, Some(MissingBinary { kind: ServiceError::Fetch, error }), lasting)
            }
            Err(error) => {
                tracing::error!(file = %source.name, %error, "could not look up a binary; serving the source package");
                let away = matches!(error, RepoError::Upstream { .. });
                let failed = if away { ServiceError::Fetch } else { ServiceError::Ash };
                let lost = MissingBinary { kind: failed, error: error.to_string() };
                plain(source, Some(lost), false)
            }
        }
    }

    /// A binary without a fallback.
    pub(in crate::http) fn binary(app: &App, build: Located, builds: &BinarySelector) -> ResolvedFile {
        ResolvedFile {
            cacheable: app.repositories.is_local(&build),
            file: FileWithHeaders::new(app, build, Some(&builds.platform)),
            platform: Some(builds.platform.clone()),
            fallback: None,
            missing_binary: None,
        }
    }

    /// Marks the response as negotiated (adds `Vary: User-Agent`).
    pub(in crate::http) fn with_negotiation(mut self, by_agent: bool) -> ResolvedFile {
        for file in std::iter::once(&mut self.file).chain(&mut self.fallback) {
            if let RepresentationKind::Package(headers) = &mut file.representation.kind {
                headers.negotiated = by_agent;
            }
        }
        self
    }

    /// Adds the permanent address of the binary (`Content-Location`); `up` is the relative path to the snapshot.
    pub(in crate::http) fn with_permanent_address(mut self, up: &str) -> ResolvedFile {
        let FileWithHeaders { located, representation: card, .. } = &mut self.file;
        if let (RepresentationKind::Package(headers), Some(platform), Some(sha256)) =
            (&mut card.kind, &self.platform, located.sha256)
        {
            headers.permanent_address =
                Some(header_value(format!("{up}builds/{platform}/{sha256}/{}", located.name)));
        }
        self
    }

    /// Marks the response as immutable: the requested address holds the digest of the binary.
    pub(in crate::http) fn at_permanent_address(mut self) -> ResolvedFile {
        if let RepresentationKind::Package(headers) = &mut self.file.representation.kind {
            headers.immutable = true;
        }
        self
    }

    /// Marks the candidate as not cacheable: the configuration may change the meaning of its address.
    pub(in crate::http) fn not_cacheable(self) -> ResolvedFile {
        ResolvedFile { cacheable: false, ..self }
    }

    /// True when resolving again would give the same.
    pub(in crate::http) fn is_cacheable(&self) -> bool {
        self.cacheable
    }
}

impl FileWithHeaders {
    /// The headers of a source package, or of a binary for a platform.
    fn new(app: &App, located: Located, platform: Option<&Platform>) -> FileWithHeaders {
        // The ETag of stored bytes is their digest, the same on every server. That of bytes not fetched yet is the MD5
        // of the mirror's index, if it has one; the first fetch verifies that both belong to the same bytes.
        let stored = located.sha256.map(|digest| header_value(format!("\"{digest}\"")));
        let declared = located.md5.map(|digest| header_value(format!("\"{digest}\"")));
        let (etag, former) = if stored.is_some() { (stored, declared) } else { (declared, None) };
        let disposition: HeaderValue = header_value(format!("attachment; filename=\"{}\"", located.name));
        let catalog = app.state.catalog.get();
        // The same version with other bytes is a new revision.
        let modified = located.modified.map(|at| catalog.modified(at).saturating_add(located.revision()));
        let representation = Representation {
            etag,
            previous_etag: former,
            modified: response::last_modified(modified),
            kind: RepresentationKind::Package(PackageHeaders {
                disposition,
                binary_tag: platform.map(|platform| header_value(platform.to_string())),
                negotiated: false,
                permanent_address: None,
                immutable: false,
            }),
        };
        FileWithHeaders { located, modified, representation }
    }
}

/// A complete response, or the file to make it of.
enum Opened {
    /// A response without bytes of the file.
    Ready(Response<Body>),
    /// The bytes of the file, stored or being fetched.
    File(OpenFile),
}

/// Answers a GET or HEAD, and records it.
pub(in crate::http) async fn answer(
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
        app.repositories.check(located).await?;
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
    app.repositories.open(located, range).await.map(Opened::File)
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
