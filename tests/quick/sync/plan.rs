//! Plans of syncs for all known behaviors of mirrors.

use super::model::{Mirror, Record, Row, Tables, record, row};

fn mirror(listed: &[Record], current: &[Row], archive: &[Row]) -> Mirror {
    Mirror {
        records: listed.to_vec(),
        current: Some(current.to_vec()),
        archive: Some(archive.to_vec()),
        cutoff: None,
    }
}

/// A mirror that lists `aa 1.0` and `bb 2.0` and has `bb 1.0` in its archive, and the tables after its sync.
fn first_sync() -> (Tables, Mirror) {
    let mirror = mirror(
        &[record("aa", "1.0", 1), record("bb", "2.0", 2)],
        &[row("aa", "1.0", 10, 100), row("bb", "2.0", 20, 200)],
        &[row("bb", "1.0", 15, 50)],
    );
    let mut tables = Tables::default();
    tables.sync(&mirror);
    (tables, mirror)
}

fn counts(plan: &rstudio_pm::sync::plan::Plan) -> (i64, i64, i64, i64) {
    let c = plan.counts;
    (c.added, c.updated, c.archived, c.removed)
}

#[test]
fn the_first_sync_lists_and_archives_everything_with_its_real_date() {
    let mut tables = Tables::default();
    let (_, mirror) = first_sync();
    let plan = tables.sync(&mirror);
    assert_eq!(tables.listed(), ["aa 1.0", "bb 2.0"]);
    assert_eq!(tables.archived(), ["bb 1.0"]);
    assert_eq!(tables.date_and_size("bb", "1.0", 0), (Some(50), Some(15)));
    assert_eq!(counts(&plan), (2, 0, 0, 0));
    let seconds = |t: Option<rstudio_pm::model::time::Timestamp>| t.map(|t| t.seconds());
    assert_eq!((seconds(plan.published_from), seconds(plan.published_to)), (Some(50), Some(200)));
}

#[test]
fn a_superseded_release_moves_to_the_archive_and_stays_the_same_release() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0] = record("aa", "1.1", 3);
    mirror.current = Some(vec![row("aa", "1.1", 11, 300), row("bb", "2.0", 20, 200)]);
    mirror.archive.as_mut().expect("a table").push(row("aa", "1.0", 10, 100));
    let plan = tables.sync(&mirror);
    assert_eq!(tables.listed(), ["aa 1.1", "bb 2.0"]);
    assert_eq!(tables.archived(), ["aa 1.0", "bb 1.0"]);
    assert_eq!(counts(&plan), (0, 1, 1, 0));
    assert_eq!(plan.changes.len(), 3, "a new release, a life that begins, one that ends: {:?}", plan.changes);
}

#[test]
fn a_package_missing_from_index_and_archive_is_not_listed_and_not_archived() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records.remove(1);
    mirror.archive = Some(Vec::new());
    let plan = tables.sync(&mirror);
    assert_eq!((tables.listed(), tables.archived()), (vec!["aa 1.0".to_owned()], vec![]));
    assert_eq!(counts(&plan), (0, 0, 0, 1));
}

#[test]
fn a_package_missing_from_the_index_but_in_the_archive_is_archived() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records.remove(1);
    mirror.current.as_mut().expect("a table").remove(1);
    mirror.archive.as_mut().expect("a table").push(row("bb", "2.0", 20, 200));
    let plan = tables.sync(&mirror);
    assert_eq!(tables.archived(), ["bb 1.0", "bb 2.0"]);
    assert_eq!(counts(&plan), (0, 0, 1, 1));
}

#[test]
fn a_restored_package_is_the_same_release_with_a_new_record() {
    let (mut tables, before) = first_sync();
    let mut withdrawn = before.clone();
    withdrawn.records.remove(1);
    withdrawn.current.as_mut().expect("a table").remove(1);
    withdrawn.archive.as_mut().expect("a table").push(row("bb", "2.0", 20, 200));
    tables.sync(&withdrawn);
    let mut restored = before;
    restored.records[1].depends = "R (>= 4.0)";
    let plan = tables.sync(&restored);
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["aa 1.0".into(), "bb 2.0".into()], vec!["bb 1.0".to_owned()])
    );
    assert!(tables.stanza("bb").contains("4.0"));
    assert_eq!(counts(&plan), (1, 0, 0, 0));
}

