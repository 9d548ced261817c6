//! Publishes at several servers: each is visible on all of them soon, with equal answers.

use std::time::{Duration, Instant};

use super::{Shared, modes};
use crate::support::fixtures::until;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const INDEX: &str = "/r/latest/src/contrib/PACKAGES";
const PUBLISHES: usize = 100;

/// Less than the interval of polls, so that a publish is visible in time only if it is notified.
const LIMIT: Duration = Duration::from_secs(25);

/// Waits until a server lists a package; returns the time that took.
fn wait_for(server: &Server, package: &str, since: Instant) -> Duration {
    let line = format!("Package: {package}\n");
    while !server.get(INDEX).text().contains(&line) {
        assert!(since.elapsed() < LIMIT, "{package} is not visible after {LIMIT:?}");
    }
    since.elapsed()
}

#[test]
fn a_hundred_publishes_at_three_servers_are_visible_on_all_before_the_next_poll() {
    let shared = Shared::new();
    let servers = ["pm1", "pm2", "pm3"].map(|name| shared.start(name));
    until("all are online", || modes(&servers[0]) == "pm1 online, pm2 online, pm3 online");
    servers[0].local_repository("r", &[]);
    for server in &servers {
        until("all have the repository", || server.get(INDEX).status == 200);
    }
    let mut waits = Vec::new();
    for number in 0..PUBLISHES {
        // An irregular sequence of publishers.
        let publisher = number * number % 7 % 3;
        let name = format!("p{number}");
        servers[publisher].add("r", &Tarball::new(&name, "1.0"));
        let since = Instant::now();
        waits.extend(servers.iter().map(|server| wait_for(server, &name, since)));
        if number % 10 == 0 {
            let tags = servers.each_ref().map(|server| server.get(INDEX).header("etag").map(str::to_owned));
            assert!(tags[0].is_some() && tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
            let file = format!("/r/latest/src/contrib/{name}_1.0.tar.gz");
            let bodies = servers.each_ref().map(|server| server.get(&file).body);
            assert!(!bodies[0].is_empty() && bodies.iter().all(|body| *body == bodies[0]));
        }
    }
    waits.sort_unstable();
    println!(
        "visible after {:?} at the median, {:?} at p99",
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100]
    );
}
