//! A server that is back-filled has the same history as a server that was synced every day.

use proptest::prelude::*;

use crate::support::cran_history::{CranHistory, DAY, EVENING, backfill, day, state};
use crate::support::db::Engine;
use crate::support::sync_backend::SyncBackend;
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;

#[derive(Clone, Copy, Debug)]
enum Action {
    Publish,
    /// The previous version with other bytes.
    Republish,
    Remove,
    Restore,
}

const PACKAGES: [&str; 4] = ["alpha", "Beta", "c.d", "zoo"];

fn actions() -> impl Strategy<Value = Vec<Vec<(&'static str, Action)>>> {
    let action = prop_oneof![
        5 => Just(Action::Publish),
        1 => Just(Action::Republish),
        2 => Just(Action::Remove),
        2 => Just(Action::Restore),
    ];
    let today = prop::collection::btree_map(prop::sample::select(&PACKAGES[..]), action, 0..3);
    prop::collection::vec(today.prop_map(|actions| actions.into_iter().collect()), 4..9)
}

fn apply(cran: &mut CranHistory, today: i64, package: &str, action: Action) {
    let tarball = |version: &str| {
        Tarball::new(package, version)
            .field(&format!("Depends: R (>= 3.{today})"))
            .field("NeedsCompilation: no")
    };
    // An archive has one file per name: of two older files with equal names one would be lost.
    let old = cran.listed.get(package).cloned();
    if old.as_ref().is_some_and(|old| cran.archive.iter().any(|other| other.file() == old.file())) {
        return;
    }
    match (action, old) {
        (Action::Publish, _) => cran.publish(today, &tarball(&format!("1.{today}"))),
        (Action::Republish, Some(old)) => {
            cran.publish(today, &tarball(&old.version).with("again", &today.to_string()));
        }
        (Action::Remove, _) => cran.archive_package(today, package),
        (Action::Restore, _) => cran.unarchive_package(today, package),
        (Action::Republish, None) => {}
    }
}

/// Runs two servers through the same days; the first sync of the second is in the evening of day `late`.
async fn compare(engine: Engine, days: &[Vec<(&'static str, Action)>], late: i64, since: i64) {
    let (web, mut cran) = (Upstream::empty(), CranHistory::default());
    // An index lists at least one package.
    cran.publish(0, &Tarball::new("always", "1.0"));
    let (early, after) =
        (SyncBackend::new(engine, &web.url()).await, SyncBackend::new(engine, &web.url()).await);
    early.advance_clock(EVENING);
    after.advance_clock(EVENING);
    for (today, actions) in (0..).zip(days) {
        actions.iter().for_each(|(package, action)| apply(&mut cran, today, package, *action));
        cran.serve(&web);
        early.sync().await.expect("a good mirror");
        if today == late {
            after.sync().await.expect("a good mirror");
            // In some cases in two windows, the later one first.
            if since % 2 == 1 {
                backfill(&after, day(late.midpoint(since))).await.expect("a good mirror");
            }
            backfill(&after, day(since)).await.expect("a good mirror");
        }
        if today > late {
            after.sync().await.expect("a good mirror");
        }
        early.advance_clock(DAY);
        after.advance_clock(DAY);
    }
    for today in since..days.len() as i64 {
        let (early, after) = (state(&early, day(today)).await, state(&after, day(today)).await);
        assert_eq!(early, after, "day {today}; synced from {late}, filled in since {since}: {days:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_back_filled_server_equals_a_server_synced_every_day(
        days in actions(), late in 1..8_i64, since in 0..8_i64,
    ) {
        let late = late.min(days.len() as i64 - 1);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(compare(Engine::Sqlite, &days, late, since.min(late - 1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_filled_server_equals_a_server_synced_every_day_on_postgres() {
    use Action::{Publish, Remove, Republish, Restore};
    let days = vec![
        vec![("alpha", Publish), ("Beta", Publish)],
        vec![("alpha", Republish)],
        vec![("Beta", Remove), ("zoo", Publish)],
        vec![("alpha", Publish), ("Beta", Restore)],
        vec![("zoo", Publish)],
        vec![("zoo", Remove), ("Beta", Publish)],
        vec![("zoo", Restore), ("alpha", Publish)],
    ];
    for (late, since) in [(5, 0), (3, 1), (6, 2)] {
        compare(Engine::Postgres, &days, late, since).await;
    }
}
