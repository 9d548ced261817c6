//! Proofs that can be used once: a second use is detected, and expired rows are removed.

use rstudio_pm::db::token;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::NEW_YEAR;
use crate::support::db::TestDb;

both! {
    a_proof_is_used_once_until_it_expires
}

fn a_proof_is_used_once_until_it_expires(db: &mut TestDb) {
    let at = |seconds: i64| Timestamp(NEW_YEAR.0 + seconds * SECOND);
    let record = |db: &TestDb, proof: u8, expires_at: i64, now: i64| {
        db.write(move |c| token::record_proof(c, &Sha256([proof; 32]), at(expires_at), at(now)))
    };
    let rows = |db: &TestDb| db.read(|c| c.query("SELECT sha256 FROM used_proof", &[])).len();
    assert!(record(db, 1, 60, 0));
    assert!(!record(db, 1, 60, 1), "used before");
    assert!(!record(db, 1, 900, 60), "another expiry changes nothing");
    assert!(record(db, 2, 900, 60));
    assert_eq!(rows(db), 2);
    assert!(record(db, 3, 900, 61));
    assert_eq!(rows(db), 2, "the first one is expired");
    assert!(!record(db, 2, 900, 62));
}
