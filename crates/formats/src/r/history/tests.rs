//! Single packages as tables, and generated histories that are reconstructed from their files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::events::{Events, HistoryEvent, HistoryEventKind};
use super::*;
use base::model::time::{SECOND, Timestamp};

fn day(number: i64) -> Day {
    Timestamp(number * 86_400 * SECOND).day()
}

fn number(day: Day) -> i64 {
    day.start().seconds() / 86_400
}

/// Returns the row of a file that was published at an hour of a day.
fn row(package: &str, version: &str, size: u64, day: i64, hour: i64) -> MetaRow<String> {
    MetaRow {
        package: package.to_owned(),
        file: format!("{package}_{version}.tar.gz"),
        size,
        mtime: Timestamp((day * 86_400 + hour * 3600) * SECOND),
    }
}

fn events(list: &[(&str, i64, HistoryEventKind)]) -> Events {
    let mut events = Events::default();
    for (package, number, kind) in list {
        events.add(package, HistoryEvent { day: day(*number), kind: *kind });
    }
    events
}

/// Formats the changes as `3: -a_1.0 +a_1.1`: `+` listed, `*` restored, `-` superseded, `x` archived.
fn transitions(
    archive: &[MetaRow<String>],
    current: &[MetaRow<String>],
    events: &Events,
    from: i64,
    to: i64,
) -> Vec<String> {
    let tables = MirrorTables { archive, current, events };
    let history = reconstruct(&tables, day(from), day(to));
    let describe = |transition: &Transition<'_>| {
        let sign = match transition.state {
            ListingState::Listed => '+',
            ListingState::Restored => '*',
            ListingState::Superseded => '-',
            ListingState::Archived => 'x',
        };
        format!("{sign}{}", transition.file.file.trim_end_matches(".tar.gz"))
    };
    let line = |history_day: &HistoryDay<'_>| {
        format!(
            "{}: {}",
            number(history_day.day),
            history_day.changes.iter().map(describe).collect::<Vec<_>>().join(" ")
        )
    };
    history.days.iter().map(line).collect()
}

#[test]
fn a_file_is_listed_from_its_own_time_to_that_of_the_next() {
    let archive = [row("a", "1.0", 10, 3, 9), row("a", "1.2", 12, 9, 1), row("a", "1.1", 11, 9, 0)];
    let current = [row("a", "2.0", 20, 12, 5)];
    let no_events = Events::default();
    assert_eq!(
        transitions(&archive, &current, &no_events, 1, 20),
        ["3: +a_1.0", "9: -a_1.0 -a_1.1 +a_1.2", "12: -a_1.2 +a_2.0"]
    );
    assert_eq!(
        transitions(&archive, &current, &no_events, 10, 20),
        ["10: -a_1.0 -a_1.1 +a_1.2", "12: -a_1.2 +a_2.0"]
    );
    assert_eq!(transitions(&archive, &current, &no_events, 4, 12), ["4: +a_1.0", "9: -a_1.0 -a_1.1 +a_1.2"]);
}

#[test]
fn files_are_ordered_by_time_and_not_by_version() {
    let archive = [row("a", "2.0", 20, 3, 0)];
    let current = [row("a", "1.9", 19, 5, 0)];
    let no_events = Events::default();
    assert_eq!(transitions(&archive, &current, &no_events, 1, 9), ["3: +a_2.0", "5: -a_2.0 +a_1.9"]);
    // Files with equal times are ordered by version.
    let archive = [row("a", "1.10", 1, 3, 0), row("a", "1.9", 2, 3, 0)];
    assert_eq!(transitions(&archive, &[row("a", "2", 1, 4, 0)], &no_events, 3, 9)[0], "3: -a_1.9 +a_1.10");
}

#[test]
fn a_version_published_twice_is_two_files() {
    let archive = [row("lmeInfo", "0.3.2", 65124, 3, 0)];
    let current = [row("lmeInfo", "0.3.2", 65532, 7, 0)];
    let no_events = Events::default();
    let lines = transitions(&archive, &current, &no_events, 1, 9);
    assert_eq!(lines, ["3: +lmeInfo_0.3.2", "7: -lmeInfo_0.3.2 +lmeInfo_0.3.2"]);
    let tables = MirrorTables { archive: &archive, current: &current, events: &no_events };
    let sizes: Vec<u64> =
        reconstruct(&tables, day(1), day(9)).days[1].changes.iter().map(|t| t.file.size).collect();
    assert_eq!(sizes, [65124, 65532]);
}

#[test]
fn a_file_in_both_tables_is_one_file() {
    let rows = [row("a", "1.0", 10, 3, 0)];
    assert_eq!(transitions(&rows, &rows.clone(), &Events::default(), 1, 9), ["3: +a_1.0"]);
}

