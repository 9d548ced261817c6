//! The log of several servers: only the leader writes it, and one that was suspended while another took over changes nothing.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Shared, leaders, modes, within};
use crate::support::fixtures::until;
use crate::support::history::entries_of;
use crate::support::postgres::DedicatedServer;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

#[test]
fn a_suspended_leader_and_the_next_one_write_one_log() {
    let database = DedicatedServer::start();
    let shared = Shared::on(&database.url());
    let copy = shared.data().parent().expect("a directory").join("copy");
    let start = |name: &str| {
        let builder = shared.builder(name).env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512));
        builder.gcfg(&format!("[History]\nExportPath = {}", copy.display())).start()
    };
    let servers = [start("pm1"), start("pm2")];
    until("both are online", || modes(&servers[0]) == "pm1 online, pm2 online");
    servers[0].local_repository("prod", &[]);
    servers[1].json("history init --origin=pm.example.org/__log__");
    let signed = |server: &Server| {
        let mut entries = 0;
        within(Duration::from_secs(90), "all transactions are in the signed log", || {
            let status = server.history();
            entries = status["entries"].as_u64().expect("a number");
            assert!(status["pause"].is_null(), "{status}");
            status["waiting"] == 0 && entries > 0 && status["signed"] == entries
        });
        entries
    };
    signed(&servers[0]);
    let mut version = 0;
    for _ in 0..3 {
        let mut leader = String::new();
        within(Duration::from_secs(90), "there is a leader", || {
            leader = leaders(&servers[0]).pop().unwrap_or_default();
            !leader.is_empty()
        });
        let (first, second) = if leader == "pm1" { (0, 1) } else { (1, 0) };
        // In the middle of its work.
        for server in [&servers[first], &servers[second]] {
            version += 1;
            server.add("prod", &Tarball::new("alpha", &format!("1.{version}")));
        }
        // Not in a transaction of the database, whose locks would stop the others too.
        loop {
            servers[first].signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(300));
            let open = "SELECT count(*)::text FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()";
            if database.value(open) == "0" {
                break;
            }
            servers[first].signal(Signal::SIGCONT);
            std::thread::sleep(Duration::from_millis(20));
        }
        // As after a minute in which it did not run.
        database
            .value("WITH ended AS (UPDATE lease SET until = 0 RETURNING 1) SELECT count(*)::text FROM ended");
        within(Duration::from_secs(90), "the other is the leader", || {
            leaders(&servers[second]) != [leader.clone()]
        });
        version += 1;
        servers[second].add("prod", &Tarball::new("alpha", &format!("1.{version}")));
        signed(&servers[second]);
        servers[first].signal(Signal::SIGCONT);
        version += 1;
        servers[first].add("prod", &Tarball::new("alpha", &format!("1.{version}")));
        let entries = signed(&servers[first]);
        within(Duration::from_secs(90), "the copy is complete", || entries_of(&copy).len() as u64 >= entries);
    }
    let mut transactions: Vec<i64> = Vec::new();
    for entry in entries_of(&copy).iter().filter(|entry| entry.starts_with("rspm-log/1 publish\n")) {
        let line = entry.lines().find_map(|line| line.strip_prefix("transaction "));
        transactions.push(line.expect("a transaction").parse().expect("a number"));
    }
    let last = *transactions.last().expect("transactions");
    assert_eq!(transactions, (transactions[0]..=last).collect::<Vec<_>>(), "each once");
    for server in &servers {
        assert!(server.history()["pause"].is_null(), "{}", server.history());
    }
}
