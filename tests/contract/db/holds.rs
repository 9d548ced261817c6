//! Holds of running backups: they are renewed, released, and expire.

use rstudio_pm::db::backup;
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::time::{SECOND, Timestamp};

use crate::support::db::TestDb;

both! {
    a_hold_lasts_ten_minutes_unless_it_is_renewed
    a_hold_in_the_future_has_expired
}

/// PostgreSQL uses its own clock for holds, so `now` is the real time.
fn a_hold_lasts_ten_minutes_unless_it_is_renewed(db: &mut TestDb) {
    let (one, other) = (Identity([1; 16]), Identity([2; 16]));
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let held_until = |db: &TestDb, at: Timestamp| db.read(move |c| backup::held_until(c, at));
    assert_eq!(held_until(db, now), None);
    db.write(move |c| backup::take_hold(c, one, now));
    db.write(move |c| backup::take_hold(c, other, now));
    let until = held_until(db, now).expect("held");
    assert!((595 * SECOND..=605 * SECOND).contains(&(until.0 - now.0)), "{until}");
    assert!(db.write(move |c| backup::renew_hold(c, one, now)));
    db.write(move |c| backup::release_hold(c, one));
    assert!(held_until(db, now).is_some(), "the hold of the other backup");
    assert!(!db.write(move |c| backup::renew_hold(c, one, now)), "released");
    db.write(move |c| c.execute("UPDATE hold SET until = 1", &[]).map(drop));
    assert_eq!(held_until(db, now), None);
    assert!(!db.write(move |c| backup::renew_hold(c, other, now)), "expired");
}

fn a_hold_in_the_future_has_expired(db: &mut TestDb) {
    let (one, other) = (Identity([1; 16]), Identity([2; 16]));
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let held_until = |db: &TestDb| db.read(move |c| backup::held_until(c, now));
    let set = |db: &TestDb, minutes: i64| {
        let until = Timestamp(now.0 + minutes * 60 * SECOND);
        db.write(move |c| c.execute("UPDATE hold SET until = CAST($1 AS BIGINT)", &[until.into()]).map(drop));
    };
    db.write(move |c| backup::take_hold(c, one, now));
    set(db, 15);
    assert!(held_until(db).is_some(), "the clock was set back by a little");
    assert!(db.write(move |c| backup::renew_hold(c, one, now)));
    set(db, 60);
    assert_eq!(held_until(db), None);
    assert!(!db.write(move |c| backup::renew_hold(c, one, now)), "objects may have been removed");
    db.write(move |c| backup::take_hold(c, other, now));
    assert_eq!(db.read(|c| c.query("SELECT id FROM hold", &[])).len(), 1, "expired holds are removed");
}
