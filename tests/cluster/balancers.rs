//! Load balancers in front of three servers: a rolling restart fails no request.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::{Shared, leaders, modes, within};
use crate::support::fixtures::until;
use crate::support::haproxy::Haproxy;
use crate::support::load::{Client, ExpectedFile, Load, Protocol, Target, packages};
use crate::support::nginx::Nginx;
use crate::support::port::free_port;
use crate::support::postgres::DedicatedServer;
use crate::support::server::{Program, Server};

const ONLINE: &str = "pm1 online, pm2 online, pm3 online";

/// Three servers with fixed ports, and the files that they serve.
fn start(shared: &Shared) -> ([Server; 3], [ExpectedFile; 2]) {
    let servers = ["pm1", "pm2", "pm3"].map(|name| {
        let lines = format!("[Server]\nDrainDelay = 1s\n[HTTP]\nListen = 127.0.0.1:{}\n", free_port());
        shared.builder(name).gcfg(&lines).start()
    });
    until("all are online", || modes(&servers[0]) == ONLINE);
    let admin = servers[0].admin_socket();
    packages::repository(&admin);
    let files = [("small", 500), ("medium", 300_000)]
        .map(|(name, bytes)| packages::package(&admin, servers[0].host(), name, bytes));
    for server in &servers {
        until("all serve the packages", || files.iter().all(|file| server.get(&file.path).status == 200));
    }
    (servers, files)
}

fn hosts(servers: &[Server]) -> Vec<String> {
    servers.iter().map(|server| server.host().to_owned()).collect()
}

/// Clients of a balancer, half of them with persistent connections: 1,000 requests/s of the small file and 20 of the
/// medium one, if the machine can do that; otherwise as many as it can. Each client waits for its answer.
fn load(host: &str, files: &[ExpectedFile]) -> Load {
    const CLIENTS: u32 = 40;
    let target = Target {
        http: host.to_owned(),
        https: host.to_owned(),
        certificate: CertificateDer::from(Vec::new()),
    };
    let clients = files.iter().flat_map(|file| {
        let (count, rate) = if file.is_small { (CLIENTS, 1000) } else { (CLIENTS / 10, 20) };
        (0..count).map(move |number| Client {
            protocol: Protocol::Http1,
            keep_alive: number % 2 == 0,
            file: file.clone(),
            pause: Duration::from_secs(1) * count / rate,
            is_paced: true,
        })
    });
    Load::start(target, clients.collect())
}

/// Ends a load once enough requests were answered, also on a slow machine, and prints its rate; none may have failed.
fn finish(load: Load) {
    within(Duration::from_secs(120), "5,000 requests", || load.response_count() >= 5_000);
    let report = load.finish();
    println!("{}", report.line());
    report.assert_none_failed();
}

fn rolling_restart(servers: &mut [Server; 3]) {
    for number in 0..servers.len() {
        servers[number].restart();
        let other = &servers[(number + 1) % 3];
        within(Duration::from_secs(90), "all are online again", || modes(other) == ONLINE);
        // The balancer needs two checks to use it again.
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_rolling_restart_behind_haproxy_fails_no_request() {
    let shared = Shared::new();
    let (mut servers, files) = start(&shared);
    let balancer = Haproxy::start(&hosts(&servers));
    let load = load(&balancer.host(), &files);
    rolling_restart(&mut servers);
    finish(load);
}

#[test]
fn a_server_behind_nginx_is_replaced_by_the_next_one_for_a_request() {
    let shared = Shared::new();
    let (servers, files) = start(&shared);
    let names: String =
        hosts(&servers).iter().map(|host| format!("server {host} max_fails=1 fail_timeout=5s;")).collect();
    let balancer = Nginx::load_balancer(
        &names,
        "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_next_upstream error timeout http_503; \
         proxy_max_temp_file_size 0;",
    );
    let host = balancer.url().split_once("://").expect("a URL").1.to_owned();
    let load = load(&host, &files);
    for server in &servers {
        server.rspm_stdout("offline");
        assert_eq!(server.get("/__ping__").status, 503);
        std::thread::sleep(Duration::from_millis(500));
        server.rspm_stdout("online");
        // After a failure nginx does not use a server for five seconds; all three must not be out at once.
        std::thread::sleep(Duration::from_secs(6));
    }
    finish(load);
}

/// Replaces the program of each server in turn, as documented.
fn upgrade(servers: &mut [Server; 3], program: Program) {
    for number in 0..servers.len() {
        let other = (number + 1) % 3;
        let name = format!("pm{}", number + 1);
        let output = servers[other].rspm_stdout(&format!("cluster offline --nodes={name}"));
        assert_eq!(output, format!("{name}: offline\n"));
        servers[number].stop();
        servers[number].install(program);
        servers[number].launch();
        within(Duration::from_secs(90), "all are online again", || modes(&servers[other]) == ONLINE);
        // The balancer needs two checks to use it again.
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_rolling_upgrade_to_a_further_migration_and_back_fails_no_request() {
    let mut primary = DedicatedServer::start();
    let standby = primary.streaming_standby();
    let (first, second) = (primary.port, standby.port);
    let shared = Shared::on(&format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres"));
    let (mut servers, files) = start(&shared);
    let schema = |primary: &DedicatedServer| {
        primary.value("SELECT CAST(max(number) AS TEXT) FROM migration").parse::<i64>().expect("a number")
    };
    let old_schema = schema(&primary);
    let balancer = Haproxy::start(&hosts(&servers));
    let load = load(&balancer.host(), &files);
    upgrade(&mut servers, Program::Next);
    assert_eq!(schema(&primary), old_schema + 1);
    packages::package(&servers[0].admin_socket(), servers[0].host(), "upgraded", 500);
    upgrade(&mut servers, Program::This);
    finish(load);
    assert_eq!(schema(&primary), old_schema + 1, "the earlier version works with it");

    // The primary server is lost, with the schema of the later version.
    standby.wait_for(&primary);
    primary.stop();
    standby.promote();
    within(Duration::from_secs(90), "all follow", || {
        servers.iter().all(|server| modes(server) == ONLINE && leaders(server).len() == 1)
    });
    packages::package(&servers[1].admin_socket(), servers[1].host(), "promoted", 500);
    for server in &servers {
        within(Duration::from_secs(90), "all serve all packages", || {
            files.iter().all(|file| server.get(&file.path).status == 200)
                && server.get("/load/latest/src/contrib/PACKAGES").text().contains("Package: promoted\n")
        });
    }
}
