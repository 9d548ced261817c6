//! kill -9 at seeded random moments of a server that adds, syncs and fetches.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{CrashTest, is_cut};
use crate::support::postgres;

/// A small random generator with a seed, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Runs and kills the server repeatedly, with a full audit after every 50 kills.
fn kill_repeatedly(mut test: CrashTest, kills: usize, seed: u64) {
    let mut random = Random(seed);
    for kill in 1..=kills {
        let (delay, choice) = (Duration::from_micros(random.below(40_000)), random.below(1000));
        let done = usize::try_from(random.below(3)).expect("small");
        if kill % 10 == 0 {
            kill_during_start(&test, delay);
            continue;
        }
        if kill > 1 {
            test.server.launch();
            test.audit(kill % 50 == 1);
        }
        // On a loaded machine an add completes before a sync does: without this, every sync could be interrupted.
        let counted = if kill % 3 == 0 { Counted::Syncs } else { Counted::All };
        run_and_kill(&mut test, counted, done, delay, usize::try_from(choice).expect("small"));
    }
    test.server.launch();
    test.audit(true);
    let ledger = test.ledger.lock().unwrap();
    println!(
        "{kills} kills, {} packages added, {} states synced",
        ledger.added_packages.len(),
        ledger.synced_state
    );
    // The number of operations that complete before a kill depends on the machine's load. In runs of 150 kills,
    // 190 packages were added, and 13 to 30 states were synced.
    assert!(ledger.added_packages.len() > kills / 10, "{} packages were added", ledger.added_packages.len());
    assert!(ledger.synced_state > kills / 30, "{} states were synced", ledger.synced_state);
}

/// Kills a server during its start.
fn kill_during_start(test: &CrashTest, delay: Duration) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rstudio-pm"))
        .arg("--config")
        .arg(test.server.config_file())
        .stderr(Stdio::null())
        .spawn()
        .expect("rstudio-pm runs");
    std::thread::sleep(delay);
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

/// The completed operations that are counted before a kill.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    /// Adds and syncs.
    All,
    /// Syncs only.
    Syncs,
}

/// Adds, syncs and fetches concurrently until `done` operations have completed, waits for `delay` and kills the server.
fn run_and_kill(test: &mut CrashTest, counted: Counted, done: usize, delay: Duration, choice: usize) {
    let addresses = test.addresses();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(test.server.pid()).expect("a process id"));
    let count = AtomicUsize::new(0);
    let (shared, addresses, count) = (&*test, &addresses, &count);
    std::thread::scope(|scope| {
        let until_killed = |work: &dyn Fn(usize) -> std::io::Result<usize>| {
            for round in 0.. {
                match work(round) {
                    Ok(completed) => count.fetch_add(completed, Ordering::SeqCst),
                    Err(error) if is_cut(&error) => return,
                    Err(error) => panic!("{error:?}"),
                };
            }
        };
        let of_add = usize::from(counted == Counted::All);
        scope.spawn(move || until_killed(&|_| shared.add(addresses).map(|()| of_add)));
        scope.spawn(move || {
            until_killed(&|_| {
                shared.next_state();
                shared.sync(addresses).map(|()| 1)
            });
        });
        scope.spawn(move || until_killed(&|round| shared.fetch(addresses, choice + round).map(|_| 0)));
        let start = Instant::now();
        while count.load(Ordering::SeqCst) < done && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(delay);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    });
    test.server.kill();
}

// 300 kills on SQLite, in two tests that run in parallel.

#[test]
fn a_hundred_and_fifty_kills_lose_nothing_on_sqlite() {
    kill_repeatedly(CrashTest::new(""), 150, 0x5eed_0001);
}

#[test]
fn another_hundred_and_fifty_kills_lose_nothing_on_sqlite() {
    kill_repeatedly(CrashTest::new(""), 150, 0x5eed_0003);
}

#[test]
fn thirty_kills_lose_nothing_on_postgres() {
    let gcfg =
        format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{}\"\n", postgres::server().schema());
    kill_repeatedly(CrashTest::new(&gcfg), 30, 0x5eed_0002);
}
