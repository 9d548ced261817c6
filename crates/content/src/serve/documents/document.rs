//! A generated document of a point, of a repository of any language, and its key in caches and storage.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;

use super::encoding::EncodedDocument;
use crate::serve::project::document::{self as project_document, ProjectDocument};
use crate::serve::r::document::{self, RDocument};
use base::model::digest::Sha256;
use base::model::ids::{Seq, SourceId, TreeId};
use base::model::point::{Point, PointRules, PromotedList};
use base::model::time::Timestamp;

#[derive(Clone, Debug)]
pub struct RenderedDocument {
    /// SHA-256 of the decoded content; the ETag is derived from it.
    pub content: Sha256,
    pub bytes: Bytes,
    /// `Last-Modified`.
    pub modified: Option<Timestamp>,
}

/// The generated documents of a point, by the layout of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Document {
    Lists(RDocument),
    Projects(ProjectDocument),
}

#[derive(Clone, Debug)]
pub struct DocumentRequest {
    pub(in crate::serve) point: Point,
    pub(in crate::serve) document: Document,
    pub(in crate::serve) key: String,
    compressed_key: OnceLock<String>,
}

impl From<ProjectDocument> for Document {
    fn from(document: ProjectDocument) -> Document {
        Document::Projects(document)
    }
}

impl From<RDocument> for Document {
    fn from(document: RDocument) -> Document {
        Document::Lists(document)
    }
}

impl Document {
    /// Returns the binary lists from which the document is rendered, besides the trees of the point.
    pub fn further_trees(&self) -> &[(SourceId, TreeId, Seq)] {
        match self {
            Document::Lists(document) => document.binary_lists(),
            Document::Projects(_) => &[],
        }
    }

    /// Returns whether the document contains package details, which may be added without a publish.
    pub fn has_details(&self) -> bool {
        match self {
            Document::Lists(document) => matches!(document, RDocument::PackageDatabase { .. }),
            Document::Projects(_) => false,
        }
    }

    pub(in crate::serve) fn is_project_list(&self) -> bool {
        match self {
            Document::Lists(_) => false,
            Document::Projects(document) => document.is_list(),
        }
    }

    /// Returns whether the encoded bytes are the decoded content, equal for equal keys on every server;
    /// compressed bytes depend on the encoder.
    pub(in crate::serve) fn is_plain(&self) -> bool {
        match self {
            Document::Lists(document) => matches!(document, RDocument::Listing(_)),
            Document::Projects(_) => true,
        }
    }

    fn stored_equivalent(&self) -> Option<Document> {
        match self {
            Document::Lists(document) => document.stored_equivalent().map(Document::Lists),
            Document::Projects(_) => None,
        }
    }
}

impl DocumentRequest {
    pub fn new(point: Point, document: impl Into<Document>) -> DocumentRequest {
        let document = document.into();
        let key = key(&point, &document);
        DocumentRequest { point, document, key, compressed_key: OnceLock::new() }
    }

    pub fn point(&self) -> &Point {
        &self.point
    }

    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Returns the request for the compressed document with the same content, if that is stored in place of this one.
    pub(in crate::serve) fn stored_equivalent(&self) -> Option<DocumentRequest> {
        Some(DocumentRequest::new(self.point.clone(), self.document.stored_equivalent()?))
    }

    /// Returns whether the document may be in storage: keys of plain documents of open points are not those
    /// of closed points, but compressed ones may be.
    pub(in crate::serve) fn may_be_stored(&self) -> bool {
        !(self.point.open && self.document.is_plain())
    }

    /// Returns whether the document is the page of a project at a point that may still change, which is never stored.
    pub(in crate::serve) fn is_open_page(&self) -> bool {
        self.point.open && matches!(&self.document, Document::Projects(document) if !document.is_list())
    }

    /// Returns the cache key of the document compressed for the transfer. Other keys begin with a number.
    pub(in crate::serve) fn compressed_key(&self) -> &str {
        self.compressed_key.get_or_init(|| format!("gzip/{}", self.key))
    }

    pub(in crate::serve) fn rendered_document(&self, encoded: &EncodedDocument) -> RenderedDocument {
        RenderedDocument {
            content: encoded.content,
            bytes: encoded.bytes.clone(),
            modified: self.point.modified,
        }
    }
}

