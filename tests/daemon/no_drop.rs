//! Under constant load no restart and no reload fails or cuts a request.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::load::{Client, ExpectedFile, Load, Protocol, Target, mix, packages};
use crate::support::manager::Manager;

const ROUNDS: usize = 30;

/// Adds a package whose tarball has about this size, and returns its address and bytes.
pub(crate) fn package(manager: &Manager, name: &str, bytes: usize) -> ExpectedFile {
    packages::package(&manager.server.admin_socket(), &manager.target().http, name, bytes)
}

/// Creates the repository `load`.
pub(crate) fn repository(manager: &Manager) {
    packages::repository(&manager.server.admin_socket());
}

/// Starts a server with packages that a restart can wait for: small, 300 kB, and one that takes 0.6 s at its rate.
pub(crate) fn start_with_packages(manager: &mut Manager) -> [ExpectedFile; 3] {
    manager.start();
    repository(manager);
    [
        package(manager, "small", 500),
        package(manager, "medium", 300_000),
        package(manager, "slow", 600_000).with_rate(1_000_000),
    ]
}

/// One client per protocol.
pub(crate) fn one_per_protocol(file: &ExpectedFile, keep_alive: bool, pause: Duration) -> Vec<Client> {
    [Protocol::Http1, Protocol::Http1OverTls, Protocol::Http2]
        .map(|protocol| Client { protocol, keep_alive, file: file.clone(), pause, is_paced: false })
        .to_vec()
}

/// Generates load on a server that another program starts, stops and upgrades, until the file `RSPM_LOAD_UNTIL`
/// exists. This is not a test: `tests/packaging/run` executes it in the network namespace of a booted system.
#[test]
#[ignore = "load for a server that `tests/packaging/run` starts"]
fn load_from_outside() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (host, admin) = (variable("RSPM_LOAD_HTTP"), PathBuf::from(variable("RSPM_LOAD_ADMIN")));
    let end_file = PathBuf::from(variable("RSPM_LOAD_UNTIL"));
    let certificate = std::fs::read(variable("RSPM_LOAD_CERTIFICATE")).expect("a certificate");
    let certificate = CertificateDer::from_pem_slice(&certificate).expect("a certificate");
    let target = Target { http: host.clone(), https: variable("RSPM_LOAD_HTTPS"), certificate };
    let slow_bytes: usize = variable("RSPM_LOAD_SLOW_BYTES").parse().expect("a number");
    packages::repository(&admin);
    let packages =
        [("small", 500), ("medium", 300_000)].map(|(name, n)| packages::package(&admin, &host, name, n));
    let slow =
        packages::package(&admin, &host, &format!("slow{slow_bytes}"), slow_bytes).with_rate(1_000_000);
    let downloads = Load::start(target.clone(), one_per_protocol(&slow, true, Duration::ZERO));
    downloads.request_stop();
    let load = Load::start(target, mix(&packages, Duration::from_millis(20)));
    println!("loading");
    while !end_file.exists() {
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
    let [small, medium, slow] = start_with_packages(&mut manager);
    let mut clients = mix(&[small, medium], Duration::from_millis(20));
    clients.extend(one_per_protocol(&slow, true, Duration::from_millis(300)));
    let load = Load::start(manager.target(), clients);
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    for _ in 0..ROUNDS {
        if load.has_failed() {
            break;
        }
        manager.restart();
    }
    println!("{ROUNDS} restarts in {:?}", start.elapsed());
    let response_count = load.response_count();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        manager.reload();
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{ROUNDS} reloads in {:?}", start.elapsed());
    let final_response_count = load.response_count();
    let outcome = load.finish();
    println!("restarts and reloads: {}", outcome.line());
    outcome.assert_none_failed();
    assert!(
        response_count > 1000 && final_response_count > response_count,
        "there was load: {response_count} and {final_response_count} requests"
    );
    manager.stop();
}
