//! Backups of a server that syncs, accepts packages, sweeps and evicts at the same time: each backup is restored, and serves the
//! same packages at its newest transaction.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::machines::{blank, database, folder};
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Returns the number of backups, `RSPM_TEST_BACKUPS` if set.
fn rounds() -> usize {
    std::env::var("RSPM_TEST_BACKUPS").map_or(4, |text| text.parse().expect("a number"))
}

/// Stops the other threads on drop, also after a failed assertion.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Maximum number of listed packages while a server is backed up, so that a check takes the same time in the first and in
/// the last of 200 rounds.
const LISTED: usize = 40;

/// Maximum number of packages that are added in one round, so that the history grows with the rounds, and not with the
/// time that they take.
const ADDED: usize = 40;

/// Returns whether the limit of this round is reached; if it is, sleeps for 50 ms first.
fn sleep_at_limit(number: usize, per_round: usize, round: &AtomicUsize) -> bool {
    let is_reached = number >= per_round * (round.load(Ordering::SeqCst) + 1);
    if is_reached {
        std::thread::sleep(Duration::from_millis(50));
    }
    is_reached
}

/// Adds and removes packages until `stop`; returns the number of added packages.
fn add_packages(server: &Server, round: &AtomicUsize, stop: &AtomicBool) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        if sleep_at_limit(number, ADDED, round) {
            continue;
        }
        number += 1;
        server.add(
            "prod",
            &Tarball::new(&format!("p{number}"), "1.0").with("README.md", &format!("# {number}\n")),
        );
        if number > LISTED {
            let body = json!({ "name": format!("p{}", number - LISTED), "scope": "all" });
            let response = server.admin("POST", "/sources/prod/packages/remove", &body);
            assert_eq!(response.status, 200, "{}", response.text());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    number
}

/// Maximum number of syncs in one round, limited as [`ADDED`].
const SYNCS: usize = 4;

/// Changes the mirror and syncs it until `stop`; returns the number of syncs.
fn sync(server: &Server, mirror: &mut MirrorDir, round: &AtomicUsize, stop: &AtomicBool) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        if sleep_at_limit(number, SYNCS, round) {
            continue;
        }
        number += 1;
        for package in 0..20 {
            mirror.simple(&format!("m{package}"), &format!("1.{number}"), "2024-03-01");
        }
        mirror.write();
        server.rspm_stdout("sync --type=cran --quiet");
    }
    number
}

/// Sweeps, and evicts all files of mirrors, in turn until `stop`; returns the numbers of completed sweeps and evictions, and
/// of those that a backup prevented.
fn remove_objects(server: &Server, stop: &AtomicBool) -> ([usize; 2], usize) {
    const COMMANDS: [&str; 2] =
        ["storage sweep --quiet --confirm=packages,cran,persistent", "evict --type=clear --quiet"];
    let (mut counts, mut refusal_count) = ([0; 2], 0);
    while !stop.load(Ordering::SeqCst) {
        for (command, count) in COMMANDS.iter().zip(&mut counts) {
            let output = server.rspm(command);
            match output.code {
                0 => *count += 1,
                _ => {
                    assert!(output.err.contains("while a backup is made"), "{command}: {}", output.err);
                    refusal_count += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    (counts, refusal_count)
}

/// Returns the index and the package files of a repository at a transaction, with their names.
fn packages(server: &Server, transaction: &Value) -> Vec<(String, Vec<u8>)> {
    let index = server.get(&format!("/prod/{transaction}/src/contrib/PACKAGES"));
    assert_eq!(index.status, 200, "{}", index.text());
    let text = index.text();
    let field = |record: &str, name: &str| {
        let line =
            record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
        line.unwrap_or_else(|| panic!("{record}"))
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    let files =
        records.map(|record| format!("{}_{}.tar.gz", field(record, "Package"), field(record, "Version")));
    let mut documents = vec![("PACKAGES".to_owned(), text.clone().into_bytes())];
    documents.extend(files.map(|file| {
        let answer = server.get(&format!("/prod/{transaction}/src/contrib/{file}"));
        assert_eq!(answer.status, 200, "{file}: {}", answer.text());
        (file, answer.body)
    }));
    documents
}

fn check_backups_under_load(provider: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut mirror = MirrorDir::new(directory.path().join("mirror"));
    mirror.simple("first", "1.0", "2024-02-01");
    mirror.write();
    let gcfg = format!("{}[CRAN]\nURL = {}\nSyncSchedule = 0 0 30 2 *\n", database(provider), mirror.url());
    let server = Builder::default().gcfg(&gcfg).start();
    server.local_repository("prod", &[Tarball::new("p0", "1.0")]);
    let (stop, current_round) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let add_thread = scope.spawn(|| add_packages(&server, &current_round, &stop));
        let sync_thread = scope.spawn(|| sync(&server, &mut mirror, &current_round, &stop));
        let removal_thread = scope.spawn(|| remove_objects(&server, &stop));
        for round in 0..rounds() {
            current_round.store(round, Ordering::SeqCst);
            server.rspm_stdout(&format!("backup create --quiet --to {}", folder(&server).display()));
            // Every second round restores with the other provider.
            let to = if (round % 2 == 0) == (provider == "sqlite") { "sqlite" } else { "postgres" };
            let mut other = blank(to);
            let restore = other.json(&format!("backup restore --from {}", folder(&server).display()));
            other.launch();
            let transaction = &restore["transaction"];
            assert_eq!(packages(&other, transaction), packages(&server, transaction), "round {round}");
            let sources = other.json("list sources");
            assert!(sources.as_array().is_some_and(|all| all.len() >= 2), "{sources}");
        }
        stop.store(true, Ordering::SeqCst);
        // The threads end: no operation waits for a backup that has ended.
        let (add_count, sync_count) =
            (add_thread.join().expect("added"), sync_thread.join().expect("synced"));
        let ([sweep_count, eviction_count], refusal_count) = removal_thread.join().expect("removed");
        assert!(
            add_count > rounds() && sync_count > 0 && sweep_count > 0 && eviction_count > 0,
            "{add_count} {sync_count} {sweep_count} {eviction_count} {refusal_count}"
        );
    });
    let verification = server.json(&format!("backup verify --full --from {}", folder(&server).display()));
    assert_eq!(verification["undamaged"], true, "{verification}");
}

#[test]
fn backups_under_load_with_sqlite() {
    check_backups_under_load("sqlite");
}

#[test]
fn backups_under_load_with_postgresql() {
    check_backups_under_load("postgres");
}