#[test]
fn a_removed_package_is_listed_until_that_day_and_a_returned_one_from_it() {
    let archive = [row("a", "1.0", 10, 3, 0), row("a", "1.1", 11, 5, 0)];
    let removal = events(&[("a", 8, HistoryEventKind::Removed)]);
    assert_eq!(transitions(&archive, &[], &removal, 1, 20), ["3: +a_1.0", "5: -a_1.0 +a_1.1", "8: xa_1.1"]);
    let returns = events(&[
        ("a", 8, HistoryEventKind::Removed),
        ("a", 10, HistoryEventKind::Restored),
        ("a", 15, HistoryEventKind::Removed),
    ]);
    assert_eq!(
        transitions(&archive, &[], &returns, 6, 20),
        ["6: -a_1.0 +a_1.1", "8: xa_1.1", "10: *a_1.1", "15: xa_1.1"]
    );
    // A new version restores the package without an event.
    let current = [row("a", "2.0", 20, 12, 0)];
    assert_eq!(transitions(&archive, &current, &removal, 6, 20)[1..], ["8: xa_1.1", "12: +a_2.0"]);
    // A new version was published on the day on which the package left the index.
    let same_day = events(&[("a", 12, HistoryEventKind::Removed)]);
    assert_eq!(transitions(&archive, &current, &same_day, 6, 20)[1..], ["12: -a_1.1 +a_2.0"]);
}

#[test]
fn without_an_event_a_package_is_removed_the_day_after_its_last_file() {
    let archive = [row("a", "1.0", 10, 3, 0), row("b", "1.0", 10, 4, 0)];
    let no_events = Events::default();
    assert_eq!(transitions(&archive, &[], &no_events, 1, 20), ["3: +a_1.0", "4: xa_1.0 +b_1.0", "5: xb_1.0"]);
    let tables = MirrorTables { archive: &archive, current: &[], events: &no_events };
    assert_eq!(reconstruct(&tables, day(1), day(20)).undated_count, 2);
    // An event before the last file does not determine the end.
    let early_events = events(&[("a", 3, HistoryEventKind::Removed), ("b", 2, HistoryEventKind::Removed)]);
    assert_eq!(transitions(&archive, &[], &early_events, 1, 20), ["3: xa_1.0", "4: +b_1.0", "5: xb_1.0"]);
}

#[test]
fn a_listed_package_without_a_return_event_was_never_removed() {
    let current = [row("a", "1.0", 10, 3, 0)];
    let removal = events(&[("a", 8, HistoryEventKind::Removed)]);
    assert_eq!(transitions(&[], &current, &removal, 1, 20), ["3: +a_1.0"]);
    // A later file was withdrawn, and the previous file is listed again.
    let archive = [row("a", "1.1", 11, 6, 0)];
    assert_eq!(
        transitions(&archive, &current, &Events::default(), 1, 20),
        ["3: +a_1.0", "6: -a_1.0 +a_1.1", "7: -a_1.1 *a_1.0"]
    );
    // A new file was published on the day on which the history ends, so the package returned to the index on that day.
    let last_day = [row("a", "2.0", 11, 20, 0)];
    assert_eq!(transitions(&current, &last_day, &removal, 1, 20), ["3: +a_1.0", "8: xa_1.0"]);
    assert_eq!(transitions(&current, &last_day, &Events::default(), 1, 20), ["3: +a_1.0"]);
}

#[test]
fn events_on_the_last_day_determine_earlier_days() {
    let file = [row("a", "1.0", 10, 3, 0)];
    // The package left on day 9, on which the mirror was read.
    assert_eq!(transitions(&file, &[], &events(&[("a", 9, HistoryEventKind::Removed)]), 1, 9), ["3: +a_1.0"]);
    // The package left on day 5 and returned on day 9, by an event or a new file.
    let returns = events(&[("a", 5, HistoryEventKind::Removed), ("a", 9, HistoryEventKind::Restored)]);
    assert_eq!(transitions(&[], &file, &returns, 1, 9), ["3: +a_1.0", "5: xa_1.0"]);
    let new_file = [row("a", "2.0", 20, 9, 0)];
    assert_eq!(
        transitions(&file, &new_file, &events(&[("a", 5, HistoryEventKind::Removed)]), 1, 9),
        ["3: +a_1.0", "5: xa_1.0"]
    );
}

#[test]
fn a_bulk_copy_is_reported() {
    let rows: Vec<_> = (0..=BULK_COPY_FILES).map(|n| row(&format!("p{n}"), "1.0", 1, 7, 0)).collect();
    let no_events = Events::default();
    let tables = MirrorTables { archive: &[], current: &rows, events: &no_events };
    assert_eq!(reconstruct(&tables, day(1), day(9)).bulk_copy, Some((day(7), BULK_COPY_FILES + 1)));
    assert_eq!(reconstruct(&tables, day(7), day(9)).bulk_copy, None, "that is the state on the first day");
    assert_eq!(reconstruct(&MirrorTables { current: &rows[1..], ..tables }, day(1), day(9)).bulk_copy, None);
}

/// A change of a package on a day.
#[derive(Clone, Copy, Debug)]
enum DayChange {
    Publish,
    /// The same version with different bytes.
    Republish,
    Archive,
    Restore,
}

/// File names and sizes, sorted.
type Keys = Vec<(String, u64)>;

