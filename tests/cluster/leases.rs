//! Leases of jobs: a server that died loses them within a minute, and one that was suspended cannot write afterwards.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstudio_pm::db::DbError;
use rstudio_pm::jobs::lease::{ClaimError, Lease};
use rstudio_pm::model::ids::Identity;

use super::{Shared, leaders, modes, within};
use crate::support::db::{Engine, TestDb};
use crate::support::fixtures::{create_mirror, until};
use crate::support::postgres::DedicatedServer;
use crate::support::postgres_proxy::{CommitFault, PostgresProxy};
use crate::support::rspm::RspmOutput;
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
    mirror.always(INDEX, Fault::NoAnswer);
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
        assert!(start.elapsed() < Duration::from_secs(150), "the lease does not expire");
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
    let (mut pm1, pm2) = (start("pm1"), start("pm2"));
    start_sync(&pm1, &mirror);
    pm1.kill();
    mirror.release(INDEX);
    let duration = sync_when_free(&pm2);
    assert!(duration > Duration::from_secs(20), "it was held before: {duration:?}");
    assert!(duration < Duration::from_secs(90), "{duration:?}");
    assert_eq!(transactions(&pm2), 1);
}

#[test]
fn a_killed_server_regains_its_own_leases_at_once() {
    let (mirror, _dir) = mirror();
    let shared = Shared::new();
    let start = |name| shared.builder(name).gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    let (mut pm1, pm2) = (start("pm1"), start("pm2"));
    start_sync(&pm1, &mirror);
    pm1.kill();
    mirror.release(INDEX);
    pm1.launch();
    let duration = sync_when_free(&pm1);
    assert!(duration < Duration::from_secs(20), "{duration:?}");
    // A stop releases them, too.
    start_sync(&pm1, &mirror);
    pm1.stop();
    mirror.release(INDEX);
    let duration = sync_when_free(&pm2);
    assert!(duration < Duration::from_secs(20), "{duration:?}");
}

#[test]
fn a_suspended_job_cannot_write_after_another_server_took_over() {
    const NAME: &str = "sync:cran";
    let db = TestDb::new(Engine::Postgres);
    let (one, two) = (Identity([1; 16]), Identity([2; 16]));
    db.block(async {
        let first_lease = Lease::claim(&db.db, one, NAME).await.expect("free");
        let refusal = Lease::claim(&db.db, two, NAME).await;
        assert!(matches!(refusal, Err(ClaimError::HeldByOther(_))));
        // As after a minute in which the first server did not run.
        db.db.write(|c| c.execute("UPDATE lease SET until = 0", &[])).await.expect("written");
        first_lease.write(&db.db, |_| Ok(())).await.expect("no other server has claimed it");
        let second_lease = Lease::claim(&db.db, two, NAME).await.expect("it expired");
        let result = first_lease.write(&db.db, |_| Ok(())).await;
        assert!(
            matches!(&result, Err(DbError::Refused(why)) if why.to_string() == "another server took over")
        );
        assert!(first_lease.check().await.is_err() && first_lease.bulk(&db.db, |_| Ok(())).await.is_err());
        second_lease.write(&db.db, |_| Ok(())).await.expect("held");
        // A job that is dropped frees its lease soon.
        drop(second_lease);
        let start = Instant::now();
        while Lease::claim(&db.db, one, NAME).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(90), "it is not released");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn the_publish_of_a_suspended_server_is_refused_after_another_server_took_over() {
    const PACKAGES: usize = 12_000;
    let database = DedicatedServer::start();
    // The server is suspended between two transactions: an open one would lock the lease until PostgreSQL ends it.
    let proxy = PostgresProxy::to(database.port);
    let mirror = Upstream::empty();
    let index: String =
        (0..PACKAGES).map(|n| format!("Package: p{n}\nVersion: 1.0\nLicense: MIT\n\n")).collect();
    mirror.put(INDEX, index);
    let shared = Shared::on(&database.url());
    let cran = format!("[CRAN]\nURL = {}\n", mirror.url());
    let proxy_settings = format!(
        "[Postgres]\nURL = \"postgres://postgres@{}/postgres?sslmode=disable\"\nListenURL = \"{}\"\n",
        proxy.address,
        database.url()
    );
    let pm1 = shared.builder("pm1").gcfg(&cran).gcfg(&proxy_settings).start();
    let pm2 = shared.builder("pm2").gcfg(&cran).start();
    until("both are online", || modes(&pm2) == "pm1 online, pm2 online");
    let count = |query: &str| -> usize {
        database.value(&format!("SELECT CAST(count(*) AS TEXT) FROM {query}")).parse().expect("a number")
    };

    // Before the sync begins: no later transaction of it may be the last one.
    proxy.fail_next_commit(CommitFault::WithholdAnswer);
    let mut command = pm1.rspm_command("sync");
    let sync = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rspm runs");
    until("a transaction is committed, which the server does not know yet", || proxy.has_failed_commit());
    until("no transaction is open", || {
        count(
            "pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        ) == 0
    });
    pm1.signal(Signal::SIGSTOP);
    proxy.release();
    assert!((1..PACKAGES).contains(&count("life")), "suspended in the middle");
    assert_eq!(count("tx"), 0, "nothing is published");

    let duration = sync_when_free(&pm2);
    assert!(duration > Duration::from_secs(20), "it was held before: {duration:?}");
    within(Duration::from_secs(90), "another server leads", || leaders(&pm2) == ["pm2"]);
    pm1.signal(Signal::SIGCONT);
    let output = RspmOutput::from(sync.wait_with_output().expect("it ends"));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.contains("another server took over"), "{output:?}");
    // The whole publish of the second server, and nothing of the suspended one.
    assert_eq!((count("life"), transactions(&pm2)), (PACKAGES, 1));
    assert_eq!(transactions(&pm1), 1);
    within(Duration::from_secs(90), "both beat", || modes(&pm2) == "pm1 online, pm2 online");
    assert_eq!(leaders(&pm1), ["pm2"]);
    pm1.sync().expect("it can sync again");
    assert_eq!((count("life"), transactions(&pm2)), (PACKAGES, 1));
}
