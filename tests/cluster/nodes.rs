//! The list of servers: heartbeats, names, the leader, differences, servers that ended.

use std::time::Duration;

use super::{Shared, leaders, modes, nodes, within};
use crate::support::fixtures::until;
use crate::support::postgres;
use crate::support::server::Server;

#[test]
fn servers_of_one_database_list_each_other_and_one_leads() {
    let shared = Shared::new();
    let one = shared.start("pm1");
    let mut two =
        shared.builder("pm2").gcfg("[CRAN]\nSyncSchedule = 5 4 * * 0\n[Proxy]\nPassword = hunter2\n").start();
    until("both are online", || modes(&one) == "pm1 online, pm2 online");
    assert_eq!(modes(&two), "pm1 online, pm2 online");
    assert_eq!(leaders(&two), ["pm1"], "the first one");
    let rows = nodes(&one);
    assert_eq!((&rows[0]["own"], &rows[1]["own"]), (&true.into(), &false.into()));
    assert_eq!(rows[1]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(rows[1]["address"], two.host());
    let text = one.rspm_stdout("cluster nodes");
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
    assert!(one.rspm("cluster nodes --strict").code == 0, "no server is gone");

    // A stop removes the row at once; another leader is found at its next heartbeat.
    drop(one);
    let third = shared.start("pm3");
    until("another server leads", || leaders(&third).len() == 1 || modes(&third).contains("pm1"));
    two.stop();
    within(Duration::from_secs(90), "a stopped server leaves the list", || !modes(&third).contains("pm2"));
}

#[test]
fn a_server_that_was_killed_is_gone_and_its_successor_takes_its_place_at_once() {
    let shared = Shared::new();
    let (one, mut two) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&one) == "pm1 online, pm2 online");
    let id = |server: &Server| {
        nodes(server).iter().find(|row| row["name"] == "pm2").expect("listed")["id"].clone()
    };
    let old_id = id(&one);
    two.kill();
    two.launch();
    until("the new process is listed alone", || modes(&one) == "pm1 online, pm2 online");
    assert_ne!(id(&one), old_id);
    two.kill();
    within(Duration::from_secs(90), "it is gone", || modes(&one) == "pm1 online, pm2 gone");
    let output = one.rspm("cluster nodes --strict");
    assert_eq!((output.code, output.err.trim_end()), (1, "Error: gone: pm2"));
    assert_eq!(leaders(&one), ["pm1"]);
}

#[test]
fn a_strict_list_needs_the_database() {
    let mut database = postgres::DedicatedServer::start();
    let shared = Shared::on(&database.url());
    let one = shared.start("pm1");
    until("it is listed", || modes(&one) == "pm1 online");
    assert_eq!(one.rspm("cluster nodes --strict").code, 0);
    database.stop();
    until("the list is incomplete", || nodes(&one)[0]["lacks_others"] == true);
    let output = one.rspm("cluster nodes --strict");
    assert!(output.code == 1 && output.err.contains("the database does not answer"), "{output:?}");
}

#[test]
fn two_servers_with_one_host_name_have_two_names_and_one_leader() {
    let shared = Shared::new();
    let (one, two) = (shared.start("twin"), shared.start("twin"));
    until("both are listed", || modes(&one) == "twin online, twin (2) online");
    assert_eq!(leaders(&two), leaders(&one));
    assert_eq!(leaders(&one), ["twin"]);
    until("a warning", || {
        two.log_lines()
            .iter()
            .any(|line| line.contains("another server with the host name twin uses this database"))
    });
    let rows = nodes(&two);
    assert_eq!((&rows[0]["own"], &rows[1]["own"]), (&false.into(), &true.into()), "{rows:?}");
    assert_eq!(two.rspm_stdout("cluster offline --nodes=twin"), "twin: offline\n");
    assert_eq!((one.get("/__ping__").status, two.get("/__ping__").status), (503, 200));
    within(Duration::from_secs(90), "the other leads", || leaders(&two) == ["twin (2)"]);
}

#[test]
fn without_the_database_a_server_lists_itself() {
    let mut database = postgres::DedicatedServer::start();
    let shared = Shared::on(&database.url());
    let (one, two) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&one) == "pm1 online, pm2 online");
    database.stop();
    let rows = nodes(&one);
    assert_eq!((rows.len(), &rows[0]["name"]), (1, &"pm1".into()), "{rows:?}");
    assert!(rows[0]["message"].as_str().unwrap().contains("the other servers are unknown"), "{rows:?}");
    database.launch();
    within(Duration::from_secs(90), "both are back", || modes(&two) == "pm1 online, pm2 online");
}