#[test]
fn an_archived_release_that_was_never_listed_can_be_listed() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[1] = record("bb", "1.0", 9);
    mirror.current.as_mut().expect("a table")[1] = row("bb", "1.0", 15, 50);
    mirror.archive = Some(vec![row("bb", "2.0", 20, 200)]);
    tables.sync(&mirror);
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["aa 1.0".into(), "bb 1.0".into()], vec!["bb 2.0".to_owned()])
    );
    assert!(tables.stanza("bb").contains("1.0"));
}

#[test]
fn a_withdrawn_package_that_is_listed_again_is_the_same_release() {
    let (mut tables, before) = first_sync();
    let mut withdrawn = before.clone();
    withdrawn.records.remove(0);
    tables.sync(&withdrawn);
    tables.sync(&before);
    assert_eq!(tables.listed(), ["aa 1.0", "bb 2.0"]);
}

#[test]
fn the_same_version_with_other_bytes_is_a_new_revision_and_the_old_bytes_may_be_archived() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0].md5 = Some(77);
    mirror.current.as_mut().expect("a table")[0] = row("aa", "1.0", 12, 300);
    mirror.archive.as_mut().expect("a table").push(row("aa", "1.0", 10, 100));
    tables.sync(&mirror);
    assert_eq!(tables.listed(), ["aa 1.0 revision 1", "bb 2.0"]);
    assert_eq!(tables.archived(), ["aa 1.0", "bb 1.0"]);
}

#[test]
fn the_same_version_with_other_bytes_replaces_the_old_bytes_when_no_table_has_them() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0].md5 = Some(77);
    mirror.current.as_mut().expect("a table")[0] = row("aa", "1.0", 12, 300);
    tables.sync(&mirror);
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["aa 1.0 revision 1".into(), "bb 2.0".into()], vec!["bb 1.0".to_owned()])
    );
}

#[test]
fn the_size_of_the_old_bytes_is_not_used_for_the_new_ones() {
    let (mut tables, mut mirror) = first_sync();
    // The index is newer than `Meta/`.
    mirror.records[0].md5 = Some(77);
    tables.sync(&mirror);
    assert_eq!(tables.listed()[0], "aa 1.0 revision 1");
    assert_eq!(tables.date_and_size("aa", "1.0", 1), (None, None));
}

#[test]
fn a_changed_record_of_the_same_bytes_is_the_same_release() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0].depends = "R (>= 4.1)";
    let plan = tables.sync(&mirror);
    assert_eq!(tables.listed(), ["aa 1.0", "bb 2.0"]);
    assert!(tables.stanza("aa").contains("4.1"));
    assert_eq!(counts(&plan), (0, 1, 0, 0));
    mirror.records[0].depends = "R (>= 4.2)";
    tables.sync(&mirror);
    assert!(tables.stanza("aa").contains("4.2"));
}

#[test]
fn a_record_with_other_line_breaks_is_the_same_record() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0].depends = "R\n        ";
    mirror.records[1].depends = "\n  R";
    assert_eq!(tables.sync(&mirror).changes, []);
}

#[test]
fn a_release_listed_and_archived_with_equal_size_and_time_is_listed() {
    let (mut tables, mut mirror) = first_sync();
    mirror.archive.as_mut().expect("a table").push(row("aa", "1.0", 10, 100));
    assert_eq!(tables.sync(&mirror).changes, []);
}

#[test]
fn second_records_with_a_path_are_listed_in_addition_to_the_first() {
    let (mut tables, mut mirror) = first_sync();
    let recommended =
        Record { path: Some("4.6.0/Recommended"), depends: "R (>= 4.6)", ..record("aa", "1.0", 1) };
    mirror.records.push(recommended);
    tables.sync(&mirror);
    assert_eq!(tables.listed(), ["aa 1.0", "aa 1.0 revision 1 at 4.6.0/Recommended", "bb 2.0"]);
    mirror.records.retain(|r| r.path.is_none());
    tables.sync(&mirror);
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["aa 1.0".into(), "bb 2.0".into()], vec!["bb 1.0".to_owned()])
    );
}

