//! Rows of small histories.

use super::*;
use formats::r::history::{HistoryDay, ListingState};

fn row(package: &str, version: &str, day: i64) -> MetaRow<String> {
    let file = format!("{package}_{version}.tar.gz");
    MetaRow { package: package.to_owned(), file, size: 10, mtime: Timestamp((day * 86_400 + 3600) * SECOND) }
}

fn day<'a>(number: i64, changes: &[(&'a MetaRow<String>, ListingState)]) -> HistoryDay<'a> {
    let changes = changes.iter().map(|(file, state)| Transition { file, state: *state }).collect();
    HistoryDay { day: Timestamp(number * 86_400 * SECOND).day(), changes }
}

fn new_file(stanza: Option<&str>) -> ReleaseIdentity {
    ReleaseIdentity {
        release: None,
        variant: None,
        stanza: stanza.map(|text| text.as_bytes().to_vec()),
        locator: "somewhere".to_owned(),
        revision: 0,
    }
}

/// Returns the lives of a release as text: `listed -3..-1`.
fn lives(history: &ReleaseHistory) -> Vec<String> {
    let name = |state| if state == LifeState::Listed { "listed" } else { "archived" };
    history.lives.iter().map(|life| format!("{} {}..{}", name(life.state), life.from, life.to)).collect()
}

#[test]
fn lives_end_at_the_next_one_and_the_last_at_the_first_step() {
    let (old, new, other) = (row("a", "1.0", 1), row("a", "1.1", 2), row("b", "1", 1));
    let history = History {
        days: vec![
            day(1, &[(&old, ListingState::Listed), (&other, ListingState::Listed)]),
            day(2, &[(&old, ListingState::Superseded), (&new, ListingState::Listed)]),
            day(5, &[(&other, ListingState::Archived)]),
            day(9, &[(&other, ListingState::Restored)]),
        ],
        ..History::default()
    };
    let rows = assemble(&history, Seq(1), |_| new_file(Some("Package: x")));
    let lives: Vec<Vec<String>> = rows.releases.iter().map(lives).collect();
    assert_eq!(lives[0], ["listed -3..-2", "archived -2..1"]);
    assert_eq!(lives[1], ["listed -3..-1", "archived -1..0", "listed 0..1"]);
    assert_eq!(lives[2], ["listed -2..1"]);
    let counts: Vec<_> = rows
        .steps
        .iter()
        .map(|s| (s.counts.added, s.counts.updated, s.counts.archived, s.counts.removed))
        .collect();
    assert_eq!(counts, [(2, 0, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1), (1, 0, 0, 0)]);
    let days: Vec<String> = rows.steps.iter().map(|step| format!("{} {}", step.at, step.comment)).collect();
    assert_eq!(days[1], "1970-01-03T23:59:59Z 1970-01-03");
    assert_eq!(rows.steps[1].published_from, Some(new.mtime));
    assert_eq!((rows.steps[2].published_from, rows.unlisted_files.len()), (None, 0));
}

#[test]
fn steps_continue_below_existing_earlier_steps() {
    let old = row("a", "1.0", 1);
    let history = History { days: vec![day(1, &[(&old, ListingState::Listed)])], ..History::default() };
    let rows = assemble(&history, Seq(-40), |_| new_file(Some("Package: a")));
    assert_eq!(lives(&rows.releases[0]), ["listed -41..-40"]);
}

#[test]
fn a_release_without_a_stanza_is_in_the_archive_and_in_no_index() {
    let (old, new) = (row("a", "1.0", 1), row("a", "1.1", 2));
    let history = History {
        days: vec![
            day(1, &[(&old, ListingState::Listed)]),
            day(2, &[(&old, ListingState::Superseded), (&new, ListingState::Listed)]),
            day(3, &[(&new, ListingState::Archived)]),
        ],
        ..History::default()
    };
    let rows = assemble(&history, Seq(1), |row| new_file((row.file == new.file).then_some("Package: a")));
    assert_eq!(lives(&rows.releases[0]), ["archived -2..1"]);
    assert_eq!(lives(&rows.releases[1]), ["listed -1..0", "archived 0..1"]);
    assert_eq!(rows.unlisted_files, ["a_1.0.tar.gz"]);
    assert_eq!(rows.steps[1].counts.added, 1, "it was not in the index before");
}

#[test]
fn known_releases_keep_their_record_or_get_one() {
    let file = row("a", "1.0", 1);
    let history = History { days: vec![day(1, &[(&file, ListingState::Listed)])], ..History::default() };
    let known = |record_number, stanza: Option<&str>| {
        let release = Some((PackageId(3), ReleaseId(7)));
        let rows = assemble(&history, Seq(1), |_| ReleaseIdentity {
            release,
            variant: record_number,
            ..new_file(stanza)
        });
        match &rows.releases[0].release {
            PastRelease::Known { variant: record_number, record, .. } => {
                (*record_number, record.is_some(), lives(&rows.releases[0]).remove(0))
            }
            PastRelease::New(release) => panic!("{release:?} is known"),
        }
    };
    assert_eq!(known(Some(-2), None), (-2, false, "listed 0..1".to_owned()));
    assert_eq!(
        known(Some(-2), Some("Package: a")),
        (-2, false, "listed 0..1".to_owned()),
        "a published record is not replaced"
    );
    assert_eq!(known(None, Some("Package: a")), (BACKFILL_VARIANT, true, "listed 0..1".to_owned()));
    assert_eq!(known(None, None), (0, false, "archived 0..1".to_owned()));
}
