//! Reads the files of a CRAN-like mirror from its index, its `Meta/` tables, and CRAN's notes on archived and restored
//! packages.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::OfflineError;
use super::inventory::{Inventory, UpstreamFile};
use super::metadata::MetadataReader;
use crate::bundle::record::PackageEvent;
use crate::bundle::{Record, seal};
use crate::model::time::Day;
use crate::r::history::events::Events;
use crate::r::history::{ListingState, MirrorTables, reconstruct};
use crate::r::layout::PackageFile;
use crate::r::packages::IndexRecord;
use crate::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta};
use crate::r::rds::{Limits, RdsError};
use crate::r::{index, version};

/// Maximum number of reads if the index changes while the tables are read.
const MAX_READS: usize = 3;
/// The files that may hold an index, in order of preference.
pub(super) const INDEX_FILES: [&str; 3] = ["PACKAGES.gz", "PACKAGES.rds", "PACKAGES"];

/// The day up to which history is known, and today.
pub(super) type HistorySpan = (Option<Day>, Day);

/// A tree of source packages on a mirror.
pub(super) struct Tree<'a> {
    pub(super) reader: &'a MetadataReader<'a>,
    /// The folder of `src/contrib`, with a trailing slash; empty for the mirror's root.
    pub(super) prefix: String,
    /// The folder of its releases.
    pub(super) folder: Option<String>,
}

/// Metadata files of a tree at one moment.
struct TreeFiles {
    index_file: &'static str,
    index: Bytes,
    current: Option<Bytes>,
    archive: Option<Bytes>,
    notes: Option<Bytes>,
}

impl Tree<'_> {
    fn path(&self, file: &str) -> String {
        format!("{}src/contrib/{file}", self.prefix)
    }

    /// Reads the whole tree; `None` if it does not exist.
    pub(super) async fn read_inventory(&self, span: HistorySpan) -> Result<Option<Inventory>, OfflineError> {
        let Some(files) = self.files().await? else { return Ok(None) };
        let address = format!("{}/{}", self.reader.mirror().address(), self.path(files.index_file));
        let (folder, prefix) = (self.folder.clone(), self.prefix.clone());
        let work = tokio::task::spawn_blocking(move || read(&files, folder.as_deref(), &prefix, span));
        let read = work.await.unwrap_or_else(|e| Err(e.to_string()));
        let read =
            read.map(|inventory| Some(Inventory { validators: self.reader.validators(), ..inventory }));
        read.map_err(|reason| {
            OfflineError::Refused(format!(
                "{address}: {reason}; try again later, or give another mirror with --base-url"
            ))
        })
    }

    /// Reads the metadata files. CRAN writes the index most of a minute after the tables, so it is fetched again after
    /// them.
    async fn files(&self) -> Result<Option<TreeFiles>, OfflineError> {
        let Some((index_file, mut index)) = self.index().await? else { return Ok(None) };
        let mut reads = 1;
        loop {
            // Only the usual tree of CRAN has notes.
            let (current, archive, notes) =
                tokio::try_join!(self.get("Meta/current.rds"), self.get("Meta/archive.rds"), async {
                    match self.folder {
                        None => self.get("PACKAGES.in").await,
                        Some(_) => Ok(None),
                    }
                })?;
            let later_index = match (&current, &archive) {
                (None, None) => Some(index.clone()),
                _ => self.get(index_file).await?,
            };
            if later_index.as_ref() == Some(&index) || reads == MAX_READS {
                return Ok(Some(TreeFiles { index_file, index, current, archive, notes }));
            }
            index = later_index.unwrap_or(index);
            reads += 1;
        }
    }

    async fn get(&self, file: &str) -> Result<Option<Bytes>, OfflineError> {
        Ok(self.reader.get(&self.path(file)).await?)
    }

    async fn index(&self) -> Result<Option<(&'static str, Bytes)>, OfflineError> {
        for index_file in INDEX_FILES {
            if let Some(bytes) = self.get(index_file).await? {
                return Ok(Some((index_file, bytes)));
            }
        }
        Ok(None)
    }
}

/// Returns the text of an index.
pub(super) fn index_text(index_file: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    index::text(index_file, bytes).map(std::borrow::Cow::into_owned)
}

type Rows = Vec<MetaRow<String>>;

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

fn read(
    files: &TreeFiles,
    folder: Option<&str>,
    prefix: &str,
    span: HistorySpan,
) -> Result<Inventory, String> {
    let mut warnings = Vec::new();
    let text = index_text(files.index_file, &files.index)?;
    let records = index::records(&text, &mut warnings)?;
    // The small repositories of Bioconductor may be empty.
    if records.is_empty() && folder.is_none_or(|folder| folder == "bioc") {
        return Err("the index lists no package".to_owned());
    }
    let current =
        table("current", files.current.as_ref(), |b| read_current_meta(b, Limits::META), &mut warnings);
    let archive =
        table("archive", files.archive.as_ref(), |b| read_archive_meta(b, Limits::META), &mut warnings);
    let mut rows = listed_files(&records, current.as_deref().unwrap_or_default(), folder, prefix);
    add_archived(archive.as_deref().unwrap_or_default(), folder, prefix, &mut rows);
    let events = match (&current, &archive, folder) {
        (Some(current), Some(archive), None) => {
            let notes = files.notes.as_ref().and_then(|notes| Events::read(notes).ok()).unwrap_or_default();
            history(current, archive, &notes, span)
        }
        _ => Vec::new(),
    };
    let metadata = [Some(&files.index), files.current.as_ref(), files.archive.as_ref()];
    Ok(Inventory {
        files: rows,
        events,
        is_complete: archive.is_some(),
        has_dates: current.is_some(),
        fingerprint: metadata.into_iter().flatten().map(|bytes| seal::digest(bytes)).collect(),
        serial: None,
        validators: None,
        warnings,
    })
}

