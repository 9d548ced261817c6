//! Publishing: one order of ids, times and commits, independent of the publishers' clocks.

use rstudio_pm::db::name_guard::{self, GuardState, NameGuardRow};
use rstudio_pm::db::skew::{self, Skew};
use rstudio_pm::db::{
    DbError, audit, blob, clock, clock_repair, invariants, lease, repo, tree, tx, upstream,
};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::{Seq, SourceId, TreeId, TxId};
use rstudio_pm::model::kind::{ChangePolicy, RepoKind};
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::{CRAN, NEW_YEAR, change, publish_of};
use crate::support::db::{Engine, TestDb};

both! {
    a_blank_database_has_the_three_sources_and_one_tree
    a_clock_that_jumps_back_keeps_the_order
    a_closed_day_stays_closed
    a_clock_behind_the_newest_transaction_may_not_publish
    a_clock_over_a_month_ahead_may_neither_publish_nor_close_a_day
    a_repair_moves_future_transactions_to_the_last_microseconds_in_order
    a_repair_keeps_the_transactions_of_a_promoted_state
    an_unnecessary_repair_and_a_dry_run_change_nothing
    a_repair_ends_future_leases_and_resets_future_sync_times
    a_clock_far_ahead_may_not_publish
    a_clock_minutes_ahead_does_not_block_other_publishers
    a_publish_in_the_past_has_its_time_or_the_next_free_one
    a_tree_is_written_by_one_job_at_a_time
    a_tree_without_pending_changes_cannot_be_published
    concurrent_publishers_get_different_ids_in_order_of_time
    every_change_increments_the_catalog_number
}

fn a_blank_database_has_the_three_sources_and_one_tree(db: &mut TestDb) {
    let sources = db.read(|c| rstudio_pm::db::source::list(c));
    let names: Vec<_> = sources.iter().map(|s| (s.id, s.name.as_str(), s.kind.as_str())).collect();
    let expected = [
        (SourceId::CRAN, "cran", "cran"),
        (SourceId::BIOCONDUCTOR, "bioconductor", "bioconductor"),
        (SourceId::PYPI, "pypi", "pypi"),
    ];
    assert_eq!(names, expected);
    let trees = db.read(|c| tree::list(c));
    assert_eq!(trees.len(), 1);
    assert_eq!(
        (trees[0].id, trees[0].source, trees[0].label.as_str()),
        (CRAN, SourceId::CRAN, "src/contrib")
    );
    assert_eq!((trees[0].first, trees[0].head, trees[0].pending), (None, None, None));
    assert_eq!(db.read(|c| clock::get(c)).tx, TxId(0));
}

fn a_clock_that_jumps_back_keeps_the_order(db: &mut TestDb) {
    let times = [0, 50, -240, -239, 100, 100].map(|s| Timestamp(NEW_YEAR.0 + s * SECOND));
    let published: Vec<_> =
        times.into_iter().map(|now| db.write(move |c| change(c, CRAN, now, &[])).1).collect();
    for (number, pair) in published.windows(2).enumerate() {
        assert!(pair[0].at < pair[1].at, "{number}: {pair:?}");
        assert_eq!(pair[0].tx.0 + 1, pair[1].tx.0);
    }
    assert_eq!(published[1].at, times[1], "a correct clock is used");
    assert_eq!(published[2].at.0, times[1].0 + 1);
    let steps = db.read(|c| tree::steps(c, CRAN));
    assert_eq!(steps.iter().map(|s| s.seq).collect::<Vec<_>>(), (1..=6).map(Seq).collect::<Vec<_>>());
    assert_eq!(
        steps.iter().map(|s| s.at).collect::<Vec<_>>(),
        published.iter().map(|p| p.at).collect::<Vec<_>>()
    );
    let newest = db.read(|c| tx::list(c, SourceId::CRAN, 2));
    assert_eq!(newest.iter().map(|t| t.id).collect::<Vec<_>>(), [TxId(6), TxId(5)]);
}