/// Returns the cache key: all inputs of a document. Equal keys give equal decoded bytes, permanently.
fn key(point: &Point, document: &Document) -> String {
    use std::fmt::Write;
    let (renderer, name) = match document {
        Document::Lists(document) => (document::RENDERER, Cow::Borrowed(document.name())),
        Document::Projects(document) => (project_document::RENDERER, Cow::Owned(document.name())),
    };
    let mut key = format!("{renderer}/{name}/");
    for tree in &point.trees {
        write!(key, "{}@{}", tree.tree, tree.seq).expect("writing to a String cannot fail");
        if let Some(base) = tree.base {
            write!(key, "={}@{}", base.tree, base.seq).expect("writing to a String cannot fail");
        }
        if let Some(PointRules { number, aged_at, is_dated, promotion }) = tree.rules {
            let dated = if is_dated { "d" } else { "" };
            let aged_at = aged_at.map_or(0, |at| at.0);
            write!(key, "!{number}@{aged_at}{dated}").expect("writing to a String cannot fail");
            if let Some(PromotedList { seq, at, .. }) = promotion {
                let seq = seq.map_or(0, |seq| seq.0);
                write!(key, "p{seq}@{}", at.0).expect("writing to a String cannot fail");
            }
        }
        key.push(',');
    }
    match document {
        Document::Lists(document) => document.write_key(&mut key),
        Document::Projects(document) => document.write_key(&mut key),
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::documents::negotiate::BinarySelector;
    use crate::serve::r::document::BinaryIndex;
    use base::model::ids::RepoId;
    use base::model::kind::Language;
    use base::model::point::PointTree;
    use formats::r::layout::IndexFormat;
    use formats::r::platform::Platform;

    fn point(trees: &[(i64, i64)]) -> Point {
        let tree = |&(tree, seq)| PointTree {
            source: SourceId(1),
            tree: TreeId(tree),
            seq: Seq(seq),
            base: None,
            rules: None,
        };
        Point {
            repo: RepoId(1),
            language: Language::R,
            trees: trees.iter().map(tree).collect(),
            open: false,
            frozen: false,
            modified: None,
            promotion: None,
        }
    }

    #[test]
    fn a_key_contains_order_steps_and_document() {
        let key = |trees: &[(i64, i64)], document| DocumentRequest::new(point(trees), document).key;
        let gz = RDocument::Packages(IndexFormat::Gz);
        let ab = key(&[(1, -3), (2, 7)], gz.clone());
        assert_ne!(ab, key(&[(2, 7), (1, -3)], gz));
        assert_ne!(ab, key(&[(1, -3), (2, 7)], RDocument::Packages(IndexFormat::Rds)));
    }

    #[test]
    fn keys_are_those_under_which_documents_were_stored() {
        let binaries = |with_source_packages| {
            RDocument::Binaries(BinaryIndex {
                selector: BinarySelector {
                    platform: Platform::parse("4.5-noble").expect("a platform"),
                    until: Timestamp(86_400_000_000),
                },
                with_source_packages,
                format: IndexFormat::Gz,
                heads: vec![(SourceId(1), TreeId(9), Seq(4)), (SourceId(2), TreeId(8), Seq(-1))],
            })
        };
        for (document, key) in [
            (RDocument::Packages(IndexFormat::Text), "2/PACKAGES/1@-3,2@7,"),
            (RDocument::Packages(IndexFormat::Gz), "2/PACKAGES.gz/1@-3,2@7,"),
            (RDocument::Packages(IndexFormat::Rds), "2/PACKAGES.rds/1@-3,2@7,"),
            (RDocument::ArchiveRds, "2/archive.rds/1@-3,2@7,"),
            (RDocument::CurrentRds, "2/current.rds/1@-3,2@7,"),
            (RDocument::PackageDatabase { detail_updates: 5 }, "2/packages.rds/1@-3,2@7,/5"),
            (binaries(true), "2/builds/1@-3,2@7,/4.5-noble/all/Gz/86400000000/9@4/8@-1"),
            (binaries(false), "2/builds/1@-3,2@7,/4.5-noble/built/Gz/86400000000/9@4/8@-1"),
        ] {
            assert_eq!(DocumentRequest::new(point(&[(1, -3), (2, 7)]), document).key, key);
        }
    }
}
