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
    let mut earlier = shared.start("pm1");
    earlier.local_repository("r", &[Tarball::new("alpha", "1.0")]);
    let mut later = shared.builder("pm2").program(Program::Next).start();
    let online = "pm1 online, pm2 online";
    until("both are online", || modes(&earlier) == online);
    let schemas: Vec<i64> =
        nodes(&earlier).iter().map(|row| row["schema"].as_i64().expect("a number")).collect();
    assert_eq!(schemas[1], schemas[0] + 1);
    let text = earlier.rspm_stdout("cluster nodes");
    assert!(
        text.contains(&format!("pm2 supports schema {}, this server {}", schemas[1], schemas[0])),
        "{text}"
    );

    earlier.kill();
    earlier.launch();
    until("both are online again", || modes(&later) == online);
    earlier.add("r", &Tarball::new("beta", "1.0"));
    later.add("r", &Tarball::new("gamma", "1.0"));
    for server in [&earlier, &later] {
        until("both list what both added", || lists(server, "beta") && lists(server, "gamma"));
    }

    // A migration that the earlier version cannot work with waits for its end.
    let mut last = shared.builder("pm3").program(Program::Next).env("FURTHER_MIGRATIONS", "2").prepare();
    let contraction = format!("migration {} (contraction)", schemas[1] + 1);
    let error = last.start_refused();
    assert!(error.contains(&contraction) && error.contains("the running servers pm1,pm2"), "{error}");
    earlier.add("r", &Tarball::new("delta", "1.0"));
    until("nothing was changed", || lists(&later, "delta"));
    earlier.rspm_stdout("cluster offline --nodes=pm1,pm2");
    last.launch();
    assert!(lists(&last, "delta"));
    let error = earlier.refused("online");
    assert!(error.contains("cannot work with") && error.contains(&contraction), "{error}");
    for server in [&mut earlier, &mut later] {
        server.stop();
        let error = server.start_refused();
        assert!(error.contains("cannot work with") && error.contains(&contraction), "{error}");
    }
    assert!(lists(&last, "delta"));
}
