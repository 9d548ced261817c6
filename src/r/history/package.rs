//! The history of one package, from its files and events.

use std::collections::HashSet;

use super::events::{Event, Turn};
use super::{Turned, What};
use crate::model::time::Day;
use crate::r::layout::PackageFile;
use crate::r::rds::archive_meta::MetaRow;
use crate::r::version;

type Row = MetaRow<String>;

/// The files of a package.
#[derive(Default)]
pub(super) struct Files<'a> {
    pub(super) archived: Vec<&'a Row>,
    /// One row if the package is listed at the end of the history.
    pub(super) current: Vec<&'a Row>,
}

/// The moments of a package in order.
pub(super) struct Timeline<'a> {
    moments: Vec<(Day, Moment<'a>)>,
    /// Whether the day on which the package left the index is unknown.
    pub(super) undated: bool,
}

#[derive(Clone, Copy)]
enum Moment<'a> {
    /// The package is no longer listed.
    Left,
    /// Its newest file is listed again.
    Back,
    /// A file was published, and is the listed one.
    Published(&'a Row),
    /// An earlier file is the listed one again.
    Again(&'a Row),
}

impl<'a> Files<'a> {
    /// Returns the distinct files in the order of publication. A file in both tables with equal size and time was being
    /// moved; with different ones it is a version that was published twice.
    fn files(&self) -> Vec<&'a Row> {
        let mut seen = HashSet::new();
        let mut rows: Vec<&'a Row> = self.current.iter().chain(&self.archived).copied().collect();
        rows.retain(|row| seen.insert((row.file.as_str(), row.size, row.mtime.seconds())));
        rows.sort_by(|a, b| {
            a.mtime
                .cmp(&b.mtime)
                .then_with(|| version::compare(version(a), version(b)))
                .then_with(|| (&a.file, a.size).cmp(&(&b.file, b.size)))
        });
        rows
    }

    pub(super) fn timeline(&self, events: &[Event], until: Day) -> Timeline<'a> {
        let rows: Vec<&'a Row> = self.files().into_iter().filter(|row| row.mtime.day() < until).collect();
        let mut timeline = Timeline { moments: Vec::with_capacity(rows.len() + 1), undated: false };
        let Some(last) = rows.last() else { return timeline };
        let first_day = rows[0].mtime.day();
        let on_last = |turn| events.iter().any(|event| event.day == until && event.turn == turn);
        // Events before the first file are ignored: earlier files may be lost, or have a later time.
        let relevant = events.iter().filter(|event| event.day >= first_day && event.day < until);
        timeline.moments.extend(relevant.map(|event| match event.turn {
            Turn::Left => (event.day, Moment::Left),
            Turn::Back => (event.day, Moment::Back),
        }));
        timeline.moments.extend(rows.iter().map(|row| (row.mtime.day(), Moment::Published(row))));
        // Stable sort: on one day a package left before it returned, and returned before a publication.
        timeline.moments.sort_by_key(|(day, moment)| (*day, moment.rank()));
        match self.current.iter().max_by_key(|row| row.mtime) {
            // It left on the day on which the history ends.
            None if on_last(Turn::Left) => {}
            None => timeline.end_unlisted(until),
            Some(listed) => {
                if listed.mtime.day() < until && !on_last(Turn::Back) {
                    timeline.end_listed();
                }
                timeline.end_with(listed, last, until);
            }
        }
        timeline
    }
}

impl Moment<'_> {
    fn rank(&self) -> u8 {
        match self {
            Moment::Left => 0,
            Moment::Back => 1,
            Moment::Published(_) => 2,
            Moment::Again(_) => 3,
        }
    }
}

impl<'a> Timeline<'a> {
    fn is_listed(&self) -> bool {
        !matches!(self.moments.last(), None | Some((_, Moment::Left)))
    }

    /// Handles a package that is not listed at the end: it left after it was last listed, on that day at the earliest.
    fn end_unlisted(&mut self, until: Day) {
        let Some((last, _)) = self.moments.last().copied().filter(|_| self.is_listed()) else { return };
        let same_day = self.moments.iter().any(|(day, m)| *day == last && matches!(m, Moment::Left));
        self.undated = !same_day;
        let day = if same_day { last } else { last.end().day() };
        if day < until {
            self.moments.push((day, Moment::Left));
            self.moments.sort_by_key(|(day, _)| *day);
        }
    }

