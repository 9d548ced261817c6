//! kill -9 at seeded random moments of a server that adds, syncs and fetches.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Victim, is_cut};
use crate::support::postgres;

/// A small generator, so that a failing round can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Lives and deaths, and a look at everything every so often.
fn torment(mut victim: Victim, kills: usize, seed: u64) {
    let mut dice = Dice(seed);
    for kill in 1..=kills {
        let (delay, choice) = (Duration::from_micros(dice.roll(40_000)), dice.roll(1000));
        let done = usize::try_from(dice.roll(3)).expect("small");
        if kill % 10 == 0 {
            die_starting(&victim, delay);
            continue;
        }
        if kill > 1 {
            victim.server.launch();
            victim.audit(kill % 50 == 1);
        }
        live_and_die(&mut victim, done, delay, usize::try_from(choice).expect("small"));
    }
    victim.server.launch();
    victim.audit(true);
    let ledger = victim.ledger.lock().unwrap();
    println!("{kills} kills, {} packages added, {} states synced", ledger.added.len(), ledger.synced);
    assert!(ledger.added.len() > kills / 5, "{} packages were added", ledger.added.len());
    assert!(ledger.synced > kills / 10, "{} states were synced", ledger.synced);
}

/// A kill in the middle of a start.
fn die_starting(victim: &Victim, delay: Duration) {
    let mut starting = Command::new(env!("CARGO_BIN_EXE_rstudio-pm"))
        .arg("--config")
        .arg(victim.server.config_file())
        .stderr(Stdio::null())
        .spawn()
        .expect("rstudio-pm runs");
    std::thread::sleep(delay);
    starting.kill().expect("our own child");
    starting.wait().expect("our own child");
}

/// Adds, syncs and fetches, all at once, until so many adds and syncs are done, and `delay` more.
fn live_and_die(victim: &mut Victim, done: usize, delay: Duration, choice: usize) {
    let doors = victim.doors();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(victim.server.pid()).expect("a process id"));
    let count = AtomicUsize::new(0);
    let (now, doors, count) = (&*victim, &doors, &count);
    std::thread::scope(|scope| {
        let until_dead = |work: &dyn Fn(usize) -> std::io::Result<usize>| {
            for round in 0.. {
                match work(round) {
                    Ok(done) => count.fetch_add(done, Ordering::SeqCst),
                    Err(error) if is_cut(&error) => return,
                    Err(error) => panic!("{error:?}"),
                };
            }
        };
        scope.spawn(move || until_dead(&|_| now.add(doors).map(|()| 1)));
        scope.spawn(move || {
            until_dead(&|_| {
                now.next_state();
                now.sync(doors).map(|()| 1)
            });
        });
        scope.spawn(move || until_dead(&|round| now.fetch(doors, choice + round).map(|()| 0)));
        let begun = Instant::now();
        while count.load(Ordering::SeqCst) < done && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(delay);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    });
    victim.server.kill();
}

// Three hundred in all, in two halves so that both processors have something to do.

#[test]
fn a_hundred_and_fifty_kills_lose_nothing_on_sqlite() {
    torment(Victim::new(""), 150, 0x5eed_0001);
}

#[test]
fn another_hundred_and_fifty_kills_lose_nothing_on_sqlite() {
    torment(Victim::new(""), 150, 0x5eed_0003);
}

#[test]
fn thirty_kills_lose_nothing_on_postgres() {
    let gcfg =
        format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{}\"\n", postgres::server().schema());
    torment(Victim::new(&gcfg), 30, 0x5eed_0002);
}
