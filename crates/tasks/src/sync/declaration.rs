//! The declaration of a mirror for one package: the releases that it lists and those in `Archive/`.

use std::borrow::Cow;
use std::collections::HashMap;

use base::model::change::LifeState;
use base::model::digest::{Md5, Sha256};
use base::model::time::Timestamp;
use formats::r::packages::IndexRecord;
use formats::r::rds::archive_meta::MetaRow;
use formats::r::version;
use upstream::origin::mirror_view::{MirrorView, Object};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStat {
    size: i64,
    mtime: Timestamp,
}

impl FileStat {
    pub(super) fn of(row: &MetaRow<String>) -> FileStat {
        FileStat { size: i64::try_from(row.size).unwrap_or(i64::MAX), mtime: row.mtime }
    }

    fn of_object(object: &Object) -> FileStat {
        FileStat { size: i64::try_from(object.size).unwrap_or(i64::MAX), mtime: object.published_at }
    }
}

/// The rows of `Meta/current.rds`, by file name.
pub(super) type CurrentFiles<'a> = HashMap<&'a str, FileStat>;

#[derive(Clone, Debug)]
pub(super) struct DeclaredLife<'a> {
    pub(super) state: LifeState,
    /// `Path` of the index record: a subdirectory of `src/contrib`; empty for most records and for archived files.
    pub(super) path: &'a str,
    pub(super) version: &'a str,
    /// Name under which the file is served.
    pub(super) file: String,
    /// Path of the file on the mirror, relative to `src/contrib`.
    pub(super) locator: String,
    pub(super) size: Option<i64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) md5: Option<Md5>,
    /// The digest that a bundle declares.
    pub(super) sha256: Option<Sha256>,
    /// The index record of a listed life.
    pub(super) stanza: Option<Cow<'a, [u8]>>,
}

pub(super) struct PackageDeclaration<'a> {
    pub(super) name: &'a str,
    pub(super) records: &'a [&'a IndexRecord<'a>],
    pub(super) archive_rows: &'a [&'a MetaRow<String>],
    pub(super) current_files: &'a CurrentFiles<'a>,
    pub(super) view: Option<&'a MirrorView>,
}

impl<'a> PackageDeclaration<'a> {
    /// Returns the lives that the package should have, listed ones first, and whether the index lists it more than once.
    pub(super) fn declared_lives(&self) -> (Vec<DeclaredLife<'a>>, bool) {
        let mut has_duplicates = false;
        let mut lives = self.listed_lives(&mut has_duplicates);
        self.add_archived_lives(&mut lives);
        (lives, has_duplicates)
    }

    /// Returns one listed life per path: that of the highest version. Other versions without a `Path` can still be
    /// installed, so they become archived releases.
    fn listed_lives(&self, has_duplicates: &mut bool) -> Vec<DeclaredLife<'a>> {
        let mut records: Vec<&IndexRecord<'a>> = self.records.to_vec();
        records.sort_by(|a, b| {
            let newest_first = version::compare(b.version, a.version);
            let path = |r: &IndexRecord<'a>| r.path.unwrap_or_default();
            path(a)
                .cmp(path(b))
                .then(newest_first)
                .then_with(|| (a.version, a.stanza, a.md5, a.size).cmp(&(b.version, b.stanza, b.md5, b.size)))
        });
        let mut lives: Vec<DeclaredLife<'a>> = Vec::with_capacity(records.len());
        for record in records {
            let life = self.listed_life(record);
            let is_first = !lives.iter().any(|other| other.path == life.path);
            *has_duplicates |= !is_first;
            if is_first {
                lives.push(life);
            } else if life.path.is_empty() && lives.iter().all(|other| other.version != life.version) {
                lives.push(DeclaredLife { state: LifeState::Archived, stanza: None, ..life });
            }
        }
        lives
    }

    fn listed_life(&self, record: &IndexRecord<'a>) -> DeclaredLife<'a> {
        let path = record.path.unwrap_or_default();
        let mirror_file = record.mirror_file();
        let stat = self.current_files.get(&*mirror_file).filter(|_| path.is_empty());
        let declared_size = record.size.and_then(|size| i64::try_from(size).ok());
        let locator =
            if path.is_empty() { mirror_file.into_owned() } else { format!("{path}/{mirror_file}") };
        DeclaredLife {
            state: LifeState::Listed,
            path,
            version: record.version,
            sha256: self.object(&locator).map(|object| object.sha256),
            locator,
            size: stat.map(|stat| stat.size).or(declared_size),
            mtime: stat.map(|stat| stat.mtime),
            md5: record.md5,
            stanza: Some(record.served_stanza()),
            file: record.served_file().into_owned(),
        }
    }

    /// Returns the file of a bundle at a path relative to `src/contrib`.
    fn object(&self, locator: &str) -> Option<&'a Object> {
        self.view.and_then(|view| view.file(locator))
    }

    /// Adds the rows of `Meta/archive.rds`. The table of a bundle may have several rows with one file name;
    /// the size and time of the bundle's file apply. A file that is also listed, with equal size and time, is
    /// not added: the mirror was read between the copy to `Archive/` and the deletion of the listed file.
    fn add_archived_lives(&self, lives: &mut Vec<DeclaredLife<'a>>) {
        let mut rows: Vec<&MetaRow<String>> = self.archive_rows.to_vec();
        rows.sort_by(|a, b| (&a.file, a.mtime, a.size).cmp(&(&b.file, b.mtime, b.size)));
        rows.dedup_by(|a, b| a.file == b.file);
        for row in rows {
            let Some(version) = archived_version(self.name, &row.file) else { continue };
            let locator = format!("Archive/{}/{}", self.name, row.file);
            let object = self.object(&locator);
            let stat = object.map_or_else(|| FileStat::of(row), FileStat::of_object);
            let differs = |life: &DeclaredLife<'a>| {
                life.size.is_some_and(|size| size != stat.size)
                    || life.mtime.is_some_and(|mtime| mtime.seconds() != stat.mtime.seconds())
            };
            let is_listed =
                lives.iter().any(|life| life.path.is_empty() && life.file == row.file && !differs(life));
            if !is_listed {
                // A duplicate record with different bytes: the file in `Archive/` takes precedence for the name.
                lives.retain(|life| life.state == LifeState::Listed || life.file != row.file);
                lives.push(DeclaredLife {
                    state: LifeState::Archived,
                    path: "",
                    version,
                    file: row.file.clone(),
                    locator,
                    size: Some(stat.size),
                    mtime: Some(stat.mtime),
                    md5: None,
                    sha256: object.map(|object| object.sha256),
                    stanza: None,
                });
            }
        }
    }

    /// Returns the highest version of the index records without a `Path`.
    pub(super) fn newest_listed_version(&self) -> Option<&'a str> {
        let records = self.records.iter().filter(|record| record.path.is_none());
        records.map(|record| record.version).max_by(|a, b| version::compare(a, b).then_with(|| b.cmp(a)))
    }

    /// Returns whether `Meta/current.rds` has the standard file name of a version.
    pub(super) fn has_current(&self, version: &str) -> bool {
        self.current_files.contains_key(format!("{}_{version}.tar.gz", self.name).as_str())
    }
}

/// Returns the version of a file in `Archive/`.
fn archived_version<'a>(package: &str, file: &'a str) -> Option<&'a str> {
    let rest = file.strip_prefix(package)?.strip_prefix('_')?;
    [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"].iter().find_map(|extension| rest.strip_suffix(extension))
}
