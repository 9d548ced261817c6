//! A package file: found by point and path, served from storage or from a flight.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};

use super::flight::{self, Crew, Expected, FlightError, Landed, Outcome, Passenger, Ticket};
use super::places::{self, Place};
use super::{Repo, RepoError, owner};
use crate::bundle::Product;
use crate::catalog::Tree;
use crate::config::StorageClass;
use crate::db;
use crate::db::file::FileState;
use crate::db::found_build::Found;
use crate::db::life::FoundFile;
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
    /// From `Archive/`, not the current list.
    pub archived: bool,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// Known once stored.
    pub sha256: Option<Sha256>,
    /// What the mirror's index declares; what is stored was compared with it.
    pub md5: Option<Md5>,
    /// True when the blob is in storage.
    pub stored: bool,
    /// Publication time: `Last-Modified`.
    pub modified: Option<Timestamp>,
    /// What it is built for; `None` of a source package.
    pub(super) built: Option<Platform>,
    /// The tree that has it.
    pub(super) tree: PointTree,
    /// The row.
    found: FoundFile,
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

/// Located files that are in storage, by where they were asked for. A tree's step never changes, and what is stored
/// stays where it is, so an entry is right for as long as it is kept.
pub(super) type Cache = quick_cache::sync::Cache<Wanted, Located>;

/// Entries of the [`Cache`]; each takes some hundred bytes.
pub(super) const CACHED: usize = 20_000;

/// What a located file is cached by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    trees: Vec<PointTree>,
    file: String,
    archive: bool,
}

impl Located {
    fn new(package: &str, tree: PointTree, found: FoundFile) -> Located {
        Located {
            package: package.to_owned(),
            version: found.version.clone(),
            name: found.name.clone(),
            archived: found.state == LifeState::Archived,
            size: found.size.and_then(|size| u64::try_from(size).ok()),
            sha256: found.sha256,
            md5: found.md5,
            stored: found.file_state == FileState::Stored,
            modified: found.published_at,
            built: None,
            tree,
            found,
        }
    }

    /// The source whose tree has it.
    #[must_use]
    pub fn source(&self) -> SourceId {
        self.tree.source
    }

    /// How many times the same version came with other bytes before.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.found.revision
    }

    /// The tree that has it.
    pub(super) fn tree(&self) -> PointTree {
        self.tree
    }

    /// The row of the file.
    pub(super) fn file(&self) -> FileId {
        self.found.file
    }

    /// The rows it belongs to.
    pub(super) fn release(&self) -> (PackageId, ReleaseId) {
        (self.found.package, self.found.release)
    }

    /// Whether it may be fetched again: a build without a locator was handed in, and is here or nowhere.
    fn has_upstream(&self) -> bool {
        self.built.is_none() || !self.found.locator.is_empty()
    }

    /// A build in its place.
    pub(super) fn built(&self, build: &db::binary::Build, platform: &Platform) -> Located {
        let found = FoundFile {
            file: build.file,
            name: build.name.clone(),
            locator: build.locator.clone(),
            size: build.size,
            md5: build.md5,
            sha256: build.sha256,
            file_state: build.state,
            class: build.class.clone(),
            published_at: Some(build.at),
            ..self.found.clone()
        };
        let located = Located::new(&self.package, self.tree, found);
        Located { built: Some(platform.clone()), ..located }
    }

    /// A build in its place that is in no list yet.
    pub(super) fn found_build(&self, build: Found, platform: &Platform) -> Located {
        let found = FoundFile {
            file: build.file,
            name: build.name,
            locator: build.locator,
            size: build.size,
            md5: None,
            sha256: build.sha256,
            file_state: build.state,
            class: build.class,
            published_at: None,
            ..self.found.clone()
        };
        Located { built: Some(platform.clone()), ..Located::new(&self.package, self.tree, found) }
    }

    /// The blob, when the row says that there is one.
    pub(super) fn key(&self) -> Option<Key> {
        let class = self.found.class.as_deref()?;
        let class = StorageClass::ALL.into_iter().find(|c| c.as_str() == class)?;
        self.sha256.filter(|_| self.stored).map(|digest| Key::Package(class, digest))
    }
}

