//! The cost of 100,000 block rules: creating and listing them, warm requests against the same requests to a
//! server without rules, and the time until a new rule is in force.

use std::fmt::Write;
use std::time::Instant;

use super::admin::Admin;
use super::nginx::{fetch, wrk};
use super::report::{Report, median};
use super::server::Server;
use super::serving::small_mirror;

const RULES: usize = 100_000;
const ROUNDS: usize = 5;
const LISTS: usize = 11;
const SECONDS: u32 = 2;
const CONNECTIONS: u32 = 64;
const FILE: &str = "/bench/latest/src/contrib/kb1_1.0.0.tar.gz";
const INDEX: &str = "/bench/latest/src/contrib/PACKAGES";

pub(crate) fn run(report: &mut Report) {
    let servers = [start(), start()];
    let [without, with] = &servers;
    let rules = with.path().join("rules.json");
    let mut text = String::from("[");
    for number in 0..RULES {
        let separator = if number == 0 { "" } else { "," };
        write!(text, "{separator}{{\"package_name\":\"absent{number}\",\"version\":\"<2.0\"}}")
            .expect("a String");
    }
    std::fs::write(&rules, text + "]").expect("written");
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
    while status(with) != 403 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let time = start.elapsed().as_secs_f64() * 1e3;
    report.row(
        format!("a new rule beside {RULES} is in force"),
        format!("{time:.0} ms"),
        format!("the command {created:.0} ms"),
        format!("{:.2}", time / created),
        "≤ 1 s",
    );
    servers.into_iter().for_each(Server::stop);
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
