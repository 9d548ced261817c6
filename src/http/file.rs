//! Responses with a package file: a binary or, as a fallback, the source package; whole or a range.

use futures_util::StreamExt;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::app::App;
use super::binaries::Asked;
use super::body::Body;
use super::conditional::{self, Extent};
use super::cran::{last_modified, refused, value};
use super::error::Failure;
use super::response::{self, Card, Kind, Parcel, Tongue};
use super::served::{Ending, Outcome, Served};
use crate::logs::ServiceError;
use crate::model::time::Timestamp;
use crate::r::platform::Platform;
use crate::repo::RepoError;
use crate::repo::builds::Builds;
use crate::repo::file::{FileBody, Located, OpenFile};

/// The file to serve at the address of a package file.
pub struct Offer {
    first: Parceled,
    /// The platform of a binary; `None` for a source package.
    platform: Option<Platform>,
    /// The source package, served if the binary cannot be opened.
    instead: Option<Parceled>,
    /// Why it is the source package, although a binary was looked up.
    lost: Option<Lost>,
    /// Whether resolving again would give the same.
    lasting: bool,
}

/// A file and its headers.
struct Parceled {
    located: Located,
    /// `Last-Modified` in seconds since the epoch.
    modified: Option<i64>,
    card: Card,
}

/// Why there is no binary.
struct Lost {
    failed: ServiceError,
    error: String,
}

impl Offer {
    /// A source package, or its binary for the requested platform.
    pub(super) async fn of(app: &App, source: Located, builds: Option<&Builds>) -> Offer {
        // The size of a file that is not fetched yet may become known with the first fetch.
        let lasting = app.repo.stays(&source);
        let plain = |source, lost, lasting| Offer {
            first: Parceled::new(app, source, None),
            platform: None,
            instead: None,
            lost,
            lasting,
        };
        let Some(builds) = builds else { return plain(source, None, lasting) };
        match app.repo.build_of(&source, builds).await {
            Ok(Some(build)) => {
                Offer { instead: Some(Parceled::new(app, source, None)), ..Offer::build(app, build, builds) }
            }
            Ok(None) => {
                let (package, version, platform) = (&source.package, &source.version, &builds.platform);
                let error = format!("there is no binary of {package} {version} for {platform}");
                // A binary server that is queried for each package may have it the next time.
                let lasting = lasting && !app.repo.asks_afar();
                plain(source, Some(Lost { failed: ServiceError::Fetch, error }), lasting)
            }
            Err(error) => {
                tracing::error!(file = %source.name, %error, "could not look up a binary; serving the source package");
                let away = matches!(error, RepoError::Upstream { .. });
                let failed = if away { ServiceError::Fetch } else { ServiceError::Ash };
                let lost = Lost { failed, error: error.to_string() };
                plain(source, Some(lost), false)
            }
        }
    }

    /// A binary without a fallback.
    pub(super) fn build(app: &App, build: Located, builds: &Builds) -> Offer {
        Offer {
            lasting: app.repo.stays(&build),
            first: Parceled::new(app, build, Some(&builds.platform)),
            platform: Some(builds.platform.clone()),
            instead: None,
            lost: None,
        }
    }

    /// Marks the response as negotiated (adds `Vary: User-Agent`).
    pub(super) fn negotiated(mut self, by_agent: bool) -> Offer {
        for file in std::iter::once(&mut self.first).chain(&mut self.instead) {
            if let Kind::Package(headers) = &mut file.card.kind {
                headers.negotiated = by_agent;
            }
        }
        self
    }

    /// Adds the permanent address of the binary (`Content-Location`); `up` is the relative path to the snapshot.
    pub(super) fn named(mut self, up: &str) -> Offer {
        let Parceled { located, card, .. } = &mut self.first;
        if let (Kind::Package(headers), Some(platform), Some(sha256)) =
            (&mut card.kind, &self.platform, located.sha256)
        {
            headers.named = Some(value(format!("{up}builds/{platform}/{sha256}/{}", located.name)));
        }
        self
    }

    /// Marks the response as immutable: the requested address holds the digest of the binary.
    pub(super) fn at_its_own_address(mut self) -> Offer {
        if let Kind::Package(headers) = &mut self.first.card.kind {
            headers.immutable = true;
        }
        self
    }

