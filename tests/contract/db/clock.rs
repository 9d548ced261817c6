//! Publishing: one order of ids, times and commits, whatever the publishers' clocks say.

use rstudio_pm::db::{DbError, clock, step, tree, tx};
use rstudio_pm::model::ids::{Seq, SourceId, TxId};
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::{CRAN, NEW_YEAR, change, publish_of};
use crate::support::db::{Engine, Fresh};

both! {
    a_blank_database_has_the_three_sources_and_one_tree
    a_clock_that_jumps_back_keeps_the_order
    a_closed_day_stays_closed
    a_clock_far_ahead_may_not_publish
    a_tree_is_written_by_one_job_at_a_time
    nothing_pending_cannot_be_published
    publishers_at_once_get_different_ids_in_the_order_of_their_times
    the_catalog_number_moves_with_every_change
}

fn a_blank_database_has_the_three_sources_and_one_tree(db: &mut Fresh) {
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

fn a_clock_that_jumps_back_keeps_the_order(db: &mut Fresh) {
    let times = [0, 50, -3600, -3599, 100, 100].map(|s| Timestamp(NEW_YEAR.0 + s * SECOND));
    let published: Vec<_> =
        times.into_iter().map(|now| db.write(move |c| change(c, CRAN, now, &[])).1).collect();
    for (number, pair) in published.windows(2).enumerate() {
        assert!(pair[0].at < pair[1].at, "{number}: {pair:?}");
        assert_eq!(pair[0].tx.0 + 1, pair[1].tx.0);
    }
    assert_eq!(published[1].at, times[1], "a clock that is right is believed");
    assert_eq!(published[2].at.0, times[1].0 + 1);
    let steps = db.read(|c| step::list(c, CRAN));
    assert_eq!(steps.iter().map(|s| s.seq).collect::<Vec<_>>(), (1..=6).map(Seq).collect::<Vec<_>>());
    assert_eq!(
        steps.iter().map(|s| s.at).collect::<Vec<_>>(),
        published.iter().map(|p| p.at).collect::<Vec<_>>()
    );
    let newest = db.read(|c| tx::list(c, SourceId::CRAN, 2));
    assert_eq!(newest.iter().map(|t| t.id).collect::<Vec<_>>(), [TxId(6), TxId(5)]);
}

fn a_closed_day_stays_closed(db: &mut Fresh) {
    let end = NEW_YEAR.day().end();
    assert!(db.write(move |c| clock::close_day(c, end)));
    assert!(!db.write(move |c| clock::close_day(c, end)), "once is enough");
    let (_, late) = db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    assert!(late.at > end && late.at.day() != NEW_YEAR.day());
}

fn a_clock_far_ahead_may_not_publish(db: &mut Fresh) {
    let far = Timestamp(4_102_444_800 * SECOND);
    let answer = db.try_write(move |c| clock::publish(c, &publish_of(&[], far)));
    match db.engine {
        // The database's clock is this machine's own.
        Engine::Sqlite => assert!(answer.is_ok()),
        Engine::Postgres => assert!(matches!(answer, Err(DbError::ClockAhead { .. })), "{answer:?}"),
    }
}

fn a_tree_is_written_by_one_job_at_a_time(db: &mut Fresh) {
    assert_eq!(db.write(|c| tree::begin(c, CRAN, 41)), Seq(1));
    let busy = db.try_write(|c| tree::begin(c, CRAN, 42));
    assert!(matches!(busy, Err(DbError::Busy { tree: CRAN, job: 41 })), "{busy:?}");
    db.write(|c| tree::abandon(c, CRAN));
    assert_eq!(db.write(|c| tree::begin(c, CRAN, 42)), Seq(1));
}

fn nothing_pending_cannot_be_published(db: &mut Fresh) {
    let answer = db.try_write(|c| clock::publish(c, &publish_of(&[CRAN], NEW_YEAR)));
    assert!(matches!(answer, Err(DbError::NothingPending(CRAN))), "{answer:?}");
    assert_eq!(db.read(|c| clock::get(c)).tx, TxId(0), "the transaction id was rolled back with it");
}

fn publishers_at_once_get_different_ids_in_the_order_of_their_times(db: &mut Fresh) {
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

fn the_catalog_number_moves_with_every_change(db: &mut Fresh) {
    let before = db.read(|c| clock::get(c)).catalog;
    db.write(|c| clock::bump_catalog(c));
    db.write(|c| change(c, CRAN, NEW_YEAR, &[]));
    assert_eq!(db.read(|c| clock::get(c)).catalog, before + 2);
}
