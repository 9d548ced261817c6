//! Under a steady load no restart and no reload fails or cuts a request.

use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::manager::Manager;
use crate::support::steady::{Client, Speech, Steady, Wanted, mix};
use crate::support::tarball::Tarball;

const ROUNDS: usize = 30;

/// A package whose tarball has about so many bytes, and where it is served.
pub(crate) fn package(manager: &Manager, name: &str, bytes: usize) -> Wanted {
    let mut package = Tarball::new(name, "1.0");
    // A simple generator: what gzip cannot shrink.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.take(bytes / 8).flatten().collect();
    package.files.push(("inst/noise".to_owned(), noise));
    manager.server.add("load", &package);
    let path = format!("/load/latest/src/contrib/{}", package.file());
    // Not the bytes that were added: DESCRIPTION gets the fields that a repository writes.
    let served = http::get(&format!("http://{}{path}", manager.target().http));
    assert_eq!(served.status, 200);
    assert!(served.body.len() > bytes, "{}", served.body.len());
    Wanted::new(&path, &served.body)
}

/// A repository `load`.
pub(crate) fn repository(manager: &Manager) {
    manager.server.local_repository("load", &[]);
}

/// One client for each way to speak.
pub(crate) fn each_speech(wanted: &Wanted, keep_alive: bool, pause: Duration) -> Vec<Client> {
    [Speech::Plain, Speech::Tls, Speech::Http2]
        .map(|speech| Client { speech, keep_alive, wanted: wanted.clone(), pause })
        .to_vec()
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
    assert!(restarted > 1000 && load.answered() > restarted, "there was load");
    let outcome = load.finish();
    println!("restarts and reloads: {}", outcome.line());
    outcome.assert_none_failed();
    manager.stop();
}
