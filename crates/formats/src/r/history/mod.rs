//! Reconstructs a mirror's history before the first sync from the times of its files: the listed and archived files at
//! the end of each day.
//!
//! Archiving does not change the time of a file, so the current files of a mirror determine its listing on every
//! earlier day (rules and limits: `docs/admin/history.md`).

pub mod events;
mod package;

use std::collections::BTreeMap;

use self::events::Events;
use self::package::PackageFiles;
use super::rds::archive_meta::MetaRow;
use base::model::time::Day;

/// Maximum plausible number of files published on one day. If more files have times on one day, they were probably
/// copied on that day. CRAN publishes at most about 300 files a day.
pub const BULK_COPY_FILES: usize = 500;

/// The tables of a mirror from which its history is reconstructed.
#[derive(Clone, Copy, Debug)]
pub struct MirrorTables<'a> {
    /// Every archived file: `Meta/archive.rds`.
    pub archive: &'a [MetaRow<String>],
    /// The listed file of every package at the end of the history, at some time on the day `until`: `Meta/current.rds`.
    pub current: &'a [MetaRow<String>],
    /// The events in `PACKAGES.in`; without them, the days on which packages left the index are unknown.
    pub events: &'a Events,
}

/// The state of a file after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListingState {
    /// In the archive, because a later file of its package replaced it on that day.
    Superseded,
    /// In the archive, because its package left the index.
    Archived,
    /// In the index for the first time.
    Listed,
    Restored,
}

impl ListingState {
    /// Returns whether a file in this state is in the index; otherwise it is in the archive.
    pub fn is_listed(self) -> bool {
        match self {
            ListingState::Listed | ListingState::Restored => true,
            ListingState::Superseded | ListingState::Archived => false,
        }
    }
}

/// A change of a file's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition<'a> {
    /// The file, a row of one of the tables.
    pub file: &'a MetaRow<String>,
    /// The file's state from the day of the change on.
    pub state: ListingState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryDay<'a> {
    /// The day, in UTC.
    pub day: Day,
    /// The changes, by package. For each package, files that leave the index precede files that enter it.
    pub changes: Vec<Transition<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History<'a> {
    /// The days with changes, oldest first. The changes of the first day contain the whole state at its end.
    pub days: Vec<HistoryDay<'a>>,
    /// Number of packages that left the index on an unknown day. Such a package counts as listed on the day of its last
    /// publication, and as archived from the next day on.
    pub undated_count: usize,
    /// The day but the first with the most publications, and their number, if above [`BULK_COPY_FILES`].
    pub bulk_copy: Option<(Day, usize)>,
}

/// Returns the history of the days `since` up to, not including, `until`. The first one has all earlier publications.
pub fn reconstruct<'a>(tables: &MirrorTables<'a>, since: Day, until: Day) -> History<'a> {
    if since >= until {
        return History::default();
    }
    let mut packages: BTreeMap<&str, PackageFiles<'a>> = BTreeMap::new();
    for row in tables.archive {
        packages.entry(&row.package).or_default().archive_rows.push(row);
    }
    for row in tables.current {
        packages.entry(&row.package).or_default().current_rows.push(row);
    }
    let mut days: BTreeMap<Day, Vec<Transition<'a>>> = BTreeMap::new();
    let mut publications: BTreeMap<Day, usize> = BTreeMap::new();
    let mut undated_count = 0;
    for (name, files) in &packages {
        let timeline = files.timeline(tables.events.get(name), until);
        undated_count += usize::from(timeline.is_undated);
        timeline.report(since, |day, transition| days.entry(day).or_default().push(transition));
        for day in timeline.publication_days().filter(|day| *day > since) {
            *publications.entry(day).or_default() += 1;
        }
    }
    let bulk_copy = publications
        .into_iter()
        .max_by_key(|(_, files)| *files)
        .filter(|(_, files)| *files > BULK_COPY_FILES);
    let days = days.into_iter().map(|(day, changes)| HistoryDay { day, changes }).collect();
    History { days, undated_count, bulk_copy }
}

#[cfg(test)]
mod tests;
