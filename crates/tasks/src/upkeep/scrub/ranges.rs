//! Divides the stored objects into ranges of digests, and selects those that were not read for the longest time.

use std::collections::HashMap;
use std::time::Duration;

use super::{ScrubExtent, ScrubOptions};
use crate::upkeep::references::SWEPT_CLASSES;
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use store::db::scrub::{ReferencedObject, ScrubRange};
use store::db::{self, Conn, DbError};
use store::storage::Key;

/// Number of nights in which every object is read once.
const NIGHTS: usize = 56;
const PERIOD: Duration = Duration::from_secs(NIGHTS as u64 * 86_400);

pub(super) struct Range {
    /// A key in the storage directory of the range.
    pub(super) directory: Key,
    pub(super) row: ScrubRange,
}

pub(super) struct Ranges {
    pub(super) list: Vec<Range>,
    /// Whether the list is the rest of an interrupted scrub.
    pub(super) is_continued: bool,
}

pub(super) fn classes(options: &ScrubOptions) -> impl Iterator<Item = StorageClass> {
    SWEPT_CLASSES.into_iter().filter(|class| options.classes.is_empty() || options.classes.contains(class))
}

/// Returns the ranges of storage directories to which rows refer, without their recorded progress.
pub(super) fn all(
    c: &mut dyn Conn,
    classes: &[StorageClass],
    extent: ScrubExtent,
) -> Result<Vec<Range>, DbError> {
    let directories_with_rows = db::blob::directories(c)?;
    let has_rows = |key: &Key| match key {
        Key::Package(..) | Key::Readme(_) => {
            directories_with_rows.iter().any(|directory| directory == key.directory())
        }
        Key::Index(_) | Key::Rules(_) | Key::Advisories(_) | Key::BuildLog(_) => true,
        Key::Usage(_) => false,
    };
    let directories: Vec<Key> =
        classes.iter().flat_map(|class| Key::directories(*class)).filter(has_rows).collect();
    let mut ranges = Vec::new();
    for prefix in prefixes(extent) {
        for directory in &directories {
            let row = ScrubRange::new(directory.directory(), prefix);
            ranges.push(Range { directory: *directory, row });
        }
    }
    Ok(ranges)
}

fn prefixes(extent: ScrubExtent) -> impl Iterator<Item = u8> {
    let (number, total) = match extent {
        ScrubExtent::Everything | ScrubExtent::Night => (1, 1),
        ScrubExtent::Part { number, total } => (u32::from(number), u32::from(total).max(1)),
    };
    let bound = move |number: u32| 256 * number / total;
    (0..=u8::MAX).filter(move |prefix| {
        let prefix = u32::from(*prefix);
        prefix >= bound(number.saturating_sub(1)) && prefix < bound(number)
    })
}

pub(super) fn select(
    c: &mut dyn Conn,
    classes: &[StorageClass],
    extent: ScrubExtent,
    now: Timestamp,
) -> Result<Ranges, DbError> {
    let mut list = all(c, classes, extent)?;
    let mut progress: HashMap<(String, u8), ScrubRange> =
        db::scrub::ranges(c)?.into_iter().map(|row| ((row.directory.clone(), row.prefix), row)).collect();
    for Range { row, .. } in &mut list {
        if let Some(row_progress) = progress.remove(&(row.directory.clone(), row.prefix)) {
            *row = row_progress;
        }
    }
    let mut is_continued = false;
    match extent {
        ScrubExtent::Everything => {
            let begin = db::scrub::pass_begin(c)?;
            if let Some(begin) = begin.filter(|begin| now.since(*begin) < PERIOD) {
                list.retain(|range| range.row.read_at.is_none_or(|read_at| read_at < begin));
                is_continued = true;
            } else {
                list.iter_mut().for_each(|range| range.row.position = None);
            }
        }
        ScrubExtent::Part { .. } => list.iter_mut().for_each(|range| range.row.position = None),
        ScrubExtent::Night => {
            let quota = list.len().div_ceil(NIGHTS);
            sort(&mut list);
            let is_overdue =
                |range: &Range| range.row.read_at.is_some_and(|read_at| now.since(read_at) >= PERIOD);
            let mut number = 0;
            list.retain(|range| {
                number += 1;
                number <= quota || is_overdue(range)
            });
        }
    }
    sort(&mut list);
    Ok(Ranges { list, is_continued })
}

/// Sorts ranges: those read in part first, then those not read for the longest time. Equal ones alternate
/// between directories, so that each night reads a share of each.
fn sort(list: &mut [Range]) {
    let key = |Range { directory, row }: &Range| {
        (row.position.is_none(), row.read_at.map_or(0, |at| at.0), row.prefix, *directory)
    };
    list.sort_by_key(key);
}

/// Returns at most `limit` objects of a range after its position to which rows refer, by digest.
pub(super) fn objects(
    c: &mut dyn Conn,
    directory: &Key,
    row: &ScrubRange,
    limit: i64,
) -> Result<Vec<ReferencedObject>, DbError> {
    let documents: Vec<Sha256> = match directory {
        Key::Package(..) | Key::Readme(_) => return db::scrub::blobs(c, row, limit),
        Key::Index(_) => return db::scrub::indexes(c, row, limit),
        Key::Rules(_) => {
            db::upstream::get(c, db::upstream::RULES)?.map(|rules| rules.sha256).into_iter().collect()
        }
        Key::Advisories(_) => db::upstream::advisories(c)?.iter().map(|(_, row)| row.sha256).collect(),
        Key::BuildLog(_) => db::git_build::logs(c)?,
        Key::Usage(_) => Vec::new(),
    };
    let mut digests: Vec<Sha256> = documents
        .into_iter()
        .filter(|sha256| sha256.0[0] == row.prefix && row.position.is_none_or(|position| *sha256 > position))
        .collect();
    digests.sort_unstable();
    digests.dedup();
    Ok(digests.into_iter().map(|sha256| ReferencedObject { sha256, size: None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_division_are_disjoint_and_complete() {
        for total in [1, 2, 3, 8, 56, 255, 256] {
            let parts = (1..=total).flat_map(|number| prefixes(ScrubExtent::Part { number, total }));
            assert_eq!(parts.collect::<Vec<u8>>(), (0..=u8::MAX).collect::<Vec<u8>>(), "{total}");
        }
        assert_eq!(prefixes(ScrubExtent::Part { number: 1, total: 8 }).count(), 32);
        assert_eq!(prefixes(ScrubExtent::Everything).count(), 256);
    }
}