fn a_closed_day_stays_closed(db: &mut TestDb) {
    let end = NEW_YEAR.day().end();
    assert!(db.write(move |c| clock::close_day(c, end)));
    assert!(!db.write(move |c| clock::close_day(c, end)), "the day is already closed");
    let publish_time = Timestamp(end.0 - 60 * SECOND);
    let (_, published) = db.write(move |c| change(c, CRAN, publish_time, &[]));
    assert!(published.at > end && published.at.day() != NEW_YEAR.day());
}

const DAY: i64 = 86_400 * SECOND;

fn later(days: i64) -> Timestamp {
    Timestamp(NEW_YEAR.0 + days * DAY)
}

fn a_publish_in_the_past_has_its_time_or_the_next_free_one(db: &mut TestDb) {
    let publish = |db: &mut TestDb, trees: &'static [TreeId], at: Timestamp| {
        db.write(move |c| {
            for tree in trees {
                tree::begin(c, *tree, 7)?;
            }
            let publish = tx::Publish { at: Some(at), ..publish_of(trees, NEW_YEAR) };
            clock::publish(c, &publish)
        })
    };
    let year = |years: i64| Timestamp(NEW_YEAR.0 - years * 365 * DAY);
    let first = publish(db, &[CRAN], year(5));
    assert_eq!((first.tx, first.at), (TxId(1), year(5)));
    assert_eq!(db.read(|c| clock::get(c)).at, NEW_YEAR, "the clock row does not go back");
    let later = publish(db, &[CRAN], year(4));
    assert_eq!((later.tx, later.at), (TxId(2), year(4)));
    // Another object at taken instants, and a tree before its newest step.
    assert_eq!(publish(db, &[], year(5)).at.0, year(5).0 + 1);
    assert_eq!(publish(db, &[], year(5)).at.0, year(5).0 + 2);
    assert_eq!(publish(db, &[CRAN], year(6)).at.0, year(4).0 + 1);
    let future = publish(db, &[CRAN], Timestamp(NEW_YEAR.0 + DAY));
    assert!(future.at.0 < NEW_YEAR.0 + DAY, "{future:?}");
    let steps = db.read(|c| tree::steps(c, CRAN));
    assert!(steps.windows(2).all(|pair| pair[0].at < pair[1].at && pair[0].tx < pair[1].tx), "{steps:?}");
    let (_, next) = db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    assert!(next.at > future.at, "{next:?}");
    // The audit trail has the time at which it was published.
    let filter = audit::Filter { until: i64::MAX, limit: 100, ..audit::Filter::default() };
    let rows = db.read(move |c| audit::list(c, &filter));
    assert!(rows.len() >= 7 && rows.iter().all(|row| row.at >= NEW_YEAR), "{rows:?}");
    assert_eq!(db.read(invariants::violations), Vec::<String>::new());
}

fn a_clock_behind_the_newest_transaction_may_not_publish(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    let before = db.read(|c| clock::get(c));
    let early = Timestamp(NEW_YEAR.0 - 1) - skew::TOLERANCE;
    let result = db.try_write(move |c| clock::publish(c, &publish_of(&[], early)));
    assert!(matches!(result, Err(DbError::Skew(Skew::Behind { .. }))), "{result:?}");
    assert_eq!(db.read(|c| clock::get(c)), before);
    let tolerated = NEW_YEAR - skew::TOLERANCE;
    assert!(db.try_write(move |c| clock::publish(c, &publish_of(&[], tolerated))).is_ok());
}

