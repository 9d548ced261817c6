//! Package files: located by point and path, served from storage, from a bundle, or from a fetch in progress.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};

use super::{RepoError, Repositories, owner};
use crate::bundle::Product;
use crate::catalog::Tree;
use crate::config::StorageClass;
use crate::db;
use crate::db::discovered_binary::DiscoveredBinary;
use crate::db::file::FileState;
use crate::db::life::ReleaseFile;
use crate::fetch::candidates::{self, MirrorPath};
use crate::fetch::integrity::IntegrityError;
use crate::fetch::{self, Delivery, FetchError, FetchOutcome, FetchRequest, PackageForm, Subscriber};
use crate::model::change::LifeState;
use crate::model::digest::{Md5, Sha256};
use crate::model::ids::{FileId, PackageId, ReleaseId, SourceId};
use crate::model::point::{Point, PointTree};
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;
use crate::r::bioconductor;
use crate::r::platform::Platform;
use crate::storage::{Blob, Content, Key, StorageError};
use crate::upstream::UpstreamError;

/// A file that exists at a point; nothing was read or fetched yet.
#[derive(Clone, Debug)]
pub struct Located {
    /// The package.
    pub package: String,
    /// The version.
    pub version: String,
    /// `{package}_{version}.tar.gz`.
    pub name: String,
    /// True for a release in `Archive/`, not in the current list.
    pub archived: bool,
    /// Size in bytes, if known.
    pub size: Option<u64>,
    /// SHA-256 of the file; known once it was stored.
    pub sha256: Option<Sha256>,
    /// MD5 in the mirror's index; the stored file was compared with it.
    pub md5: Option<Md5>,
    /// True when the row says that the file is in storage.
    pub stored: bool,
    /// Publication time: `Last-Modified`.
    pub modified: Option<Timestamp>,
    /// The platform of a binary; `None` for a source package.
    pub(super) platform: Option<Platform>,
    /// The tree that contains it.
    pub(super) tree: PointTree,
    /// The row of the file.
    row: ReleaseFile,
}

/// The body of an opened file.
pub enum FileBody {
    /// The bytes are in memory.
    Memory(Bytes),
    /// Bytes from storage, or from a fetch that holds back the last 64 KiB until the file is verified. On an `Err` item
    /// the connection must be dropped.
    Stream(BoxStream<'static, Result<Bytes, RepoError>>),
}

/// An open file, or a range of it.
pub struct OpenFile {
    /// Size of the whole file; `None` only while it is fetched from a mirror that declares no size.
    pub size: Option<u64>,
    /// The range in the body; `None` for the whole file (also when the requested range is far beyond what was fetched
    /// so far).
    pub range: Option<Range<u64>>,
    /// The bytes.
    pub body: FileBody,
}

/// Cache of located files that are in storage. A tree's step never changes and stored files stay stored, so entries
/// never become invalid.
pub(super) type Cache = quick_cache::sync::Cache<FileKey, Located>;

/// Entries of the [`Cache`], some hundred bytes each.
pub(super) const CACHED: usize = 20_000;

/// The cache key of a located file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    trees: Vec<PointTree>,
    file: String,
    archive: bool,
}

impl Located {
    fn new(package: &str, tree: PointTree, row: ReleaseFile) -> Located {
        Located {
            package: package.to_owned(),
            version: row.version.clone(),
            name: row.name.clone(),
            archived: row.state == LifeState::Archived,
            size: row.size.and_then(|size| u64::try_from(size).ok()),
            sha256: row.sha256,
            md5: row.md5,
            stored: row.file_state == FileState::Stored,
            modified: row.published_at,
            platform: None,
            tree,
            row,
        }
    }

    /// The source of the tree that contains it.
    #[must_use]
    pub fn source(&self) -> SourceId {
        self.tree.source
    }

