//! Accesses of stored files, and the objects that can be evicted.

use rstudio_pm::db::blob_access::{self, Unused};
use rstudio_pm::db::{blob, clock, file, import, tree};
use rstudio_pm::model::change::{Change, LifeState};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::Seq;
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::{CRAN, NEW_YEAR, publish_of, release, target};
use crate::support::db::TestDb;

both! {
    an_object_is_evictable_unless_it_was_accessed_or_is_the_only_copy
    an_access_is_recorded_by_its_last_day
}

const DAY: i64 = 86_400 * SECOND;

fn digest(byte: u8) -> Sha256 {
    Sha256([byte; 32])
}

/// The day of [`NEW_YEAR`] with an offset.
fn day(offset: i64) -> i64 {
    NEW_YEAR.0.div_euclid(DAY) + offset
}

fn unused(stored: i64, accessed: i64) -> Unused {
    Unused { stored_before: Timestamp(NEW_YEAR.0 + stored * DAY), accessed_before: day(accessed) }
}

/// Stores the file of a listed package of CRAN with this digest.
fn store(db: &mut TestDb, name: &'static str, byte: u8, seq: i64) {
    db.write(move |c| {
        tree::begin(c, CRAN, 7)?;
        let change =
            Change::Introduce { release: release(name, "1"), state: LifeState::Listed, path: String::new() };
        let known = import::apply(c, &target(CRAN, Seq(seq)), &[change])?[0];
        let blob = blob::Blob { sha256: digest(byte), class: "cran".into(), size: 5, created_at: NEW_YEAR };
        blob::insert(c, &blob)?;
        let facts = file::FetchedFacts {
            file: known.first_file,
            sha256: Some(digest(byte)),
            size: Some(5),
            state: file::FileState::Stored,
            built: None,
        };
        file::update(c, &[facts])
    });
}

fn evictable(db: &TestDb, unused: Unused) -> Vec<Sha256> {
    let found = db.read(move |c| blob_access::evictable(c, unused, None, 10));
    found.into_iter().map(|blob| blob.sha256).collect()
}

fn an_object_is_evictable_unless_it_was_accessed_or_is_the_only_copy(db: &mut TestDb) {
    store(db, "a", 1, 1);
    assert!(evictable(db, unused(9, 9)).is_empty(), "no published state lists it");
    let publish = publish_of(&[CRAN], Timestamp(NEW_YEAR.0 + 1));
    db.write(move |c| clock::publish(c, &publish));
    assert_eq!(evictable(db, unused(9, 9)), [digest(1)]);
    assert!(evictable(db, unused(0, 9)).is_empty(), "stored too recently");
    db.write(|c| blob_access::record(c, &[(digest(1), day(3))]));
    assert!(evictable(db, unused(9, 3)).is_empty(), "accessed on that day");
    assert!(!db.write(|c| blob_access::evict(c, digest(1), unused(9, 3))));
    assert_eq!(evictable(db, unused(9, 4)), [digest(1)]);
    // A local package has the same bytes.
    let set_locator = |locator: &'static str| {
        move |c: &mut dyn rstudio_pm::db::Conn| {
            c.execute("UPDATE file SET locator = $1", &[locator.into()]).map(drop)
        }
    };
    db.write(set_locator(""));
    assert!(evictable(db, unused(9, 4)).is_empty());
    assert!(!db.write(|c| blob_access::evict(c, digest(1), unused(9, 4))));
    db.write(set_locator("a_1.tar.gz"));
    assert!(db.write(|c| blob_access::evict(c, digest(1), unused(9, 4))));
    assert_eq!(db.read(|c| blob::get(c, digest(1))), None);
    let rows = db.read(|c| c.query("SELECT state, sha256, size FROM file", &[]));
    assert_eq!(rows[0].int(0).expect("a state"), 2);
    assert_eq!(rows[0].int(2).expect("a size"), 5, "digest and size are kept");
    assert_eq!(db.read(|c| c.query("SELECT day FROM blob_access", &[])).len(), 0);
    assert!(!db.write(|c| blob_access::evict(c, digest(1), unused(9, 4))), "only once");
}

fn an_access_is_recorded_by_its_last_day(db: &mut TestDb) {
    store(db, "a", 1, 1);
    let days = |db: &TestDb| -> Vec<i64> {
        let rows = db.read(|c| c.query("SELECT day FROM blob_access ORDER BY sha256", &[]));
        rows.iter().map(|row| row.int(0).expect("a day")).collect()
    };
    db.write(|c| blob_access::record(c, &[(digest(1), 7), (digest(2), 7)]));
    assert_eq!(days(db), [7], "an object without a row is ignored");
    db.write(|c| blob_access::record(c, &[(digest(1), 6)]));
    assert_eq!(days(db), [7]);
    db.write(|c| blob_access::record(c, &[(digest(1), 8)]));
    assert_eq!(days(db), [8]);
}