fn a_clock_over_a_month_ahead_may_neither_publish_nor_close_a_day(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    let before = db.read(|c| clock::get(c));
    let result = db.try_write(|c| clock::publish(c, &publish_of(&[], later(32))));
    assert!(matches!(result, Err(DbError::Skew(Skew::Ahead { .. }))), "{result:?}");
    let text = result.expect_err("refused").to_string();
    let command = format!("run: rspm repair clock --today={}", later(32).day());
    assert!(text.ends_with(&command), "{text}");
    let result = db.try_write(|c| clock::close_day(c, later(32)));
    assert!(matches!(result, Err(DbError::Skew(Skew::Ahead { .. }))), "{result:?}");
    assert_eq!(db.read(|c| clock::get(c)), before);
    // A running server closes every day even if nothing is published.
    for day in 1..=40 {
        assert!(db.write(move |c| clock::close_day(c, later(day))));
    }
    assert!(db.try_write(|c| clock::publish(c, &publish_of(&[], later(60)))).is_ok());
}

fn a_repair_moves_future_transactions_to_the_last_microseconds_in_order(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    // An administrator confirmed a clock that was wrong.
    db.write(|c| clock_repair::repair(c, later(400), false));
    for second in [0, 1, 0] {
        db.write(move |c| change(c, CRAN, Timestamp(later(400).0 + second * SECOND), &[]));
    }
    db.write(|c| c.execute("UPDATE tx SET published_from = at, published_to = at", &[]));
    let now = later(1);
    let refusal = db.try_write(move |c| clock::publish(c, &publish_of(&[], now)));
    assert!(matches!(refusal, Err(DbError::Skew(Skew::Behind { .. }))), "{refusal:?}");
    let planned = db.write(move |c| clock_repair::repair(c, now, true)).expect("something to do");
    let repaired = db.write(move |c| clock_repair::repair(c, now, false)).expect("something to do");
    assert_eq!(planned, repaired, "a dry run reports what a repair does");
    let changed: Vec<_> = repaired.transactions.iter().map(|(id, _, to)| (*id, *to)).collect();
    let last = |before: i64| Timestamp(now.0 - before);
    assert_eq!(changed, [(TxId(2), last(2)), (TxId(3), last(1)), (TxId(4), last(0))]);
    let all = db.read(|c| tx::list(c, SourceId::CRAN, 9));
    let times: Vec<_> = all.iter().rev().map(|tx| (tx.id, tx.at)).collect();
    assert_eq!(times, [(TxId(1), NEW_YEAR), (TxId(2), last(2)), (TxId(3), last(1)), (TxId(4), last(0))]);
    assert!(all.iter().all(|tx| tx.started_at <= now));
    assert!(all.iter().all(|tx| tx.published_from <= Some(now) && tx.published_to <= Some(now)));
    let steps: Vec<_> = db.read(|c| tree::steps(c, CRAN)).iter().map(|step| step.at).collect();
    assert_eq!(steps, [NEW_YEAR, last(2), last(1), last(0)]);
    assert_eq!(db.read(|c| clock::get(c)).at, now);
    let (_, next) = db.write(move |c| change(c, CRAN, now, &[]));
    assert_eq!((next.tx, next.at), (TxId(5), Timestamp(now.0 + 1)));
}

fn a_repair_keeps_the_transactions_of_a_promoted_state(db: &mut TestDb) {
    let new = repo::NewRepo {
        name: "prod".parse().expect("a name"),
        kind: RepoKind::R,
        description: String::new(),
        hidden: false,
        authenticated: false,
        changes: ChangePolicy::Promotion,
    };
    let repo = db.write(move |c| repo::create(c, &new, NEW_YEAR));
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    db.write(|c| clock_repair::repair(c, later(400), false));
    db.write(|c| change(c, CRAN, later(400), &[]));
    let pinned_at = Timestamp(db.read(|c| clock::get(c)).at.0 + 1);
    let step = repo::NewRepoStep {
        repo,
        subscriptions: Vec::new(),
        pinned_at: Some(pinned_at),
        withheld: Vec::new(),
    };
    let mut publish = publish_of(&[], later(400));
    publish.repo_steps.push(step);
    db.write(move |c| clock::publish(c, &publish));
    db.write(|c| change(c, CRAN, later(400), &[]));
    db.write(|c| clock_repair::repair(c, later(1), false));
    let pinned_at = db.read(|c| repo::steps(c, repo::ALL, Seq(0)))[0].pinned_at.expect("a pin");
    let before: Vec<_> = db.read(|c| tree::steps(c, CRAN)).iter().map(|step| step.at < pinned_at).collect();
    assert_eq!(before, [true, true, false], "the state has the same steps as before the repair");
}

