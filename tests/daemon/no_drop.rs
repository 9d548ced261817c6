//! Under a steady load no restart and no reload fails or cuts a request.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::manager::Manager;
use crate::support::steady::{Client, Speech, Steady, Target, Wanted, mix, stock};

const ROUNDS: usize = 30;

/// A package whose tarball has about so many bytes, and where it is served.
pub(crate) fn package(manager: &Manager, name: &str, bytes: usize) -> Wanted {
    stock::package(&manager.server.admin_socket(), &manager.target().http, name, bytes)
}

/// A repository `load`.
pub(crate) fn repository(manager: &Manager) {
    stock::repository(&manager.server.admin_socket());
}

/// One client for each way to speak.
pub(crate) fn each_speech(wanted: &Wanted, keep_alive: bool, pause: Duration) -> Vec<Client> {
    [Speech::Plain, Speech::Tls, Speech::Http2]
        .map(|speech| Client { speech, keep_alive, wanted: wanted.clone(), pause })
        .to_vec()
}

/// Not a test by itself: a load on a server that somebody else starts, stops and upgrades, until the file
/// `RSPM_LOAD_UNTIL` exists. `tests/packaging/run` runs it inside the network of a booted system.
#[test]
#[ignore = "a load for a server that runs elsewhere"]
fn load_from_outside() {
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (host, admin) = (given("RSPM_LOAD_HTTP"), PathBuf::from(given("RSPM_LOAD_ADMIN")));
    let until = PathBuf::from(given("RSPM_LOAD_UNTIL"));
    let slow_bytes: usize = given("RSPM_LOAD_SLOW_BYTES").parse().expect("a number");
    stock::repository(&admin);
    let wanted =
        [("small", 500), ("medium", 300_000)].map(|(name, n)| stock::package(&admin, &host, name, n));
    let slow = stock::package(&admin, &host, &format!("slow{slow_bytes}"), slow_bytes).at(1_000_000);
    let plain = |clients: Vec<Client>| -> Vec<Client> {
        clients.into_iter().filter(|client| client.speech == Speech::Plain).collect()
    };
    let no_certificate = rustls::pki_types::CertificateDer::from(Vec::new());
    let target = Target { http: host, https: String::new(), certificate: no_certificate };
    let downloads = Steady::start(target.clone(), plain(each_speech(&slow, true, Duration::ZERO)));
    downloads.last_round();
    let load = Steady::start(target, plain(mix(&wanted, Duration::from_millis(20))));
    println!("loading");
    while !until.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = load.finish();
    println!("{}", outcome.line());
    let downloaded = downloads.finish();
    println!("slow downloads: {}", downloaded.line());
    outcome.assert_none_failed();
    downloaded.assert_none_failed();
}

#[test]
fn thirty_restarts_and_thirty_reloads_fail_no_request() {
    let mut manager = Manager::new("");
    manager.start();
    repository(&manager);
    let small = package(&manager, "small", 500);
    let medium = package(&manager, "medium", 300_000);
    // A restart waits for what began before it: at 1 MB/s these take what a test has time for.
    let slow = package(&manager, "slow", 600_000).at(1_000_000);
    let mut clients = mix(&[small, medium], Duration::from_millis(20));
    clients.extend(each_speech(&slow, true, Duration::from_millis(300)));
    let load = Steady::start(manager.target(), clients);
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    for _ in 0..ROUNDS {
        if load.has_failed() {
            break;
        }
        manager.restart();
    }
    println!("{ROUNDS} restarts in {:?}", began.elapsed());
    let restarted = load.answered();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        manager.reload();
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{ROUNDS} reloads in {:?}", began.elapsed());
    let answered = load.answered();
    let outcome = load.finish();
    println!("restarts and reloads: {}", outcome.line());
    outcome.assert_none_failed();
    assert!(restarted > 1000 && answered > restarted, "there was load: {restarted} and {answered} requests");
    manager.stop();
}