    /// Marks the candidate as not cacheable: the configuration may change the meaning of its address.
    pub(super) fn by_address(self) -> Offer {
        Offer { lasting: false, ..self }
    }

    /// True when resolving again would give the same.
    pub(super) fn lasting(&self) -> bool {
        self.lasting
    }
}

impl Parceled {
    /// The headers of a source package, or of a binary for a platform.
    fn new(app: &App, located: Located, platform: Option<&Platform>) -> Parceled {
        // The ETag of stored bytes is their digest, the same on every server. That of bytes not fetched yet is the MD5
        // of the mirror's index, if it has one; the first fetch verifies that both belong to the same bytes.
        let stored = located.sha256.map(|digest| value(format!("\"{digest}\"")));
        let declared = located.md5.map(|digest| value(format!("\"{digest}\"")));
        let (etag, former) = if stored.is_some() { (stored, declared) } else { (declared, None) };
        let disposition: HeaderValue = value(format!("attachment; filename=\"{}\"", located.name));
        let catalog = app.state.catalog.get();
        // The same version with other bytes is a new revision.
        let modified = located.modified.map(|at| catalog.modified(at).saturating_add(located.revision()));
        let card = Card {
            etag,
            former,
            modified: last_modified(modified),
            kind: Kind::Package(Parcel {
                disposition,
                tag: platform.map(|platform| value(platform.to_string())),
                negotiated: false,
                named: None,
                immutable: false,
            }),
        };
        Parceled { located, modified, card }
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
pub(super) async fn answer(
    app: &App,
    resolved: &Offer,
    asked: &Asked<'_>,
    parts: &Parts,
    began: Timestamp,
) -> Response<Body> {
    let (mut sent, mut platform) = (&resolved.first, resolved.platform.as_ref());
    let mut lost = resolved.lost.as_ref().map(|lost| (lost.failed, lost.error.as_str()));
    let mut opened = open(app, sent, parts).await;
    let why;
    if let (Err(error), Some(source)) = (&opened, &resolved.instead) {
        tracing::warn!(file = %sent.located.name, %error, "could not serve the binary; serving the source package");
        why = error.to_string();
        lost = Some((failed(error), why.as_str()));
        (sent, platform) = (source, None);
        opened = open(app, source, parts).await;
    }
    let note = |outcome: Outcome<'_>, body_follows| {
        // A HEAD is not a download.
        if parts.method != Method::GET {
            return None;
        }
        let Located { package, version, archived, .. } = &sent.located;
        let (wish, archived) = (asked.wish(parts), *archived);
        app.book.note(&Served { began, package, version, archived, wish, lost, outcome }, body_follows)
    };
    let outcome =
        |status, from| Outcome::Sent { source: sent.located.source(), build: platform, status, from };
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
            whole_or_part(sent, file, ending)
        }
        Err(error) => {
            note(Outcome::Failed { service: true, error: &error.to_string() }, false);
            response::failure(&Failure::from(error), Tongue::Text)
        }
    }
}

/// The kind of service failure when a binary cannot be opened.
fn failed(error: &RepoError) -> ServiceError {
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
async fn open(app: &App, of: &Parceled, parts: &Parts) -> Result<Opened, RepoError> {
    let Parceled { located, modified, card } = of;
    if let Some(response) = refused(card, *modified, parts) {
        return Ok(Opened::Ready(response));
    }
    if parts.method == Method::HEAD {
        // Never fetches: the size is known only from an index or an earlier fetch. Where GET would fail now, and that
        // is known without reading the file and without a request to the mirror, HEAD fails too.
        app.repo.check(located).await?;
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
    app.repo.open(located, range).await.map(Opened::File)
}

fn whole_or_part(of: &Parceled, file: OpenFile, mut ending: Option<Ending>) -> Response<Body> {
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
                    ending.iter_mut().for_each(|ending| ending.cut(&error));
                    error.into()
                })
            });
            Body::stream(stream.boxed(), length)
        }
    };
    match (file.range, file.size) {
        (Some(range), Some(size)) => response::part(&of.card, &range, size, body),
        (Some(_), None) | (None, _) => response::whole(&of.card, length, body),
    }
}
