//! The database of usage data: batches are added once and aggregated, independently of the main database.

use rstudio_pm::db::blocked_request::{self, BlockedCount};
use rstudio_pm::db::download::{self, Aggregate, Count, PackageCount};
use rstudio_pm::db::{Conn, Db, DbError};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::Timestamp;

use crate::support::db::TestDb;

both! {
    counts_are_added_and_a_repeated_batch_is_ignored
    counts_of_a_day_are_returned_per_package
    an_aggregate_is_deleted_if_more_downloads_of_its_day_are_added
    a_removed_day_has_no_rows_and_the_totals_stay
    scheduled_work_and_writers_are_recorded
    both_databases_share_a_location_and_are_independent
    two_processes_add_concurrently
    refused_requests_are_added_once_and_summed
}

fn open(test_db: &TestDb) -> Db {
    Db::open_usage(&test_db.config).unwrap_or_else(|e| panic!("{e}"))
}

fn write<T: Send + 'static>(
    test_db: &TestDb,
    db: &Db,
    f: impl Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
) -> T {
    test_db.block(db.bulk(f)).unwrap_or_else(|e| panic!("{e} {e:?}"))
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

fn add(test_db: &TestDb, db: &Db, writer: &'static str, batch: i64, counts: Vec<Count>) -> bool {
    write(test_db, db, move |c| download::add(c, writer, batch, Timestamp(batch), &counts))
}

fn total(test_db: &TestDb, db: &Db, package: &'static str) -> i64 {
    let packages = [("r", "cran".to_owned(), package.to_owned())];
    write(test_db, db, move |c| download::totals(c, &packages))[0]
}

fn package(package: &str, count: i64) -> PackageCount {
    let (language, source) = ("r".to_owned(), "cran".to_owned());
    PackageCount { language, source, package: package.to_owned(), count }
}

fn aggregate(day: i64, total: i64) -> Aggregate {
    Aggregate { day, sha256: Sha256([7; 32]), total }
}

fn counts_are_added_and_a_repeated_batch_is_ignored(test_db: &mut TestDb) {
    let db = open(test_db);
    let batch =
        || vec![count(10, "b", "source", 2), count(10, "a", "source", 1), count(10, "a", "4.5-noble", 3)];
    assert!(add(test_db, &db, "one", 1, batch()));
    assert!(!add(test_db, &db, "one", 1, batch()), "its rows were stored although its response was lost");
    assert!(add(test_db, &db, "two", 1, batch()));
    assert!(add(test_db, &db, "one", 2, vec![count(11, "a", "source", 5)]));
    assert_eq!((total(test_db, &db, "a"), total(test_db, &db, "b"), total(test_db, &db, "c")), (13, 4, 0));
    db.close();
    let db = open(test_db);
    assert_eq!(total(test_db, &db, "a"), 13);
    let of = |language, package: &str| (language, "cran".to_owned(), package.to_owned());
    let packages = [of("r", "b"), of("python", "a"), of("r", "a")];
    assert_eq!(write(test_db, &db, move |c| download::totals(c, &packages)), [4, 0, 13]);
}

fn counts_of_a_day_are_returned_per_package(test_db: &mut TestDb) {
    let db = open(test_db);
    let rows = vec![
        count(10, "a", "source", 1),
        count(10, "a", "4.5-noble", 3),
        count(11, "a", "source", 5),
        count(12, "b", "source", 9),
    ];
    add(test_db, &db, "w", 1, rows);
    assert_eq!(write(test_db, &db, |c| download::day_counts(c, 10)), [package("a", 4)]);
    let mut all = write(test_db, &db, |c| download::unaggregated_counts(c, 10, 13));
    all.sort();
    assert_eq!(all, [package("a", 9), package("b", 9)]);
    assert_eq!(write(test_db, &db, |c| download::days_without_aggregate(c, 12)), [10, 11]);
    assert!(write(test_db, &db, |c| download::put_aggregate(c, &aggregate(10, 4), Timestamp(1))));
    assert!(
        !write(test_db, &db, |c| download::put_aggregate(c, &aggregate(11, 4), Timestamp(1))),
        "the total is 5"
    );
    assert_eq!(write(test_db, &db, |c| download::days_without_aggregate(c, 12)), [11]);
    let mut rest = write(test_db, &db, |c| download::unaggregated_counts(c, 10, 13));
    rest.sort();
    assert_eq!(rest, [package("a", 5), package("b", 9)]);
    assert_eq!(write(test_db, &db, |c| download::aggregates(c, 10, 13)), [aggregate(10, 4)]);
    assert!(write(test_db, &db, |c| download::has_aggregate(c, Sha256([7; 32]))));
    assert!(!write(test_db, &db, |c| download::has_aggregate(c, Sha256([8; 32]))));
}

fn an_aggregate_is_deleted_if_more_downloads_of_its_day_are_added(test_db: &mut TestDb) {
    let db = open(test_db);
    add(test_db, &db, "w", 1, vec![count(10, "a", "source", 1)]);
    assert!(write(test_db, &db, |c| download::put_aggregate(c, &aggregate(10, 1), Timestamp(1))));
    add(test_db, &db, "w", 2, vec![count(11, "a", "source", 1)]);
    assert_eq!(write(test_db, &db, |c| download::aggregates(c, 0, 99)).len(), 1, "another day");
    add(test_db, &db, "w", 3, vec![count(10, "b", "source", 1)]);
    assert_eq!(write(test_db, &db, |c| download::aggregates(c, 0, 99)), []);
}

fn a_removed_day_has_no_rows_and_the_totals_stay(test_db: &mut TestDb) {
    let db = open(test_db);
    assert_eq!(write(test_db, &db, |c| download::oldest_day(c, 99)), None);
    add(test_db, &db, "w", 1, vec![count(10, "a", "source", 1), count(20, "a", "source", 2)]);
    assert!(write(test_db, &db, |c| download::put_aggregate(c, &aggregate(10, 1), Timestamp(1))));
    assert_eq!(write(test_db, &db, |c| download::oldest_day(c, 10)), None);
    assert_eq!(write(test_db, &db, |c| download::oldest_day(c, 99)), Some(10));
    write(test_db, &db, |c| download::remove_day(c, 10));
    assert_eq!(write(test_db, &db, |c| download::oldest_day(c, 99)), Some(20));
    assert_eq!(write(test_db, &db, |c| download::aggregates(c, 0, 99)), []);
    assert_eq!(total(test_db, &db, "a"), 3);
}

fn scheduled_work_and_writers_are_recorded(test_db: &mut TestDb) {
    let db = open(test_db);
    assert_eq!(write(test_db, &db, |c| download::last_run(c, "night")), None);
    write(test_db, &db, |c| download::record_run(c, "night", Timestamp(5)));
    write(test_db, &db, |c| download::record_run(c, "night", Timestamp(9)));
    assert_eq!(write(test_db, &db, |c| download::last_run(c, "night")), Some(Timestamp(9)));
    add(test_db, &db, "old", 1, Vec::new());
    add(test_db, &db, "new", 2, Vec::new());
    write(test_db, &db, |c| download::remove_writers(c, Timestamp(2)));
    assert!(add(test_db, &db, "old", 1, Vec::new()) && !add(test_db, &db, "new", 2, Vec::new()));
}

fn both_databases_share_a_location_and_are_independent(test_db: &mut TestDb) {
    assert!(Db::check_usage(&test_db.config).expect("it can be made").contains("first start"));
    let db = open(test_db);
    assert!(Db::check_usage(&test_db.config).expect("it answers").contains("schema 1"));
    assert!(Db::check(&test_db.config).expect("it answers").contains("answers (schema "));
    add(test_db, &db, "w", 1, vec![count(10, "a", "source", 1)]);
    test_db.reopen();
    assert_eq!(total(test_db, &db, "a"), 1);
    test_db.read(rstudio_pm::db::clock::get);
}

fn two_processes_add_concurrently(test_db: &mut TestDb) {
    let nodes = [open(test_db), open(test_db)];
    let names: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
    test_db.block(async {
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
    assert_eq!(total(test_db, &nodes[0], "p49"), 40);
}

fn refused_requests_are_added_once_and_summed(test_db: &mut TestDb) {
    let db = open(test_db);
    let refused = |day, rule, client: &str, count| BlockedCount {
        day,
        rule,
        package: "alpha".to_owned(),
        version: "1.0".to_owned(),
        client: client.to_owned(),
        count,
    };
    let add = |batch, rows: Vec<BlockedCount>| {
        write(test_db, &db, move |c| blocked_request::add(c, "w-blocked", batch, Timestamp(1), &rows))
    };
    assert!(add(1, vec![refused(5, 7, "R", 2), refused(5, 8, "pip", 1)]));
    assert!(!add(1, vec![refused(5, 7, "R", 2)]), "the same batch");
    assert!(add(2, vec![refused(6, 7, "R", 3)]));
    let totals = |since| {
        let read =
            db.read(move |c| Ok((blocked_request::totals(c, since, 10)?, blocked_request::sum(c, since)?)));
        test_db.block(read).unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(totals(0), (vec![refused(6, 7, "R", 5), refused(5, 8, "pip", 1)], 6));
    assert_eq!(totals(6), (vec![refused(6, 7, "R", 3)], 3));
    write(test_db, &db, |c| blocked_request::remove_before(c, 6));
    assert_eq!(totals(0), (vec![refused(6, 7, "R", 3)], 3));
    assert_eq!(totals(7), (vec![], 0));
}
