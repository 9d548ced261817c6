//! Notifications between servers, also over a connection that does not deliver them.

use std::time::Duration;

use super::{Shared, within};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::port::free_port;
use crate::support::postgres;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

fn lists(server: &Server, package: &str) -> bool {
    server.get("/r/latest/src/contrib/PACKAGES").text().contains(&format!("Package: {package}\n"))
}

/// Returns the number of log lines about missing notifications, and whether `rspm status` warns of them.
fn warnings(server: &Server) -> (usize, bool) {
    let line_count = server
        .log_lines()
        .iter()
        .filter(|line| line.contains("notifications of PostgreSQL do not arrive"))
        .count();
    (line_count, server.rspm_stdout("status").contains("Postgres.ListenURL"))
}

#[test]
fn a_server_without_notifications_warns_and_polls_every_two_seconds() {
    let database = postgres::DedicatedServer::start();
    let proxy = PostgresProxy::to(database.port);
    proxy.drop_notifications();
    let shared = Shared::on(&database.url());
    let pm1 = shared.start("pm1");
    let proxied =
        Shared { url: format!("postgres://postgres@{}/postgres?sslmode=disable", proxy.address), ..shared };
    let (polling_server, direct_server) = (
        proxied.start("pm2"),
        proxied.builder("pm3").gcfg(&format!("[Postgres]\nListenURL = \"{}\"", database.url())).start(),
    );
    within(Duration::from_secs(90), "one warning", || warnings(&polling_server) == (1, true));
    assert_eq!((warnings(&pm1), warnings(&direct_server)), ((0, false), (0, false)));
    pm1.local_repository("r", &[]);
    until("both serve the repository", || {
        [&polling_server, &direct_server]
            .iter()
            .all(|server| server.get("/r/latest/src/contrib/PACKAGES").status == 200)
    });
    for round in 0..5 {
        let name = format!("p{round}");
        pm1.add("r", &Tarball::new(&name, "1.0"));
        within(Duration::from_secs(20), "the server with a direct connection", || {
            lists(&direct_server, &name)
        });
        within(Duration::from_secs(20), "the server that polls", || lists(&polling_server, &name));
    }
    assert_eq!(warnings(&polling_server), (1, true));
}

#[test]
fn a_check_reports_a_notification_queue_that_fills() {
    let database = postgres::DedicatedServer::start();
    let server = Shared::on(&database.url()).start("pm1");
    // It exits with an error, because the folder of the mirror does not exist.
    let check = || server.rspm("check-config").out;
    assert!(!check().contains("Notifications"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.expect("a session");
        tokio::spawn(connection);
        client.batch_execute("LISTEN slow").await.expect("it listens");
        client.batch_execute("BEGIN; SELECT 1").await.expect("it is in a transaction");
        client
    });
    // The queue has 8 GB, of which this is one percent.
    database.sql("SELECT pg_notify('slow', repeat('x', 7900) || n) FROM generate_series(1, 12000) AS n");
    let output = check();
    assert!(output.contains("[INFO] Notifications"), "{output}");
    assert!(output.contains("of PostgreSQL's notification queue is used"), "{output}");
    drop(listener);
}

/// The statuses of an authenticated index with this token on both servers.
fn statuses(servers: &[&Server], token: &str) -> Vec<u16> {
    let authorization = format!("Bearer {token}");
    let fields = [("Authorization", authorization.as_str())];
    let status = |server: &&Server| {
        http::request("GET", &server.url("/r/latest/src/contrib/PACKAGES"), &fields, b"").status
    };
    servers.iter().map(status).collect()
}

#[test]
fn a_revocation_reaches_a_server_whose_connections_were_lost_meanwhile() {
    let database = postgres::DedicatedServer::start();
    // All connections of pm2 except that for notifications pass the proxy.
    let proxy = PostgresProxy::to(database.port);
    let shared = Shared::on(&database.url());
    let pm1 = shared.start("pm1");
    let proxied =
        Shared { url: format!("postgres://postgres@{}/postgres?sslmode=disable", proxy.address), ..shared };
    let pm2 = proxied.builder("pm2").gcfg(&format!("[Postgres]\nListenURL = \"{}\"", database.url())).start();
    pm1.local_repository("r", &[Tarball::new("alpha", "1.0")]);
    pm1.rspm_stdout("edit repo --name=r --authenticated");
    let token = || {
        let flags = "--scope=repos:read --repos=r --description=test --quiet";
        pm1.rspm_stdout(&format!("create token {flags}")).trim().to_owned()
    };
    let (first, second) = (token(), token());
    for token in [&first, &second] {
        until("both accept the token", || statuses(&[&pm1, &pm2], token) == [200; 2]);
    }
    // The listening connection ends while the token is revoked.
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rstudio-pm link'",
    );
    pm1.rspm_stdout(&format!("revoke token --token={first}"));
    within(Duration::from_secs(20), "both refuse it", || statuses(&[&pm1, &pm2], &first) == [401; 2]);

    // The notification arrives, and the server cannot read the change.
    proxy.retarget(free_port());
    database.end_sessions();
    pm2.wait_for_log("could not refresh the catalog after a publish of another server");
    until("it is revoked on the first", || {
        pm1.rspm(&format!("revoke token --token={second}"));
        statuses(&[&pm1], &second) == [401]
    });
    assert_ne!(statuses(&[&pm2], &second), [401], "it cannot know");
    proxy.retarget(database.port);
    within(Duration::from_secs(20), "the other refuses it too", || statuses(&[&pm2], &second) == [401]);
}
