//! Properties of plans for any declarations of a mirror, in any order.

use proptest::prelude::*;
use proptest::sample::select;

use rstudio_pm::model::time::Timestamp;

use super::model::{Mirror, Record, Row, Tables};

const PACKAGES: &[&str] = &["aa", "bb", "AA"];
const VERSIONS: &[&str] = &["1.0", "1.1", "1.0-0", "0.9"];

fn rows() -> impl Strategy<Value = Option<Vec<Row>>> {
    let row = (select(PACKAGES), select(VERSIONS), 1..3_u64, 1..3_i64)
        .prop_map(|(package, version, size, mtime)| Row { package, version, size, mtime });
    proptest::option::weighted(0.8, proptest::collection::vec(row, 0..6)).prop_map(|rows| {
        // A directory has each name once.
        rows.map(|mut rows| {
            rows.sort_by_key(|row| (row.package, row.version));
            rows.dedup_by_key(|row| (row.package, row.version));
            rows
        })
    })
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (
        select(PACKAGES),
        select(VERSIONS),
        proptest::option::weighted(0.2, select(&["4.6.0/Recommended", "4.5.0/Other"][..])),
        proptest::option::weighted(0.7, 0..3_u8),
        select(&["R", "R (>= 4)"][..]),
    );
    let record = record.prop_map(|(package, version, path, md5, depends)| Record {
        package,
        version,
        path,
        md5,
        depends,
    });
    proptest::collection::vec(record, 0..6)
}

fn mirror() -> impl Strategy<Value = Mirror> {
    (records(), rows(), rows()).prop_map(|(records, current, archive)| Mirror {
        records,
        current,
        archive,
        cutoff: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_applied_plan_leaves_no_changes(mirrors in proptest::collection::vec(mirror(), 1..5)) {
        let mut tables = Tables::default();
        for mirror in &mirrors {
            tables.sync(mirror);
            let second_plan = tables.plan(mirror);
            prop_assert_eq!(&second_plan.changes, &[], "after {:#?}", mirror);
            prop_assert_eq!(second_plan.counts, Default::default());
        }
    }

    #[test]
    fn recent_releases_are_delayed_until_enough_time_has_passed(
        mirrors in proptest::collection::vec(mirror(), 1..5), cutoff in 0..3_i64,
    ) {
        let mut tables = Tables::default();
        for mirror in &mirrors {
            let mirror_with_cutoff = Mirror { cutoff: Some(cutoff), ..mirror.clone() };
            let is_recent = |at: Timestamp| at.seconds() > cutoff;
            // Twice: a release whose only time is in `Archive/` is archived first; its time is known when it is listed.
            for _ in 0..2 {
                let plan = tables.sync(&mirror_with_cutoff);
                prop_assert!(!plan.published_to.is_some_and(is_recent), "{:#?}", plan);
            }
            prop_assert_eq!(&tables.plan(&mirror_with_cutoff).changes, &[], "after {:#?}", mirror_with_cutoff);
        }
        let last_mirror = mirrors.last().expect("at least one");
        tables.sync(last_mirror);
        prop_assert_eq!(&tables.plan(last_mirror).changes, &[], "after {:#?}", last_mirror);
    }

    #[test]
    fn the_listed_packages_are_those_of_the_index(mirrors in proptest::collection::vec(mirror(), 1..5)) {
        let mut tables = Tables::default();
        for mirror in &mirrors {
            tables.sync(mirror);
            let has_no_path = |text: &String| !text.contains(" at ");
            let listed: Vec<String> = tables.listed().into_iter().filter(has_no_path).collect();
            let mut names: Vec<&str> =
                mirror.records.iter().filter(|r| r.path.is_none()).map(|r| r.package).collect();
            names.sort_unstable();
            names.dedup();
            let packages: Vec<&str> = listed.iter().filter_map(|text| text.split(' ').next()).collect();
            prop_assert_eq!(packages, names);
            // With a table of the archive, every archived release is in the table or the index.
            if let Some(rows) = mirror.archive.as_ref().filter(|_| mirror.current.is_none()) {
                for text in tables.archived() {
                    let mut words = text.split(' ');
                    let (name, version) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                    let in_table = rows.iter().any(|r| r.package == name && r.version == version);
                    let in_index = mirror.records.iter().any(|r| r.package == name && r.version == version);
                    prop_assert!(in_table || in_index, "{}", text);
                }
            }
        }
    }

    #[test]
    fn the_order_of_records_and_rows_has_no_effect(before in mirror(), after in mirror(), seed in any::<u64>()) {
        let mut tables = Tables::default();
        tables.sync(&before);
        let mut shuffled = after.clone();
        let mut state = seed | 1;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        shuffled.records.sort_by_cached_key(|_| next());
        for rows in [&mut shuffled.current, &mut shuffled.archive].into_iter().flatten() {
            rows.sort_by_cached_key(|_| next());
        }
        prop_assert_eq!(tables.plan(&after).changes, tables.plan(&shuffled).changes);
    }
}
