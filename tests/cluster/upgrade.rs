//! Servers of two versions on one database, which the later version has migrated.

use super::{Shared, modes, nodes};
use crate::support::fixtures::until;
use crate::support::server::{Program, Server};
use crate::support::tarball::Tarball;

fn lists(server: &Server, package: &str) -> bool {
    server.get("/r/latest/src/contrib/PACKAGES").text().contains(&format!("Package: {package}\n"))
}

#[test]
fn an_earlier_version_works_beside_an_expanded_schema_and_not_with_a_contracted_one() {
    let shared = Shared::new();
    let mut old_server = shared.start("pm1");
    old_server.local_repository("r", &[Tarball::new("alpha", "1.0")]);
    let mut new_server = shared.builder("pm2").program(Program::Next).start();
    let online = "pm1 online, pm2 online";
    until("both are online", || modes(&old_server) == online);
    let schemas: Vec<i64> =
        nodes(&old_server).iter().map(|row| row["schema"].as_i64().expect("a number")).collect();
    assert_eq!(schemas[1], schemas[0] + 1);
    let text = old_server.rspm_stdout("cluster nodes");
    assert!(
        text.contains(&format!("pm2 supports schema {}, this server {}", schemas[1], schemas[0])),
        "{text}"
    );

    old_server.kill();
    old_server.launch();
    until("both are online again", || modes(&new_server) == online);
    old_server.add("r", &Tarball::new("beta", "1.0"));
    new_server.add("r", &Tarball::new("gamma", "1.0"));
    for server in [&old_server, &new_server] {
        until("both list what both added", || lists(server, "beta") && lists(server, "gamma"));
    }

    // A migration that the earlier version cannot work with is refused while its servers use the database.
    let mut newest_server =
        shared.builder("pm3").program(Program::Next).env("FURTHER_MIGRATIONS", "2").prepare();
    let contraction = format!("migration {} (contraction)", schemas[1] + 1);
    let error = newest_server.start_refused();
    assert!(error.contains(&contraction) && error.contains("the running servers pm1,pm2"), "{error}");
    old_server.add("r", &Tarball::new("delta", "1.0"));
    until("nothing was changed", || lists(&new_server, "delta"));
    old_server.rspm_stdout("cluster offline --nodes=pm1,pm2");
    newest_server.launch();
    assert!(lists(&newest_server, "delta"));
    let error = old_server.refused("online");
    assert!(error.contains("cannot work with") && error.contains(&contraction), "{error}");
    for server in [&mut old_server, &mut new_server] {
        server.stop();
        let error = server.start_refused();
        assert!(error.contains("cannot work with") && error.contains(&contraction), "{error}");
    }
    assert!(lists(&newest_server, "delta"));
}
