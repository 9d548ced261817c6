//! Writes the records of a run to a segment, and then the head.

use std::collections::BTreeSet;

use crate::commit::Commit;
use crate::error::OfflineError;
use base::model::time::Day;
use formats::bundle::record::SnapshotRecord;
use formats::bundle::segment::LinesWriter;
use formats::bundle::state::listing_digest;
use formats::bundle::{BundledProjects, ProjectRecord, SegmentRef, layout};

/// Sets the day of a record, which is never before the snapshot of the previous head: published snapshots never change.
fn with_effective_day(commit: &Commit<'_>, mut record: ProjectRecord) -> ProjectRecord {
    let set = |day: &mut Day| *day = commit.effective_day(*day);
    match &mut record {
        ProjectRecord::File(file) => set(&mut file.day),
        ProjectRecord::Mark(mark) => set(&mut mark.day),
        ProjectRecord::Remove(event) => set(&mut event.day),
        ProjectRecord::Status(status) => set(&mut status.day),
        ProjectRecord::Skip(skip) => set(&mut skip.day),
        ProjectRecord::Snapshot(_) | ProjectRecord::Unknown => {}
    }
    record
}

/// Writes records to a new segment, and the head. `base_lines` are the files that an incremental bundle lists and that
/// only its base contains. Returns the number of listed files; `None`, and nothing is written, if unchanged.
pub(super) fn write(
    commit: &Commit<'_>,
    mut state: BundledProjects,
    records: Vec<ProjectRecord>,
    base_lines: BTreeSet<String>,
) -> Result<Option<usize>, OfflineError> {
    let damaged = |reason: String| OfflineError::Refused(format!("{}: {reason}", commit.product));
    let is_unchanged = commit
        .previous_head
        .is_some_and(|head| head.subset == commit.fields.subset && head.files == commit.fields.files);
    if records.is_empty() && is_unchanged {
        return Ok(None);
    }
    let last_segment = commit.previous_head.and_then(|head| head.segments.last());
    let (serial, prev) = commit.serial_after(last_segment);
    let mut records: Vec<ProjectRecord> =
        records.into_iter().map(|record| with_effective_day(commit, record)).collect();
    // The sort is stable: within a day, records of files stay first.
    records.sort_by_key(ProjectRecord::day);
    let mut lines = LinesWriter::segment(commit.product, serial, prev);
    let (mut objects, mut objects_size) = (0, 0);
    for record in &records {
        state.apply(record, serial).map_err(damaged)?;
        lines.push(record);
        if let ProjectRecord::File(file) = record {
            objects += 1;
            objects_size += file.obj.size;
        }
    }
    let names: BTreeSet<String> = state.listing().into_iter().chain(base_lines).collect();
    let listing: Vec<String> = names.into_iter().collect();
    let packages = listing.len();
    lines.push(&ProjectRecord::Snapshot(SnapshotRecord {
        day: commit.today(),
        packages,
        state: listing_digest(&listing),
        listing: commit.is_incremental().then_some(listing),
    }));
    let record_count = lines.record_count();
    let file = commit.put_lines(lines, layout::SEGMENTS, serial)?;
    let from = records.iter().filter_map(ProjectRecord::day).min().unwrap_or_else(|| commit.today());
    let segment = SegmentRef {
        serial,
        from,
        to: commit.today(),
        file,
        records: record_count,
        objects,
        objects_size,
        prev,
        readmes: None,
    };
    commit.publish(&commit.head(vec![segment], packages))?;
    Ok(Some(packages))
}
