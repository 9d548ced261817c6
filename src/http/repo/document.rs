//! A generated document at an address, and its headers; the `ETag` of generated content.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response};

use super::conditional::accepts_gzip;
use crate::http::net::body::Body;
use crate::http::response::{self, Representation, RepresentationKind, Vary, header_value};
use base::model::digest::Sha256;
use base::model::point::Point;
use base::model::project_page::PageFormat;
use content::serve::document::{Document, DocumentRequest};
use content::serve::r::document::RDocument;
use formats::r::layout::IndexFormat;
use runtime::catalog::Catalog;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransferForm {
    Plain,
    /// Compressed for the transfer, with `Content-Encoding: gzip`.
    Gzip,
}

/// A generated document of a point. Its bytes are only in the bounded index cache.
pub struct ResolvedDocument {
    pub(super) document: DocumentRequest,
    /// Seconds since the epoch.
    pub(super) modified: Option<i64>,
    representation: OnceLock<Representation>,
    /// The representation of the compressed form, for pages of projects.
    compressed_representation: OnceLock<Representation>,
    /// Whether the address resolves to the same document until the next publish.
    is_cacheable: bool,
}

impl ResolvedDocument {
    pub(in crate::http) fn new(catalog: &Catalog, point: Point, document: Document) -> ResolvedDocument {
        // The index also depends on lists of binaries, which may change while the packages of the point do not.
        let further_trees = document.further_trees().iter();
        let changes = further_trees.filter_map(|(_, tree, _)| Some(catalog.tree(*tree)?.steps.last()?.at));
        let modified = point.modified.map(|at| catalog.modified(changes.fold(at, Ord::max)));
        // Package details are added without a publish.
        let modified = modified.filter(|_| !document.has_details());
        ResolvedDocument {
            document: DocumentRequest::new(point, document),
            modified,
            representation: OnceLock::new(),
            compressed_representation: OnceLock::new(),
            is_cacheable: true,
        }
    }

    pub(in crate::http) fn not_cacheable(self) -> ResolvedDocument {
        ResolvedDocument { is_cacheable: false, ..self }
    }

    /// Returns false for a document that may change without a publish, such as package details.
    pub(in crate::http) fn is_cacheable(&self) -> bool {
        self.is_cacheable && !self.document.document().has_details()
    }

    fn last_serial(&self) -> Option<u64> {
        match self.document.document() {
            Document::Projects(document) => document.last_serial(),
            Document::Lists(_) => None,
        }
    }

    /// Returns the form that a client gets. Only pages of projects are compressed for the
    /// transfer: the compressed documents of R repositories have URLs of their own.
    pub(super) fn transfer_form(&self, request: &HeaderMap) -> TransferForm {
        match self.document.document() {
            Document::Projects(_) if accepts_gzip(request) => TransferForm::Gzip,
            Document::Projects(_) | Document::Lists(_) => TransferForm::Plain,
        }
    }

    /// Returns the headers of a form for the digest of the decoded content.
    pub(super) fn representation(&self, form: TransferForm, content: Sha256) -> &Representation {
        self.cell(form).get_or_init(|| representation(self, form, content))
    }

    pub(super) fn known_representation(&self, form: TransferForm) -> Option<&Representation> {
        self.cell(form).get()
    }

    fn cell(&self, form: TransferForm) -> &OnceLock<Representation> {
        match form {
            TransferForm::Plain => &self.representation,
            TransferForm::Gzip => &self.compressed_representation,
        }
    }
}

fn representation(resolved: &ResolvedDocument, form: TransferForm, content: Sha256) -> Representation {
    let ResolvedDocument { document, modified, .. } = resolved;
    let encoded = form == TransferForm::Gzip;
    let (etag, vary, media_type, accept_ranges) = match document.document() {
        Document::Lists(document) => {
            let (media, compressed) = match document.format() {
                IndexFormat::Text if matches!(document, RDocument::Listing(_)) => {
                    ("text/html; charset=utf-8", false)
                }
                IndexFormat::Text => ("text/plain; charset=utf-8", false),
                IndexFormat::Gz => ("application/gzip", true),
                IndexFormat::Rds => ("application/octet-stream", true),
            };
            (content_etag(content, compressed), Vary::Nothing, media, !compressed)
        }
        Document::Projects(document) => {
            let etag = page_etag(content, document.format, encoded);
            (etag, Vary::AcceptAndEncoding, document.format.media_type, !encoded)
        }
    };
    Representation {
        etag: Some(etag),
        previous_etag: None,
        modified: response::last_modified(*modified),
        vary,
        kind: RepresentationKind::Document {
            media_type: HeaderValue::from_static(media_type),
            open: document.point().open,
            accept_ranges,
            encoded,
            last_serial: resolved.last_serial().map(HeaderValue::from),
        },
    }
}

/// Answers a GET or HEAD with bytes in memory. `open`: whether the bytes at the address may change.
pub(in crate::http) fn answer_bytes(
    bytes: impl Into<Bytes>,
    media_type: HeaderValue,
    open: bool,
    parts: &Parts,
) -> Response<Body> {
    let bytes = bytes.into();
    let representation = Representation {
        etag: Some(content_etag(Sha256::of(&bytes), false)),
        previous_etag: None,
        modified: None,
        vary: Vary::Nothing,
        kind: RepresentationKind::Document {
            media_type,
            open,
            accept_ranges: false,
            encoded: false,
            last_serial: None,
        },
    };
    if let Some(response) = response::check_preconditions(&representation, None, parts) {
        return response;
    }
    let size = bytes.len() as u64;
    let body = if parts.method == Method::HEAD { Body::empty() } else { Body::full(bytes) };
    response::whole(&representation, Some(size), body)
}

/// Returns the `ETag` of generated content, by its decoded digest; weak for a compressed form, whose bytes
/// may change with the server's version.
pub(crate) fn content_etag(content: Sha256, compressed: bool) -> HeaderValue {
    etag(content, "", compressed)
}

/// Returns the `ETag` of a list or page of projects. The tag of a compressed form is the weak form of the plain one, so
/// that a client with either form gets 304 for both.
fn page_etag(content: Sha256, format: PageFormat, compressed: bool) -> HeaderValue {
    etag(content, format.etag_suffix, compressed)
}

fn etag(content: Sha256, suffix: &str, compressed: bool) -> HeaderValue {
    let weak = if compressed { "W/" } else { "" };
    header_value(format!("{weak}\"{}{suffix}\"", hex::encode(&content.0[..16])))
}
