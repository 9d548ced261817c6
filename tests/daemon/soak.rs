//! The long test of `make soak`: a hundred restarts, reloads and upgrades, and a million requests.

use std::time::{Duration, Instant};

use crate::daemon::no_drop::{one_per_protocol, package, start_with_packages};
use crate::support::load::{Load, mix};
use crate::support::manager::Manager;

const ROUNDS: usize = 100;
const REQUESTS: u64 = 1_000_000;

#[test]
#[ignore = "takes a quarter of an hour: make soak"]
fn a_hundred_restarts_reloads_and_upgrades_and_a_million_requests_fail_none() {
    let mut manager = Manager::new("");
    let [small, medium, slow] = start_with_packages(&mut manager);
    let mut clients = mix(std::slice::from_ref(&small), Duration::from_millis(2));
    clients.extend(one_per_protocol(&small, true, Duration::ZERO));
    clients.extend(mix(&[medium], Duration::from_millis(100)));
    clients.extend(one_per_protocol(&slow, true, Duration::from_millis(300)));
    let load = Load::start(manager.target(), clients);
    let long = package(&manager, "long", 10_000_000).with_rate(1_000_000);
    let print_phase = |phase: &str, start: Instant, before: u64| {
        println!(
            "{ROUNDS} {phase} in {:.1} s, {} requests, {}",
            start.elapsed().as_secs_f64(),
            load.response_count() - before,
            if load.has_failed() { "some have failed so far" } else { "none has failed so far" }
        );
    };

    let (start, before) = (Instant::now(), load.response_count());
    for _ in 0..ROUNDS {
        manager.restart();
    }
    print_phase("restarts", start, before);

    let (start, before) = (Instant::now(), load.response_count());
    for _ in 0..ROUNDS {
        manager.reload();
        std::thread::sleep(Duration::from_millis(50));
    }
    print_phase("reloads", start, before);

    let (start, before) = (Instant::now(), load.response_count());
    let downloads = Load::start(manager.target(), one_per_protocol(&long, false, Duration::ZERO));
    for _ in 0..ROUNDS {
        manager.upgrade().expect("an upgrade");
        std::thread::sleep(Duration::from_millis(50));
    }
    print_phase("upgrades", start, before);
    let downloads = downloads.finish();
    println!("downloads of 10 s during them: {}", downloads.line());

    while load.response_count() < REQUESTS && !load.has_failed() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let outcome = load.finish();
    println!("all: {}", outcome.line());
    outcome.assert_none_failed();
    downloads.assert_none_failed();
    manager.stop();
}
