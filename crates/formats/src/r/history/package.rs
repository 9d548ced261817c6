//! The history of one package, from its files and events.

use std::collections::HashSet;

use super::events::{HistoryEvent, HistoryEventKind};
use super::{ListingState, Transition};
use crate::r::layout::PackageFile;
use crate::r::rds::archive_meta::MetaRow;
use crate::r::version;
use base::model::time::Day;

type Row = MetaRow<String>;

#[derive(Default)]
pub(super) struct PackageFiles<'a> {
    pub(super) archive_rows: Vec<&'a Row>,
    /// One row if the package is listed at the end of the history.
    pub(super) current_rows: Vec<&'a Row>,
}

/// The events of a package in order.
pub(super) struct Timeline<'a> {
    entries: Vec<(Day, TimelineEvent<'a>)>,
    /// Whether the day on which the package left the index is unknown.
    pub(super) is_undated: bool,
}

#[derive(Clone, Copy)]
enum TimelineEvent<'a> {
    Removed,
    /// The newest file of the package is listed again.
    Restored,
    /// A file was published, and is now the listed file.
    Published(&'a Row),
    /// An earlier file is the listed file again.
    Relisted(&'a Row),
}

impl<'a> PackageFiles<'a> {
    /// Returns the distinct files in the order of publication. If both tables have a file name with equal size and
    /// time, it is one file that was being moved; otherwise the version was published twice, as two files.
    fn sorted_files(&self) -> Vec<&'a Row> {
        let mut keys = HashSet::new();
        let mut rows: Vec<&'a Row> = self.current_rows.iter().chain(&self.archive_rows).copied().collect();
        rows.retain(|row| keys.insert((row.file.as_str(), row.size, row.mtime.seconds())));
        rows.sort_by(|a, b| {
            a.mtime
                .cmp(&b.mtime)
                .then_with(|| version::compare(version(a), version(b)))
                .then_with(|| (&a.file, a.size).cmp(&(&b.file, b.size)))
        });
        rows
    }

    /// Returns the timeline of the package before the day `until`.
    pub(super) fn timeline(&self, events: &[HistoryEvent], until: Day) -> Timeline<'a> {
        let rows: Vec<&'a Row> =
            self.sorted_files().into_iter().filter(|row| row.mtime.day() < until).collect();
        let mut timeline = Timeline { entries: Vec::with_capacity(rows.len() + 1), is_undated: false };
        let Some(last_file) = rows.last() else { return timeline };
        let first_day = rows[0].mtime.day();
        let is_on_last_day = |kind| events.iter().any(|event| event.day == until && event.kind == kind);
        // Events before the first file are ignored: earlier files may have been lost, or may have a later time.
        let earlier_events = events.iter().filter(|event| event.day >= first_day && event.day < until);
        timeline.entries.extend(earlier_events.map(|event| match event.kind {
            HistoryEventKind::Removed => (event.day, TimelineEvent::Removed),
            HistoryEventKind::Restored => (event.day, TimelineEvent::Restored),
        }));
        timeline.entries.extend(rows.iter().map(|row| (row.mtime.day(), TimelineEvent::Published(row))));
        // On the same day, a removal precedes a return, and a return precedes a publication.
        timeline.entries.sort_by_key(|(day, event)| (*day, event.rank()));
        match self.current_rows.iter().max_by_key(|row| row.mtime) {
            // The package left the index on the day `until`, which is not part of the history.
            None if is_on_last_day(HistoryEventKind::Removed) => {}
            None => timeline.finish_unlisted(until),
            Some(listed_file) => {
                if listed_file.mtime.day() < until && !is_on_last_day(HistoryEventKind::Restored) {
                    timeline.finish_listed();
                }
                timeline.finish_relisted(listed_file, last_file, until);
            }
        }
        timeline
    }
}

impl TimelineEvent<'_> {
    fn rank(&self) -> u8 {
        match self {
            TimelineEvent::Removed => 0,
            TimelineEvent::Restored => 1,
            TimelineEvent::Published(_) => 2,
            TimelineEvent::Relisted(_) => 3,
        }
    }
}

impl<'a> Timeline<'a> {
    fn is_listed(&self) -> bool {
        !matches!(self.entries.last(), None | Some((_, TimelineEvent::Removed)))
    }

    /// Handles a package that is not listed at the end. If there is a removal on the day of the last entry, the package
    /// left the index on that day. Otherwise the day is unknown, and the next day is assumed.
    fn finish_unlisted(&mut self, until: Day) {
        let Some((last_day, _)) = self.entries.last().copied().filter(|_| self.is_listed()) else { return };
        let is_removed_on_last_day = self
            .entries
            .iter()
            .any(|(day, event)| *day == last_day && matches!(event, TimelineEvent::Removed));
        self.is_undated = !is_removed_on_last_day;
        let day = if is_removed_on_last_day { last_day } else { last_day.end().day() };
        if day < until {
            self.entries.push((day, TimelineEvent::Removed));
            self.entries.sort_by_key(|(day, _)| *day);
        }
    }

