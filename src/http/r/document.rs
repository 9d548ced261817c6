//! A generated document at an address, and its headers.

use std::sync::OnceLock;

use http::header::HeaderValue;

use crate::catalog::Catalog;
use crate::http::etag;
use crate::http::response::{self, Representation, RepresentationKind, Vary};
use crate::model::digest::Sha256;
use crate::model::point::Point;
use crate::python::accept::SimpleFormat;
use crate::r::layout::IndexFormat;
use crate::serve::document::{Document, DocumentRequest};

/// A generated document of a point. Its bytes are only in the bounded index cache.
pub struct ResolvedDocument {
    pub(super) document: DocumentRequest,
    /// Seconds since the epoch.
    pub(super) modified: Option<i64>,
    representation: OnceLock<Representation>,
    /// Whether resolving the address again gives the same document until the next publish.
    is_settled: bool,
}

impl ResolvedDocument {
    /// Creates the document of a point.
    pub(in crate::http) fn new(catalog: &Catalog, point: Point, document: Document) -> ResolvedDocument {
        // A new list of binaries changes the index of the same packages.
        let further_trees = document.further_trees().iter();
        let changes = further_trees.filter_map(|(_, tree, _)| Some(catalog.tree(*tree)?.steps.last()?.at));
        let modified = changes.chain(point.modified).max().map(|at| catalog.modified(at));
        // Package details are added without a publish.
        let modified = modified.filter(|_| !document.has_details());
        ResolvedDocument {
            document: DocumentRequest::new(point, document),
            modified,
            representation: OnceLock::new(),
            is_settled: true,
        }
    }

    /// Marks the document as one that may change without a publish.
    pub(in crate::http) fn not_cacheable(self) -> ResolvedDocument {
        ResolvedDocument { is_settled: false, ..self }
    }

    /// Returns false for what may change without a publish, such as package details.
    pub(in crate::http) fn is_cacheable(&self) -> bool {
        self.is_settled && !self.document.document().has_details()
    }

    /// Returns the serial that a list or page of Python projects states.
    pub(in crate::http) fn last_serial(&self) -> Option<u64> {
        match self.document.document() {
            Document::Python(document) => document.last_serial(),
            Document::R(_) => None,
        }
    }

    /// Returns the headers for the digest of the decoded content.
    pub(super) fn representation(&self, content: Sha256) -> &Representation {
        self.representation.get_or_init(|| representation(self, content))
    }

    /// Returns the headers, if the digest is known.
    pub(super) fn known_representation(&self) -> Option<&Representation> {
        self.representation.get()
    }
}

fn representation(resolved: &ResolvedDocument, content: Sha256) -> Representation {
    let ResolvedDocument { document, modified, .. } = resolved;
    let (etag, vary, media_type, accept_ranges) = match document.document() {
        Document::R(document) => {
            let (media, compressed) = match document.format() {
                IndexFormat::Text => ("text/plain; charset=utf-8", false),
                IndexFormat::Gz => ("application/gzip", true),
                IndexFormat::Rds => ("application/octet-stream", true),
            };
            (etag::of_content(content, compressed), Vary::Nothing, media, !compressed)
        }
        Document::Python(document) => {
            let media = match document.format() {
                SimpleFormat::TextHtml => "text/html; charset=utf-8",
                format => format.media_type(),
            };
            (etag::of_page(content, document.format()), Vary::Accept, media, true)
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
        },
    }
}