/// A simulated mirror that records each day.
#[derive(Default)]
struct SimulatedMirror {
    listed: BTreeMap<&'static str, MetaRow<String>>,
    archive: Vec<MetaRow<String>>,
    notes: BTreeMap<&'static str, String>,
    last_size: u64,
    /// The listed and the archived files at the end of each day.
    days: Vec<(Keys, Keys)>,
}

impl SimulatedMirror {
    fn apply(&mut self, today: i64, package: &'static str, action: DayChange) {
        self.last_size += 1;
        let newest =
            self.archive.iter().filter(|row| row.package == package).max_by_key(|row| row.mtime).cloned();
        match (action, self.listed.get(package).cloned()) {
            (DayChange::Publish, old) => {
                let version = format!("1.{}", self.last_size);
                self.archive.extend(old);
                self.listed.insert(package, row(package, &version, self.last_size, today, 12));
            }
            (DayChange::Republish, Some(old)) => {
                let republished_row =
                    MetaRow { size: self.last_size, mtime: row("a", "1", 0, today, 12).mtime, ..old.clone() };
                // An archive has one file per name, so an older file with the same name would be overwritten.
                if !self.archive.iter().any(|row| row.file == old.file) {
                    self.archive.push(old);
                    self.listed.insert(package, republished_row);
                }
            }
            (DayChange::Archive, Some(old)) if !self.archive.iter().any(|row| row.file == old.file) => {
                self.archive.push(old);
                self.listed.remove(package);
                self.note(package, "Archived", today);
            }
            (DayChange::Restore, None) => {
                if let Some(newest) = newest {
                    self.archive.retain(|row| *row != newest);
                    self.listed.insert(package, newest);
                    self.note(package, "Unarchived", today);
                }
            }
            (DayChange::Republish | DayChange::Archive | DayChange::Restore, _) => {}
        }
    }

    fn note(&mut self, package: &'static str, verb: &str, today: i64) {
        let note = self.notes.entry(package).or_default();
        note.push_str(&format!(" {verb} on {} as requested.", day(today)));
    }

    fn end_of_day(&mut self) {
        let key = |row: &MetaRow<String>| (row.file.clone(), row.size);
        let mut listed: Vec<_> = self.listed.values().map(key).collect();
        let mut archive: Vec<_> = self.archive.iter().map(key).collect();
        listed.sort();
        archive.sort();
        self.days.push((listed, archive));
    }
}

fn action() -> impl Strategy<Value = DayChange> {
    prop_oneof![
        4 => Just(DayChange::Publish),
        1 => Just(DayChange::Republish),
        2 => Just(DayChange::Archive),
        2 => Just(DayChange::Restore),
    ]
}

proptest! {
    #[test]
    fn a_history_is_reconstructed_from_its_files(
        actions in prop::collection::vec(prop::collection::btree_map(prop::sample::select(&["a", "B", "c.d"][..]), action(), 0..3), 1..40),
        since in 0..40_i64,
        days_left_out in 0..40_i64,
    ) {
        let mut mirror = SimulatedMirror::default();
        for (today, today_actions) in (0..).zip(&actions) {
            today_actions.iter().for_each(|(package, action)| mirror.apply(today, package, *action));
            mirror.end_of_day();
        }
        let length = mirror.days.len() as i64;
        let (since, until) = (since.min(length - 1), length - days_left_out.min(length - 1));
        let notes: String = mirror.notes.iter().map(|(package, note)| format!("Package: {package}\nX-CRAN-History:{note}\n\n")).collect();
        let events = Events::read(notes.as_bytes()).expect("a text");
        // The files listed at the end of the requested days; files published later are in the archive table.
        let listed_at_end = &mirror.days[(until - 1) as usize].0;
        let rows: Vec<MetaRow<String>> = mirror.archive.iter().chain(mirror.listed.values()).cloned().collect();
        let current: Vec<_> = rows.iter().filter(|row| listed_at_end.contains(&(row.file.clone(), row.size))).cloned().collect();
        let history = reconstruct(&MirrorTables { archive: &rows, current: &current, events: &events }, day(since), day(until));
        let mut state: BTreeMap<(String, u64), bool> = BTreeMap::new();
        let mut changed_days = history.days.iter().peekable();
        for today in since..until {
            if let Some(changes) = changed_days.next_if(|history_day| history_day.day == day(today)) {
                for transition in &changes.changes {
                    let key = (transition.file.file.clone(), transition.file.size);
                    let previous_state = state.insert(key, transition.state.is_listed());
                    prop_assert_ne!(previous_state, Some(transition.state.is_listed()), "a change that changes nothing");
                }
            }
            let keys_with = |listed: bool| state.iter().filter(|(_, is_listed)| **is_listed == listed).map(|(key, _)| key.clone()).collect::<Vec<_>>();
            prop_assert_eq!(&keys_with(true), &mirror.days[today as usize].0, "listed on day {}", today);
            prop_assert_eq!(&keys_with(false), &mirror.days[today as usize].1, "archived on day {}", today);
        }
        prop_assert_eq!(changed_days.next(), None);
        prop_assert_eq!(history.undated_count, 0);
    }
}
