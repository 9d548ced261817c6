//! `PACKAGES.in`: the days on which packages left CRAN's index and returned, extracted from hand-written sentences.

use std::collections::HashMap;

use crate::r::dcf::{self, DcfError};
use base::model::time::Day;

/// The kind of an event, which concerns a whole package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HistoryEventKind {
    /// The package left the index: archived, removed, renamed, replaced.
    Removed,
    /// The package returned to the index: unarchived, unorphaned, restored, reinstated.
    Restored,
}

/// A change with its day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryEvent {
    /// The day of the change; it is in effect at the end of this day.
    pub day: Day,
    pub kind: HistoryEventKind,
}

/// Maximum number of events of a package; packages of CRAN have at most a dozen.
pub const MAX_EVENTS: usize = 1000;

#[derive(Clone, Debug, Default)]
pub struct Events {
    by_package: HashMap<String, Vec<HistoryEvent>>,
}

impl Events {
    /// Parses `PACKAGES.in`. Sentences without a day or an event are ignored, and so are records without a package.
    pub fn read(text: &[u8]) -> Result<Events, DcfError> {
        let mut events = Events::default();
        for record in dcf::records(text) {
            let record = record?;
            let field =
                |tag| record.get(tag).map(|value| String::from_utf8_lossy(&value.fold()).into_owned());
            let Some(package) = field("Package") else { continue };
            for tag in ["X-CRAN-History", "X-CRAN-Comment"] {
                for event in field(tag).map(|text| parse_events(&text)).unwrap_or_default() {
                    events.add(&package, event);
                }
            }
        }
        Ok(events)
    }

    /// Adds an event. Duplicates are ignored, and so are events of a package beyond [`MAX_EVENTS`].
    pub fn add(&mut self, package: &str, event: HistoryEvent) {
        let events = self.by_package.entry(package.to_owned()).or_default();
        if let Err(index) = events.binary_search(&event)
            && events.len() < MAX_EVENTS
        {
            events.insert(index, event);
        }
    }

    /// Returns the events of a package, by day; empty for an unknown package.
    pub fn get(&self, package: &str) -> &[HistoryEvent] {
        self.by_package.get(package).map_or(&[], Vec::as_slice)
    }

    pub fn len(&self) -> usize {
        self.by_package.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_package.is_empty()
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Change(HistoryEventKind),
    /// Orphaned: without a maintainer, but still listed.
    NoChange,
}

/// Extracts the events from a text. An event is a verb and the first day after it in the same sentence.
fn parse_events(text: &str) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    let mut verb = None;
    for word in text.split_whitespace() {
        let token = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if let Some(next_verb) = parse_verb(token) {
            verb = Some(next_verb);
        } else if let Ok(day) = token.parse::<Day>() {
            match verb.take() {
                Some(Verb::Change(kind)) => events.push(HistoryEvent { day, kind }),
                Some(Verb::NoChange) | None => {}
            }
        }
        if word.ends_with(['.', ';']) {
            verb = None;
        }
    }
    events
}

fn parse_verb(word: &str) -> Option<Verb> {
    let is_one_of = |words: &[&str]| words.iter().any(|other| word.eq_ignore_ascii_case(other));
    if is_one_of(&["archived", "removed", "renamed", "replaced"]) {
        Some(Verb::Change(HistoryEventKind::Removed))
    } else if is_one_of(&["unarchived", "unorphaned", "restored", "reinstated"]) {
        Some(Verb::Change(HistoryEventKind::Restored))
    } else if is_one_of(&["orphaned"]) {
        Some(Verb::NoChange)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::Timestamp;

    fn event_lines(text: &str) -> Vec<String> {
        let line = |event: HistoryEvent| format!("{:?} {}", event.kind, event.day);
        parse_events(text).into_iter().map(line).collect()
    }

    #[test]
    fn a_verb_and_the_following_day_are_an_event() {
        for (text, events) in [
            (
                "Archived on 2026-07-10 as issues were not corrected despite reminders since 2026-06-01.",
                &["Removed 2026-07-10"][..],
            ),
            (
                "Archived on 2018-01-02 as check problems were not corrected. Unarchived on 2018-02-03.",
                &["Removed 2018-01-02", "Restored 2018-02-03"],
            ),
            ("Removed from CRAN on 2014-11-16 at the maintainer's request.", &["Removed 2014-11-16"]),
            ("Orphaned on 2020-01-02 as the maintainer's address bounces.", &[]),
            ("Orphaned and archived on 2020-01-02.", &["Removed 2020-01-02"]),
            ("Orphaned on 2020-01-02, archived on 2020-03-04 at last", &["Removed 2020-03-04"]),
            ("Versions prior to 4.7 had another licence (2012-03-04).", &[]),
            (
                "archived on 2015-05-06; restored on 2015-07-08; ARCHIVED ON 2019-09-10",
                &["Removed 2015-05-06", "Restored 2015-07-08", "Removed 2019-09-10"],
            ),
            ("Archived on 2020-13-45 and on (2020-01-05).", &["Removed 2020-01-05"]),
            ("Was never archived. See 2020-01-05", &[]),
            ("", &[]),
        ] {
            assert_eq!(event_lines(text), events, "{text}");
        }
    }

    #[test]
    fn line_ends_of_either_kind_and_folded_lines_are_read() {
        let text = b"Package: a\r\nX-CRAN-Comment: Archived on 2020-01-02 as\r\n  check problems\r\n\r\n\
            Package: b\nX-CRAN-Comment: Archived\n on\n 2021-01-02.\n\
            X-CRAN-History: Archived on 2021-01-02.\n\tUnarchived on 2020-05-06.\nReplaced_by: c\n\n\
            Package: c\nLicense_restricts_use: yes\n";
        let events = Events::read(text).expect("a text");
        let days = |package: &str| {
            events.get(package).iter().map(|e| format!("{:?} {}", e.kind, e.day)).collect::<Vec<_>>()
        };
        assert_eq!(days("a"), ["Removed 2020-01-02"]);
        assert_eq!(days("b"), ["Restored 2020-05-06", "Removed 2021-01-02"], "by day, each once");
        assert_eq!((days("c"), events.len(), events.is_empty()), (Vec::new(), 2, false));
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let days = (0..200_000_i64).map(|n| Timestamp(n * 86_400_000_000).day());
        let text: String = days.map(|day| format!(" Archived on {day}.")).collect();
        let events = Events::read(format!("Package: a\nX-CRAN-Comment:{text}\n").as_bytes()).expect("a text");
        assert_eq!(events.get("a").len(), MAX_EVENTS);
    }

    #[test]
    fn an_html_page_has_no_events() {
        assert!(
            Events::read(b"<html><body>not found</body></html>").map_or(true, |events| events.is_empty())
        );
    }
}
