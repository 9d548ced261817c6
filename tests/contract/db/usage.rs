//! The database of usage data: batches are added once and aggregated, independently of the main database.

use rstudio_pm::db::download::{self, Aggregate, Count, PackageCount};
use rstudio_pm::db::{Conn, Db, DbError};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::Timestamp;

use crate::support::db::Fresh;

both! {
    counts_are_added_and_a_repeated_batch_is_ignored
    counts_of_a_day_are_returned_per_package
    an_aggregate_is_deleted_if_more_downloads_of_its_day_are_added
    a_removed_day_has_no_rows_and_the_totals_stay
    scheduled_work_and_writers_are_recorded
    both_databases_share_a_location_and_are_independent
    two_processes_add_concurrently
}

fn open(fresh: &Fresh) -> Db {
    Db::open_usage(&fresh.config).unwrap_or_else(|e| panic!("{e}"))
}

fn write<T: Send + 'static>(
    fresh: &Fresh,
    db: &Db,
    f: impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
) -> T {
    fresh.block(db.bulk(f)).unwrap_or_else(|e| panic!("{e} {e:?}"))
}

fn count(day: i64, package: &str, platform: &str, count: i64) -> Count {
    Count {
        day,
        language: "r".to_owned(),
        source: "cran".to_owned(),
        package: package.to_owned(),
        version: "1.0".to_owned(),
        platform: platform.to_owned(),
        count,
    }
}

fn add(fresh: &Fresh, db: &Db, writer: &'static str, batch: i64, counts: Vec<Count>) -> bool {
    write(fresh, db, move |c| download::add(c, writer, batch, Timestamp(batch), &counts))
}

fn total(fresh: &Fresh, db: &Db, package: &'static str) -> i64 {
    let wanted = [("r", "cran".to_owned(), package.to_owned())];
    write(fresh, db, move |c| download::totals(c, &wanted))[0]
}

fn package(package: &str, count: i64) -> PackageCount {
    let (language, source) = ("r".to_owned(), "cran".to_owned());
    PackageCount { language, source, package: package.to_owned(), count }
}

fn aggregate(day: i64, total: i64) -> Aggregate {
    Aggregate { day, sha256: Sha256([7; 32]), total }
}

fn counts_are_added_and_a_repeated_batch_is_ignored(fresh: &mut Fresh) {
    let db = open(fresh);
    let batch =
        || vec![count(10, "b", "source", 2), count(10, "a", "source", 1), count(10, "a", "4.5-noble", 3)];
    assert!(add(fresh, &db, "one", 1, batch()));
    assert!(!add(fresh, &db, "one", 1, batch()), "its rows were stored although its response was lost");
    assert!(add(fresh, &db, "two", 1, batch()));
    assert!(add(fresh, &db, "one", 2, vec![count(11, "a", "source", 5)]));
    assert_eq!((total(fresh, &db, "a"), total(fresh, &db, "b"), total(fresh, &db, "c")), (13, 4, 0));
    db.close();
    let db = open(fresh);
    assert_eq!(total(fresh, &db, "a"), 13);
    let of = |language, package: &str| (language, "cran".to_owned(), package.to_owned());
    let wanted = [of("r", "b"), of("python", "a"), of("r", "a")];
    assert_eq!(write(fresh, &db, move |c| download::totals(c, &wanted)), [4, 0, 13]);
}

fn counts_of_a_day_are_returned_per_package(fresh: &mut Fresh) {
    let db = open(fresh);
    let rows = vec![
        count(10, "a", "source", 1),
        count(10, "a", "4.5-noble", 3),
        count(11, "a", "source", 5),
        count(12, "b", "source", 9),
    ];
    add(fresh, &db, "w", 1, rows);
    assert_eq!(write(fresh, &db, |c| download::of_day(c, 10)), [package("a", 4)]);
    let mut all = write(fresh, &db, |c| download::of_days_not_aggregated(c, 10, 13));
    all.sort();
    assert_eq!(all, [package("a", 9), package("b", 9)]);
    assert_eq!(write(fresh, &db, |c| download::not_aggregated(c, 12)), [10, 11]);
    assert!(write(fresh, &db, |c| download::put_aggregate(c, &aggregate(10, 4), Timestamp(1))));
    assert!(
        !write(fresh, &db, |c| download::put_aggregate(c, &aggregate(11, 4), Timestamp(1))),
        "the total is 5"
    );
    assert_eq!(write(fresh, &db, |c| download::not_aggregated(c, 12)), [11]);
    let mut rest = write(fresh, &db, |c| download::of_days_not_aggregated(c, 10, 13));
    rest.sort();
    assert_eq!(rest, [package("a", 5), package("b", 9)]);
    assert_eq!(write(fresh, &db, |c| download::aggregates(c, 10, 13)), [aggregate(10, 4)]);
    assert!(write(fresh, &db, |c| download::has_aggregate(c, Sha256([7; 32]))));
    assert!(!write(fresh, &db, |c| download::has_aggregate(c, Sha256([8; 32]))));
}

