//! One package: from its files and events to what is listed at the end of each day.

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
    /// One where the package is listed when the history ends.
    pub(super) current: Vec<&'a Row>,
}

/// What happened, in order.
pub(super) struct Timeline<'a> {
    moments: Vec<(Day, Moment<'a>)>,
    /// Nobody knows when the package left the index.
    pub(super) undated: bool,
}

#[derive(Clone, Copy)]
enum Moment<'a> {
    /// The package is not listed any more.
    Left,
    /// Its newest file is listed again.
    Back,
    /// A file was published and is the listed one.
    Published(&'a Row),
    /// A file is the listed one again, although a later one was published.
    Again(&'a Row),
}

impl<'a> Files<'a> {
    /// Every file once, in the order of publication. A file in both places with equal size and time was caught
    /// between copying and deleting; with others it is a version that was published twice.
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
        // Before the first file there is nothing to leave. Files of that time may be lost, or have a later time.
        let told = events.iter().filter(|event| event.day >= first_day && event.day < until);
        timeline.moments.extend(told.map(|event| match event.turn {
            Turn::Left => (event.day, Moment::Left),
            Turn::Back => (event.day, Moment::Back),
        }));
        timeline.moments.extend(rows.iter().map(|row| (row.mtime.day(), Moment::Published(row))));
        // Stable: on one day a package left before it came back, and came back before something was published.
        timeline.moments.sort_by_key(|(day, moment)| (*day, moment.rank()));
        match self.current.iter().max_by_key(|row| row.mtime) {
            // It left on the very day on which the days end.
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

    /// The package is not listed in the end, so it left after it was listed last, on that day at the earliest.
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

    /// The package is listed in the end: it came back from wherever it went, and where nobody knows when, it counts
    /// as if it had stayed.
    fn end_listed(&mut self) {
        while let Some((_, Moment::Left)) = self.moments.last() {
            self.moments.pop();
        }
    }

    /// Listed in the end is another file than the one published last: that was withdrawn, and where nobody knows
    /// when, on the next day.
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

    /// Tells what changed on each day: the whole state on `since`, and what changed after it.
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

/// A package at some moment.
struct State<'a> {
    listed: Option<&'a Row>,
    /// What is listed when it comes back.
    newest: Option<&'a Row>,
    /// Every file that was published.
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

    /// What a file that is not listed is.
    fn gone(&self, file: &Row) -> What {
        let is_newest = self.newest.is_some_and(|newest| std::ptr::eq(newest, file));
        if is_newest && self.listed.is_none() { What::Archived } else { What::Superseded }
    }

    fn at_first(&self, file: &Row) -> What {
        if self.is_listed(file) { What::Listed } else { self.gone(file) }
    }

    /// What changed since `was` was listed and the first `known` files were there.
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
