//! Tables of a mirror merged with a database, case by case.

use super::*;
use base::model::ids::PackageId;
use base::model::time::SECOND;

fn row(package: &str, version: &str, size: u64, seconds: i64) -> Row {
    let file = format!("{package}_{version}.tar.gz");
    MetaRow { package: package.to_owned(), file, size, mtime: Timestamp(seconds * SECOND) }
}

fn release(id: i64, package: &str, version: &str, size: Option<i64>, seconds: Option<i64>) -> StoredRelease {
    StoredRelease {
        release: ReleaseId(id),
        package: PackageId(1),
        name: package.to_owned(),
        version: version.to_owned(),
        revision: 0,
        published_at: seconds.map(|seconds| Timestamp(seconds * SECOND)),
        file: format!("{package}_{version}.tar.gz"),
        size,
        variant: None,
    }
}

fn state(releases: Vec<StoredRelease>, listed: &[i64], archived: &[i64]) -> SourceState {
    let life = |state| move |id: &i64| LiveRelease { release: ReleaseId(*id), state, variant: 0 };
    let lives =
        listed.iter().map(life(LifeState::Listed)).chain(archived.iter().map(life(LifeState::Archived)));
    SourceState { first_lives: lives.collect(), releases, first_at: Timestamp(1_000_000 * SECOND) }
}

fn tables(archive: Vec<Row>, current: Vec<Row>) -> Tables {
    Tables { archive, current, ..Tables::default() }
}

/// Returns the current and the archived files as lines: `file size time release location`.
fn as_lines(files: &Files) -> (Vec<String>, Vec<String>) {
    let line = |row: &Row| {
        let origin = &files.origins[&key(row)];
        let release = origin.release_index.map_or("new".to_owned(), |location| location.to_string());
        let location = if origin.is_archived { "archive" } else { "index" };
        format!("{} {} {} {release} {location}", row.file, row.size, row.mtime.seconds())
    };
    let lines = |rows: &[Row]| {
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        lines.sort();
        lines
    };
    (lines(&files.current), lines(&files.archive))
}

#[test]
fn known_files_are_found_and_others_are_new() {
    let state = state(
        vec![release(7, "a", "1.1", Some(11), Some(200)), release(8, "a", "1.0", Some(10), Some(100))],
        &[7],
        &[8],
    );
    let tables =
        tables(vec![row("a", "1.0", 10, 100), row("b", "1.0", 9, 90)], vec![row("a", "1.1", 11, 200)]);
    let (current, archive) = as_lines(&collect_files(&state, &tables));
    assert_eq!(current, ["a_1.1.tar.gz 11 200 0 index"]);
    assert_eq!(archive, ["a_1.0.tar.gz 10 100 1 archive", "b_1.0.tar.gz 9 90 new archive"]);
}

#[test]
fn files_are_listed_as_at_the_first_step_and_not_as_now() {
    // The mirror has archived the version since, and moved its file.
    let state = state(vec![release(7, "a", "1.0", Some(10), Some(100))], &[7], &[]);
    let tables = tables(vec![row("a", "1.0", 10, 100)], vec![row("a", "2.0", 20, 2_000_000)]);
    let (current, archive) = as_lines(&collect_files(&state, &tables));
    assert_eq!(current, ["a_1.0.tar.gz 10 100 0 archive"]);
    assert_eq!(archive, ["a_2.0.tar.gz 20 2000000 new index"]);
}

