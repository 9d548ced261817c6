//! `rspm cluster offline` and `rspm cluster online`.

use std::time::{Duration, Instant};

use super::{Shared, modes, within};
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};

#[test]
fn servers_go_offline_and_online_by_name() {
    let shared = Shared::new();
    let mut servers = ["pm1", "pm2", "pm3"].map(|name| shared.start(name));
    let online = "pm1 online, pm2 online, pm3 online";
    until("all are online", || modes(&servers[0]) == online);
    let pings =
        |servers: &[Server]| servers.iter().map(|server| server.get("/__ping__").status).collect::<Vec<_>>();

    let start = Instant::now();
    let output = servers[0].rspm_stdout("cluster offline --nodes=pm1,pm2 --timeout=60");
    assert_eq!(output, "pm2: offline\npm1: offline\n", "the server of the command is the last");
    assert!(start.elapsed() < Duration::from_secs(25), "notified, not polled");
    assert_eq!(pings(&servers), [503, 503, 200]);
    // An offline server still responds, and executes commands of others.
    assert_eq!(modes(&servers[1]), "pm1 offline, pm2 offline, pm3 online");
    let output = servers[2].rspm_stdout("cluster online --nodes=pm1,pm2");
    assert!(
        output.lines().count() == 2 && output.contains("pm1: online\n") && output.contains("pm2: online\n"),
        "{output}"
    );
    assert_eq!(pings(&servers), [200, 200, 200]);

    let json = servers[0].json("cluster offline --nodes=*");
    assert_eq!(json.as_array().map(Vec::len), Some(3), "{json}");
    assert!(
        json.as_array().unwrap().iter().all(|change| change["done"] == true && change["mode"] == "offline"),
        "{json}"
    );
    assert_eq!(pings(&servers), [503, 503, 503]);
    // A restarted server is online, although the request is still recorded for its previous process.
    servers[1].restart();
    within(Duration::from_secs(90), "it is online", || {
        modes(&servers[0]) == "pm1 offline, pm2 online, pm3 offline"
    });
    // A command on the server itself overrides an earlier request.
    servers[2].rspm_stdout("online");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(servers[2].get("/__ping__").status, 200, "the request is not carried out a second time");

    let error = servers[0].refused("cluster online --nodes=pm1,pm9");
    // In the order of their starts.
    assert_eq!(error, "no server is called 'pm9'; the servers are: pm1, pm3, pm2");
    assert_eq!(servers[0].get("/__ping__").status, 503, "nothing was changed");
    let output = servers[0].rspm("cluster offline");
    assert!(output.code == 2 && output.err.contains("--nodes"), "{output:?}");
}

#[test]
fn a_server_that_is_not_offline_in_time_is_named_with_its_reason_and_online_again() {
    let shared = Shared::new();
    let servers = ["pm1", "pm2", "pm3"].map(|name| shared.start(name));
    until("all are online", || modes(&servers[0]) == "pm1 online, pm2 online, pm3 online");
    let upload = servers[1].begin_upload();
    let output = servers[0].rspm("cluster offline --nodes=pm2,pm3 --timeout=10");
    assert_eq!((output.code, output.err.trim_end()), (1, "Error: not offline: pm2"), "{}", output.out);
    assert!(output.out.contains("pm3: offline\n"), "{}", output.out);
    let line = output.out.lines().find(|line| line.starts_with("pm2: online; ")).expect("a line for pm2");
    assert!(line.contains("still running: 1 request"), "{line}");
    assert_eq!(servers[1].get("/__ping__").status, 200);
    drop(upload);
    assert_eq!(servers[0].rspm_stdout("cluster offline --nodes=pm2"), "pm2: offline\n");
}

#[test]
fn a_server_that_is_gone_is_reported_and_not_waited_for() {
    let shared = Shared::new();
    let (pm1, mut pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    pm2.kill();
    within(Duration::from_secs(90), "it is gone", || modes(&pm1) == "pm1 online, pm2 gone");
    let start = Instant::now();
    let output = pm1.rspm_stdout("cluster offline --nodes=pm1,pm2");
    assert!(output.starts_with("pm2: gone; last seen ") && output.ends_with("pm1: offline\n"), "{output}");
    assert!(start.elapsed() < Duration::from_secs(25));
    assert_eq!(pm1.rspm_stdout("cluster online --nodes=*"), "pm1: online\n", "all that are not gone");
}

#[test]
fn a_server_on_sqlite_is_the_only_one_of_its_list() {
    let server = Builder::default().start();
    let rows = super::nodes(&server);
    let name = rows[0]["name"].as_str().expect("a name");
    assert_eq!((rows.len(), &rows[0]["leader"], &rows[0]["mode"]), (1, &true.into(), &"online".into()));
    assert_eq!(server.rspm_stdout(&format!("cluster offline --nodes={name}")), format!("{name}: offline\n"));
    assert_eq!(server.get("/__ping__").status, 503);
    assert_eq!(server.rspm_stdout("cluster online --nodes=*"), format!("{name}: online\n"));
    assert_eq!(server.get("/__ping__").status, 200);
    let error = server.refused("cluster offline --nodes=pm2");
    assert!(error.contains("uses SQLite and is in no cluster"), "{error}");
}