impl Repo {
    /// Finds `src/contrib[/path]/{file}` or `src/contrib/Archive/{package}/{file}` at a point. `archive` says which
    /// address was used; either answers for a release in either state, so that an index read a minute before a new
    /// version came still leads to its files. The owner of the name alone decides.
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
        let wanted = Wanted { trees: point.trees.clone(), file: file.to_owned(), archive };
        if let Some(located) = self.located.get(&wanted) {
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
            self.located.insert(wanted, located.clone());
        }
        Ok(located)
    }

    /// Opens a located file, whole or a range (byte positions, end exclusive, inside the file). What is not in
    /// storage is fetched from its mirror while it is served.
    ///
    /// # Errors
    /// [`RepoError::Upstream`] when the mirror cannot give it now, [`RepoError::NotFound`] when it has it no more.
    pub async fn open(&self, located: &Located, range: Option<Range<u64>>) -> Result<OpenFile, RepoError> {
        if let Some(key) = located.key() {
            let error = match self.open_stored(located, &key, range.clone()).await {
                Err(error) => error,
                opened => return opened,
            };
            match error {
                RepoError::Storage(StorageError::NotFound(_)) | RepoError::Damaged { .. }
                    if self.may_be_fetched(located) =>
                {
                    tracing::error!(file = %located.name, "{error}; fetching it again");
                }
                error => return Err(error),
            }
        }
        if let Some(open) = self.open_in_place(located, range.as_ref()).await? {
            return Ok(open);
        }
        let passenger = self.board(located)?;
        let mut progress = passenger.flight.progress.clone();
        let seen = progress
            .wait_for(|p| p.can_answer())
            .await
            .map_err(|_| RepoError::Storage(StorageError::Other("the server stops".to_owned())))?
            .clone();
        match seen.outcome {
            Some(Outcome::Failed(error)) => return Err(error.into()),
            Some(Outcome::Landed(Landed::Stored(key))) => {
                return self.read_stored(located, &key, range).await;
            }
            Some(Outcome::Landed(Landed::Passed)) | None => {}
        }
        Ok(from_flight(passenger, seen.size, range))
    }

    /// Why a file that is not in storage cannot be had now, where that is known without asking its mirror.
    ///
    /// # Errors
    /// As [`Repo::open`].
    pub fn check_upstream(&self, located: &Located) -> Result<(), RepoError> {
        if located.stored || !self.may_be_fetched(located) {
            return Ok(());
        }
        let (places, ..) = self.places(located)?;
        Ok(self.flights.check(located.found.file, &places)?)
    }

    /// Opens what is stored, when it is what was stored.
    pub(super) async fn open_stored(
        &self,
        located: &Located,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<OpenFile, RepoError> {
        self.prove(located, key).await?;
        self.read_stored(located, key, range).await
    }

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

    /// Where upstream a file may be, the class it is stored in, and what it is.
    fn places(&self, located: &Located) -> Result<(Vec<Place>, StorageClass, Expected), RepoError> {
        let config = self.state.config.load();
        let upstream = self.state.upstream.load();
        let away = |source| RepoError::Upstream { source, retry_after: 60 };
        let object = |url: &str, product: &Product| {
            let sha256 = located.sha256.filter(|_| !located.stored)?;
            let mirror = upstream.mirror(url).ok()?;
            let path = mirror.object(product, sha256, &located.name)?;
            Some(Place { mirror, path })
        };
        Ok(match &located.built {
            None => {
                let (root, url, class, product) =
                    match self.state.catalog.get().tree(located.tree.tree).and_then(Tree::part) {
                        Some(part) => {
                            let root = &config.bioconductor.url;
                            let product = Product::Bioconductor(part.version.to_string());
                            (root, bioconductor::address(root, part), StorageClass::Bioconductor, product)
                        }
                        None => {
                            (&config.cran.url, config.cran.url.clone(), StorageClass::Cran, Product::Cran)
                        }
                    };
                let mirror = upstream.mirror(&url).map_err(away)?;
                let places = places::of_source(&mirror, &located.found, &located.package);
                (places::and_object(places, object(root, &product)), class, Expected::Source)
            }
            Some(platform) => {
                let locator = &located.found.locator;
                let places = places::of_build(&upstream.binaries(&config.cran), &upstream, platform, locator);
                let product = Product::Binaries(platform.to_string());
                let object =
                    config.cran.binaries.is_empty().then(|| object(&config.cran.url, &product)).flatten();
                let places = match (places, object) {
                    (Ok(places), object) => places::and_object(places, object),
                    // Nobody has asked yet whether it is a bundle that builds come from.
                    (Err(_), Some(object)) => vec![object],
                    (Err(error), None) => return Err(away(error)),
                };
                (places, StorageClass::Binaries, Expected::Build(platform.clone()))
            }
        })
    }

    fn board(&self, located: &Located) -> Result<Passenger, RepoError> {
        if !self.may_be_fetched(located) {
            if let Some(key) = located.key() {
                self.state.storage.note_lost(&key);
            }
            let missing = format!("{}, which has no upstream,", located.name);
            return Err(RepoError::Storage(StorageError::NotFound(missing)));
        }
        let (places, class, expected) = self.places(located)?;
        let (stale, tree) = (self.stale.clone(), located.tree);
        let ticket = || {
            let crew = Crew {
                state: self.state.clone(),
                learner: self.learner.clone(),
                proofs: self.proofs.clone(),
                stale: Arc::new(move || stale.call(tree)),
                landing: self.landing.clone(),
            };
            Ticket::new(&located.found, expected, places, class, crew)
        };
        Ok(self.flights.board(located.found.file, ticket)?)
    }
}

/// A client's view of a flight. A range that is far from what is written is not waited for: all is sent (RFC 9110
/// section 14.2 leaves that to the server).
fn from_flight(passenger: Passenger, size: Option<u64>, range: Option<Range<u64>>) -> OpenFile {
    let range = range.filter(|range| size.is_some() && flight::near(&passenger.flight, range.start));
    let wanted = range.clone().unwrap_or(0..size.unwrap_or(u64::MAX));
    let stream = flight::read(passenger, wanted).map_err(RepoError::from).boxed();
    OpenFile { size, range, body: FileBody::Stream(stream) }
}

impl From<FlightError> for RepoError {
    fn from(error: FlightError) -> RepoError {
        match error {
            FlightError::Missing(what) => RepoError::NotFound(what),
            FlightError::Mismatch(reason) => RepoError::Upstream {
                source: UpstreamError::Refused { url: "the mirror".to_owned(), reason },
                retry_after: 60,
            },
            FlightError::Upstream(source) => {
                let retry_after = match &source {
                    UpstreamError::Unavailable { retry_after, .. } => retry_after.unwrap_or(30),
                    UpstreamError::Missing(_) | UpstreamError::Refused { .. } => 60,
                };
                RepoError::Upstream { source, retry_after }
            }
            FlightError::Storage(reason) => RepoError::Storage(StorageError::Other(reason)),
            FlightError::Deserted => RepoError::Storage(StorageError::Other(error.to_string())),
        }
    }
}
