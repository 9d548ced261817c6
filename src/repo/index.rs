//! An index as a value: rendered once per point and form, cached, stored when the point is closed.

use bytes::Bytes;

use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::model::point::Point;
use crate::model::time::Timestamp;

/// A rendered index, or any other generated document of a point.
#[derive(Clone)]
pub struct IndexForm {
    /// SHA-256 of the decoded content: what the ETag is made of.
    pub content: Sha256,
    /// The encoded bytes.
    pub bytes: Bytes,
    /// `Last-Modified`.
    pub modified: Option<Timestamp>,
}

/// Which generated document of a point.
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
    /// The valid empty index of a binary tree nothing serves yet, in one of the three forms.
    Empty(EmptyForm),
}

/// Forms of an empty index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum EmptyForm {
    Text,
    Gz,
    Rds,
}

impl Repo {
    /// The content digest of a document when it is already known: enough for a 304, without rendering.
    pub async fn document_content(
        &self,
        point: &Point,
        document: &Document,
    ) -> Result<Option<Sha256>, RepoError> {
        let _ = (point, document, &self.state);
        todo!()
    }

    /// A generated document of a point.
    pub async fn document(&self, point: &Point, document: &Document) -> Result<IndexForm, RepoError> {
        let _ = (point, document);
        todo!()
    }
}
