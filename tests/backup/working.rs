//! Backups of a server that syncs, accepts packages and sweeps meanwhile: each is restored, and gives the same answers
//! for its newest transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machines::{blank, database, folder};
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Backups; `RSPM_TEST_BACKUPS` sets another number.
fn rounds() -> usize {
    std::env::var("RSPM_TEST_BACKUPS").map_or(4, |text| text.parse().expect("a number"))
}

/// Ends the other threads also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Adds and removes packages.
fn add_packages(server: &Server, stop: &AtomicBool) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        server.add(
            "prod",
            &Tarball::new(&format!("p{number}"), "1.0").with("README.md", &format!("# {number}\n")),
        );
        if number % 3 == 0 {
            let body = json!({ "name": format!("p{}", number - 1), "scope": "all" });
            let removed = server.admin("POST", "/sources/prod/packages/remove", &body);
            assert_eq!(removed.status, 200, "{}", removed.text());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    number
}

/// Changes the mirror and imports it.
fn sync(server: &Server, mirror: &mut MirrorDir, stop: &AtomicBool) -> usize {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        for package in 0..20 {
            mirror.simple(&format!("m{package}"), &format!("1.{number}"), "2024-03-01");
        }
        mirror.write();
        server.rspm_stdout("sync --type=cran --quiet");
    }
    number
}

/// Sweeps; returns how often it ran, and how often it had to wait for a backup.
fn sweep(server: &Server, stop: &AtomicBool) -> (usize, usize) {
    let (mut swept, mut waited) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let ran = server.rspm("storage sweep --quiet --confirm=packages,cran,persistent");
        match ran.code {
            0 => swept += 1,
            _ => {
                assert!(ran.err.contains("while a backup is made"), "{}", ran.err);
                waited += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (swept, waited)
}

/// The packages of a repository at a transaction, each with its file.
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

fn backups_of_a_working_server(provider: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut mirror = MirrorDir::new(directory.path().join("mirror"));
    mirror.simple("first", "1.0", "2024-02-01");
    mirror.write();
    let gcfg = format!("{}[CRAN]\nURL = {}\nSyncSchedule = 0 0 30 2 *\n", database(provider), mirror.url());
    let server = Builder::default().gcfg(&gcfg).start();
    server.local_repository("prod", &[Tarball::new("p0", "1.0")]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let adding = scope.spawn(|| add_packages(&server, &stop));
        let syncing = scope.spawn(|| sync(&server, &mut mirror, &stop));
        let sweeping = scope.spawn(|| sweep(&server, &stop));
        for round in 0..rounds() {
            server.rspm_stdout(&format!("backup create --quiet --to {}", folder(&server).display()));
            // The other provider in every second round.
            let to = if (round % 2 == 0) == (provider == "sqlite") { "sqlite" } else { "postgres" };
            let mut other = blank(to);
            let restored = other.json(&format!("backup restore --from {}", folder(&server).display()));
            other.launch();
            let transaction = &restored["transaction"];
            assert_eq!(packages(&other, transaction), packages(&server, transaction), "round {round}");
            let sources = other.json("list sources");
            assert!(sources.as_array().is_some_and(|all| all.len() >= 2), "{sources}");
        }
        let start = Instant::now();
        stop.store(true, Ordering::SeqCst);
        let (added, synced) = (adding.join().expect("added"), syncing.join().expect("synced"));
        let (swept, waited) = sweeping.join().expect("swept");
        assert!(added > rounds() && synced > 0 && swept > 0, "{added} {synced} {swept} {waited}");
        assert!(start.elapsed() < Duration::from_secs(60));
    });
    let verified = server.json(&format!("backup verify --full --from {}", folder(&server).display()));
    assert_eq!(verified["undamaged"], true, "{verified}");
}

#[test]
fn with_sqlite() {
    backups_of_a_working_server("sqlite");
}

#[test]
fn with_postgresql() {
    backups_of_a_working_server("postgres");
}
