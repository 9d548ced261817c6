//! Reads a CRAN-like mirror's files from its index, `Meta/` tables, and CRAN's notes on archived and restored packages.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::OfflineError;
use super::inventory::{Inventory, UpstreamFile, unlist_lower_versions};
use super::metadata::MetadataReader;
use base::model::time::Day;
use formats::bundle::record::PackageEvent;
use formats::bundle::{Record, self_digest};
use formats::r::history::events::Events;
use formats::r::history::{ListingState, MirrorTables, reconstruct};
use formats::r::index;
use formats::r::layout::PackageFile;
use formats::r::packages::IndexRecord;
use formats::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};
use formats::r::rds::{RdsError, RdsLimits};

/// Maximum number of reads if the index changes while the tables are read.
const MAX_READS: usize = 3;
/// The files that may contain an index, in order of preference.
pub(super) const INDEX_FILES: [&str; 3] = ["PACKAGES.gz", "PACKAGES.rds", "PACKAGES"];

/// The day up to which the history of archivals and restores is known, and today.
pub(super) type HistorySpan = (Option<Day>, Day);

/// A tree of source packages on a mirror.
pub(super) struct Tree<'a> {
    pub(super) reader: &'a MetadataReader<'a>,
    /// The folder that contains `src/contrib`, with a trailing slash; empty for the mirror's root.
    pub(super) prefix: String,
    /// The folder of the tree's releases, as in a `ReleaseRecord`; `None` for CRAN's.
    pub(super) folder: Option<String>,
    /// Whether the index may list no package; that of a large mirror is damaged then.
    pub(super) may_be_empty: bool,
}

/// Metadata files of a tree at one moment.
struct MirrorFiles {
    index_file: &'static str,
    index: Bytes,
    /// `Meta/current.rds`.
    current_table: Option<Bytes>,
    /// `Meta/archive.rds`.
    archive_table: Option<Bytes>,
    /// `PACKAGES.in`.
    notes: Option<Bytes>,
}

impl Tree<'_> {
    /// Returns the path on the mirror of a file in `src/contrib`.
    fn path(&self, file: &str) -> String {
        format!("{}src/contrib/{file}", self.prefix)
    }

    /// Reads the whole tree; `None` if it does not exist. Fails if its index is invalid, or lists no package although it must.
    pub(super) async fn read_inventory(&self, span: HistorySpan) -> Result<Option<Inventory>, OfflineError> {
        let Some(files) = self.files().await? else { return Ok(None) };
        let address = format!("{}/{}", self.reader.mirror().address(), self.path(files.index_file));
        let (folder, prefix) = (self.folder.clone(), self.prefix.clone());
        let task =
            tokio::task::spawn_blocking(move || build_inventory(&files, folder.as_deref(), &prefix, span));
        let result = task.await.unwrap_or_else(|e| Err(e.to_string()));
        let result = result.and_then(|inventory| {
            match self.may_be_empty || inventory.files.iter().any(|file| file.is_listed) {
                true => Ok(inventory),
                false => Err("the index lists no package".to_owned()),
            }
        });
        let result =
            result.map(|inventory| Some(Inventory { validators: self.reader.validators(), ..inventory }));
        result.map_err(|reason| {
            OfflineError::Refused(format!(
                "{address}: {reason}; try again later, or give another mirror with --base-url"
            ))
        })
    }

    /// Reads the files that the index lists; none without an index.
    pub(super) async fn listed_files(&self) -> Result<Vec<UpstreamFile>, OfflineError> {
        let Some((index_file, index)) = self.index().await? else { return Ok(Vec::new()) };
        let (folder, prefix) = (self.folder.clone(), self.prefix.clone());
        let task = tokio::task::spawn_blocking(move || {
            let text = index::text(index_file, &index)?;
            Ok(listed_files(&index::records(&text, &mut Vec::new())?, &[], folder.as_deref(), &prefix))
        });
        let address = format!("{}/{}", self.reader.mirror().address(), self.path(index_file));
        let files = task.await.unwrap_or_else(|e| Err(e.to_string()));
        files.map_err(|reason: String| OfflineError::Refused(format!("{address}: {reason}")))
    }

    /// Reads the metadata. CRAN writes the index almost a minute after the tables, so it is fetched again after them.
    async fn files(&self) -> Result<Option<MirrorFiles>, OfflineError> {
        let Some((index_file, mut index)) = self.index().await? else { return Ok(None) };
        let mut reads = 1;
        loop {
            // Only the tree of CRAN has notes.
            let (current_table, archive_table, notes) =
                tokio::try_join!(self.get("Meta/current.rds"), self.get("Meta/archive.rds"), async {
                    match self.folder {
                        None => self.get("PACKAGES.in").await,
                        Some(_) => Ok(None),
                    }
                })?;
            let later_index = match (&current_table, &archive_table) {
                (None, None) => Some(index.clone()),
                _ => self.get(index_file).await?,
            };
            if later_index.as_ref() == Some(&index) || reads == MAX_READS {
                return Ok(Some(MirrorFiles { index_file, index, current_table, archive_table, notes }));
            }
            index = later_index.unwrap_or(index);
            reads += 1;
        }
    }

    /// Fetches a file in `src/contrib`; `None` if it is missing.
    async fn get(&self, file: &str) -> Result<Option<Bytes>, OfflineError> {
        Ok(self.reader.get(&self.path(file)).await?)
    }

    /// Fetches the first existing index, and returns it with its file name.
    async fn index(&self) -> Result<Option<(&'static str, Bytes)>, OfflineError> {
        for index_file in INDEX_FILES {
            if let Some(bytes) = self.get(index_file).await? {
                return Ok(Some((index_file, bytes)));
            }
        }
        Ok(None)
    }
}

