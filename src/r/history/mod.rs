//! The days of a mirror: what was listed and what was archived at the end of each, out of the times of its files.
//!
//! A file keeps the time of its publication when it is archived, so the files a mirror has now tell what it listed
//! on every day before (`docs/admin/history.md` has the rules, and what cannot be known). Nothing here knows where
//! the tables come from or what becomes of the days.

pub mod events;
mod package;

use std::collections::BTreeMap;

use self::events::Events;
use self::package::Files;
use super::rds::archive_meta::MetaRow;
use crate::model::time::Day;

/// So many files of one day were not published that day: somebody copied them then. CRAN publishes at most some
/// 300 a day.
pub const CROWD: usize = 500;

/// What is known of a mirror.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Every archived file: `Meta/archive.rds`.
    pub archive: &'a [MetaRow<String>],
    /// The file of every package that is listed when the history ends, at some time of the day after its last:
    /// `Meta/current.rds`.
    pub current: &'a [MetaRow<String>],
    /// `PACKAGES.in`; without it nobody knows when a package left the index.
    pub events: &'a Events,
}

/// What a file is from a day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// In the archive, because a later file of its package took its place, on that day or within it.
    Superseded,
    /// In the archive, because its package left the index.
    Archived,
    /// In the index for the first time.
    Listed,
    /// In the index again.
    Restored,
}

impl What {
    /// Whether the file is in the index from then on; else it is in the archive.
    #[must_use]
    pub fn is_listed(self) -> bool {
        match self {
            What::Listed | What::Restored => true,
            What::Superseded | What::Archived => false,
        }
    }
}

/// A file that became something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned<'a> {
    /// The row of one of the tables.
    pub file: &'a MetaRow<String>,
    /// What it is from this day on.
    pub what: What,
}

/// A day on which something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayOf<'a> {
    /// The day, in UTC.
    pub day: Day,
    /// By package; what leaves the index before what comes.
    pub changes: Vec<Turned<'a>>,
}

/// The days of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History<'a> {
    /// The days on which something changed, oldest first. The first holds the whole state at its end.
    pub days: Vec<DayOf<'a>>,
    /// Packages that left the index on a day nobody knows: they count as listed on the day of their last
    /// publication, and as archived from the next.
    pub undated: usize,
    /// The day with the most publications, if they are more than [`CROWD`].
    pub crowded: Option<(Day, usize)>,
}

/// The days from `since` up to, not including, `until`. What was published before `since` is in the first day.
#[must_use]
pub fn days<'a>(evidence: &Evidence<'a>, since: Day, until: Day) -> History<'a> {
    if since >= until {
        return History::default();
    }
    let mut packages: BTreeMap<&str, Files<'a>> = BTreeMap::new();
    for row in evidence.archive {
        packages.entry(&row.package).or_default().archived.push(row);
    }
    for row in evidence.current {
        packages.entry(&row.package).or_default().current.push(row);
    }
    let mut days: BTreeMap<Day, Vec<Turned<'a>>> = BTreeMap::new();
    let mut published: BTreeMap<Day, usize> = BTreeMap::new();
    let mut undated = 0;
    for (name, files) in &packages {
        let timeline = files.timeline(evidence.events.of(name), until);
        undated += usize::from(timeline.undated);
        timeline.walk(since, |day, turned| days.entry(day).or_default().push(turned));
        for day in timeline.published().filter(|day| *day > since) {
            *published.entry(day).or_default() += 1;
        }
    }
    let crowded = published.into_iter().max_by_key(|(_, files)| *files).filter(|(_, files)| *files > CROWD);
    let days = days.into_iter().map(|(day, changes)| DayOf { day, changes }).collect();
    History { days, undated, crowded }
}

#[cfg(test)]
mod tests;