    /// Handles a package that is listed at the end: if the day of its return is unknown, it counts as never having
    /// left.
    fn end_listed(&mut self) {
        while let Some((_, Moment::Left)) = self.moments.last() {
            self.moments.pop();
        }
    }

    /// Handles a package whose listed file at the end is not the last published one: that was withdrawn, on an unknown
    /// day, for which the next day counts.
    fn end_with(&mut self, listed: &'a Row, last: &'a Row, until: Day) {
        if listed.mtime.day() >= until || std::ptr::eq(listed, last) {
            return;
        }
        let day = last.mtime.day().end().day();
        if day < until {
            self.moments.push((day, Moment::Again(listed)));
            self.moments.sort_by_key(|(day, moment)| (*day, moment.rank()));
        }
    }

    /// The days on which files were published.
    pub(super) fn published(&self) -> impl Iterator<Item = Day> {
        self.moments.iter().filter(|(_, moment)| matches!(moment, Moment::Published(_))).map(|(day, _)| *day)
    }

    /// Reports the whole state on `since`, and the changes on each later day.
    pub(super) fn walk(&self, since: Day, mut tell: impl FnMut(Day, Turned<'a>)) {
        let mut state = State { listed: None, newest: None, files: Vec::new() };
        let mut moments = self.moments.as_slice();
        let before = moments.partition_point(|(day, _)| *day <= since);
        let (early, rest) = moments.split_at(before);
        early.iter().for_each(|(_, moment)| state.take(*moment));
        for file in &state.files {
            let what = state.at_first(file);
            tell(since, Turned { file, what });
        }
        moments = rest;
        while let Some((day, _)) = moments.first() {
            let (today, rest) = moments.split_at(moments.partition_point(|(other, _)| other <= day));
            moments = rest;
            let (was, known) = (state.listed, state.files.len());
            today.iter().for_each(|(_, moment)| state.take(*moment));
            state.told(was, known, |turned| tell(*day, turned));
        }
    }
}

/// The state of a package at a moment.
struct State<'a> {
    listed: Option<&'a Row>,
    /// The file that is listed when the package returns.
    newest: Option<&'a Row>,
    /// Every published file.
    files: Vec<&'a Row>,
}

impl<'a> State<'a> {
    fn take(&mut self, moment: Moment<'a>) {
        match moment {
            Moment::Left => self.listed = None,
            Moment::Back => self.listed = self.newest,
            Moment::Published(row) => {
                self.files.push(row);
                (self.listed, self.newest) = (Some(row), Some(row));
            }
            Moment::Again(row) => (self.listed, self.newest) = (Some(row), Some(row)),
        }
    }

    fn is_listed(&self, file: &Row) -> bool {
        self.listed.is_some_and(|listed| std::ptr::eq(listed, file))
    }

    /// The state of a file that is not listed.
    fn gone(&self, file: &Row) -> What {
        let is_newest = self.newest.is_some_and(|newest| std::ptr::eq(newest, file));
        if is_newest && self.listed.is_none() { What::Archived } else { What::Superseded }
    }

    fn at_first(&self, file: &Row) -> What {
        if self.is_listed(file) { What::Listed } else { self.gone(file) }
    }

    /// Reports the changes since `was` was listed and the first `known` files were published.
    fn told(&self, was: Option<&'a Row>, known: usize, mut tell: impl FnMut(Turned<'a>)) {
        if let Some(file) = was.filter(|file| !self.is_listed(file)) {
            tell(Turned { file, what: self.gone(file) });
        }
        for file in self.files.iter().skip(known).filter(|file| !self.is_listed(file)) {
            tell(Turned { file, what: self.gone(file) });
        }
        if let Some(file) = self.listed
            && !was.is_some_and(|was| std::ptr::eq(was, file))
        {
            let is_new = self.files.iter().skip(known).any(|new| std::ptr::eq(*new, file));
            tell(Turned { file, what: if is_new { What::Listed } else { What::Restored } });
        }
    }
}

/// The version in a file's name.
fn version(row: &Row) -> &str {
    PackageFile::parse(&row.file).map_or("", |file| file.version)
}