#[test]
fn an_index_with_several_versions_lists_the_highest_and_archives_the_others() {
    let mut tables = Tables::default();
    let listed = [record("aa", "1.9", 1), record("aa", "1.10", 2), record("aa", "1.2", 3)];
    let plan = tables.sync(&Mirror { records: listed.to_vec(), ..Mirror::default() });
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["aa 1.10".to_owned()], vec!["aa 1.2".into(), "aa 1.9".to_owned()])
    );
    assert!(plan.warnings[0].contains("more than once"), "{:?}", plan.warnings);
}

#[test]
fn without_meta_superseded_releases_are_archived_permanently() {
    let mut tables = Tables::default();
    let mut mirror = Mirror { records: vec![record("aa", "1.0", 1)], ..Mirror::default() };
    for (version, md5) in [("1.1", 2), ("1.2", 3)] {
        tables.sync(&mirror);
        mirror.records = vec![record("aa", version, md5)];
    }
    tables.sync(&mirror);
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["aa 1.2".to_owned()], vec!["aa 1.0".into(), "aa 1.1".to_owned()])
    );
    mirror.records = vec![record("bb", "1.0", 9)];
    tables.sync(&mirror);
    assert_eq!(
        (tables.listed(), tables.archived()),
        (vec!["bb 1.0".to_owned()], vec!["aa 1.0".into(), "aa 1.1".to_owned()])
    );
}

#[test]
fn an_outdated_meta_does_not_remove_a_superseded_release() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0] = record("aa", "1.1", 3);
    tables.sync(&mirror);
    assert_eq!(tables.archived(), ["aa 1.0", "bb 1.0"]);
    assert_eq!(tables.date_and_size("aa", "1.1", 0), (None, None));
    mirror.current.as_mut().expect("a table")[0] = row("aa", "1.1", 11, 300);
    mirror.archive.as_mut().expect("a table").push(row("aa", "1.0", 10, 100));
    assert_eq!(tables.sync(&mirror).changes, []);
}

#[test]
fn a_superseded_release_that_meta_no_longer_has_is_removed() {
    let (mut tables, mut mirror) = first_sync();
    mirror.records[0] = record("aa", "1.1", 3);
    mirror.current.as_mut().expect("a table")[0] = row("aa", "1.1", 11, 300);
    tables.sync(&mirror);
    assert_eq!(tables.archived(), ["bb 1.0"]);
}

#[test]
fn a_file_on_the_mirror_that_the_index_does_not_list_is_not_listed() {
    let (mut tables, mut mirror) = first_sync();
    mirror.current.as_mut().expect("a table").push(row("cc", "1.0", 5, 5));
    assert_eq!(tables.sync(&mirror).changes, []);
}

#[test]
fn a_few_archived_files_with_another_time_are_new_revisions() {
    let (mut tables, mut mirror) = first_sync();
    mirror.archive.as_mut().expect("a table")[0].mtime = 51;
    tables.sync(&mirror);
    assert_eq!(tables.archived(), ["bb 1.0 revision 1"]);
}

#[test]
fn new_times_of_many_archived_files_do_not_change_their_dates() {
    let versions: Vec<&'static str> = (0..600).map(|n| &*format!("1.{n}").leak()).collect();
    let rows = |mtime: i64| versions.iter().map(|v| row("aa", v, 10, mtime)).collect::<Vec<_>>();
    let listed = [record("aa", "2.0", 1)];
    let mut tables = Tables::default();
    tables.sync(&mirror(&listed, &[], &rows(100)));
    let plan = tables.sync(&mirror(&listed, &[], &rows(999)));
    assert_eq!(plan.changes, []);
    assert!(plan.warnings[0].contains("600 known versions"), "{:?}", plan.warnings);
    assert_eq!(tables.date_and_size("aa", "1.0", 0), (Some(100), Some(10)));
}

