//! Leases of jobs: a server that died loses them within a minute, and one that was suspended cannot write afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use rstudio_pm::db::DbError;
use rstudio_pm::jobs::lease::{ClaimError, Lease};
use rstudio_pm::model::identity::Identity;

use super::Shared;
use crate::support::db::{Engine, TestDb};
use crate::support::fixtures::{create_mirror, until};
use crate::support::server::Server;
use crate::support::upstream::{Fault, Upstream};

/// The last file that a sync reads of the mirror before it writes.
const INDEX: &str = "src/contrib/PACKAGES";

fn mirror() -> (Upstream, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    create_mirror(dir.path());
    (Upstream::of(Path::new(dir.path())), dir)
}

/// A server in the middle of a sync, which continues when the mirror releases [`INDEX`].
fn start_sync(server: &Server, mirror: &Upstream) {
    mirror.always(INDEX, Fault::Held);
    server.json("sync --no-wait");
    until("the sync reads the index", || mirror.pending().contains(&INDEX.to_owned()));
}

/// Tries to sync until it succeeds; returns the time that took.
fn sync_when_free(server: &Server) -> Duration {
    let start = Instant::now();
    loop {
        match server.sync() {
            Ok(_) => return start.elapsed(),
            Err(error) => assert!(error.contains("another server"), "{error}"),
        }
        assert!(start.elapsed() < Duration::from_secs(90), "the lease does not expire");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn transactions(server: &Server) -> usize {
    server.get("/__api__/sources/1/transactions").json().as_array().expect("a list").len()
}

#[test]
fn the_sync_of_a_killed_server_is_taken_over_within_ninety_seconds() {
    let (mirror, _dir) = mirror();
    let shared = Shared::new();
    let start = |name| shared.builder(name).gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    let (mut one, two) = (start("pm1"), start("pm2"));
    start_sync(&one, &mirror);
    one.kill();
    mirror.release(INDEX);
    let took = sync_when_free(&two);
    assert!(took > Duration::from_secs(20), "it was held before: {took:?}");
    assert_eq!(transactions(&two), 1);
}

#[test]
fn a_killed_server_regains_its_own_leases_at_once() {
    let (mirror, _dir) = mirror();
    let shared = Shared::new();
    let start = |name| shared.builder(name).gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    let (mut one, two) = (start("pm1"), start("pm2"));
    start_sync(&one, &mirror);
    one.kill();
    mirror.release(INDEX);
    one.launch();
    let took = sync_when_free(&one);
    assert!(took < Duration::from_secs(10), "{took:?}");
    // A stop releases them, too.
    start_sync(&one, &mirror);
    one.stop();
    mirror.release(INDEX);
    let took = sync_when_free(&two);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_suspended_job_cannot_write_after_another_server_took_over() {
    const NAME: &str = "sync:cran";
    let db = TestDb::new(Engine::Postgres);
    let (one, two) = (Identity([1; 16]), Identity([2; 16]));
    db.block(async {
        let first = Lease::claim(&db.db, one, NAME).await.expect("free");
        let refusal = Lease::claim(&db.db, two, NAME).await;
        assert!(matches!(refusal, Err(ClaimError::HeldByOther(_))));
        // As after a minute in which the first server did not run.
        db.db.write(|c| c.execute("UPDATE lease SET until = 0", &[])).await.expect("written");
        first.write(&db.db, |_| Ok(())).await.expect("no other server has claimed it");
        let second = Lease::claim(&db.db, two, NAME).await.expect("it expired");
        let lost = first.write(&db.db, |_| Ok(())).await;
        assert!(matches!(&lost, Err(DbError::Refused(why)) if why.to_string() == "another server took over"));
        assert!(first.check().await.is_err() && first.bulk(&db.db, |_| Ok(())).await.is_err());
        second.write(&db.db, |_| Ok(())).await.expect("held");
        // A job that is dropped frees its lease soon.
        drop(second);
        let start = Instant::now();
        while Lease::claim(&db.db, one, NAME).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "it is not released");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
