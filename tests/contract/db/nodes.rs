//! Rows of servers: heartbeats, requests, servers that are gone.

use rstudio_pm::db::node::{self, Beat, ModeRequest, NodeRow};
use rstudio_pm::db::{clock, lease};
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::time::{SECOND, Timestamp};

use crate::support::db::TestDb;

both! {
    a_heartbeat_creates_the_row_and_renews_it
    a_request_is_returned_by_heartbeats_until_the_next_one
    servers_that_are_gone_are_removed_after_a_day_or_when_they_are_replaced
    the_leases_of_a_server_that_ended_are_free
    a_history_has_an_identity
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_795_132_800 * SECOND + seconds * SECOND)
}

fn beat(id: u8, name: &str, mode: &str) -> Beat {
    Beat {
        id: Identity([id; 16]),
        name: name.to_owned(),
        address: "10.0.0.1:4242".to_owned(),
        version: "0.1.0".to_owned(),
        schema: 7,
        mode: mode.to_owned(),
        message: String::new(),
        config: "ab CRAN.URL".to_owned(),
        classes: "cran packages".to_owned(),
        answered_at: None,
        clock: at(3),
    }
}

fn rows(db: &TestDb) -> Vec<NodeRow> {
    db.read(node::list)
}

fn a_heartbeat_creates_the_row_and_renews_it(db: &mut TestDb) {
    assert_eq!(db.write(|c| node::beat(c, &beat(1, "pm1", "starting"), at(0))), None);
    db.write(|c| node::beat(c, &beat(1, "pm1", "online"), at(5)));
    db.write(|c| node::beat(c, &beat(1, "pm1", "online"), at(10)));
    db.write(|c| node::beat(c, &beat(2, "pm2", "online"), at(11)));
    let [one, two] = &rows(db)[..] else { panic!("{:?}", rows(db)) };
    assert_eq!((one.started_at, one.beat_at, one.mode_at), (at(0), at(10), at(5)));
    assert_eq!(one.beat, Beat { clock: at(3), ..beat(1, "pm1", "online") });
    assert_eq!((one.clock_ahead, two.clock_ahead), (-7 * SECOND, -8 * SECOND));
    assert!(!one.is_gone(at(40)) && one.is_gone(at(41)));
    assert!(!one.is_gone(at(-20)) && one.is_gone(at(-21)), "the clock was set back");
    db.write(|c| node::remove(c, Identity([1; 16])));
    assert_eq!(rows(db).len(), 1);
}

fn a_request_is_returned_by_heartbeats_until_the_next_one(db: &mut TestDb) {
    let request =
        |mode: &str, at| ModeRequest { mode: mode.to_owned(), actor: "alice".to_owned(), at, timeout: 60 };
    let (offline, online) = (request("offline", at(1)), request("online", at(2)));
    let (first, second) = (offline.clone(), online.clone());
    db.write(|c| node::beat(c, &beat(1, "pm1", "online"), at(0)));
    assert!(db.write(move |c| node::set_request(c, Identity([1; 16]), &first)));
    assert_eq!(db.write(|c| node::beat(c, &beat(1, "pm1", "online"), at(5))), Some(offline));
    assert!(db.write(move |c| node::set_request(c, Identity([1; 16]), &second)));
    let answered = Beat { answered_at: Some(at(1)), ..beat(1, "pm1", "offline") };
    assert_eq!(db.write(move |c| node::beat(c, &answered, at(6))), Some(online.clone()));
    let row = rows(db).remove(0);
    assert_eq!((row.request, row.beat.answered_at), (Some(online.clone()), Some(at(1))));
    assert!(!db.write(move |c| node::set_request(c, Identity([9; 16]), &online)), "there is no such server");
}

fn servers_that_are_gone_are_removed_after_a_day_or_when_they_are_replaced(db: &mut TestDb) {
    for (id, name, seen) in [(1, "pm1", 0), (2, "pm2", 0), (3, "pm1", 60), (4, "old", -86_400)] {
        db.write(move |c| node::beat(c, &beat(id, name, "online"), at(seen)));
    }
    let removed = |now: i64| {
        let mut removed = db.write(move |c| node::remove_gone(c, Identity([3; 16]), "pm1", at(now)));
        removed.sort_by_key(|id| id.0);
        removed
    };
    assert_eq!(removed(20), [Identity([4; 16])]);
    assert_eq!(removed(60), [Identity([1; 16])], "replaced");
    assert_eq!(removed(3600), [], "pm2 is gone, and still listed");
    db.write(move |c| node::beat(c, &beat(5, "pm1", "online"), at(100)));
    db.write(move |c| node::beat(c, &beat(6, "pm6", "online"), at(7200)));
    assert_eq!(removed(3600), [], "a server of the same name that ended later is gone like any other");
    let (two, five, six) = (Identity([2; 16]), Identity([5; 16]), Identity([6; 16]));
    assert_eq!(removed(-86_402), [two, five, six], "more than a day in the future");
    assert_eq!(removed(86_402), [], "never the own row");
}

fn the_leases_of_a_server_that_ended_are_free(db: &mut TestDb) {
    let claim = |name: &'static str, holder: &'static str| {
        db.write(move |c| lease::claim(c, name, holder, at(0), at(60)))
    };
    let fence = claim("sync:cran", "one").expect("free");
    claim("leader", "one").expect("free");
    claim("sweep", "two").expect("free");
    let holder = |now| db.read(move |c| lease::holder(c, "leader", at(now)));
    assert_eq!((holder(59).as_deref(), holder(60)), (Some("one"), None));
    assert!(db.write(move |c| lease::is_held(c, "sync:cran", fence)));
    db.write(|c| lease::release_all(c, "one"));
    assert!(claim("sync:cran", "two").expect("released") > fence);
    assert!(!db.write(move |c| lease::is_held(c, "sync:cran", fence)));
    assert_eq!(claim("sweep", "one"), None, "of another server");
}

fn a_history_has_an_identity(db: &mut TestDb) {
    let history = db.read(clock::get).history;
    assert!(history.parse::<Identity>().is_ok(), "{history}");
    db.reopen();
    assert_eq!(db.read(clock::get).history, history);
}