    /// How often the same version was replaced by other bytes before.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.row.revision
    }

    /// The tree that contains it.
    pub(super) fn tree(&self) -> PointTree {
        self.tree
    }

    /// The id of its file row.
    pub(super) fn file(&self) -> FileId {
        self.row.file
    }

    /// The ids of its package and release.
    pub(super) fn release(&self) -> (PackageId, ReleaseId) {
        (self.row.package, self.row.release)
    }

    /// Whether it may be fetched again: a binary without a locator was uploaded and exists only in storage.
    fn has_upstream(&self) -> bool {
        self.platform.is_none() || !self.row.locator.is_empty()
    }

    /// Replaces a source package by one of its binaries.
    pub(super) fn with_binary(&self, binary: &db::binary::Binary, platform: &Platform) -> Located {
        let found = ReleaseFile {
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
        let located = Located::new(&self.package, self.tree, found);
        Located { platform: Some(platform.clone()), ..located }
    }

    /// Replaces a source package by one of its binaries that is in no list yet.
    pub(super) fn with_discovered_binary(&self, binary: DiscoveredBinary, platform: &Platform) -> Located {
        let found = ReleaseFile {
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
        Located { platform: Some(platform.clone()), ..Located::new(&self.package, self.tree, found) }
    }

    /// The key of the stored object; `None` when the row says that it is not stored.
    pub(super) fn key(&self) -> Option<Key> {
        let class = self.row.class.as_deref()?;
        let class = StorageClass::ALL.into_iter().find(|c| c.as_str() == class)?;
        self.sha256.filter(|_| self.stored).map(|digest| Key::Package(class, digest))
    }
}

impl Repositories {
    /// Finds `src/contrib[/path]/{file}` or `src/contrib/Archive/{package}/{file}` at a point. `archive` says which
    /// address was used; both find a release in either state, so that an index read shortly before a new version was
    /// published still leads to its files. Only the owner of the name is searched.
    ///
    /// # Errors
    /// [`RepoError::NotFound`], or the database.
    pub async fn locate(
        &self,
        point: &Point,
        package: &str,
        version: &str,
        file: &str,
        archive: bool,
    ) -> Result<Located, RepoError> {
        let wanted = FileKey { trees: point.trees.clone(), file: file.to_owned(), archive };
        if let Some(located) = self.located_files.get(&wanted) {
            return Ok(located);
        }
        let (trees, name, path_and_file) = (point.trees.clone(), package.to_owned(), file.to_owned());
        let found = self
            .state
            .db
            .read(move |c| {
                let Some(tree) = owner::owner(c, &trees, &name)? else { return Ok(None) };
                let preferred = if archive { LifeState::Archived } else { LifeState::Listed };
                let mut found = None;
                for state in [Some(preferred), None] {
                    if found.is_none() {
                        found = db::life::find_file(c, tree.tree, tree.seq, state, &name, &path_and_file)?;
                    }
                }
                Ok(found.map(|found| (tree, found)))
            })
            .await?;
        let Some((tree, found)) = found else {
            return Err(RepoError::NotFound(format!("there is no {package} {version} in this snapshot")));
        };
        let located = Located::new(package, tree, found);
        if located.stored {
            self.located_files.insert(wanted, located.clone());
        }
        Ok(located)
    }

    /// Opens a located file, whole or a range (byte positions, end exclusive, inside the file). A file that is not in
    /// storage is served while it is fetched from its mirror.
    ///
    /// # Errors
    /// [`RepoError::Upstream`] when the mirror cannot deliver it now, [`RepoError::NotFound`] when it no longer has it.
    pub async fn open(&self, located: &Located, range: Option<Range<u64>>) -> Result<OpenFile, RepoError> {
        if let Some(key) = located.key() {
            let error = match self.open_stored(located, &key, range.clone()).await {
                Err(error) => error,
                opened => return opened,
            };
            if !self.is_fetched_instead(located, &key, &error) {
                return Err(error);
            }
            tracing::error!(file = %located.name, "{error}; fetching it again");
        }
        if let Some(open) = self.open_in_bundle(located, range.as_ref()).await? {
            return Ok(open);
        }
        let passenger = self.join_fetch(located)?;
        let mut progress = passenger.fetch.progress.clone();
        let current = progress
            .wait_for(|p| p.can_answer())
            .await
            .map_err(|_| RepoError::Storage(StorageError::Other("the server is shutting down".to_owned())))?
            .clone();
        match current.outcome {
            Some(FetchOutcome::Failed(error)) => return Err(error.into()),
            Some(FetchOutcome::Done(Delivery::Stored(key))) => {
                return self.read_stored(located, &key, range).await;
            }
            Some(FetchOutcome::Done(Delivery::SentOnly)) | None => {}
        }
        Ok(open_fetch(passenger, current.size, range))
    }

    /// Checks for the errors of [`Repositories::open`] that are known without reading the whole file and without a request to
    /// the mirror. Of a stored file the size is compared, and its digest only if it is known to be wrong.
    ///
    /// # Errors
    /// Those of [`Repositories::open`].
    pub async fn check(&self, located: &Located) -> Result<(), RepoError> {
        match located.key() {
            Some(key) => match self.check_stored(located, &key).await {
                Err(error) if self.is_fetched_instead(located, &key, &error) => {}
                checked => return checked,
            },
            None if !self.may_be_fetched(located) => return Ok(()),
            None => {}
        }
        let (places, ..) = self.candidates(located)?;
        Ok(self.fetches.check(located.row.file, &places)?)
    }

    /// Returns whether a file is fetched again because its object is missing or damaged. An object that is missing and
    /// cannot be fetched is recorded as lost.
    fn is_fetched_instead(&self, located: &Located, key: &Key, error: &RepoError) -> bool {
        let is_missing = matches!(error, RepoError::Storage(StorageError::NotFound(_)));
        if !is_missing && !matches!(error, RepoError::Damaged { .. }) {
            return false;
        }
        let is_fetched = self.may_be_fetched(located);
        if is_missing && !is_fetched && self.state.storage.add_lost(key) {
            tracing::error!(file = %located.name, object = %key, "a requested package is not in storage, and no mirror has it");
        }
        is_fetched
    }

    /// Opens a stored file after its integrity check.
    pub(super) async fn open_stored(
        &self,
        located: &Located,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<OpenFile, RepoError> {
        self.check_integrity(located, key).await?;
        self.read_stored(located, key, range).await
    }

    /// Checks that the stored bytes of a file have its digest.
    async fn check_integrity(&self, located: &Located, key: &Key) -> Result<(), RepoError> {
        self.fetches.integrity.check(key).await.map_err(|error| match error {
            IntegrityError::Damaged(why) => RepoError::Damaged { file: located.name.clone(), why },
            IntegrityError::Storage(error) => error.into(),
        })
    }

    /// Checks that a stored file exists, has the recorded size and is not known to be damaged.
    async fn check_stored(&self, located: &Located, key: &Key) -> Result<(), RepoError> {
        if self.fetches.integrity.is_known_damaged(key) {
            self.check_integrity(located, key).await?;
        }
        match self.read_stored(located, key, Some(0..1)).await {
            Err(missing @ RepoError::Storage(StorageError::NotFound(_))) => {
                // A damaged object that was set aside is reported as damaged.
                self.check_integrity(located, key).await?;
                Err(missing)
            }
            read => read.map(drop),
        }
    }

    /// Opens a stored file. One of another size than recorded is treated as [`Repositories::check_integrity`] does: read through again,
    /// and set aside if it is damaged.
    async fn read_stored(
        &self,
        located: &Located,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<OpenFile, RepoError> {
        let found = self.state.storage.get(key, range.clone()).await;
        let size = match &found {
            Ok(Blob { size, .. }) | Err(StorageError::Range { size, .. }) => Some(*size),
            Err(_) => None,
        };
        if let (Some(size), Some(recorded)) = (size, located.size)
            && size != recorded
        {
            self.fetches.integrity.remove(key);
            self.check_integrity(located, key).await?;
            let why = format!("the object {} has {size} bytes, not {recorded}", key.path());
            return Err(RepoError::Damaged { file: located.name.clone(), why });
        }
        let Blob { size, content } = found?;
        let body = match content {
            Content::Memory(bytes) => FileBody::Memory(bytes),
            Content::Stream(stream) => FileBody::Stream(stream.map_err(RepoError::from).boxed()),
        };
        Ok(OpenFile { size: Some(size), range, body })
    }

    /// Whether a file can be fetched, for the first time or again.
    pub(super) fn may_be_fetched(&self, located: &Located) -> bool {
        self.has_mirror(located.source()) && located.has_upstream()
    }

    /// Whether the packages of a source come from a mirror.
    pub(super) fn has_mirror(&self, source: SourceId) -> bool {
        match self.state.catalog.get().source_by_id(source).map(|source| source.kind) {
            Some(SourceKind::Cran | SourceKind::Bioconductor) => true,
            Some(
                SourceKind::CranSnapshot
                | SourceKind::CuratedCran
                | SourceKind::Local
                | SourceKind::Git
                | SourceKind::Pypi
                | SourceKind::CuratedPypi
                | SourceKind::LocalPython
                | SourceKind::GitPython,
            )
            | None => false,
        }
    }

    /// The upstream candidates of a file, the storage class for it, and the expected kind of file.
    fn candidates(
        &self,
        located: &Located,
    ) -> Result<(Vec<MirrorPath>, StorageClass, PackageForm), RepoError> {
        let config = self.state.config.load();
        let upstream = self.state.upstream.load();
        let away = |source| RepoError::Upstream { source, retry_after: 60 };
        let object = |url: &str, product: &Product| {
            let sha256 = located.sha256.filter(|_| !located.stored)?;
            let mirror = upstream.mirror(url).ok()?;
            let path = mirror.object(product, sha256, &located.name)?;
            Some(MirrorPath { mirror, path })
        };
        Ok(match &located.platform {
            None => {
                let (root, url, class, product) =
                    match self.state.catalog.get().tree(located.tree.tree).and_then(Tree::part) {
                        Some(part) => {
                            let root = &config.bioconductor.url;
                            let product = Product::Bioconductor(part.version.to_string());
                            (root, bioconductor::part_url(root, part), StorageClass::Bioconductor, product)
                        }
                        None => {
                            (&config.cran.url, config.cran.url.clone(), StorageClass::Cran, Product::Cran)
                        }
                    };
                let mirror = upstream.mirror(&url).map_err(away)?;
                let places = candidates::of_source(&mirror, &located.row, &located.package);
                (candidates::with_object(places, object(root, &product)), class, PackageForm::Source)
            }
            Some(platform) => {
                let locator = &located.row.locator;
                let places =
                    candidates::of_binary(&upstream.binaries(&config.cran), &upstream, platform, locator);
                let product = Product::Binaries(platform.to_string());
                let object =
                    config.cran.binaries.is_empty().then(|| object(&config.cran.url, &product)).flatten();
                let places = match (places, object) {
                    (Ok(places), object) => candidates::with_object(places, object),
                    // It is not known yet whether the mirror is a bundle that contains binaries.
                    (Err(_), Some(object)) => vec![object],
                    (Err(error), None) => return Err(away(error)),
                };
                (places, StorageClass::Binaries, PackageForm::Binary(platform.clone()))
            }
        })
    }

    fn join_fetch(&self, located: &Located) -> Result<Subscriber, RepoError> {
        if !self.may_be_fetched(located) {
            let missing = format!("{}, which has no upstream,", located.name);
            return Err(RepoError::Storage(StorageError::NotFound(missing)));
        }
        let (places, class, expected) = self.candidates(located)?;
        let ticket = || FetchRequest::new(&located.row, expected, places, class, located.tree);
        Ok(self.fetches.join(located.row.file, ticket)?)
    }
}

/// Opens a file that is being fetched. A range far beyond what was fetched so far is not waited for: the whole file is
/// sent (RFC 9110 section 14.2 permits it).
fn open_fetch(passenger: Subscriber, size: Option<u64>, range: Option<Range<u64>>) -> OpenFile {
    let range = range.filter(|range| size.is_some() && fetch::is_near(&passenger.fetch, range.start));
    let wanted = range.clone().unwrap_or(0..size.unwrap_or(u64::MAX));
    let stream = fetch::read(passenger, wanted).map_err(RepoError::from).boxed();
    OpenFile { size, range, body: FileBody::Stream(stream) }
}

impl From<FetchError> for RepoError {
    fn from(error: FetchError) -> RepoError {
        match error {
            FetchError::Missing(what) => RepoError::NotFound(what),
            FetchError::Mismatch(reason) => RepoError::Upstream {
                source: UpstreamError::Refused { url: "the mirror".to_owned(), reason },
                retry_after: 60,
            },
            FetchError::Upstream(source) => {
                let retry_after = match &source {
                    UpstreamError::Unavailable { retry_after, .. } => retry_after.unwrap_or(30),
                    UpstreamError::Missing(_) | UpstreamError::Refused { .. } => 60,
                };
                RepoError::Upstream { source, retry_after }
            }
            FetchError::Storage(reason) => RepoError::Storage(StorageError::Other(reason)),
            FetchError::Cancelled => RepoError::Storage(StorageError::Other(error.to_string())),
        }
    }
}
