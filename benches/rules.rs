//! The cost of 100,000 block rules: creating and listing them, previews of a new one, warm requests against the same
//! requests to a server without rules, and the time until a new rule is in force, also on a second server.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::admin::Admin;
use super::nginx::{fetch, wrk};
use super::postgres;
use super::report::{Report, median};
use super::server::{Server, package};
use super::serving::small_mirror;

const RULES: usize = 100_000;
const ROUNDS: usize = 5;
const LISTS: usize = 11;
const PREVIEWS: usize = 21;
/// Number of rules that are created one after the other while two servers are running.
const NEW_RULES: usize = 11;
const SECONDS: u32 = 2;
const CONNECTIONS: u32 = 64;
const FILE: &str = "/bench/latest/src/contrib/kb1_1.0.0.tar.gz";
const INDEX: &str = "/bench/latest/src/contrib/PACKAGES";

pub(crate) fn run(report: &mut Report) {
    let servers = [start(), start()];
    let [without, with] = &servers;
    let rules = write_rules(with);
    let start = Instant::now();
    with.rspm(&["create", "bulk-blocklist-rules", &format!("--path={}", rules.display())]);
    let time = format!("{:.1} s", start.elapsed().as_secs_f64());
    report.row(format!("creating {RULES} block rules"), time.clone(), "—", time, "—");

    let mut admin = Admin::connect(with);
    let times = (0..LISTS).map(|_| {
        let start = Instant::now();
        admin.send("GET", "/block-rules", b"");
        start.elapsed().as_secs_f64() * 1e3
    });
    let time = format!("{:.0} ms", median(times.collect()));
    report.row(format!("listing {RULES} block rules"), time.clone(), "—", time, "≤ 100 ms");

    let [preview, reference] = [with, without].map(|server| {
        let mut admin = Admin::connect(server);
        let times = (0..PREVIEWS).map(|_| {
            let start = Instant::now();
            admin.send("POST", "/block-rules", br#"{"rules":[{"package_name":"kb1"}],"dry_run":true}"#);
            start.elapsed().as_secs_f64() * 1e3
        });
        median(times.collect())
    });
    report.row(
        format!("preview of a new rule beside {RULES}"),
        format!("{preview:.1} ms"),
        format!("without rules {reference:.1} ms"),
        format!("{:.2}", preview / reference),
        "—",
    );

    for (name, path) in [("1 kB file", FILE), ("index", INDEX)] {
        let tag = fetch(&with.url(path), &with.path().join("copy"));
        for (kind, headers) in [("", Vec::new()), (", 304", vec![format!("If-None-Match: {tag}")])] {
            let (value, reference) = compare(with, without, path, &headers);
            report.row(
                format!("{name}{kind} with {RULES} block rules, {CONNECTIONS} connections"),
                format!("{value:.0}/s"),
                format!("without rules {reference:.0}/s"),
                format!("{:.2}", value / reference),
                "≥ 0.97",
            );
        }
    }
    let start = Instant::now();
    with.rspm(&["create", "blocklist-rule", "--package-name=kb1"]);
    let created = start.elapsed().as_secs_f64() * 1e3;
    wait_for_status(with, 403);
    let time = start.elapsed().as_secs_f64() * 1e3;
    report.row(
        format!("a new rule beside {RULES} is in force"),
        format!("{time:.0} ms"),
        format!("the command {created:.0} ms"),
        format!("{:.2}", time / created),
        "≤ 1 s",
    );
    servers.into_iter().for_each(Server::stop);
    second_server(report);
}

/// Writes a file with the rules for `rspm create bulk-blocklist-rules`; returns its path.
fn write_rules(server: &Server) -> std::path::PathBuf {
    let path = server.path().join("rules.json");
    let mut text = String::from("[");
    for number in 0..RULES {
        let separator = if number == 0 { "" } else { "," };
        write!(text, "{separator}{{\"package_name\":\"absent{number}\",\"version\":\"<2.0\"}}")
            .expect("a String");
    }
    std::fs::write(&path, text + "]").expect("written");
    path
}

/// Measures the time from the request of a new rule to one server until the rule is in force on another server of the
/// same PostgreSQL database.
fn second_server(report: &mut Report) {
    let url = postgres::server().schema();
    let storage = tempfile::tempdir().expect("a folder");
    let start = || {
        Server::start(&format!(
            "[Server]\nDataDir = {}\n[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"",
            storage.path().display()
        ))
    };
    let servers = [start(), start()];
    let [first, second] = &servers;
    first.rspm(&["create", "source", "--name=files"]);
    let file = package(first.path(), "kb1", 400);
    first.rspm(&["add", "--source=files", &format!("--path={}", file.display())]);
    first.rspm(&["create", "repo", "--name=bench"]);
    first.rspm(&["subscribe", "--repo=bench", "--source=files"]);
    let rules = write_rules(first);
    first.rspm(&["create", "bulk-blocklist-rules", &format!("--path={}", rules.display())]);
    let mut admin = Admin::connect(second);
    while !admin.send("GET", "/block-rules", b"").contains(&format!("\"absent{}\"", RULES - 1)) {
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for_status(second, 200);

    let mut admin = Admin::connect(first);
    let (mut created_times, mut times) = (Vec::new(), Vec::new());
    for _ in 0..NEW_RULES {
        let start = Instant::now();
        let answer = admin.send("POST", "/block-rules", br#"{"rules":[{"package_name":"kb1"}]}"#);
        created_times.push(start.elapsed().as_secs_f64() * 1e3);
        wait_for_status(second, 403);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        let id = &answer["rules"][0]["id"];
        admin.send("POST", "/block-rules/delete", format!("{{\"id\":\"{id}\"}}").as_bytes());
        wait_for_status(second, 200);
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let (created, time) = (median(created_times), median(times));
    report.row(
        format!(
            "a new rule beside {RULES} is in force on a second server, median and maximum of {NEW_RULES}"
        ),
        format!("{time:.0} ms; {slowest:.0} ms"),
        format!("the request {created:.0} ms"),
        format!("{:.2}", time / created),
        "≤ 1 s",
    );
    servers.into_iter().for_each(Server::stop);
}

fn wait_for_status(server: &Server, expected: u16) {
    let start = Instant::now();
    while status(server) != expected {
        assert!(start.elapsed() < Duration::from_secs(60), "{FILE}: not {expected}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start() -> Server {
    let server = Server::start(&format!("[CRAN]\nURL = {}", small_mirror()));
    server.create_repository(&[("kb1", 400)]);
    server
}

fn status(server: &Server) -> u16 {
    let output = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &server.url(FILE)])
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).parse().expect("a status")
}

/// Measures requests to two servers alternately; returns the rates of the round with the median ratio.
fn compare(server: &Server, reference_server: &Server, path: &str, headers: &[String]) -> (f64, f64) {
    let rate = |server: &Server| wrk(&server.url(path), CONNECTIONS, SECONDS, headers);
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| {
            if round % 2 == 0 {
                let value = rate(server);
                (value, rate(reference_server))
            } else {
                let reference = rate(reference_server);
                (rate(server), reference)
            }
        })
        .collect();
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    rounds[ROUNDS / 2]
}
