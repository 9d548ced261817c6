//! Sessions and sign-ins: a sign-in is used once, both expire, and a revocation ends all sessions of a user.

use rstudio_pm::db::identity;
use rstudio_pm::db::session::{self, DeviceLogin, DeviceState, Session};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::Identity;
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::NEW_YEAR;
use crate::support::db::TestDb;

both! {
    a_session_ends_by_time_by_inactivity_and_by_revocation
    a_restored_database_has_no_sessions_and_sign_ins
    a_sign_in_ends_once
    the_sign_in_of_a_device_is_decided_once_and_ends_once
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(NEW_YEAR.0 + seconds * SECOND)
}

fn create(db: &TestDb, number: u8, user: &str, end: i64) {
    let session = Session {
        digest: Sha256([number; 32]),
        guid: Identity([number; 16]),
        user: user.to_owned(),
        unique_id: format!("{user}-id"),
        scopes: "repos:read=0".to_owned(),
        revision: 1,
        created_at: at(0),
        last_used_at: at(0),
        expires_at: at(end),
    };
    let row = session.clone();
    db.write(move |c| session::create(c, &row));
    assert_eq!(find(db, number), Some(session));
}

fn find(db: &TestDb, number: u8) -> Option<Session> {
    db.read(move |c| session::find(c, Sha256([number; 32])))
}

fn a_session_ends_by_time_by_inactivity_and_by_revocation(db: &mut TestDb) {
    create(db, 1, "ann", 100);
    create(db, 2, "ann", 1_000);
    create(db, 3, "bob", 1_000);
    db.write(|c| session::record_use(c, Sha256([2; 32]), at(50)));
    db.write(|c| session::record_use(c, Sha256([2; 32]), at(40)));
    assert_eq!(find(db, 2).map(|session| session.last_used_at), Some(at(50)), "never earlier");
    db.write(|c| session::sweep(c, at(100), at(-10)));
    assert!(find(db, 1).is_none() && find(db, 2).is_some() && find(db, 3).is_some());
    db.write(|c| session::sweep(c, at(101), at(0)));
    assert!(find(db, 2).is_some() && find(db, 3).is_none(), "not used");
    create(db, 4, "bob", 1_000);
    db.write(|c| session::revoke_user(c, "ann", at(102)));
    assert!(find(db, 2).is_none() && find(db, 4).is_some());
    let revoked = db.read(|c| session::revoked_since(c, 0));
    assert_eq!(revoked.iter().map(|row| (row.user.as_str(), row.at)).collect::<Vec<_>>(), [("ann", at(102))]);
    let revision = revoked[0].revision;
    db.write(|c| session::revoke_user(c, "ann", at(103)));
    let again = db.read(move |c| session::revoked_since(c, revision));
    assert!(again.len() == 1 && again[0].revision > revision, "{again:?}");
}

fn a_restored_database_has_no_sessions_and_sign_ins(db: &mut TestDb) {
    create(db, 1, "ann", 1_000);
    db.write(|c| session::begin_login(c, Sha256([2; 32]), "/a", at(0), at(600), 1));
    db.write(identity::remove_servers);
    assert_eq!(find(db, 1), None);
    assert_eq!(db.write(|c| session::end_login(c, Sha256([2; 32]), at(1))), None);
}

fn a_sign_in_ends_once(db: &mut TestDb) {
    let begin = |db: &TestDb, number: u8, limit: i64| {
        db.write(move |c| session::begin_login(c, Sha256([number; 32]), "/a", at(0), at(600), limit))
    };
    let end = |db: &TestDb, number: u8, now: i64| {
        db.write(move |c| session::end_login(c, Sha256([number; 32]), at(now)))
    };
    assert!(begin(db, 1, 2) && begin(db, 2, 2));
    assert!(!begin(db, 3, 2), "too many");
    assert_eq!(end(db, 1, 599), Some("/a".to_owned()));
    assert_eq!(end(db, 1, 599), None, "used");
    assert_eq!(end(db, 2, 600), None, "expired");
}

fn the_sign_in_of_a_device_is_decided_once_and_ends_once(db: &mut TestDb) {
    let login = DeviceLogin {
        digest: Sha256([7; 32]),
        user_code: Some("BCDFGHJK".to_owned()),
        challenge: "c".to_owned(),
        address: "203.0.113.5".to_owned(),
        state: DeviceState::Pending,
        user: String::new(),
        unique_id: String::new(),
        scopes: String::new(),
        pause: 5 * SECOND,
        polled_at: Timestamp(0),
        expires_at: at(600),
    };
    let row = login.clone();
    assert!(db.write(move |c| session::begin_device(c, &row, at(0), 1)));
    let other = DeviceLogin { digest: Sha256([8; 32]), user_code: None, ..login.clone() };
    assert!(!db.write(move |c| session::begin_device(c, &other, at(0), 1)), "too many");
    assert_eq!(db.read(|c| session::device_by_code(c, "BCDFGHJK")), Some(login));
    let decide = |db: &TestDb, state: DeviceState| {
        let (device, session) = (Sha256([7; 32]), Sha256([1; 32]));
        db.write(move |c| session::decide(c, device, state, "ann", "ann-id", "repos:read=0", session))
    };
    assert!(!decide(db, DeviceState::Allowed), "the session has ended on another server");
    create(db, 1, "ann", 1_000);
    assert!(decide(db, DeviceState::Allowed));
    assert!(!decide(db, DeviceState::Denied), "decided");
    let device = db.read(|c| session::device(c, Sha256([7; 32]))).expect("a row");
    assert_eq!((device.state, device.user.as_str()), (DeviceState::Allowed, "ann"));
    assert!(db.write(|c| session::end_device(c, Sha256([7; 32]))));
    assert!(!db.write(|c| session::end_device(c, Sha256([7; 32]))));
}
