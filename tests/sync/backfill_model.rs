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
    let day_number = prop::collection::btree_map(prop::sample::select(&PACKAGES[..]), action, 0..3);
    prop::collection::vec(day_number.prop_map(|actions| actions.into_iter().collect()), 4..9)
}

fn apply(cran: &mut CranHistory, day_number: i64, package: &str, action: Action) {
    let tarball = |version: &str| {
        Tarball::new(package, version)
            .field(&format!("Depends: R (>= 3.{day_number})"))
            .field("NeedsCompilation: no")
    };
    // An archive has one file per name: of two older files with equal names one would be lost.
    let old_release = cran.listed.get(package).cloned();
    if old_release
        .as_ref()
        .is_some_and(|old_release| cran.archive.iter().any(|other| other.file() == old_release.file()))
    {
        return;
    }
    match (action, old_release) {
        (Action::Publish, _) => cran.publish(day_number, &tarball(&format!("1.{day_number}"))),
        (Action::Republish, Some(old_release)) => {
            cran.publish(day_number, &tarball(&old_release.version).with("again", &day_number.to_string()));
        }
        (Action::Remove, _) => cran.archive_package(day_number, package),
        (Action::Restore, _) => cran.unarchive_package(day_number, package),
        (Action::Republish, None) => {}
    }
}

/// Runs two servers through the same days; the first sync of the second is in the evening of day `first_sync_day`.
async fn compare(engine: Engine, days: &[Vec<(&'static str, Action)>], first_sync_day: i64, since: i64) {
    let (web, mut cran) = (Upstream::empty(), CranHistory::default());
    // An index lists at least one package.
    cran.publish(0, &Tarball::new("always", "1.0"));
    let (daily_server, late_server) =
        (SyncBackend::new(engine, &web.url()).await, SyncBackend::new(engine, &web.url()).await);
    daily_server.advance_clock(EVENING);
    late_server.advance_clock(EVENING);
    for (day_number, actions) in (0..).zip(days) {
        actions.iter().for_each(|(package, action)| apply(&mut cran, day_number, package, *action));
        cran.serve(&web);
        daily_server.sync().await.expect("a valid mirror");
        if day_number == first_sync_day {
            late_server.sync().await.expect("a valid mirror");
            // If `since` is odd, in two back-fills, the one of the later days first.
            if since % 2 == 1 {
                backfill(&late_server, day(first_sync_day.midpoint(since))).await.expect("a valid mirror");
            }
            backfill(&late_server, day(since)).await.expect("a valid mirror");
        }
        if day_number > first_sync_day {
            late_server.sync().await.expect("a valid mirror");
        }
        daily_server.advance_clock(DAY);
        late_server.advance_clock(DAY);
    }
    for day_number in since..days.len() as i64 {
        let expected = state(&daily_server, day(day_number)).await;
        let actual = state(&late_server, day(day_number)).await;
        assert_eq!(
            actual, expected,
            "day {day_number}; synced from {first_sync_day}, filled in since {since}: {days:#?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_back_filled_server_equals_a_server_synced_every_day(
        days in actions(), first_sync_day in 1..8_i64, since in 0..8_i64,
    ) {
        let first_sync_day = first_sync_day.min(days.len() as i64 - 1);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(compare(Engine::Sqlite, &days, first_sync_day, since.min(first_sync_day - 1)));
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
    for (first_sync_day, since) in [(5, 0), (3, 1), (6, 2)] {
        compare(Engine::Postgres, &days, first_sync_day, since).await;
    }
}
