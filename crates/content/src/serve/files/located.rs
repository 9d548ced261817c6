//! Located and opened files of packages.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};

use crate::serve::RepoError;
use base::model::change::LifeState;
use base::model::digest::{Md5, Sha256};
use base::model::ids::{FileId, PackageId, ReleaseId, SourceId};
use base::model::kind::StorageClass;
use base::model::point::PointTree;
use base::model::time::Timestamp;
use formats::r::platform::Platform;
use store::db;
use store::db::discovered_binary::DiscoveredBinary;
use store::db::file::FileState;
use store::db::life::ReleaseFile;
use store::storage::{Content, Key};

/// A file that exists at a point; nothing was read or fetched yet.
#[derive(Clone, Debug)]
pub struct LocatedFile {
    pub package: String,
    pub version: String,
    /// `{package}_{version}.tar.gz`.
    pub name: String,
    /// Whether the release is in `Archive/`, not in the current list.
    pub archived: bool,
    pub size: Option<u64>,
    /// SHA-256 of the file; known if a bundle declares it, or once the file was stored.
    pub sha256: Option<Sha256>,
    /// MD5 in the mirror's index; the file is compared with it before it is stored.
    pub md5: Option<Md5>,
    /// Whether the row states that the file is in storage.
    pub stored: bool,
    /// Publication time: `Last-Modified`.
    pub modified: Option<Timestamp>,
    /// The rule that warns about the release, with the reason.
    pub warning: Option<Arc<str>>,
    /// The platform of a binary; `None` for a source package.
    pub(in crate::serve) platform: Option<Platform>,
    pub(in crate::serve) tree: PointTree,
    pub(in crate::serve) row: ReleaseFile,
}

pub enum FileBody {
    Memory(Bytes),
    /// Bytes from storage, or from a fetch that holds back the last 64 KiB until the file is verified. On an
    /// `Err` item the connection must be dropped.
    Stream(BoxStream<'static, Result<Bytes, RepoError>>),
}

impl From<Content> for FileBody {
    fn from(content: Content) -> FileBody {
        match content {
            Content::Memory(bytes) => FileBody::Memory(bytes),
            Content::Stream(stream) => FileBody::Stream(stream.map_err(RepoError::from).boxed()),
        }
    }
}

pub struct OpenFile {
    /// Size of the whole file; `None` only while it is fetched from a mirror that declares no size.
    pub size: Option<u64>,
    /// The range in the body; `None` for the whole file (also for a range far beyond the fetched bytes).
    pub range: Option<Range<u64>>,
    pub body: FileBody,
}

impl LocatedFile {
    pub(in crate::serve) fn new(package: &str, tree: PointTree, row: ReleaseFile) -> LocatedFile {
        LocatedFile {
            package: package.to_owned(),
            version: row.version.clone(),
            name: row.name.clone(),
            archived: row.state == LifeState::Archived,
            size: row.size.and_then(|size| u64::try_from(size).ok()),
            sha256: row.sha256,
            md5: row.md5,
            stored: row.file_state == FileState::Stored,
            modified: row.published_at,
            warning: None,
            platform: None,
            tree,
            row,
        }
    }

    pub fn source(&self) -> SourceId {
        self.tree.source
    }

    /// Returns the number of times that the bytes of this version were replaced before.
    pub fn revision(&self) -> i64 {
        self.row.revision
    }

    pub(in crate::serve) fn tree(&self) -> PointTree {
        self.tree
    }

    pub(in crate::serve) fn file(&self) -> FileId {
        self.row.file
    }

    pub(in crate::serve) fn release(&self) -> (PackageId, ReleaseId) {
        (self.row.package, self.row.release)
    }

    /// Returns whether it may be fetched again: uploaded binaries and METADATA read from a wheel are only in storage.
    pub(in crate::serve) fn has_upstream(&self) -> bool {
        match self.platform {
            Some(_) => !self.row.locator.is_empty(),
            None => self.row.locator != db::project_file::METADATA_OF_WHEEL,
        }
    }

    /// Replaces a source package by one of its binaries.
    pub(in crate::serve) fn with_binary(
        &self,
        binary: &db::binary::Binary,
        platform: &Platform,
    ) -> LocatedFile {
        let row = ReleaseFile {
            file: binary.file,
            name: binary.name.clone(),
            locator: binary.locator.clone(),
            size: binary.size,
            md5: binary.md5,
            sha256: binary.sha256,
            file_state: binary.state,
            class: binary.class.clone(),
            published_at: Some(binary.at),
            ..self.row.clone()
        };
        self.binary(row, platform)
    }

    /// Replaces a source package by one of its binaries that is in no list yet.
    pub(in crate::serve) fn with_discovered_binary(
        &self,
        binary: DiscoveredBinary,
        platform: &Platform,
    ) -> LocatedFile {
        let row = ReleaseFile {
            file: binary.file,
            name: binary.name,
            locator: binary.locator,
            size: binary.size,
            md5: None,
            sha256: binary.sha256,
            file_state: binary.state,
            class: binary.class,
            published_at: None,
            ..self.row.clone()
        };
        self.binary(row, platform)
    }

    fn binary(&self, row: ReleaseFile, platform: &Platform) -> LocatedFile {
        let (platform, warning) = (Some(platform.clone()), self.warning.clone());
        LocatedFile { platform, warning, ..LocatedFile::new(&self.package, self.tree, row) }
    }

    /// Returns the key of the stored object; `None` if the row states that it is not stored.
    pub(in crate::serve) fn key(&self) -> Option<Key> {
        let class = self.row.class.as_deref()?;
        let class = StorageClass::parse(class)?;
        self.sha256.filter(|_| self.stored).map(|digest| Key::Package(class, digest))
    }
}
