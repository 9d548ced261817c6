//! Servers whose connections pass a real PgBouncer in transaction mode.

use std::time::Duration;

use super::{Shared, modes, within};
use crate::support::fixtures::until;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::DedicatedServer;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const INDEX: &str = "/r/latest/src/contrib/PACKAGES";
const PUBLISHES: usize = 60;

fn lists(server: &Server, package: &str) -> bool {
    server.get(INDEX).text().contains(&format!("Package: {package}\n"))
}

fn warnings(server: &Server) -> usize {
    let lines = server.log_lines();
    lines.iter().filter(|line| line.contains("notifications of PostgreSQL do not arrive")).count()
}

#[test]
fn publishes_through_a_pooler_are_visible_after_a_poll_and_installations_are_isolated() {
    let database = DedicatedServer::start();
    database.sql("CREATE SCHEMA one; CREATE SCHEMA other");
    let pooler = PgBouncer::start(database.port);
    let url = |schema: &str| format!("{}?search_path={schema}", pooler.url());
    let shared = Shared::on(&url("one"));
    // The name of a prepared statement is the same in each process, and the pooler gives them the same sessions.
    let other_installation = Shared::on(&url("other"));
    let other_server = other_installation.start("apart");
    other_server.local_repository("r", &[Tarball::new("theirs", "1.0")]);
    let direct_settings = format!("[Postgres]\nListenURL = \"{}\"\n", database.url());
    let servers =
        [shared.start("pm1"), shared.start("pm2"), shared.builder("pm3").gcfg(&direct_settings).start()];
    until("all are online", || modes(&servers[0]) == "pm1 online, pm2 online, pm3 online");
    servers[0].local_repository("r", &[]);
    for server in &servers {
        until("all have the repository", || server.get(INDEX).status == 200);
    }
    for number in 0..PUBLISHES {
        let name = format!("p{number}");
        servers[number * number % 7 % 3].add("r", &Tarball::new(&name, "1.0"));
        if number % 10 == 0 {
            other_server.add("r", &Tarball::new(&format!("theirs{number}"), "1.0"));
            for server in &servers {
                within(Duration::from_secs(90), "the package is listed", || lists(server, &name));
            }
        }
    }
    let last_package = format!("p{}", PUBLISHES - 1);
    for server in &servers {
        within(Duration::from_secs(90), "the last package is listed", || lists(server, &last_package));
        assert!(!lists(server, "theirs"));
        assert_eq!(server.get(INDEX).header("etag"), servers[0].get(INDEX).header("etag"));
    }
    assert_eq!(servers.each_ref().map(warnings), [1, 1, 0], "one for each without a direct address");
    assert!(lists(&other_server, "theirs50") && !lists(&other_server, "p0"));
    assert_eq!(modes(&servers[1]), "pm1 online, pm2 online, pm3 online");
}