    /// Handles a package that is listed at the end. If the day of its return is unknown, the last removal is ignored.
    fn finish_listed(&mut self) {
        while let Some((_, TimelineEvent::Removed)) = self.entries.last() {
            self.entries.pop();
        }
    }

    /// Handles a package whose listed file at the end is not the last published file. The last file was withdrawn on an
    /// unknown day, so the day after its publication is assumed.
    fn finish_relisted(&mut self, listed_file: &'a Row, last_file: &'a Row, until: Day) {
        if listed_file.mtime.day() >= until || std::ptr::eq(listed_file, last_file) {
            return;
        }
        let day = last_file.mtime.day().end().day();
        if day < until {
            self.entries.push((day, TimelineEvent::Relisted(listed_file)));
            self.entries.sort_by_key(|(day, event)| (*day, event.rank()));
        }
    }

    pub(super) fn publication_days(&self) -> impl Iterator<Item = Day> {
        self.entries
            .iter()
            .filter(|(_, event)| matches!(event, TimelineEvent::Published(_)))
            .map(|(day, _)| *day)
    }

    /// Reports the whole state at the end of `since`, and the changes on each later day.
    pub(super) fn report(&self, since: Day, mut emit: impl FnMut(Day, Transition<'a>)) {
        let mut state = HistoryState { listed_file: None, newest_file: None, files: Vec::new() };
        let mut entries = self.entries.as_slice();
        let early_count = entries.partition_point(|(day, _)| *day <= since);
        let (earlier_entries, rest) = entries.split_at(early_count);
        earlier_entries.iter().for_each(|(_, event)| state.apply(*event));
        for file in &state.files {
            let initial_state = state.initial_state(file);
            emit(since, Transition { file, state: initial_state });
        }
        entries = rest;
        while let Some((day, _)) = entries.first() {
            let (day_entries, rest) = entries.split_at(entries.partition_point(|(other, _)| other <= day));
            entries = rest;
            let (previous_file, count) = (state.listed_file, state.files.len());
            day_entries.iter().for_each(|(_, event)| state.apply(*event));
            state.report_changes(previous_file, count, |transition| emit(*day, transition));
        }
    }
}

struct HistoryState<'a> {
    listed_file: Option<&'a Row>,
    /// The file that is listed when the package returns.
    newest_file: Option<&'a Row>,
    files: Vec<&'a Row>,
}

impl<'a> HistoryState<'a> {
    fn apply(&mut self, event: TimelineEvent<'a>) {
        match event {
            TimelineEvent::Removed => self.listed_file = None,
            TimelineEvent::Restored => self.listed_file = self.newest_file,
            TimelineEvent::Published(row) => {
                self.files.push(row);
                (self.listed_file, self.newest_file) = (Some(row), Some(row));
            }
            TimelineEvent::Relisted(row) => (self.listed_file, self.newest_file) = (Some(row), Some(row)),
        }
    }

    fn is_listed(&self, file: &Row) -> bool {
        self.listed_file.is_some_and(|listed| std::ptr::eq(listed, file))
    }

    /// Returns the state of a file that is not listed.
    fn unlisted_state(&self, file: &Row) -> ListingState {
        let is_newest = self.newest_file.is_some_and(|newest| std::ptr::eq(newest, file));
        if is_newest && self.listed_file.is_none() {
            ListingState::Archived
        } else {
            ListingState::Superseded
        }
    }

    fn initial_state(&self, file: &Row) -> ListingState {
        if self.is_listed(file) { ListingState::Listed } else { self.unlisted_state(file) }
    }

    /// Reports the changes since `previous_file` was the listed file and `count` files were published.
    fn report_changes(
        &self,
        previous_file: Option<&'a Row>,
        count: usize,
        mut emit: impl FnMut(Transition<'a>),
    ) {
        if let Some(file) = previous_file.filter(|file| !self.is_listed(file)) {
            emit(Transition { file, state: self.unlisted_state(file) });
        }
        for file in self.files.iter().skip(count).filter(|file| !self.is_listed(file)) {
            emit(Transition { file, state: self.unlisted_state(file) });
        }
        if let Some(file) = self.listed_file
            && !previous_file.is_some_and(|previous| std::ptr::eq(previous, file))
        {
            let is_new = self.files.iter().skip(count).any(|new| std::ptr::eq(*new, file));
            emit(Transition {
                file,
                state: if is_new { ListingState::Listed } else { ListingState::Restored },
            });
        }
    }
}

fn version(row: &Row) -> &str {
    PackageFile::parse(&row.file).map_or("", |file| file.version)
}
