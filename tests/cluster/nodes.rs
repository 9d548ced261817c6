//! The list of servers: heartbeats, names, the leader, differences, servers that ended.

use std::time::Duration;

use super::{Shared, leaders, modes, nodes, within};
use crate::support::fixtures::until;
use crate::support::postgres;
use crate::support::server::Server;

#[test]
fn servers_of_one_database_list_each_other_and_one_leads() {
    let shared = Shared::new();
    let pm1 = shared.start("pm1");
    let mut pm2 =
        shared.builder("pm2").gcfg("[CRAN]\nSyncSchedule = 5 4 * * 0\n[Proxy]\nPassword = hunter2\n").start();
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    assert_eq!(modes(&pm2), "pm1 online, pm2 online");
    assert_eq!(leaders(&pm2), ["pm1"], "the first one");
    let rows = nodes(&pm1);
    assert_eq!((&rows[0]["own"], &rows[1]["own"]), (&true.into(), &false.into()));
    assert_eq!(rows[1]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(rows[1]["address"], pm2.host());
    let text = pm1.rspm_stdout("cluster nodes");
    let header: Vec<&str> = text.lines().next().expect("a header").split_whitespace().collect();
    assert_eq!(
        header.join(" "),
        "Name Address Version Mode Leader Last seen (UTC) Mode since (UTC) Message",
        "{text}"
    );
    let difference = text.lines().last().expect("a line");
    assert!(
        difference.starts_with("pm2 has another configuration: ") && difference.contains("CRAN.SyncSchedule"),
        "{text}"
    );
    assert!(difference.contains("Proxy.Password") && !text.contains("hunter2"), "{text}");
    assert!(pm1.rspm("cluster nodes --strict").code == 0, "no server is gone");

    // A stop removes the row at once; another leader is found at its next heartbeat.
    drop(pm1);
    let third = shared.start("pm3");
    until("another server leads", || leaders(&third).len() == 1 || modes(&third).contains("pm1"));
    pm2.stop();
    within(Duration::from_secs(90), "a stopped server leaves the list", || !modes(&third).contains("pm2"));
}

#[test]
fn a_server_that_was_killed_is_gone_and_its_successor_takes_its_place_at_once() {
    let shared = Shared::new();
    let (pm1, mut pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    let id = |server: &Server| {
        nodes(server).iter().find(|row| row["name"] == "pm2").expect("listed")["id"].clone()
    };
    let old_id = id(&pm1);
    pm2.kill();
    pm2.launch();
    until("the new process is listed alone", || modes(&pm1) == "pm1 online, pm2 online");
    assert_ne!(id(&pm1), old_id);
    pm2.kill();
    within(Duration::from_secs(90), "it is gone", || modes(&pm1) == "pm1 online, pm2 gone");
    let output = pm1.rspm("cluster nodes --strict");
    assert_eq!((output.code, output.err.trim_end()), (1, "Error: gone: pm2"));
    assert_eq!(leaders(&pm1), ["pm1"]);
}

#[test]
fn a_strict_list_needs_the_database() {
    let mut database = postgres::DedicatedServer::start();
    let shared = Shared::on(&database.url());
    let pm1 = shared.start("pm1");
    until("it is listed", || modes(&pm1) == "pm1 online");
    assert_eq!(pm1.rspm("cluster nodes --strict").code, 0);
    database.stop();
    until("the list is incomplete", || nodes(&pm1)[0]["lacks_others"] == true);
    let output = pm1.rspm("cluster nodes --strict");
    assert!(output.code == 1 && output.err.contains("the database does not answer"), "{output:?}");
}

#[test]
fn two_servers_with_one_host_name_have_two_names_and_one_leader() {
    let shared = Shared::new();
    let (first, mut second) = (shared.start("twin"), shared.start("twin"));
    until("both are listed", || modes(&first) == "twin online, twin (2) online");
    assert_eq!(leaders(&second), leaders(&first));
    assert_eq!(leaders(&first), ["twin"]);
    until("a warning", || {
        second
            .log_lines()
            .iter()
            .any(|line| line.contains("another server with the host name twin uses this database"))
    });
    let rows = nodes(&second);
    assert_eq!((&rows[0]["own"], &rows[1]["own"]), (&false.into(), &true.into()), "{rows:?}");
    assert_eq!(second.rspm_stdout("cluster offline --nodes=twin"), "twin: offline\n");
    assert_eq!((first.get("/__ping__").status, second.get("/__ping__").status), (503, 200));
    within(Duration::from_secs(90), "the other leads", || leaders(&second) == ["twin (2)"]);
    first.rspm_stdout("cluster online --nodes=twin");
    // A server that ended is listed until one with its name starts, also if a server of this name runs beside it.
    second.kill();
    within(Duration::from_secs(90), "it is gone", || modes(&first) == "twin online, twin (2) gone");
    let output = first.rspm("cluster nodes --strict");
    assert_eq!((output.code, output.err.trim_end()), (1, "Error: gone: twin (2)"));
    let last_seen = || nodes(&first)[0]["last_seen"].clone();
    let seen = last_seen();
    until("the next heartbeat", || last_seen() != seen);
    assert_eq!(
        modes(&first),
        "twin online, twin (2) gone",
        "a heartbeat of the other one does not remove it"
    );
    second.launch();
    until("its successor takes its place", || modes(&first) == "twin online, twin (2) online");
}

#[test]
fn without_the_database_a_server_lists_itself() {
    let mut database = postgres::DedicatedServer::start();
    let shared = Shared::on(&database.url());
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    database.stop();
    let rows = nodes(&pm1);
    assert_eq!((rows.len(), &rows[0]["name"]), (1, &"pm1".into()), "{rows:?}");
    assert!(rows[0]["message"].as_str().unwrap().contains("the other servers are unknown"), "{rows:?}");
    database.launch();
    within(Duration::from_secs(90), "both are back", || modes(&pm2) == "pm1 online, pm2 online");
}
