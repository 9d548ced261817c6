//! Fail-over of PostgreSQL to a standby that lacks the last transactions, under running servers.

use std::time::Duration;

use super::{Shared, leaders, modes, within};
use crate::support::fixtures::until;
use crate::support::postgres::DedicatedServer;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const INDEX: &str = "/r/latest/src/contrib/PACKAGES";

fn lists(server: &Server, package: &str) -> bool {
    server.get(INDEX).text().contains(&format!("Package: {package}\n"))
}

#[test]
fn servers_notice_a_standby_that_lacks_transactions_and_read_everything_again() {
    let mut primary = DedicatedServer::start();
    let standby = primary.streaming_standby();
    // An address that follows the primary server.
    let address = PostgresProxy::to(primary.port);
    let shared = Shared::on(&format!("postgres://postgres@{}/postgres?sslmode=disable", address.address));
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    pm1.local_repository("r", &[Tarball::new("alpha", "1.0")]);
    until("the other has it", || lists(&pm2, "alpha"));
    standby.wait_for(&primary);
    standby.stop_receiving();
    for name in ["lost1", "lost2", "lost3"] {
        pm1.add("r", &Tarball::new(name, "1.0"));
    }
    for server in [&pm1, &pm2] {
        until("all three are served", || lists(server, "lost3"));
    }
    let old_etags: Vec<_> =
        [&pm1, &pm2].map(|server| server.get(INDEX).header("etag").expect("an ETag").to_owned()).into();
    let lost_file = "/r/latest/src/contrib/lost3_1.0.tar.gz";
    assert_eq!(pm2.get(lost_file).status, 200);

    primary.stop();
    standby.promote();
    address.retarget(standby.port);
    for server in [&pm1, &pm2] {
        within(Duration::from_secs(90), "the rewind is noticed", || {
            server
                .log_lines()
                .iter()
                .any(|line| line.contains("reopened the database and the storage after the reset"))
        });
        assert!(
            server.log_lines().iter().any(|line| line.contains("the database was reset from transaction"))
        );
        assert_eq!(server.series("ppm_database_rewinds_total"), Some(1.0));
        assert!(lists(server, "alpha") && !lists(server, "lost1"), "{}", server.get(INDEX).text());
        assert_eq!(server.get(lost_file).status, 404);
    }
    // The numbers of the lost transactions and steps are given to others.
    pm1.add("r", &Tarball::new("fresh1", "1.0"));
    pm1.add("r", &Tarball::new("fresh2", "1.0"));
    pm1.add("r", &Tarball::new("fresh3", "1.0"));
    until("the other has them", || lists(&pm2, "fresh3"));
    for (server, etag) in [&pm1, &pm2].into_iter().zip(&old_etags) {
        let answer = server.get(INDEX);
        assert_ne!(answer.header("etag"), Some(&**etag), "no 304 for other content");
        assert!(!answer.text().contains("lost"));
    }
    assert_eq!(pm1.get(INDEX).header("etag"), pm2.get(INDEX).header("etag"));
    // A server that starts now returns the same.
    let third = shared.start("pm3");
    assert_eq!(third.get(INDEX).text(), pm1.get(INDEX).text());
    assert_eq!(pm1.series("ppm_database_rewinds_total"), Some(1.0), "once");
}

#[test]
fn servers_follow_a_promoted_standby_that_their_urls_name() {
    let mut primary = DedicatedServer::start();
    let standby = primary.streaming_standby();
    // The standby is the first one: it refuses writes until it is promoted.
    let hosts = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}", standby.port, primary.port);
    let shared = Shared::on(&format!("{hosts}/postgres?target_session_attrs=read-write"));
    let urls = format!(
        "[Postgres]\nUsageDataURL = \"{hosts}/postgres\"\nListenURL = \"postgres://postgres@/postgres?\
         host=127.0.0.1,127.0.0.1&port={},{}&target_session_attrs=primary\"\n",
        standby.port, primary.port
    );
    let (pm1, pm2) = (shared.start("pm1"), shared.builder("pm2").gcfg(&urls).start());
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    pm1.local_repository("r", &[Tarball::new("before", "1.0")]);
    until("the other has it", || lists(&pm2, "before"));
    standby.wait_for(&primary);

    primary.stop();
    // The standby accepts no writes yet.
    assert_ne!(pm1.rspm("create source --name=during").code, 0);
    standby.promote();
    within(Duration::from_secs(90), "both send heartbeats again", || {
        modes(&pm1) == "pm1 online, pm2 online" && modes(&pm2) == "pm1 online, pm2 online"
    });
    for (publisher, package) in [(&pm1, "after1"), (&pm2, "after2")] {
        publisher.add("r", &Tarball::new(package, "1.0"));
        for server in [&pm1, &pm2] {
            within(Duration::from_secs(25), "the package is listed", || lists(server, package));
        }
    }
    assert_eq!(leaders(&pm1).len(), 1);
    assert_eq!(pm1.get(INDEX).header("etag"), pm2.get(INDEX).header("etag"));
    assert!([&pm1, &pm2].iter().all(|server| server.series("ppm_database_rewinds_total") != Some(1.0)));
    // A server that starts now finds the new primary, too.
    let third = shared.start("pm3");
    assert!(lists(&third, "after2"));
}

#[test]
fn servers_apply_the_rules_of_a_standby_that_lacks_the_last_rule() {
    let mut primary = DedicatedServer::start();
    let standby = primary.streaming_standby();
    let address = PostgresProxy::to(primary.port);
    let shared = Shared::on(&format!("postgres://postgres@{}/postgres?sslmode=disable", address.address));
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    pm1.local_repository("r", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    until("the other has them", || lists(&pm2, "beta"));
    standby.wait_for(&primary);
    standby.stop_receiving();
    let status = |server: &Server, package: &str| {
        server.get(&format!("/r/latest/src/contrib/{package}_1.0.tar.gz")).status
    };
    pm1.rspm_stdout("create blocklist-rule --package-name=alpha");
    for server in [&pm1, &pm2] {
        until("the rule is in force", || status(server, "alpha") == 403);
    }

    primary.stop();
    standby.promote();
    // Another server makes as many changes before these two connect to the standby.
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", standby.port);
    let pm3 = shared.builder("pm3").gcfg(&format!("[Postgres]\nURL = \"{url}\"\n")).start();
    pm3.rspm_stdout("create blocklist-rule --package-name=beta");
    address.retarget(standby.port);
    for server in [&pm1, &pm2] {
        within(Duration::from_secs(90), "the new rule is in force", || status(server, "beta") == 403);
        within(Duration::from_secs(90), "the lost one is not", || status(server, "alpha") == 200);
    }
}