fn an_unnecessary_repair_and_a_dry_run_change_nothing(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    let before = db.read(|c| clock::get(c));
    assert_eq!(db.write(|c| clock_repair::repair(c, NEW_YEAR, false)), None);
    let dry_run = db.write(|c| clock_repair::repair(c, later(-9), true)).expect("a transaction is ahead");
    assert_eq!(dry_run.transactions.len(), 1);
    assert!(db.write(|c| clock_repair::repair(c, later(99), true)).is_some());
    assert_eq!(db.read(|c| clock::get(c)), before);
    assert_eq!(db.read(|c| tx::list(c, SourceId::CRAN, 1))[0].at, NEW_YEAR);
}

fn a_repair_ends_future_leases_and_resets_future_sync_times(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, later(400), &[]));
    let until = Timestamp(later(400).0 + 60 * SECOND);
    db.write(move |c| lease::claim(c, "sync:cran", "a server that is gone", later(400), until));
    let validators = upstream::StoredValidators {
        etag: None,
        modified: None,
        sha256: Sha256([0; 32]),
        fetched_at: later(400),
    };
    db.write(move |c| upstream::put(c, "sync:1", &validators));
    let stored =
        blob::Blob { sha256: Sha256([1; 32]), class: "packages".to_owned(), size: 1, created_at: later(400) };
    db.write(move |c| blob::insert(c, &stored));
    assert!(db.read(|c| lease::holder(c, "sync:cran", later(400))).is_some());
    db.write(move |c| c.execute("INSERT INTO hold (id, until) VALUES ('00', $1)", &[until.into()]).map(drop));
    let guard = NameGuardRow {
        id: 0,
        language: "r".to_owned(),
        pattern: "alpha".to_owned(),
        source: SourceId(9),
        automatic: true,
        state: GuardState::InForce,
        description: String::new(),
        created_by: String::new(),
        created_at: later(400),
    };
    let earlier = NameGuardRow { pattern: "beta".to_owned(), created_at: later(-1), ..guard.clone() };
    db.write(move |c| name_guard::insert(c, &[guard.clone(), earlier.clone()]));
    db.write(|c| clock_repair::repair(c, NEW_YEAR, false));
    assert_eq!(db.read(|c| lease::holder(c, "sync:cran", later(400))), None);
    assert!(db.read(|c| c.query("SELECT id FROM hold", &[])).is_empty());
    let row = db.read(|c| upstream::get(c, "sync:1")).expect("a row");
    assert_eq!(row.fetched_at, NEW_YEAR, "the next scheduled sync is due soon");
    let blob = db.read(|c| blob::get(c, Sha256([1; 32]))).expect("a row");
    assert_eq!(blob.created_at, NEW_YEAR, "an unreferenced object is removed some hours later");
    let guards: Vec<_> = db.read(name_guard::list).iter().map(|guard| guard.created_at).collect();
    assert_eq!(guards, [NEW_YEAR, later(-1)]);
}

fn a_clock_far_ahead_may_not_publish(db: &mut TestDb) {
    let distant_future = Timestamp(4_102_444_800 * SECOND);
    let result = db.try_write(move |c| clock::publish(c, &publish_of(&[], distant_future)));
    match db.engine {
        // The database uses the clock of this machine.
        Engine::Sqlite => assert!(result.is_ok()),
        Engine::Postgres => assert!(matches!(result, Err(DbError::ClockAhead { .. })), "{result:?}"),
    }
}

