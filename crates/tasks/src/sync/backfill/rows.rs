//! Converts days of any origin to rows: each release's lives in steps, each day's transaction. Pure.

use std::collections::HashMap;

use base::model::change::{Counts, LifeState, NewFile, NewRelease};
use base::model::ids::{PackageId, ReleaseId, Seq};
use base::model::time::{SECOND, Timestamp};
use formats::r::history::{History, Transition};
use formats::r::layout::PackageFile;
use formats::r::rds::archive_meta::MetaRow;
use store::db::backfill_write::{BACKFILL_VARIANT, PastLife, PastRelease, PastStep, ReleaseHistory};

/// The release of a file in the database, or what is needed to create it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReleaseIdentity {
    /// The release, if it is known.
    pub(super) release: Option<(PackageId, ReleaseId)>,
    /// The number of its listed record, if it has one.
    pub(super) variant: Option<i64>,
    /// The record to store for a release without a listed record. A release with neither is in no index.
    pub(super) stanza: Option<Vec<u8>>,
    /// Its path upstream, relative to `src/contrib`.
    pub(super) locator: String,
    /// The revision of a new release: the number of times its version was published before.
    pub(super) revision: i64,
}

impl ReleaseIdentity {
    fn can_be_listed(&self) -> bool {
        self.variant.is_some() || self.stanza.is_some()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BackfillRows {
    /// Releases with their lives, by package and time.
    pub(super) releases: Vec<ReleaseHistory>,
    /// One step per day, oldest first.
    pub(super) steps: Vec<PastStep>,
    /// File names of releases that should be listed on some day but are in no index, because they have no record.
    pub(super) unlisted_files: Vec<String>,
}

/// A release whose lives are being computed.
struct ReleaseTimeline<'a> {
    file: &'a MetaRow<String>,
    identity: ReleaseIdentity,
    /// The steps at which its state changes.
    changes: Vec<(Seq, LifeState)>,
    is_unlisted: bool,
}

/// Computes the rows of days before the step `first`. `identify` is called once per file.
pub(super) fn assemble(
    history: &History<'_>,
    first: Seq,
    mut identify: impl FnMut(&MetaRow<String>) -> ReleaseIdentity,
) -> BackfillRows {
    let lowest_step = first.0 - i64::try_from(history.days.len()).unwrap_or(i64::MAX);
    let mut timelines: Vec<ReleaseTimeline<'_>> = Vec::new();
    let mut indexes: HashMap<*const MetaRow<String>, usize> = HashMap::new();
    let mut listed_timelines: HashMap<&str, usize> = HashMap::new();
    let mut steps = Vec::with_capacity(history.days.len());
    for (number, day) in (lowest_step..).zip(&history.days) {
        let mut day_changes = DayChanges::default();
        for transition in &day.changes {
            let index = *indexes.entry(std::ptr::from_ref(transition.file)).or_insert_with(|| {
                let identity = identify(transition.file);
                timelines.push(ReleaseTimeline {
                    file: transition.file,
                    identity,
                    changes: Vec::new(),
                    is_unlisted: false,
                });
                timelines.len() - 1
            });
            let old_state = timelines[index].changes.last().map(|(_, state)| *state);
            let new_state = timelines[index].apply_change(transition, Seq(number));
            day_changes.record_change(
                transition,
                listed_timelines.get(transition.file.package.as_str()),
                old_state,
                new_state,
            );
            let package = transition.file.package.as_str();
            match new_state {
                LifeState::Listed => {
                    listed_timelines.insert(package, index);
                }
                LifeState::Archived if listed_timelines.get(package) == Some(&index) => {
                    listed_timelines.remove(package);
                }
                LifeState::Archived => {}
            }
        }
        steps.push(day_changes.into_step(
            &listed_timelines,
            Timestamp(day.day.end().0 - SECOND),
            day.day.to_string(),
        ));
    }
    let unlisted_files = timelines
        .iter()
        .filter(|timeline| timeline.is_unlisted)
        .map(|timeline| timeline.file.file.clone())
        .collect();
    BackfillRows {
        releases: timelines.into_iter().map(|timeline| timeline.into_history(first)).collect(),
        steps,
        unlisted_files,
    }
}

impl ReleaseTimeline<'_> {
    /// Applies a change and returns the new state. A release that cannot be listed is archived from its first day on,
    /// so that it can be requested by name.
    fn apply_change(&mut self, transition: &Transition<'_>, step: Seq) -> LifeState {
        let state = if transition.state.is_listed() { LifeState::Listed } else { LifeState::Archived };
        let new_state = if self.identity.can_be_listed() { state } else { LifeState::Archived };
        self.is_unlisted |= state != new_state;
        if self.changes.last().is_none_or(|(_, old_state)| *old_state != new_state) {
            self.changes.push((step, new_state));
        }
        new_state
    }

    fn into_history(self, first: Seq) -> ReleaseHistory {
        let ends = self.changes.iter().skip(1).map(|(step, _)| *step).chain([first]);
        let lives = self.changes.iter().zip(ends).map(|((from, state), to)| PastLife {
            state: *state,
            from: *from,
            to,
        });
        let lives = lives.collect();
        let ReleaseIdentity { release, variant, stanza, locator, revision } = self.identity;
        let release = match release {
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

#[derive(Default)]
struct DayChanges<'a> {
    /// Packages that changed, with the index of the timeline of their listed release before that day.
    listed_before: HashMap<&'a str, Option<usize>>,
    counts: Counts,
    /// Earliest publication time of the releases that are new on that day.
    published_from: Option<Timestamp>,
    /// Latest publication time of the releases that are new on that day.
    published_to: Option<Timestamp>,
}

impl<'a> DayChanges<'a> {
    fn record_change(
        &mut self,
        transition: &Transition<'a>,
        listed: Option<&usize>,
        old_state: Option<LifeState>,
        new_state: LifeState,
    ) {
        self.listed_before.entry(transition.file.package.as_str()).or_insert(listed.copied());
        self.counts.archived +=
            i64::from(old_state == Some(LifeState::Listed) && new_state == LifeState::Archived);
        if old_state.is_none() {
            let at = transition.file.mtime;
            self.published_from = Some(self.published_from.map_or(at, |from| from.min(at)));
            self.published_to = Some(self.published_to.map_or(at, |to| to.max(at)));
        }
    }

    fn into_step(
        mut self,
        listed_timelines: &HashMap<&str, usize>,
        at: Timestamp,
        comment: String,
    ) -> PastStep {
        for (package, old_index) in &self.listed_before {
            match (*old_index, listed_timelines.get(package).copied()) {
                (None, Some(_)) => self.counts.added += 1,
                (Some(_), None) => self.counts.removed += 1,
                (Some(old_index), Some(new_index)) => {
                    self.counts.updated += i64::from(old_index != new_index)
                }
                (None, None) => {}
            }
        }
        PastStep {
            at,
            published_from: self.published_from,
            published_to: self.published_to,
            counts: self.counts,
            comment,
        }
    }
}

#[cfg(test)]
mod tests;