#[test]
fn the_database_keeps_its_times_when_a_mirror_was_copied() {
    let count = COPY_THRESHOLD + 2;
    let name = |n: usize| format!("p{n}");
    let releases = (0..count).map(|n| release(n as i64, &name(n), "1.0", Some(10), Some(100 + n as i64)));
    let listed: Vec<i64> = (0..count as i64).collect();
    let state = state(releases.collect(), &listed, &[]);
    let copied_rows = (0..count).map(|n| row(&name(n), "1.0", 10, 500_000)).collect();
    let files = collect_files(&state, &tables(Vec::new(), copied_rows));
    assert!(
        files.current.iter().all(|row| row.mtime.seconds() < 100 + count as i64),
        "none has the time of the copy"
    );
    assert!(files.archive.is_empty());
    assert!(
        files.warnings[0].contains(&format!("{count} known versions have another time")),
        "{:?}",
        files.warnings
    );
}

#[test]
fn one_version_with_two_sets_of_bytes_is_two_files_and_with_one_set_it_is_one() {
    let releases =
        vec![release(7, "a", "1.0", Some(20), Some(200)), release(8, "a", "1.0", Some(10), Some(100))];
    let state_with_both = state(releases, &[7], &[8]);
    let tables_with_both = tables(vec![row("a", "1.0", 10, 100)], vec![row("a", "1.0", 20, 200)]);
    let (current, archive) = as_lines(&collect_files(&state_with_both, &tables_with_both));
    assert_eq!(
        (current, archive),
        (vec!["a_1.0.tar.gz 20 200 0 index".to_owned()], vec!["a_1.0.tar.gz 10 100 1 archive".to_owned()])
    );
    // Only one of them is known: the one with its size and time, even if the other comes first.
    let state_with_one = state(vec![release(7, "a", "1.0", Some(20), Some(200))], &[7], &[]);
    let (current, archive) = as_lines(&collect_files(&state_with_one, &tables_with_both));
    assert_eq!((current.len(), archive), (1, vec!["a_1.0.tar.gz 10 100 new archive".to_owned()]));
    // The mirror was read between the copy and the deletion.
    let tables_with_duplicate = tables(vec![row("a", "1.0", 20, 200)], vec![row("a", "1.0", 20, 200)]);
    let (current, archive) = as_lines(&collect_files(&state_with_one, &tables_with_duplicate));
    assert_eq!((current, archive.len()), (vec!["a_1.0.tar.gz 20 200 0 archive".to_owned()], 0));
}

#[test]
fn facts_that_the_first_sync_lacked_are_filled_in() {
    let releases = vec![release(7, "a", "1.0", None, None), release(8, "b", "1.0", Some(5), None)];
    let state = state(releases, &[7, 8], &[]);
    let tables = tables(Vec::new(), vec![row("a", "1.0", 10, 100), row("b", "1.0", 5, 50)]);
    let (current, archive) = as_lines(&collect_files(&state, &tables));
    assert_eq!(current, ["a_1.0.tar.gz 10 100 0 index", "b_1.0.tar.gz 5 50 1 index"]);
    assert!(archive.is_empty());
}

#[test]
fn files_that_the_mirror_lost_are_kept() {
    let releases = vec![release(7, "a", "1.0", Some(10), Some(100)), release(8, "b", "1.0", None, None)];
    let state = state(releases, &[8], &[7]);
    let (current, archive) = as_lines(&collect_files(&state, &Tables::default()));
    // Listed at the first step, without a known time: counts as listed since that step.
    assert_eq!(current, ["b_1.0.tar.gz 0 1000000 1 index"]);
    assert_eq!(archive, ["a_1.0.tar.gz 10 100 0 archive"]);
}

#[test]
fn a_table_that_lost_a_fifth_is_refused() {
    let name = |n: usize| format!("p{n}");
    let releases = (0..100).map(|n| release(n as i64, &name(n), "1.0", Some(10), Some(100)));
    let state = state(releases.collect(), &[], &(0..100).collect::<Vec<_>>());
    let tables_of =
        |count: usize| tables((0..count).map(|n| row(&name(n), "1.0", 10, 100)).collect(), Vec::new());
    assert!(archive_loss(&state, &tables_of(80)).is_suspicious());
    assert!(!archive_loss(&state, &tables_of(81)).is_suspicious());
}