/// Returns the rows of an index; of a package with several versions the highest is listed.
fn listed_files(
    records: &[IndexRecord<'_>],
    current: &[MetaRow<String>],
    folder: Option<&str>,
    prefix: &str,
) -> Vec<UpstreamFile> {
    let facts: HashMap<&str, &MetaRow<String>> = current.iter().map(|row| (row.file.as_str(), row)).collect();
    let mut rows: Vec<UpstreamFile> = Vec::with_capacity(records.len());
    let mut indexes: HashMap<(Option<&str>, &str), usize> = HashMap::new();
    for record in records {
        let usual = format!("{}_{}.tar.gz", record.package, record.version);
        let file = record.file.unwrap_or(&usual);
        let Some(ext) = PackageFile::parse(file).map(|file| file.extension) else { continue };
        let facts = facts.get(file).filter(|_| record.path.is_none());
        let subfolder = record.path.map(|path| format!("{path}/")).unwrap_or_default();
        let mut paths = vec![format!("{prefix}src/contrib/{subfolder}{file}")];
        if record.path.is_none() {
            paths.push(format!("{prefix}src/contrib/Archive/{}/{file}", record.package));
        }
        let mut row = UpstreamFile {
            folder: folder.or(record.path).map(str::to_owned),
            name: record.package.to_owned(),
            version: record.version.to_owned(),
            ext: ext.to_owned(),
            paths,
            size: record.size.or(facts.map(|facts| facts.size)),
            published: facts.map(|facts| facts.mtime),
            md5: record.md5,
            sha256: record.sha256,
            is_listed: true,
            index: Some(String::from_utf8_lossy(record.stanza).into_owned()),
            record: None,
        };
        match indexes.get(&(record.path, record.package)) {
            None => {
                indexes.insert((record.path, record.package), rows.len());
            }
            Some(position) => {
                let listed_row = &mut rows[*position];
                if version::compare(&row.version, &listed_row.version).is_gt() {
                    listed_row.is_listed = false;
                    indexes.insert((record.path, record.package), rows.len());
                } else {
                    row.is_listed = false;
                }
            }
        }
        rows.push(row);
    }
    rows
}

/// Size in bytes and time of publication in seconds.
type SizeAndTime = (Option<u64>, Option<i64>);

fn add_archived(
    archive: &[MetaRow<String>],
    folder: Option<&str>,
    prefix: &str,
    rows: &mut Vec<UpstreamFile>,
) {
    let mut listed: HashMap<(String, String), Vec<SizeAndTime>> = HashMap::new();
    for listed_file in rows.iter().filter(|row| row.folder.as_deref() == folder) {
        let facts = (listed_file.size, listed_file.published.map(|at| at.seconds()));
        listed.entry((listed_file.name.clone(), listed_file.version.clone())).or_default().push(facts);
    }
    for row in archive {
        let Some(file) = PackageFile::parse(&row.file) else { continue };
        let key = (row.package.clone(), file.version.to_owned());
        let facts = (Some(row.size), Some(row.mtime.seconds()));
        // The mirror was read between copying and deleting: one file is in two places.
        if listed.get(&key).is_some_and(|listed| listed.contains(&facts)) {
            continue;
        }
        let mut paths = vec![format!("{prefix}src/contrib/Archive/{}/{}", row.package, row.file)];
        if !listed.contains_key(&key) {
            paths.push(format!("{prefix}src/contrib/{}", row.file));
        }
        rows.push(UpstreamFile {
            folder: folder.map(str::to_owned),
            name: key.0,
            version: key.1,
            ext: file.extension.to_owned(),
            paths,
            size: Some(row.size),
            published: Some(row.mtime),
            md5: None,
            sha256: None,
            is_listed: false,
            index: None,
            record: None,
        });
    }
}

/// Returns archivals and restores after `since`; publications follow from the files themselves.
fn history(current: &Rows, archive: &Rows, notes: &Events, (since, today): HistorySpan) -> Vec<Record> {
    let first_day = current.iter().chain(archive).map(|row| row.mtime.day()).min();
    let Some(first_day) = first_day else { return Vec::new() };
    let evidence = MirrorTables { archive, current, events: notes };
    let since = since.unwrap_or(first_day);
    let mut events = Vec::new();
    for day_changes in reconstruct(&evidence, since, today.end().day())
        .days
        .iter()
        .filter(|day_changes| day_changes.day > since)
    {
        for change in &day_changes.changes {
            let package = change.file.package.as_str();
            let stays = || {
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
                ListingState::Archived if !stays() => events.push(Record::Archive(event(None))),
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
