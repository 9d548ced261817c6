//! Uploads: who may add them, when they expire, and what the sweep keeps for them.

use std::time::Duration;

use rstudio_pm::db::blob::{self, Blob};
use rstudio_pm::db::upload::{self, LIFETIME, UploadRow};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::{SECOND, Timestamp};

use crate::support::db::TestDb;

both! {
    an_upload_is_of_its_owner_and_is_removed_once
    an_upload_is_ignored_after_its_end_or_if_that_is_too_late
    the_objects_of_an_upload_are_not_swept
}

fn row(id: i64) -> UploadRow {
    UploadRow {
        id,
        owner: "ann (token 1)".to_owned(),
        kind: "source".to_owned(),
        sha256: Sha256([1; 32]),
        other_sha256: Some(Sha256([2; 32])),
        size: 10,
        facts: b"\xff{}".to_vec(),
    }
}

fn blobs() -> Vec<Blob> {
    let blob =
        |sha256, class: &str| Blob { sha256, class: class.to_owned(), size: 10, created_at: Timestamp(1) };
    vec![blob(Sha256([1; 32]), "packages"), blob(Sha256([2; 32]), "readmes")]
}

/// PostgreSQL uses its own clock for uploads, so this is the real time.
fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

fn insert(db: &TestDb, id: i64, now: Timestamp) {
    db.write(move |c| upload::insert(c, &row(id), &blobs(), now));
}

fn an_upload_is_of_its_owner_and_is_removed_once(db: &mut TestDb) {
    let now = now();
    insert(db, 7, now);
    let get = |id: i64, owner: &'static str| db.read(move |c| upload::get(c, id, owner, now));
    assert_eq!(get(7, "ann (token 1)"), Some(row(7)));
    for (id, owner) in
        [(7, "bob (token 2)"), (7, ""), (7, "ann"), (8, "ann (token 1)"), (-1, "ann (token 1)")]
    {
        assert_eq!(get(id, owner), None, "{id} of {owner}");
    }
    assert!(db.write(|c| upload::remove(c, 7)));
    assert!(!db.write(|c| upload::remove(c, 7)), "the second time");
    assert_eq!(get(7, "ann (token 1)"), None);
}

fn an_upload_is_ignored_after_its_end_or_if_that_is_too_late(db: &mut TestDb) {
    let now = now();
    let is_found = |db: &TestDb| db.read(move |c| upload::get(c, 7, "ann (token 1)", now)).is_some();
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    for (end, is_valid) in [(now + minute, true), (now - second, false), (now + 2 * LIFETIME + minute, false)]
    {
        insert(db, 7, now);
        db.write(move |c| c.execute("UPDATE upload SET expires_at = CAST($1 AS BIGINT)", &[end.into()]));
        assert_eq!(is_found(db), is_valid, "{end}");
        let removed = db.write(move |c| upload::remove_expired(c, now));
        assert_eq!(removed, u64::from(!is_valid), "{end}");
        db.write(|c| upload::remove(c, 7));
    }
    // A new upload removes those that have expired.
    insert(db, 7, now);
    db.write(|c| c.execute("UPDATE upload SET expires_at = 1", &[]));
    insert(db, 8, now);
    assert_eq!(db.read(|c| c.query("SELECT id FROM upload", &[])).len(), 1);
}

fn the_objects_of_an_upload_are_not_swept(db: &mut TestDb) {
    let later = Timestamp(now().0 + 86_400 * SECOND);
    insert(db, 7, now());
    let unreferenced = |db: &TestDb| db.read(move |c| blob::unreferenced(c, later, None, 10)).len();
    assert_eq!(unreferenced(db), 0);
    assert!(db.read(move |c| blob::count_unreferenced(c, later)).is_empty());
    for digest in [1, 2] {
        assert!(!db.write(move |c| blob::delete(c, Sha256([digest; 32]), later)), "{digest}");
    }
    db.write(|c| upload::remove(c, 7));
    assert_eq!(unreferenced(db), 2);
    for digest in [1, 2] {
        assert!(db.write(move |c| blob::delete(c, Sha256([digest; 32]), later)), "{digest}");
    }
}
