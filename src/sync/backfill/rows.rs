//! Converts days to rows: the lives of each release in steps, and the transaction of each day. Pure, and independent
//! of where the days come from.

use std::collections::HashMap;

use crate::db::backfill_write::{BACKFILL_VARIANT, PastLife, PastRelease, PastStep, ReleaseHistory};
use crate::model::change::{Counts, LifeState, NewFile, NewRelease};
use crate::model::ids::{PackageId, ReleaseId, Seq};
use crate::model::time::{SECOND, Timestamp};
use crate::r::history::{History, Transition};
use crate::r::layout::PackageFile;
use crate::r::rds::archive_meta::MetaRow;

/// The identity of a file in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileRecord {
    /// The release, if it is known.
    pub(super) known: Option<(PackageId, ReleaseId)>,
    /// The variant of its listed record, if it has one.
    pub(super) variant: Option<i64>,
    /// The record of a release without one; with neither, the release is in no index.
    pub(super) stanza: Option<Vec<u8>>,
    /// Its path upstream, relative to `src/contrib`.
    pub(super) locator: String,
    /// The revision of a new release: how often its version was published before.
    pub(super) revision: i64,
}

impl FileRecord {
    fn can_be_listed(&self) -> bool {
        self.variant.is_some() || self.stanza.is_some()
    }
}

/// The rows of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BackfillRows {
    /// Releases with their lives, by package and time.
    pub(super) releases: Vec<ReleaseHistory>,
    /// One step per day, oldest first.
    pub(super) steps: Vec<PastStep>,
    /// File names of releases that should be listed on some day but are in no index, because they have no record.
    pub(super) left_out: Vec<String>,
}

/// A release whose lives are being computed.
struct ReleaseTimeline<'a> {
    file: &'a MetaRow<String>,
    identity: FileRecord,
    /// The steps at which its state changes.
    changes: Vec<(Seq, LifeState)>,
    left_out: bool,
}

/// Computes the rows of days before the step `first`. `identify` is called once per file.
pub(super) fn assemble(
    history: &History<'_>,
    first: Seq,
    mut identify: impl FnMut(&MetaRow<String>) -> FileRecord,
) -> BackfillRows {
    let lowest = first.0 - i64::try_from(history.days.len()).unwrap_or(i64::MAX);
    let mut walks: Vec<ReleaseTimeline<'_>> = Vec::new();
    let mut indexes: HashMap<*const MetaRow<String>, usize> = HashMap::new();
    let mut listed: HashMap<&str, usize> = HashMap::new();
    let mut steps = Vec::with_capacity(history.days.len());
    for (number, day) in (lowest..).zip(&history.days) {
        let mut today = DayChanges::default();
        for turned in &day.changes {
            let index = *indexes.entry(std::ptr::from_ref(turned.file)).or_insert_with(|| {
                let identity = identify(turned.file);
                walks.push(ReleaseTimeline {
                    file: turned.file,
                    identity,
                    changes: Vec::new(),
                    left_out: false,
                });
                walks.len() - 1
            });
            let was = walks[index].changes.last().map(|(_, state)| *state);
            let now = walks[index].apply_change(turned, Seq(number));
            today.record_change(turned, listed.get(turned.file.package.as_str()), was, now);
            let package = turned.file.package.as_str();
            match now {
                LifeState::Listed => {
                    listed.insert(package, index);
                }
                LifeState::Archived if listed.get(package) == Some(&index) => {
                    listed.remove(package);
                }
                LifeState::Archived => {}
            }
        }
        steps.push(today.into_step(&listed, Timestamp(day.day.end().0 - SECOND), day.day.to_string()));
    }
    let left_out = walks.iter().filter(|walk| walk.left_out).map(|walk| walk.file.file.clone()).collect();
    BackfillRows {
        releases: walks.into_iter().map(|walk| walk.into_history(first)).collect(),
        steps,
        left_out,
    }
}

impl ReleaseTimeline<'_> {
    /// Applies a change and returns the new state. A release that cannot be listed is archived from its first day on,
    /// so that it can be requested by name.
    fn apply_change(&mut self, turned: &Transition<'_>, at: Seq) -> LifeState {
        let state = if turned.state.is_listed() { LifeState::Listed } else { LifeState::Archived };
        let now = if self.identity.can_be_listed() { state } else { LifeState::Archived };
        self.left_out |= state != now;
        if self.changes.last().is_none_or(|(_, before)| *before != now) {
            self.changes.push((at, now));
        }
        now
    }

    fn into_history(self, first: Seq) -> ReleaseHistory {
        let ends = self.changes.iter().skip(1).map(|(at, _)| *at).chain([first]);
        let lives = self.changes.iter().zip(ends).map(|((from, state), to)| PastLife {
            state: *state,
            from: *from,
            to,
        });
        let lives = lives.collect();
        let FileRecord { known, variant, stanza, locator, revision } = self.identity;
        let release = match known {
            Some((package, release)) => {
                let record = stanza.filter(|_| variant.is_none());
                let listed_variant = if record.is_some() { BACKFILL_VARIANT } else { variant.unwrap_or(0) };
                PastRelease::Known { package, release, variant: listed_variant, record }
            }
            None => PastRelease::New(NewRelease {
                package: self.file.package.clone(),
                version: PackageFile::parse(&self.file.file)
                    .map_or_else(String::new, |f| f.version.to_owned()),
                revision,
                published_at: Some(self.file.mtime),
                stanza,
                description: None,
                readme: None,
                files: vec![NewFile {
                    name: self.file.file.clone(),
                    locator,
                    size: i64::try_from(self.file.size).ok(),
                    md5: None,
                    sha256: None,
                    stored: false,
                }],
            }),
        };
        ReleaseHistory { release, lives }
    }
}

/// The changes of one day.
#[derive(Default)]
struct DayChanges<'a> {
    /// Packages that changed, and their listed release before.
    before: HashMap<&'a str, Option<usize>>,
    counts: Counts,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl<'a> DayChanges<'a> {
    fn record_change(
        &mut self,
        turned: &Transition<'a>,
        listed: Option<&usize>,
        was: Option<LifeState>,
        now: LifeState,
    ) {
        self.before.entry(turned.file.package.as_str()).or_insert(listed.copied());
        self.counts.archived += i64::from(was == Some(LifeState::Listed) && now == LifeState::Archived);
        if was.is_none() {
            let at = turned.file.mtime;
            self.from = Some(self.from.map_or(at, |from| from.min(at)));
            self.to = Some(self.to.map_or(at, |to| to.max(at)));
        }
    }

    fn into_step(mut self, listed: &HashMap<&str, usize>, at: Timestamp, comment: String) -> PastStep {
        for (package, before) in &self.before {
            match (*before, listed.get(package).copied()) {
                (None, Some(_)) => self.counts.added += 1,
                (Some(_), None) => self.counts.removed += 1,
                (Some(before), Some(after)) => self.counts.updated += i64::from(before != after),
                (None, None) => {}
            }
        }
        PastStep { at, published_from: self.from, published_to: self.to, counts: self.counts, comment }
    }
}

#[cfg(test)]
mod tests;
