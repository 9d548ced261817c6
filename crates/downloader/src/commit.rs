//! Writes the records of fetched files to segments: events by day, and the resulting list of packages. Then writes a
//! head, which names the segments; until then readers see the previous state.

use std::collections::{HashMap, HashSet};

use super::destination::{self, Destination, folder_of};
use super::error::OfflineError;
use super::inventory::{Inventory, UpstreamFile};
use super::journal::{Journal, LineSpan};
use super::plan::{self, Plan};
use base::model::digest::Sha256;
use base::model::time::{Day, Timestamp};
use formats::bundle::record::{PackageEvent, SnapshotRecord};
use formats::bundle::segment::LinesWriter;
use formats::bundle::{
    CompressedFile, EarlierHead, FilesRule, Head, IncrementalBase, Product, ProductOrigin, ProductState,
    Record, ReleaseRecord, SegmentRef, head, layout, note, self_digest, state,
};

/// Number of records from which a segment is complete. It is then closed at the end of the day of its last record.
const FULL_SEGMENT: u64 = 10_000;
/// Number of earlier heads to keep.
const MAX_EARLIER_HEADS: usize = 30;

/// Fields of the new head other than its segments.
pub(super) struct HeadFields {
    pub(super) subset: Option<Vec<String>>,
    /// The rule for files of Python packages.
    pub(super) files: Option<FilesRule>,
    /// First day of an incremental bundle; ignored if there is a previous head.
    pub(super) first_day: Option<Day>,
    pub(super) upstream: ProductOrigin,
    pub(super) now: Timestamp,
}

/// Summary of the new head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitResult {
    pub(super) snapshot: Day,
    pub(super) packages: usize,
}

/// The commit of one product.
pub(super) struct Commit<'a> {
    pub(super) destination: &'a Destination,
    pub(super) product: &'a Product,
    pub(super) previous_head: Option<&'a Head>,
    pub(super) fields: HeadFields,
}

/// Sort key of records: day, rank within the day, time of publication, package and version.
type RecordOrder = (Day, u8, Option<Timestamp>, String, String);

enum PlannedRecord {
    /// A release in the journal.
    Release(LineSpan),
    Other(Record),
}

