//! The generated documents of a point, and the key under which each is cached and stored.

use bytes::Bytes;

use super::binary_selector::BinarySelector;
use crate::model::digest::Sha256;
use crate::model::ids::{Seq, SourceId, TreeId};
use crate::model::point::Point;
use crate::model::time::Timestamp;

/// Part of every key; must be raised when the same rows give other decoded bytes than before.
pub(super) const RENDERER: u32 = 1;

/// An encoded document.
#[derive(Debug)]
pub(super) struct EncodedDocument {
    /// SHA-256 of the decoded content.
    pub content: Sha256,
    /// The encoded bytes.
    pub bytes: Bytes,
}

/// A rendered document of a point, such as an index.
#[derive(Clone, Debug)]
pub struct IndexForm {
    /// SHA-256 of the decoded content; the ETag is derived from it.
    pub content: Sha256,
    /// The encoded bytes.
    pub bytes: Bytes,
    /// `Last-Modified`.
    pub modified: Option<Timestamp>,
}

/// The generated documents of a point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Document {
    /// `src/contrib/PACKAGES`.
    Packages,
    /// `src/contrib/PACKAGES.gz`.
    PackagesGz,
    /// `src/contrib/PACKAGES.rds`.
    PackagesRds,
    /// `src/contrib/Meta/archive.rds`.
    ArchiveRds,
    /// `src/contrib/Meta/current.rds`.
    CurrentRds,
    /// `web/packages/packages.rds`: the details of all packages.
    PackageDatabase {
        /// The value of [`State::detail_updates`](crate::state::State::detail_updates): details may be read after their
        /// packages were published.
        described: u64,
    },
    /// The valid empty index of a binary tree without binaries, in one of three forms.
    Empty(IndexEncoding),
    /// The index of a point with binaries.
    Binaries(BinaryIndex),
}

/// An index with binaries, and the state of the binary lists it is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinaryIndex {
    /// The platform, and the instant that selects the binaries.
    pub selector: BinarySelector,
    /// True to include packages without a binary, as source packages.
    pub full: bool,
    /// The form.
    pub form: IndexEncoding,
    /// The head of each source's binary list.
    pub heads: Vec<(SourceId, TreeId, Seq)>,
}

/// The forms of an index that is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are named after the index files")]
pub enum IndexEncoding {
    Text,
    Gz,
    Rds,
}

/// A request for a document of a point, with its cache key.
#[derive(Clone, Debug)]
pub struct DocumentRequest {
    pub(super) point: Point,
    pub(super) document: Document,
    pub(super) key: String,
}

impl DocumentRequest {
    /// Creates a request.
    #[must_use]
    pub fn new(point: Point, document: Document) -> DocumentRequest {
        DocumentRequest { key: key(&point, &document), point, document }
    }

    /// The point.
    #[must_use]
    pub fn point(&self) -> &Point {
        &self.point
    }

    /// Which document of it.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The document with the same content that is stored instead of this one.
    pub(super) fn twin(&self) -> DocumentRequest {
        let twin = match self.document {
            Document::Packages => Document::PackagesGz,
            _ => return self.clone(),
        };
        DocumentRequest::new(self.point.clone(), twin)
    }

    pub(super) fn form(&self, encoded: &EncodedDocument) -> IndexForm {
        IndexForm { content: encoded.content, bytes: encoded.bytes.clone(), modified: self.point.modified }
    }
}

/// The cache key: everything a document is made from. Equal keys give equal decoded bytes, permanently.
fn key(point: &Point, document: &Document) -> String {
    use std::fmt::Write;
    let mut key = format!("{RENDERER}/{}/", name(document));
    for tree in &point.trees {
        write!(key, "{}@{},", tree.tree, tree.seq).expect("a String takes every write");
    }
    if let Document::PackageDatabase { described } = document {
        write!(key, "/{described}").expect("a String takes every write");
    }
    if let Document::Binaries(BinaryIndex { selector: builds, full, form, heads }) = document {
        let what = if *full { "all" } else { "built" };
        write!(key, "/{}/{what}/{form:?}/{}", builds.platform, builds.until.0)
            .expect("a String takes every write");
        for (_, tree, seq) in heads {
            write!(key, "/{tree}@{seq}").expect("a String takes every write");
        }
    }
    key
}

fn name(document: &Document) -> &'static str {
    match document {
        Document::Packages => "PACKAGES",
        Document::PackagesGz => "PACKAGES.gz",
        Document::PackagesRds => "PACKAGES.rds",
        Document::ArchiveRds => "archive.rds",
        Document::CurrentRds => "current.rds",
        Document::PackageDatabase { .. } => "packages.rds",
        Document::Empty(_) => "empty",
        Document::Binaries(_) => "builds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_contains_order_steps_and_document() {
        use crate::model::ids::{RepoId, Seq, SourceId, TreeId};
        use crate::model::point::PointTree;
        let tree = |tree, seq| PointTree { source: SourceId(1), tree: TreeId(tree), seq: Seq(seq) };
        let point = |trees| Point { repo: RepoId(1), trees, open: false, modified: None };
        let ab = point(vec![tree(1, -3), tree(2, 7)]);
        let ba = point(vec![tree(2, 7), tree(1, -3)]);
        assert_eq!(key(&ab, &Document::PackagesGz), "1/PACKAGES.gz/1@-3,2@7,");
        assert_ne!(key(&ab, &Document::PackagesGz), key(&ba, &Document::PackagesGz));
        assert_ne!(key(&ab, &Document::PackagesGz), key(&ab, &Document::PackagesRds));
    }
}
