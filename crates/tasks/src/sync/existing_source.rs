//! The state of a source in the database: every release that was ever listed or archived, and its open lives.

use std::collections::{BTreeMap, HashMap, HashSet};

use base::model::change::{LifeKey, LifeState};
use base::model::digest::{Md5, Sha256};
use base::model::ids::{FileId, PackageId, ReleaseId, SourceId};
use base::model::time::Timestamp;
use formats::r::layout::PackageFile;
use store::db::life::CurrentLife;
use store::db::release::FormerRelease;
use store::db::{Conn, DbError, life, release, tree};

const CHUNK: usize = 2_000;

/// The releases and open lives of a source in one tree.
#[derive(Clone, Debug, Default)]
pub struct ExistingSource {
    pub packages: BTreeMap<String, ExistingPackage>,
}

#[derive(Clone, Debug)]
pub struct ExistingPackage {
    pub id: PackageId,
    /// The releases, in no particular order.
    pub releases: Vec<ExistingRelease>,
}

/// A release: one version with one set of bytes.
#[derive(Clone, Debug)]
pub struct ExistingRelease {
    pub id: ReleaseId,
    /// The version as written in the index.
    pub version: Box<str>,
    /// Number of earlier publications of the version, each with other bytes.
    pub revision: i64,
    /// Publication time upstream, if known.
    pub published_at: Option<Timestamp>,
    /// Size in bytes, if known.
    pub size: Option<i64>,
    /// MD5 that the index declared.
    pub md5: Option<Md5>,
    /// Digest of its file, if known.
    pub sha256: Option<Sha256>,
    /// Lowest number of its index records: they are numbered 0, -1, -2, …, and a new record gets the next lower number.
    pub variant: i64,
    /// Whether its file has a name that clients cannot request, as some mirrors declare; such a release is replaced.
    pub has_unusual_file: bool,
    /// Open lives; empty if the release is neither listed nor archived now.
    pub lives: Vec<OpenLife>,
}

#[derive(Clone, Debug)]
pub struct OpenLife {
    pub state: LifeState,
    /// `Path` of the record: a subdirectory such as `4.6.0/Recommended`; empty for most records and archived releases.
    pub path: Box<str>,
    /// The package file; 0 for the release's own source package.
    pub file: FileId,
    /// The step with which the life began.
    pub from_seq: i64,
    /// The record, for listed lives.
    pub stanza: Option<Box<[u8]>>,
}

impl ExistingRelease {
    pub fn key(&self, package: PackageId, life: &OpenLife) -> LifeKey {
        LifeKey {
            state: life.state,
            package,
            path: life.path.to_string(),
            release: self.id,
            file: life.file,
            from_seq: life.from_seq,
        }
    }

    pub fn archived_life(&self) -> Option<&OpenLife> {
        self.lives.iter().find(|life| life.state == LifeState::Archived)
    }

    /// Returns its life in the index under `path`.
    pub fn listed_life(&self, path: &str) -> Option<&OpenLife> {
        self.lives.iter().find(|life| life.state == LifeState::Listed && &*life.path == path)
    }
}

impl ExistingPackage {
    /// Returns whether any of its releases is in the index.
    pub fn is_listed(&self) -> bool {
        let is_listed = |life: &OpenLife| life.state == LifeState::Listed;
        self.releases.iter().any(|release| release.lives.iter().any(is_listed))
    }
}

impl ExistingSource {
    /// Reads the state from the database. `versions` limits the releases without an open life in this tree to these
    /// packages and versions: other trees of the source may have many more.
    pub fn load(
        c: &mut dyn Conn,
        source: SourceId,
        tree: &tree::Tree,
        versions: Option<&[(String, String)]>,
    ) -> Result<ExistingSource, DbError> {
        let mut existing = ExistingSource::default();
        let mut open_releases = HashSet::new();
        if let Some(head) = tree.head {
            life::current(c, tree.id, head, &mut |row| {
                open_releases.insert(row.key.release);
                existing.add_life(row);
                Ok(())
            })?;
        }
        let mut former_releases = match versions {
            None => release::all(c, source)?,
            Some(versions) => release::by_versions(c, source, versions)?,
        };
        former_releases.retain(|release| !open_releases.contains(release));
        for releases in former_releases.chunks(CHUNK) {
            release::former_releases(c, releases)?.into_iter().for_each(|row| existing.add_former(row));
        }
        existing.lower_variants(release::variants(c, source, tree.id)?);
        Ok(existing)
    }

    /// Takes the record numbers of other trees of the source into account: they may have other records of the same
    /// releases, and a new record must not reuse a number.
    fn lower_variants(&mut self, lowest_variants: Vec<(ReleaseId, i64)>) {
        let lowest_variants: HashMap<ReleaseId, i64> = lowest_variants.into_iter().collect();
        if lowest_variants.is_empty() {
            return;
        }
        for release in self.packages.values_mut().flat_map(|package| &mut package.releases) {
            if let Some(variant) = lowest_variants.get(&release.id) {
                release.variant = release.variant.min(*variant);
            }
        }
    }

    fn package(&mut self, name: String, id: PackageId) -> &mut ExistingPackage {
        self.packages.entry(name).or_insert_with(|| ExistingPackage { id, releases: Vec::with_capacity(1) })
    }

    pub fn add_life(&mut self, row: CurrentLife) {
        let life = OpenLife {
            state: row.key.state,
            path: row.key.path.into_boxed_str(),
            file: row.key.file,
            from_seq: row.key.from_seq,
            stanza: row.stanza.map(Vec::into_boxed_slice),
        };
        let package = self.package(row.name, row.key.package);
        // A release has few lives, in any order.
        if let Some(release) = package.releases.iter_mut().find(|release| release.id == row.key.release) {
            release.variant = release.variant.min(row.variant);
            release.lives.push(life);
            return;
        }
        package.releases.push(ExistingRelease {
            id: row.key.release,
            version: row.version.into_boxed_str(),
            revision: row.revision,
            published_at: row.published_at,
            size: row.size,
            md5: row.md5,
            sha256: row.sha256,
            variant: row.variant,
            has_unusual_file: PackageFile::parse(&row.file_name).is_none(),
            lives: vec![life],
        });
    }

    /// Adds a release without an open life.
    pub fn add_former(&mut self, row: FormerRelease) {
        let release = ExistingRelease {
            id: row.release,
            version: row.version.into_boxed_str(),
            revision: row.revision,
            published_at: row.published_at,
            size: row.size,
            md5: row.md5,
            sha256: row.sha256,
            variant: row.variant,
            has_unusual_file: false,
            lives: Vec::new(),
        };
        self.package(row.name, row.package).releases.push(release);
    }
}