impl Commit<'_> {
    /// Returns the day of the new snapshot, which is not before that of the previous head.
    pub(super) fn today(&self) -> Day {
        let today = self.fields.now.day();
        self.previous_head.map_or(today, |head| today.max(head.snapshot))
    }

    /// Returns the day under which a record is written. Days before the last snapshot never change: an event that is
    /// detected late has the day of that snapshot.
    pub(super) fn effective_day(&self, day: Day) -> Day {
        let earliest = self.previous_head.map_or(day, |head| head.snapshot);
        day.max(earliest).min(self.today())
    }

    /// Writes segments and head. Returns `None`, without writing anything, if nothing changed.
    pub(super) fn write(
        &self,
        mut state: ProductState,
        inventory: &Inventory,
        plan: &Plan,
        journal: &mut Journal,
    ) -> Result<Option<CommitResult>, OfflineError> {
        let damaged_error = |reason: String| OfflineError::Refused(format!("{}: {reason}", self.product));
        let mut writer = SegmentWriter::new(self);
        for planned_record in self.ordered_records(inventory, plan, journal) {
            let record = match planned_record {
                PlannedRecord::Other(record) => record,
                PlannedRecord::Release(span) => self.release_record(journal.read(span)?, &state),
            };
            if is_new(&record, &state) {
                state.apply(&record).map_err(damaged_error)?;
                writer.push(record, journal)?;
            }
        }
        for record in self.corrections(inventory, &state) {
            state.apply(&record).map_err(damaged_error)?;
            writer.push(record, journal)?;
        }
        let listing = self.is_incremental().then(|| incremental_listing(inventory, &state));
        let is_unchanged = self.previous_head.is_some_and(|head| {
            head.packages == state.listed_count() && head.subset == self.fields.subset && listing.is_none()
        });
        if writer.is_empty() && is_unchanged {
            return Ok(None);
        }
        let snapshot = match listing {
            None => SnapshotRecord {
                day: self.today(),
                packages: state.listed_count(),
                state: state.digest(),
                listing: None,
            },
            Some(listing) => SnapshotRecord {
                day: self.today(),
                packages: listing.len(),
                state: state::listing_digest(&listing),
                listing: Some(listing),
            },
        };
        let packages = snapshot.packages;
        writer.push(Record::Snapshot(snapshot), journal)?;
        writer.close(journal)?;
        let head = self.head(writer.segments, packages);
        self.publish(&head)?;
        Ok(Some(CommitResult { snapshot: head.snapshot, packages }))
    }

    pub(super) fn is_incremental(&self) -> bool {
        match self.previous_head {
            Some(head) => head.base.is_some(),
            None => self.fields.first_day.is_some(),
        }
    }

    /// Returns the serial of the segment after `last`, and the digest of `last`. The serial is the number of seconds since the
    /// epoch, or the last serial plus one if that is greater, so that later incremental bundles have greater serials.
    pub(super) fn serial_after(&self, last: Option<&SegmentRef>) -> (u64, Option<Sha256>) {
        let now = u64::try_from(self.fields.now.seconds()).unwrap_or_default();
        (last.map_or(now, |last| now.max(last.serial + 1)), last.map(|last| last.file.sha256))
    }

    /// Writes a file of segments or READMEs.
    pub(super) fn put_lines(
        &self,
        lines: LinesWriter,
        folder: &str,
        serial: u64,
    ) -> Result<CompressedFile, OfflineError> {
        let root = self.destination.path(&self.product.root());
        let packed = lines.pack(folder, serial);
        let (bytes, file) = packed.map_err(|e| OfflineError::destination("write a segment in", &root, e))?;
        self.destination.put(&self.product.path(&file.path), &bytes)?;
        Ok(file)
    }

    /// Returns all records, sorted by day; within a day publications are first, by their times.
    fn ordered_records(&self, inventory: &Inventory, plan: &Plan, journal: &Journal) -> Vec<PlannedRecord> {
        let mut order: Vec<(RecordOrder, PlannedRecord)> = Vec::new();
        for (release, span) in &journal.entries {
            let key = (
                self.effective_day(release.day),
                0,
                release.published,
                release.name.clone(),
                release.version.clone(),
            );
            order.push((key, PlannedRecord::Release(*span)));
        }
        let names: HashSet<(&str, &str)> = inventory.files.iter().map(UpstreamFile::key).collect();
        for record in inventory.events.iter().chain(&plan.index_updates).chain(&plan.removals) {
            let (rank, day, name) = match record {
                Record::Archive(event) | Record::Restore(event) => (1, event.day, &event.name),
                Record::Remove(event) => (2, event.day, &event.name),
                Record::Index(update) => (3, update.day, &update.name),
                Record::Release(_) | Record::Snapshot(_) | Record::Unknown => continue,
            };
            // Archivals and restores of packages without any file at upstream are skipped.
            let is_relevant = match record {
                Record::Archive(event) | Record::Restore(event) => {
                    names.contains(&(event.folder.as_deref().unwrap_or_default(), event.name.as_str()))
                }
                _ => true,
            };
            if is_relevant {
                let key = (self.effective_day(day), rank, None, name.clone(), String::new());
                order.push((key, PlannedRecord::Other(self.with_effective_day(record.clone()))));
            }
        }
        order.sort_by(|(a, _), (b, _)| a.cmp(b));
        order.into_iter().map(|(_, planned_record)| planned_record).collect()
    }

    fn with_effective_day(&self, mut record: Record) -> Record {
        match &mut record {
            Record::Archive(event) | Record::Restore(event) | Record::Remove(event) => {
                event.day = self.effective_day(event.day);
            }
            Record::Index(_) | Record::Release(_) | Record::Snapshot(_) | Record::Unknown => {}
        }
        record
    }

    /// Returns a release with its effective day; one older than the listed release is archived from the start.
    fn release_record(&self, mut release: ReleaseRecord, state: &ProductState) -> Record {
        release.day = self.effective_day(release.day);
        let package = state.package(release.folder.as_deref().unwrap_or_default(), &release.name);
        let listed_release = package.and_then(state::PackageState::listed_release);
        release.archived |= listed_release
            .is_some_and(|listed| release.published.is_some() && listed.published > release.published);
        Record::Release(Box::new(release))
    }

    /// Returns the records that make the list of packages equal to the list of upstream. If a file could not be
    /// fetched, the previously listed release remains listed.
    fn corrections(&self, inventory: &Inventory, state: &ProductState) -> Vec<Record> {
        let day = self.today();
        let listed_files: HashMap<(&str, &str), &UpstreamFile> =
            inventory.files.iter().filter(|file| file.is_listed).map(|file| (file.key(), file)).collect();
        let event = |folder: &str, name: &str, release: Option<&state::Release>| PackageEvent {
            folder: Some(folder.to_owned()).filter(|folder| !folder.is_empty()),
            name: name.to_owned(),
            version: release.map(|release| release.version.clone()),
            sha256: release.map(|release| release.object.sha256),
            day,
        };
        let mut records = Vec::new();
        for ((folder, name), file) in &listed_files {
            let current_release = state.package(folder, name).and_then(state::PackageState::listed_release);
            let is_other = |release: &&state::Release| {
                current_release.is_none_or(|current| {
                    current.object != release.object || current.version != release.version
                })
            };
            if let Some(release) = plan::release(file, state, true).filter(is_other) {
                records.push((*folder, *name, Record::Restore(event(folder, name, Some(release)))));
            }
        }
        records.sort_unstable_by_key(|(folder, name, _)| (*folder, *name));
        let mut records: Vec<Record> = records.into_iter().map(|(_, _, record)| record).collect();
        for ((folder, name), package) in state.packages() {
            if package.listed_index.is_some() && !listed_files.contains_key(&(folder.as_str(), name.as_str()))
            {
                records.push(Record::Archive(event(folder, name, None)));
            }
        }
        records
    }

    /// Returns the new head: the segments of the previous head and the new ones.
    pub(super) fn head(&self, new_segments: Vec<SegmentRef>, packages: usize) -> Head {
        let segments: Vec<SegmentRef> = self
            .previous_head
            .map(|head| head.segments.clone())
            .unwrap_or_default()
            .into_iter()
            .chain(new_segments)
            .collect();
        let base = match self.previous_head {
            Some(head) => head.base.clone(),
            None => self.fields.first_day.map(|snapshot| IncrementalBase { snapshot }),
        };
        Head {
            format: head::FORMAT.to_owned(),
            product: self.product.to_string(),
            schema: self.product.schema(),
            min_reader: head::READER_LEVEL,
            serial: segments.last().map_or(0, |last| last.serial),
            snapshot: self.today(),
            created: self.fields.now,
            packages,
            subset: self.fields.subset.clone(),
            files: self.fields.files.clone(),
            base,
            upstream: self.fields.upstream.clone(),
            earlier: self.earlier_heads(),
            chain: Head::chain_of(&segments),
            segments,
        }
    }

    /// Writes a head. Call it after all segments and objects that the head names are written.
    pub(super) fn publish(&self, head: &Head) -> Result<(), OfflineError> {
        let bytes = head.bytes();
        self.destination.put_note(&self.product.head_path(), &bytes)?;
        self.destination.sync()?;
        if let Some((marker, text)) = self.product.marker() {
            // All versions of Bioconductor share the marker.
            let _lock = self.destination.lock(folder_of(&marker), true)?;
            self.destination.put_if_changed(&marker, text.as_bytes())?;
        }
        self.destination.put(&head.dated_path(self.product), &bytes)?;
        self.destination.put(&self.product.head_path(), &bytes)?;
        // Surplus earlier heads are removed after the new head is written: until then the previous head names them.
        // They may be missing from a copied bundle.
        for earlier_head in self.previous_head.iter().flat_map(|previous_head| &previous_head.earlier) {
            if head.earlier.iter().all(|other| other.path != earlier_head.path) {
                self.destination.remove(&self.product.path(&earlier_head.path))?;
            }
        }
        self.remove_old_notes(head)
    }

    /// Removes the notes of heads that are older than the earlier heads of `head`. Those of later heads stay, also without
    /// their heads: a copy of the bundle may still have one of them.
    fn remove_old_notes(&self, head: &Head) -> Result<(), OfflineError> {
        let folder = self.product.path(layout::NOTES);
        let serial = |name: &str| {
            let note = std::fs::read_to_string(self.destination.path(&folder).join(name)).ok()?;
            note::serial(&note)
        };
        let oldest_head = head.earlier.first();
        let Some(oldest) = oldest_head.and_then(|head| serial(&format!("{}.note", head.sha256))) else {
            return Ok(());
        };
        for name in destination::names(&self.destination.path(&folder))? {
            if serial(&name).is_some_and(|serial| serial < oldest) {
                self.destination.remove(&format!("{folder}/{name}"))?;
            }
        }
        Ok(())
    }

    /// Returns the earlier heads to keep: an incremental bundle needs the head of the bundle over which it is copied.
    fn earlier_heads(&self) -> Vec<EarlierHead> {
        let Some(previous_head) = self.previous_head else { return Vec::new() };
        let mut earlier_heads = previous_head.earlier.clone();
        if previous_head.snapshot < self.today() {
            // The digests are computed from the files on disk: the head in memory is joined with its bases.
            for is_incremental in [false, true] {
                let file = self.product.dated_head_path(previous_head.snapshot, is_incremental);
                if let Ok(bytes) = std::fs::read(self.destination.path(&file)) {
                    let path = file.strip_prefix(&self.product.path("")).unwrap_or(&file).to_owned();
                    earlier_heads.push(EarlierHead { path, sha256: self_digest::digest(&bytes) });
                }
            }
        }
        let surplus = earlier_heads.len().saturating_sub(MAX_EARLIER_HEADS);
        earlier_heads.split_off(surplus)
    }
}