/// Publishes with a clock `seconds` ahead of this machine's, which is also the clock of PostgreSQL.
fn publish_ahead(db: &TestDb, seconds: i64) -> Result<clock::PublishResult, DbError> {
    let now = Timestamp(jiff::Timestamp::now().as_microsecond() + seconds * SECOND);
    db.try_write(move |c| clock::publish(c, &publish_of(&[], now)))
}

fn a_clock_minutes_ahead_does_not_block_other_publishers(db: &mut TestDb) {
    for minutes in [0, 3, 5, 6, 50, 59] {
        let published = publish_ahead(db, minutes * 60);
        match (db.engine, minutes) {
            (Engine::Sqlite, _) | (Engine::Postgres, 0 | 3) => {
                assert!(published.is_ok(), "{minutes}: {published:?}")
            }
            (Engine::Postgres, _) => {
                assert!(matches!(published, Err(DbError::ClockAhead { .. })), "{minutes}: {published:?}");
            }
        }
    }
    for (minutes, refused) in [(3, false), (6, db.engine == Engine::Postgres)] {
        let now = Timestamp(jiff::Timestamp::now().as_microsecond() + minutes * 60 * SECOND);
        let usable = db.block(db.db.check_usable(now));
        assert_eq!(matches!(usable, Err(DbError::ClockAhead { .. })), refused, "{minutes}: {usable:?}");
    }
    let other = publish_ahead(db, 0);
    match db.engine {
        // The clock of the only machine on this database was corrected.
        Engine::Sqlite => assert!(matches!(other, Err(DbError::Skew(Skew::Behind { .. }))), "{other:?}"),
        Engine::Postgres => assert!(other.is_ok(), "{other:?}"),
    }
}

fn a_tree_is_written_by_one_job_at_a_time(db: &mut TestDb) {
    assert_eq!(db.write(|c| tree::begin(c, CRAN, 41)), Seq(1));
    let missing = db.try_write(|c| tree::begin(c, rstudio_pm::model::ids::TreeId(4_000), 42));
    assert!(matches!(&missing, Err(DbError::Conflict(text)) if text.contains("no tree 4000")), "{missing:?}");
    let busy = db.try_write(|c| tree::begin(c, CRAN, 42));
    assert!(matches!(busy, Err(DbError::Busy { tree: CRAN, job: 41 })), "{busy:?}");
    db.write(|c| tree::abandon(c, CRAN));
    assert_eq!(db.write(|c| tree::begin(c, CRAN, 42)), Seq(1));
}

fn a_tree_without_pending_changes_cannot_be_published(db: &mut TestDb) {
    let result = db.try_write(|c| clock::publish(c, &publish_of(&[CRAN], NEW_YEAR)));
    assert!(matches!(result, Err(DbError::NothingPending(CRAN))), "{result:?}");
    assert_eq!(db.read(|c| clock::get(c)).tx, TxId(0), "the transaction id was rolled back too");
}

fn concurrent_publishers_get_different_ids_in_order_of_time(db: &mut TestDb) {
    let publishes = (0..40).map(|n| {
        let handle = db.db.clone();
        async move {
            let now = Timestamp(NEW_YEAR.0 - n);
            handle.write(move |c| clock::publish(c, &publish_of(&[], now))).await.expect("a publish")
        }
    });
    let mut published = db.block(futures_util::future::join_all(publishes));
    published.sort_by_key(|p| p.tx);
    assert!(published.windows(2).all(|p| p[0].tx.0 + 1 == p[1].tx.0 && p[0].at < p[1].at), "{published:?}");
}

fn every_change_increments_the_catalog_number(db: &mut TestDb) {
    let before = db.read(|c| clock::get(c)).catalog;
    db.write(|c| clock::bump_catalog(c, clock::Change::Nothing));
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    assert_eq!(db.read(|c| clock::get(c)).catalog, before + 2);
}