type Rows = Vec<MetaRow<String>>;

/// Reads a table of `Meta/`; `None` if the table is missing or, after a warning, unreadable.
fn table(
    name: &str,
    bytes: Option<&Bytes>,
    read: fn(&[u8]) -> Result<Rows, RdsError>,
    warnings: &mut Vec<String>,
) -> Option<Rows> {
    match read(bytes?) {
        Ok(rows) => Some(rows),
        Err(error) => {
            warnings.push(format!("continuing without Meta/{name}.rds: {error}"));
            None
        }
    }
}

/// Reads the inventory from the metadata files. Fails if the index is invalid.
fn build_inventory(
    tree_files: &MirrorFiles,
    folder: Option<&str>,
    prefix: &str,
    span: HistorySpan,
) -> Result<Inventory, String> {
    let mut warnings = Vec::new();
    let text = index::text(tree_files.index_file, &tree_files.index)?;
    let records = index::records(&text, &mut warnings)?;
    let current_table = tree_files.current_table.as_ref();
    let current_rows =
        table("current", current_table, |b| read_current_meta(b, RdsLimits::META), &mut warnings);
    let archive_table = tree_files.archive_table.as_ref();
    let archive_rows =
        table("archive", archive_table, |b| read_archive_meta(b, RdsLimits::META), &mut warnings);
    let mut files = listed_files(&records, current_rows.as_deref().unwrap_or_default(), folder, prefix);
    add_archived_files(archive_rows.as_deref().unwrap_or_default(), folder, prefix, &mut files);
    let events = match (&current_rows, &archive_rows, folder) {
        (Some(current_rows), Some(archive_rows), None) => {
            let notes =
                tree_files.notes.as_ref().and_then(|notes| Events::read(notes).ok()).unwrap_or_default();
            history(current_rows, archive_rows, &notes, span)
        }
        _ => Vec::new(),
    };
    let metadata = [Some(&tree_files.index), current_table, archive_table];
    Ok(Inventory {
        files,
        events,
        is_complete: archive_rows.is_some(),
        has_dates: current_rows.is_some(),
        fingerprint: metadata.into_iter().flatten().map(|bytes| self_digest::digest(bytes)).collect(),
        warnings,
        ..Inventory::default()
    })
}

