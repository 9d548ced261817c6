//! Notifications between servers, also over a connection that does not deliver them.

use std::time::Duration;

use super::{Shared, within};
use crate::support::fixtures::until;
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
