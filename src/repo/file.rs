//! A package file: found by point and path, served from storage or from a flight.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::{Repo, RepoError};
use crate::model::digest::Sha256;
use crate::model::ids::FileId;
use crate::model::point::Point;
use crate::model::time::Timestamp;

/// A file that exists at a point; nothing was read or fetched yet.
#[derive(Clone, Debug)]
pub struct Located {
    /// Row id.
    pub file: FileId,
    /// The package.
    pub package: String,
    /// The version.
    pub version: String,
    /// `{package}_{version}.tar.gz`.
    pub name: String,
    /// From `Archive/`, not the current list.
    pub archived: bool,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// Known once stored.
    pub sha256: Option<Sha256>,
    /// True when the blob is in storage.
    pub stored: bool,
    /// Text that names the row for ever: what the ETag is made of (the same before and after the first fetch).
    pub identity: String,
    /// Publication time: `Last-Modified`.
    pub modified: Option<Timestamp>,
}

/// How a client's bytes come.
pub enum FileBody {
    /// At hand.
    Memory(Bytes),
    /// On their way: from storage, or from a flight that holds the last 64 kB back until all is verified. An `Err`
    /// item means: drop the connection.
    Stream(BoxStream<'static, Result<Bytes, RepoError>>),
}

/// An open file, or a range of it.
pub struct OpenFile {
    /// Size of the whole file; `None` only while a mirror that tells no size is being read.
    pub size: Option<u64>,
    /// The range that is being answered; `None` when the whole file is (also when a range was asked for that is
    /// far from what is written so far).
    pub range: Option<Range<u64>>,
    /// The bytes.
    pub body: FileBody,
}

impl Repo {
    /// Finds `src/contrib[/path]/{file}` or `src/contrib/Archive/{package}/{file}` at a point. `archive` says which;
    /// a current release also answers under `Archive/`. The earliest subscription that has the name decides.
    pub async fn locate(
        &self,
        point: &Point,
        package: &str,
        version: &str,
        file: &str,
        archive: bool,
    ) -> Result<Located, RepoError> {
        let _ = (point, package, version, file, archive);
        todo!()
    }

    /// Opens a located file, whole or a range (byte positions, end exclusive, inside the file).
    pub async fn open(&self, located: &Located, range: Option<Range<u64>>) -> Result<OpenFile, RepoError> {
        let _ = (located, range);
        todo!()
    }
}