/// Returns the files of an index; of a package with several versions only the highest counts as listed.
fn listed_files(
    records: &[IndexRecord<'_>],
    current: &[MetaRow<String>],
    folder: Option<&str>,
    prefix: &str,
) -> Vec<UpstreamFile> {
    let meta_rows: HashMap<&str, &MetaRow<String>> =
        current.iter().map(|row| (row.file.as_str(), row)).collect();
    let mut files: Vec<UpstreamFile> = Vec::with_capacity(records.len());
    for record in records {
        let (mirror_file, served_file) = (record.mirror_file(), record.served_file());
        let Some(ext) = PackageFile::parse(&served_file).map(|name| name.extension) else { continue };
        // A bundle names a file by package, version and extension only.
        let bundle_file = format!("{}_{}.{ext}", record.package, record.version);
        let meta_row = meta_rows.get(&*mirror_file).filter(|_| record.path.is_none());
        let subfolder = record.path.map(|path| format!("{path}/")).unwrap_or_default();
        let mut paths = vec![format!("{prefix}src/contrib/{subfolder}{mirror_file}")];
        if record.path.is_none() {
            paths.push(format!("{prefix}src/contrib/Archive/{}/{served_file}", record.package));
        }
        files.push(UpstreamFile {
            folder: folder.or(record.path).map(str::to_owned),
            name: record.package.to_owned(),
            version: record.version.to_owned(),
            ext: ext.to_owned(),
            paths,
            size: record.size.or(meta_row.map(|row| row.size)),
            published: meta_row.map(|row| row.mtime),
            md5: record.md5,
            sha256: record.sha256,
            is_listed: true,
            index: Some(String::from_utf8_lossy(&record.stanza_for(&bundle_file)).into_owned()),
            record: None,
        });
    }
    unlist_lower_versions(&mut files);
    files
}

/// Size in bytes and time of publication in seconds.
type SizeAndTime = (Option<u64>, Option<i64>);

/// Adds the files of the archive, except those that are still in the index too.
fn add_archived_files(
    archive: &[MetaRow<String>],
    folder: Option<&str>,
    prefix: &str,
    files: &mut Vec<UpstreamFile>,
) {
    let mut sizes_and_times: HashMap<(String, String), Vec<SizeAndTime>> = HashMap::new();
    for listed_file in files.iter().filter(|file| file.folder.as_deref() == folder) {
        let size_and_time = (listed_file.size, listed_file.published.map(|time| time.seconds()));
        sizes_and_times
            .entry((listed_file.name.clone(), listed_file.version.clone()))
            .or_default()
            .push(size_and_time);
    }
    for row in archive {
        let Some(file) = PackageFile::parse(&row.file) else { continue };
        let key = (row.package.clone(), file.version.to_owned());
        let size_and_time = (Some(row.size), Some(row.mtime.seconds()));
        // The mirror has copied the file to the archive and not yet deleted it from `src/contrib`.
        if sizes_and_times.get(&key).is_some_and(|list| list.contains(&size_and_time)) {
            continue;
        }
        let mut paths = vec![format!("{prefix}src/contrib/Archive/{}/{}", row.package, row.file)];
        if !sizes_and_times.contains_key(&key) {
            paths.push(format!("{prefix}src/contrib/{}", row.file));
        }
        files.push(UpstreamFile {
            folder: folder.map(str::to_owned),
            name: key.0,
            version: key.1,
            ext: file.extension.to_owned(),
            paths,
            size: Some(row.size),
            published: Some(row.mtime),
            ..UpstreamFile::default()
        });
    }
}

/// Returns archivals and restores after `since`; publications are known from the files.
fn history(current: &Rows, archive: &Rows, notes: &Events, (since, today): HistorySpan) -> Vec<Record> {
    let first_day = current.iter().chain(archive).map(|row| row.mtime.day()).min();
    let Some(first_day) = first_day else { return Vec::new() };
    let tables = MirrorTables { archive, current, events: notes };
    let since = since.unwrap_or(first_day);
    let mut events = Vec::new();
    for day_changes in reconstruct(&tables, since, today.end().day())
        .days
        .iter()
        .filter(|day_changes| day_changes.day > since)
    {
        for change in &day_changes.changes {
            let package = change.file.package.as_str();
            let is_still_listed = || {
                day_changes
                    .changes
                    .iter()
                    .any(|other| other.state.is_listed() && other.file.package == package)
            };
            let event = |version: Option<&str>| PackageEvent {
                folder: None,
                name: package.to_owned(),
                version: version.map(str::to_owned),
                sha256: None,
                day: day_changes.day,
            };
            match change.state {
                ListingState::Archived if !is_still_listed() => events.push(Record::Archive(event(None))),
                ListingState::Restored => {
                    let version = PackageFile::parse(&change.file.file).map(|file| file.version);
                    events.push(Record::Restore(event(version)));
                }
                ListingState::Archived | ListingState::Superseded | ListingState::Listed => {}
            }
        }
    }
    events
}
