//! A CRAN-like mirror that changes from day to day, and the state that a server publishes for each day.

use std::collections::BTreeMap;
use std::path::Path;

use rstudio_pm::db::life;
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::time::{Day, SECOND, Timestamp};
use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::description::{Description, metadata_stanza};
use rstudio_pm::r::packages;
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};
use rstudio_pm::sync::backfill::BackfillRequest;
use sha2::Digest;

use super::sync_backend::SyncBackend;
use super::tarball::Tarball;
use super::upstream::Upstream;

/// The first day of a [`SyncBackend`]'s clock, in days since the epoch: 2025-10-09.
pub(crate) const BEGIN: i64 = 20_370;
/// Seconds from the start of that clock to late in the evening.
pub(crate) const EVENING: i64 = 14 * 3600;
/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// The day `number` days after the first.
pub(crate) fn day(number: i64) -> Day {
    Timestamp((BEGIN + number) * DAY * SECOND).day()
}

/// A release of a package: a file of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) bytes: Vec<u8>,
    /// Day of publication (at noon), in days since [`BEGIN`].
    pub(crate) day: i64,
}

impl Release {
    fn row(&self) -> MetaRow<String> {
        MetaRow {
            package: self.package.clone(),
            file: self.file(),
            size: self.bytes.len() as u64,
            mtime: Timestamp(((BEGIN + self.day) * DAY + DAY / 2) * SECOND),
        }
    }

    pub(crate) fn file(&self) -> String {
        format!("{}_{}.tar.gz", self.package, self.version)
    }

    /// Its path in the archive.
    pub(crate) fn archive_path(&self) -> String {
        format!("src/contrib/Archive/{}/{}", self.package, self.file())
    }
}

/// The mirror.
#[derive(Clone, Debug, Default)]
pub(crate) struct CranHistory {
    pub(crate) listed: BTreeMap<String, Release>,
    pub(crate) archive: Vec<Release>,
    notes: BTreeMap<String, String>,
}

impl CranHistory {
    /// Publishes a release and archives the previous one.
    pub(crate) fn publish(&mut self, day: i64, tarball: &Tarball) {
        let (package, version) = (tarball.package.clone(), tarball.version.clone());
        let release = Release { package, version, bytes: tarball.bytes(), day };
        let previous = self.listed.insert(release.package.clone(), release);
        self.archive.extend(previous);
    }

    /// Removes a package from the index, with a note.
    pub(crate) fn archive_package(&mut self, today: i64, package: &str) {
        if let Some(release) = self.listed.remove(package) {
            self.archive.push(release);
            self.note(package, "Archived", today);
        }
    }

    /// Lists the newest archived release of a package again, with a note.
    pub(crate) fn unarchive_package(&mut self, today: i64, package: &str) {
        let newest_release = self
            .archive
            .iter()
            .filter(|release| release.package == package)
            .max_by_key(|release| release.day);
        let Some(release) = newest_release.cloned().filter(|_| !self.listed.contains_key(package)) else {
            return;
        };
        self.archive.retain(|other| *other != release);
        self.listed.insert(package.to_owned(), release);
        self.note(package, "Unarchived", today);
    }

    fn note(&mut self, package: &str, verb: &str, today: i64) {
        let note = self.notes.entry(package.to_owned()).or_default();
        note.push_str(&format!(" {verb} on {} as requested.", day(today)));
    }