#[test]
fn packages_whose_names_differ_in_case_are_two_packages() {
    let mut tables = Tables::default();
    tables.sync(&mirror(&[record("aa", "1.0", 1), record("AA", "1.0", 2)], &[], &[]));
    assert_eq!(tables.listed(), ["AA 1.0", "aa 1.0"]);
}

/// The mirror later: it lists `aa 1.1`, `bb 2.2` (2.0 and 2.1 are archived) and, for the first time, `cc`; releases
/// after `cutoff` are delayed.
fn later_mirror(mut mirror: Mirror, cutoff: i64) -> Mirror {
    mirror.records = vec![record("aa", "1.1", 3), record("bb", "2.2", 5), record("cc", "0.2", 6)];
    mirror.current =
        Some(vec![row("aa", "1.1", 11, 300), row("bb", "2.2", 22, 420), row("cc", "0.2", 30, 500)]);
    mirror.archive.as_mut().expect("a table").extend([
        row("aa", "1.0", 10, 100),
        row("bb", "2.0", 20, 200),
        row("bb", "2.1", 21, 410),
        row("cc", "0.1", 30, 310),
    ]);
    Mirror { cutoff: Some(cutoff), ..mirror }
}

#[test]
fn recent_releases_are_delayed_and_their_packages_do_not_change() {
    let (mut tables, mirror) = first_sync();
    let plan = tables.sync(&later_mirror(mirror.clone(), 250));
    assert_eq!((plan.delayed_count, plan.changes.len()), (3, 0), "{:?}", plan.changes);
    let plan = tables.sync(&later_mirror(mirror.clone(), 310));
    assert_eq!(plan.delayed_count, 2);
    assert_eq!(tables.listed(), ["aa 1.1", "bb 2.0"]);
    assert_eq!(
        tables.archived(),
        ["aa 1.0", "bb 1.0", "cc 0.1"],
        "old releases of a new package are archived"
    );
    assert_eq!(counts(&plan), (0, 1, 1, 0));
    tables.sync(&later_mirror(mirror.clone(), 415));
    assert_eq!(tables.listed(), ["aa 1.1", "bb 2.0"]);
    let plan = tables.sync(&later_mirror(mirror, 500));
    assert_eq!(plan.delayed_count, 0);
    assert_eq!(tables.listed(), ["aa 1.1", "bb 2.2", "cc 0.2"]);
    assert_eq!(tables.archived(), ["aa 1.0", "bb 1.0", "bb 2.0", "bb 2.1", "cc 0.1"]);
}

#[test]
fn a_withdrawal_is_not_delayed_and_listed_releases_remain() {
    let (mut tables, mut mirror) = first_sync();
    mirror.cutoff = Some(150);
    assert_eq!(tables.sync(&mirror).changes, [], "bb 2.0 is later than the limit, but already listed");
    mirror.records.remove(0);
    mirror.current.as_mut().expect("a table").remove(0);
    tables.sync(&mirror);
    assert_eq!(tables.listed(), ["bb 2.0"]);
}

#[test]
fn a_release_missing_from_the_table_of_current_files_is_delayed() {
    let (mut tables, mut mirror) = first_sync();
    mirror.cutoff = Some(1_000);
    mirror.records[0] = record("aa", "1.1", 3);
    mirror.records.push(Record { path: Some("4.6.0/Recommended"), ..record("bb", "1.9", 4) });
    assert_eq!(tables.sync(&mirror).delayed_count, 1);
    assert_eq!(tables.listed(), ["aa 1.0", "bb 1.9 at 4.6.0/Recommended", "bb 2.0"]);
    mirror.current = None;
    let plan = tables.sync(&mirror);
    assert_eq!(plan.delayed_count, 0);
    assert!(plan.warnings[0].contains("CRAN.DelaySyncDuration"), "{:?}", plan.warnings);
    assert!(tables.listed().contains(&"aa 1.1".to_owned()));
}
