//! Does a server that came late know what one knows that was there all along?

use proptest::prelude::*;

use crate::support::cran_history::{Cran, DAY, EVENING, backfill, day, state};
use crate::support::db::Engine;
use crate::support::sync_backend::Server;
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;

#[derive(Clone, Copy, Debug)]
enum Act {
    Publish,
    /// The version before with other bytes.
    Again,
    TakeAway,
    BringBack,
}

const PACKAGES: [&str; 4] = ["alpha", "Beta", "c.d", "zoo"];

fn acts() -> impl Strategy<Value = Vec<Vec<(&'static str, Act)>>> {
    let act = prop_oneof![
        5 => Just(Act::Publish),
        1 => Just(Act::Again),
        2 => Just(Act::TakeAway),
        2 => Just(Act::BringBack),
    ];
    let today = prop::collection::btree_map(prop::sample::select(&PACKAGES[..]), act, 0..3);
    prop::collection::vec(today.prop_map(|acts| acts.into_iter().collect()), 4..9)
}

fn live(cran: &mut Cran, today: i64, package: &str, act: Act) {
    let tarball = |version: &str| {
        Tarball::new(package, version)
            .field(&format!("Depends: R (>= 3.{today})"))
            .field("NeedsCompilation: no")
    };
    // An archive has one file of a name: of two older twins one would be lost for ever.
    let old = cran.listed.get(package).cloned();
    if old.as_ref().is_some_and(|old| cran.archive.iter().any(|other| other.file() == old.file())) {
        return;
    }
    match (act, old) {
        (Act::Publish, _) => cran.publish(today, &tarball(&format!("1.{today}"))),
        (Act::Again, Some(old)) => {
            cran.publish(today, &tarball(&old.version).with("again", &today.to_string()));
        }
        (Act::TakeAway, _) => cran.take_away(today, package),
        (Act::BringBack, _) => cran.bring_back(today, package),
        (Act::Again, None) => {}
    }
}

/// Both ways through the same days; the first sync of the late one is in the evening of day `late`.
async fn compare(engine: Engine, days: &[Vec<(&'static str, Act)>], late: i64, since: i64) {
    let (web, mut cran) = (Upstream::empty(), Cran::default());
    // An index lists something.
    cran.publish(0, &Tarball::new("always", "1.0"));
    let (early, after) = (Server::new(engine, &web.url()).await, Server::new(engine, &web.url()).await);
    early.pass(EVENING);
    after.pass(EVENING);
    for (today, acts) in (0..).zip(days) {
        acts.iter().for_each(|(package, act)| live(&mut cran, today, package, *act));
        cran.serve(&web);
        early.sync().await.expect("a good mirror");
        if today == late {
            after.sync().await.expect("a good mirror");
            // Sometimes in two windows, the younger one first.
            if since % 2 == 1 {
                backfill(&after, day(late.midpoint(since))).await.expect("a good mirror");
            }
            backfill(&after, day(since)).await.expect("a good mirror");
        }
        if today > late {
            after.sync().await.expect("a good mirror");
        }
        early.pass(DAY);
        after.pass(DAY);
    }
    for today in since..days.len() as i64 {
        let (early, after) = (state(&early, day(today)).await, state(&after, day(today)).await);
        assert_eq!(early, after, "day {today}; synced from {late}, filled in since {since}: {days:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn filled_in_and_synced_is_synced_in_order(days in acts(), late in 1..8_i64, since in 0..8_i64) {
        let late = late.min(days.len() as i64 - 1);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(compare(Engine::Sqlite, &days, late, since.min(late - 1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_so_it_is_on_postgres() {
    use Act::{Again, BringBack, Publish, TakeAway};
    let days = vec![
        vec![("alpha", Publish), ("Beta", Publish)],
        vec![("alpha", Again)],
        vec![("Beta", TakeAway), ("zoo", Publish)],
        vec![("alpha", Publish), ("Beta", BringBack)],
        vec![("zoo", Publish)],
        vec![("zoo", TakeAway), ("Beta", Publish)],
        vec![("zoo", BringBack), ("alpha", Publish)],
    ];
    for (late, since) in [(5, 0), (3, 1), (6, 2)] {
        compare(Engine::Postgres, &days, late, since).await;
    }
}
