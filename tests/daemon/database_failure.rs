//! A PostgreSQL server that stops or becomes read-only while the daemon runs: `rspm status` reports it.

use crate::support::fixtures::until;
use crate::support::postgres::DedicatedServer;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A daemon on a separate PostgreSQL server, with one package in a repository.
fn start_on(postgres: &DedicatedServer) -> Server {
    let gcfg = format!(
        "[Database]\nProvider = postgres\nConnectionTimeout = 5s\n[Postgres]\nURL = {}\n",
        postgres.url()
    );
    let server = Builder::default().gcfg(&gcfg).env("PGPASSWORD", "").start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    server
}

/// The first line of `rspm status`, which succeeds.
fn status(server: &Server) -> String {
    server.rspm_stdout("status").lines().next().expect("a line").to_owned()
}

const HEALTHY: &str = "Online: 1 repository, 1 package, cran never synced";

#[test]
fn status_gives_the_reason_while_the_database_is_down() {
    let mut postgres = DedicatedServer::start();
    let server = start_on(&postgres);
    assert_eq!(status(&server), HEALTHY);
    postgres.stop();
    let expected = format!(
        "Online: 1 repository; the database is unavailable: cannot reach PostgreSQL at 127.0.0.1, port {} (",
        postgres.port
    );
    until("the status reports the database", || status(&server).starts_with(&expected));
    assert!(status(&server).contains("Connection refused"), "{}", status(&server));
    assert_eq!(server.json("status")["mode"], "online");
    postgres.launch();
    until("the status is normal again", || status(&server) == HEALTHY);
}

#[test]
fn a_database_that_becomes_read_only_is_in_status_errors_and_alerts() {
    let postgres = DedicatedServer::start();
    let server = start_on(&postgres);
    postgres.sql("ALTER DATABASE postgres SET default_transaction_read_only = on");
    postgres.end_sessions();
    until("the status reports it", || {
        status(&server).contains("is read-only: default_transaction_read_only is on")
    });
    assert!(status(&server).starts_with(HEALTHY), "reads continue: {}", status(&server));
    let package = Tarball::new("beta", "1.0");
    let file = server.dir().join(package.file());
    std::fs::write(&file, package.bytes()).expect("written");
    let output = server.rspm(&format!("add --source=team --path={}", file.display()));
    let expected = "is read-only: cannot execute ";
    assert!(output.code == 1 && output.err.contains(expected), "{output:?}");
    assert!(output.err.contains("(SQLSTATE 25006)"), "{output:?}");
    assert!(server.log_lines().iter().any(|line| line.contains("SQLSTATE 25006")));
    assert_eq!(server.get("/team/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
    let alerts = server.get("/__api__/alerts").text();
    assert!(alerts.contains("\"database\"") && alerts.contains("read-only"), "{alerts}");
    assert!(!alerts.contains("127.0.0.1"), "alerts are public: {alerts}");
    postgres.sql("BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT");
    postgres.end_sessions();
    until("the status is normal again", || status(&server) == HEALTHY);
    server.rspm_stdout(&format!("add --source=team --path={}", file.display()));
}