    /// Every file of the mirror with its path.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for release in self.listed.values() {
            files.push((format!("src/contrib/{}", release.file()), release.bytes.clone()));
        }
        for release in &self.archive {
            files.push((release.archive_path(), release.bytes.clone()));
        }
        files.extend(self.tables());
        files
    }

    /// The index, `Meta/` and the notes.
    pub(crate) fn tables(&self) -> Vec<(String, Vec<u8>)> {
        let mut index = String::new();
        for release in self.listed.values() {
            let (_, raw) =
                archive::read_description(&release.bytes[..], ArchiveLimits::default()).expect("a package");
            let description = Description::from_bytes(&raw).expect("a DESCRIPTION");
            index.push_str(&String::from_utf8(metadata_stanza(&description)).expect("text"));
            index.push_str(&format!("MD5sum: {}\n\n", hex::encode(md5::Md5::digest(&release.bytes))));
        }
        let mut gz = packages::gzip(Vec::new());
        std::io::Write::write_all(&mut gz, index.as_bytes()).expect("memory");
        let (mut current, mut archive) = (Vec::new(), Vec::new());
        let rows: Vec<_> = self.listed.values().map(Release::row).collect();
        write_current_meta(&mut current, &rows).expect("memory");
        let mut rows: Vec<_> = self.archive.iter().map(Release::row).collect();
        rows.sort_by(|a, b| a.package.cmp(&b.package));
        write_archive_meta(&mut archive, &rows).expect("memory");
        let notes =
            self.notes.iter().map(|(package, note)| format!("Package: {package}\nX-CRAN-History:{note}\n\n"));
        vec![
            ("src/contrib/PACKAGES.gz".to_owned(), gz.finish().expect("memory")),
            ("src/contrib/Meta/current.rds".to_owned(), current),
            ("src/contrib/Meta/archive.rds".to_owned(), archive),
            ("src/contrib/PACKAGES.in".to_owned(), notes.collect::<String>().into_bytes()),
        ]
    }

    /// Adds all files to an HTTP server.
    pub(crate) fn serve(&self, upstream: &Upstream) {
        self.files().into_iter().for_each(|(path, bytes)| upstream.put(&path, bytes));
    }

    /// Writes all files below a folder.
    pub(crate) fn write(&self, folder: &Path) {
        for (path, bytes) in self.files() {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, bytes).expect("written");
        }
    }
}

/// The published state of a day: the index without MD5sum, and the archived files with size and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PublishedState {
    pub(crate) index: Vec<String>,
    pub(crate) archive: Vec<String>,
}

impl PublishedState {
    /// `package version` of each listed package.
    pub(crate) fn listed(&self) -> Vec<String> {
        let value = |stanza: &str, tag: &str| {
            stanza.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_default().to_owned()
        };
        self.index.iter().map(|s| format!("{} {}", value(s, "Package: "), value(s, "Version: "))).collect()
    }
}

/// The state at the end of a day; `None` before the first step.
pub(crate) async fn state(server: &SyncBackend, day: Day) -> Option<PublishedState> {
    let catalog = server.state.catalog.get();
    let tree = catalog.source_package_trees(SourceId::CRAN).next().expect("the first migration made it");
    let count = tree.steps.partition_point(|step| step.at < day.end());
    let (tree, seq) = (tree.id, tree.steps.get(count.checked_sub(1)?)?.seq);
    let (listed, archived) =
        server.read(move |c| Ok((life::listed(c, tree, seq)?, life::archived_files(c, tree, seq)?))).await;
    let stanza = |release: life::ListedRelease| {
        let text = String::from_utf8(release.stanza).expect("text");
        let lines = text.lines().filter(|line| !line.starts_with("MD5sum: "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let line = |row: life::FileInfo| {
        format!("{} {} {}", row.file, row.size.unwrap_or(-1), row.published_at.map_or(-1, Timestamp::seconds))
    };
    let mut archive: Vec<String> = archived.into_iter().map(line).collect();
    archive.sort();
    Some(PublishedState { index: listed.into_iter().map(stanza).collect(), archive })
}

/// Runs a back-fill and waits for its end; returns its message, or its error.
pub(crate) async fn backfill(server: &SyncBackend, since: Day) -> Result<String, String> {
    let job = server.sync.backfill(&backfill_request(since)).await.unwrap_or_else(|e| panic!("{e}"));
    job.job().wait_end().await
}

/// The request of [`backfill`].
pub(crate) fn backfill_request(since: Day) -> BackfillRequest {
    BackfillRequest { kind: SourceKind::Cran, since, rate: 1000, dry_run: false, actor: "a test".to_owned() }
}