/// Returns upstream's list of packages, restricted to releases that the incremental bundle or its base has.
fn incremental_listing(inventory: &Inventory, state: &ProductState) -> Vec<String> {
    let listed_files = inventory.files.iter().filter(|file| file.is_listed);
    // A file that is newer than the base and could not be fetched is neither in the incremental bundle nor in its base:
    // then the previously listed release remains listed.
    let mut lines: Vec<String> = listed_files
        .map(|file| {
            let (folder, name) = file.key();
            let listed_release = state.package(folder, name).and_then(state::PackageState::listed_release);
            match (plan::release(file, state, true), listed_release) {
                (None, Some(listed_release)) => state::listing_line(folder, name, &listed_release.version),
                _ => state::listing_line(folder, name, &file.version),
            }
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// Returns whether a record changes the state.
fn is_new(record: &Record, state: &ProductState) -> bool {
    let package =
        |folder: &Option<String>, name: &str| state.package(folder.as_deref().unwrap_or_default(), name);
    match record {
        Record::Release(release) => !package(&release.folder, &release.name).is_some_and(|package| {
            let is_same = |other: &state::Release| {
                other.object.sha256 == release.obj.sha256 && other.version == release.version
            };
            package.releases.iter().any(is_same)
        }),
        Record::Archive(event) => {
            package(&event.folder, &event.name).is_some_and(|package| package.listed_index.is_some())
        }
        Record::Restore(event) => package(&event.folder, &event.name).is_some_and(|package| {
            let version = event.version.as_deref();
            let listed_version = package.listed_release().map(|release| release.version.as_str());
            listed_version != version
                && package.releases.iter().any(|release| Some(release.version.as_str()) == version)
        }),
        Record::Remove(event) => package(&event.folder, &event.name).is_some(),
        Record::Index(update) => package(&update.folder, &update.name).is_some_and(|package| {
            let digest = Some(self_digest::digest(update.index.as_bytes()));
            let is_changed =
                |release: &state::Release| release.object.sha256 == update.sha256 && release.index != digest;
            package.releases.iter().any(is_changed)
        }),
        Record::Snapshot(_) | Record::Unknown => true,
    }
}

struct SegmentWriter<'a> {
    commit: &'a Commit<'a>,
    segments: Vec<SegmentRef>,
    open_segment: Option<OpenSegment>,
}

/// The segment to which records are appended.
struct OpenSegment {
    lines: LinesWriter,
    /// Day of the first record.
    first_day: Day,
    /// Latest day of a record.
    last_day: Day,
    objects: u64,
    /// Size of the releases' files together, in bytes.
    objects_size: u64,
    /// Digests of the releases' READMEs.
    readmes: HashSet<Sha256>,
}

impl<'a> SegmentWriter<'a> {
    fn new(commit: &'a Commit<'a>) -> SegmentWriter<'a> {
        SegmentWriter { commit, segments: Vec::new(), open_segment: None }
    }

    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.open_segment.is_none()
    }

    /// Returns the last segment of the product, which an earlier run may have written.
    fn last_segment(&self) -> Option<&SegmentRef> {
        self.segments.last().or_else(|| self.commit.previous_head.and_then(|head| head.segments.last()))
    }

    fn push(&mut self, record: Record, journal: &mut Journal) -> Result<(), OfflineError> {
        let day = match &record {
            Record::Release(release) => release.day,
            Record::Index(update) => update.day,
            Record::Archive(event) | Record::Restore(event) | Record::Remove(event) => event.day,
            Record::Snapshot(snapshot) => snapshot.day,
            Record::Unknown => return Ok(()),
        };
        let is_full =
            |segment: &OpenSegment| segment.lines.record_count() >= FULL_SEGMENT && segment.last_day < day;
        if self.open_segment.as_ref().is_some_and(is_full) {
            self.close(journal)?;
        }
        let (serial, prev) = self.commit.serial_after(self.last_segment());
        let segment = self.open_segment.get_or_insert_with(|| OpenSegment {
            lines: LinesWriter::segment(self.commit.product, serial, prev),
            first_day: day,
            last_day: day,
            objects: 0,
            objects_size: 0,
            readmes: HashSet::new(),
        });
        if let Record::Release(release) = &record {
            segment.objects += 1;
            segment.objects_size += release.obj.size;
            segment.readmes.extend(release.readme.as_ref().map(|readme| readme.sha256));
        }
        segment.last_day = segment.last_day.max(day);
        segment.lines.push(&record);
        Ok(())
    }

    fn close(&mut self, journal: &mut Journal) -> Result<(), OfflineError> {
        let Some(segment) = self.open_segment.take() else { return Ok(()) };
        let (serial, prev) = self.commit.serial_after(self.last_segment());
        let mut readme_lines = LinesWriter::readmes();
        journal.for_each_readme(&segment.readmes, |readme| readme_lines.push(&readme))?;
        let readmes = match readme_lines.record_count() {
            0 => None,
            _ => Some(self.commit.put_lines(readme_lines, layout::READMES, serial)?),
        };
        let records = segment.lines.record_count();
        let file = self.commit.put_lines(segment.lines, layout::SEGMENTS, serial)?;
        self.segments.push(SegmentRef {
            serial,
            from: segment.first_day,
            to: segment.last_day,
            file,
            records,
            objects: segment.objects,
            objects_size: segment.objects_size,
            prev,
            readmes,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits a segment on day `number`, with a serial derived from the number.
    fn commit(destination: &Destination, number: i64) -> Head {
        let product = Product::Cran;
        let head = std::fs::read(destination.path(&product.head_path())).ok();
        let previous_head = head.map(|bytes| Head::read(&bytes, &product).unwrap());
        let now = Timestamp(1_600_000_000_000_000 + number * 86_400_000_000);
        let upstream = ProductOrigin { address: "https://cran.example".to_owned(), serial: None };
        let fields = HeadFields { subset: None, files: None, first_day: None, upstream, now };
        let commit = Commit { destination, product: &product, previous_head: previous_head.as_ref(), fields };
        let segments = vec![SegmentRef {
            serial: u64::try_from(number).unwrap() + 1,
            from: now.day(),
            to: now.day(),
            file: formats::bundle::CompressedFile {
                path: format!("log/{number}"),
                size: 1,
                sha256: self_digest::digest(b"1"),
                raw_size: 1,
            },
            records: 1,
            objects: 0,
            objects_size: 0,
            prev: None,
            readmes: None,
        }];
        let head = commit.head(segments, 1);
        commit.publish(&head).unwrap();
        head
    }

    #[test]
    fn missing_heads_of_a_copied_bundle_are_restored_or_reported() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        let heads: Vec<Head> = (0..3).map(|day| commit(&destination, day)).collect();
        let restore = || crate::up_to_date::restore_heads(&destination, &Product::Cran).unwrap();
        assert_eq!(restore(), [""; 0]);
        let [earlier, _, newest] = [0, 1, 2].map(|day: usize| heads[day].dated_path(&Product::Cran));
        for file in [&earlier, &newest] {
            std::fs::remove_file(destination.path(file)).unwrap();
        }
        assert_eq!(restore(), [earlier]);
        assert!(destination.path(&newest).exists());
    }

    #[test]
    fn notes_are_removed_with_the_earlier_heads() {
        let dir = tempfile::tempdir().unwrap();
        let signer = formats::tlog::note::Signer::from_seed("usb", &[1; 32]).unwrap();
        let destination = Destination::create(dir.path()).unwrap().signed_by(signer);
        let notes = || destination::names(&destination.path("v3/1/sig")).unwrap();
        let days = i64::try_from(MAX_EARLIER_HEADS).unwrap() + 1;
        let first = commit(&destination, 0);
        let first_note = layout::note_path("v3/1/head.json", self_digest::digest(&first.bytes()));
        for day in 1..days {
            commit(&destination, day);
        }
        assert_eq!(notes().len(), MAX_EARLIER_HEADS + 1);
        // A note of a head that a killed run did not write, or that was replaced on the same day.
        let (path, text) =
            ("v3/1/sig/unpublished.note", format!("rspm-bundle/1 head\ncran {days} 2026-11-20\n"));
        destination.put(path, text.as_bytes()).unwrap();
        for day in days..days + 3 {
            commit(&destination, day);
        }
        assert!(!destination.path(&first_note).exists() && destination.path(path).exists());
        assert_eq!(notes().len(), MAX_EARLIER_HEADS + 2);
        for day in days + 3..2 * days + 2 {
            commit(&destination, day);
        }
        assert!(!destination.path(path).exists());
        assert_eq!(notes().len(), MAX_EARLIER_HEADS + 1);
    }

    #[test]
    fn earlier_heads_are_removed_after_the_new_one_is_written_even_if_one_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::create(dir.path()).unwrap();
        let days = i64::try_from(MAX_EARLIER_HEADS).unwrap() + 1;
        let heads: Vec<Head> = (0..days).map(|day| commit(&destination, day)).collect();
        let files = || crate::destination::names(&destination.path("v3/1/heads")).unwrap();
        assert_eq!(files().len(), MAX_EARLIER_HEADS + 1);
        // This happens if a run is killed after it has written the head, or if the file is missing from a copy.
        let oldest_path = heads[0].dated_path(&Product::Cran);
        std::fs::remove_file(destination.path(&oldest_path)).unwrap();
        let newest_head = commit(&destination, days);
        assert_eq!(newest_head.earlier.len(), MAX_EARLIER_HEADS);
        assert_eq!(files().len(), MAX_EARLIER_HEADS + 1);
        let head_bytes = std::fs::read(destination.path(&Product::Cran.head_path())).unwrap();
        assert_eq!(head_bytes, newest_head.bytes());
        commit(&destination, days + 1);
        assert!(!destination.path(&heads[1].dated_path(&Product::Cran)).exists());
    }
}