fn an_aggregate_is_deleted_if_more_downloads_of_its_day_are_added(fresh: &mut Fresh) {
    let db = open(fresh);
    add(fresh, &db, "w", 1, vec![count(10, "a", "source", 1)]);
    assert!(write(fresh, &db, |c| download::put_aggregate(c, &aggregate(10, 1), Timestamp(1))));
    add(fresh, &db, "w", 2, vec![count(11, "a", "source", 1)]);
    assert_eq!(write(fresh, &db, |c| download::aggregates(c, 0, 99)).len(), 1, "another day");
    add(fresh, &db, "w", 3, vec![count(10, "b", "source", 1)]);
    assert_eq!(write(fresh, &db, |c| download::aggregates(c, 0, 99)), []);
}

fn a_removed_day_has_no_rows_and_the_totals_stay(fresh: &mut Fresh) {
    let db = open(fresh);
    assert_eq!(write(fresh, &db, |c| download::oldest(c, 99)), None);
    add(fresh, &db, "w", 1, vec![count(10, "a", "source", 1), count(20, "a", "source", 2)]);
    assert!(write(fresh, &db, |c| download::put_aggregate(c, &aggregate(10, 1), Timestamp(1))));
    assert_eq!(write(fresh, &db, |c| download::oldest(c, 10)), None);
    assert_eq!(write(fresh, &db, |c| download::oldest(c, 99)), Some(10));
    write(fresh, &db, |c| download::remove_day(c, 10));
    assert_eq!(write(fresh, &db, |c| download::oldest(c, 99)), Some(20));
    assert_eq!(write(fresh, &db, |c| download::aggregates(c, 0, 99)), []);
    assert_eq!(total(fresh, &db, "a"), 3);
}

fn scheduled_work_and_writers_are_recorded(fresh: &mut Fresh) {
    let db = open(fresh);
    assert_eq!(write(fresh, &db, |c| download::last_done(c, "night")), None);
    write(fresh, &db, |c| download::record_done(c, "night", Timestamp(5)));
    write(fresh, &db, |c| download::record_done(c, "night", Timestamp(9)));
    assert_eq!(write(fresh, &db, |c| download::last_done(c, "night")), Some(Timestamp(9)));
    add(fresh, &db, "old", 1, Vec::new());
    add(fresh, &db, "new", 2, Vec::new());
    write(fresh, &db, |c| download::forget_writers(c, Timestamp(2)));
    assert!(add(fresh, &db, "old", 1, Vec::new()) && !add(fresh, &db, "new", 2, Vec::new()));
}

fn both_databases_share_a_location_and_are_independent(fresh: &mut Fresh) {
    assert!(Db::check_usage(&fresh.config).expect("it can be made").contains("first start"));
    let db = open(fresh);
    assert!(Db::check_usage(&fresh.config).expect("it answers").contains("schema 1"));
    assert!(Db::check(&fresh.config).expect("it answers").contains("answers (schema "));
    add(fresh, &db, "w", 1, vec![count(10, "a", "source", 1)]);
    fresh.reopen();
    assert_eq!(total(fresh, &db, "a"), 1);
    fresh.read(rstudio_pm::db::clock::get);
}

fn two_processes_add_concurrently(fresh: &mut Fresh) {
    let nodes = [open(fresh), open(fresh)];
    let names: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
    fresh.block(async {
        let each = nodes.iter().zip(["one", "two"]).map(|(db, writer)| {
            let names = names.clone();
            async move {
                for batch in 1..=20 {
                    // In another order each time: the processes must not deadlock.
                    let mut rows: Vec<Count> =
                        names.iter().map(|name| count(10, name, "source", 1)).collect();
                    rows.rotate_left(batch);
                    let number = i64::try_from(batch).unwrap();
                    let added = db.bulk(move |c| download::add(c, writer, number, Timestamp(1), &rows)).await;
                    assert!(added.unwrap_or_else(|e| panic!("{e} {e:?}")));
                }
            }
        });
        futures_util::future::join_all(each).await;
    });
    assert_eq!(total(fresh, &nodes[0], "p49"), 40);
}
