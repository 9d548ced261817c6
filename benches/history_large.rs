//! The log of history with 1,000,000 entries: proofs from the database, tiles over HTTP, memory, start, copy and audit.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use rstudio_pm::config;
use rstudio_pm::db::tlog::{self, Addition, NewEntry, NewTile};
use rstudio_pm::db::{Conn, Db, DbError};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::Timestamp;
use rstudio_pm::serve::proofs;
use rstudio_pm::tlog::edge::Edge;
use rstudio_pm::tlog::entry::Entry;
use rstudio_pm::tlog::tile::{Tile, TileNodes};
use rstudio_pm::tlog::tree::{consistency_path, inclusion_path};

use super::admin::Admin;
use super::answers;
use super::history::{begin, is_signed, start, wait_for};
use super::nginx::{fetch, wrk};
use super::report::{Report, median, percentiles};
use super::scrubbing::seconds;
use super::server::{Server, package};

const ENTRIES: u64 = 1_000_000;
/// Number of days whose entries are written together.
const DAYS: i64 = 170;
const DAY: i64 = 86_400_000_000;
const PROOFS: u64 = 2_000;
const STARTS: usize = 15;
const RATE_ROUNDS: usize = 5;
const COPIES: usize = 3;
const LOG: i64 = 1;

/// Without a token, as the requests that they are compared with.
const GCFG: &str = "[History]\nPublic = true\n";

pub(crate) fn run(report: &mut Report) {
    let server = start(GCFG);
    server.rspm(&["create", "source", "--name=team"]);
    let file = package(server.path(), "kb7", 6_700);
    server.rspm(&["add", "--source=team", &format!("--path={}", file.display())]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
    let key = begin(&server, "large")["key"].as_str().expect("a key").to_owned();
    let with = server.folder();
    server.stop();
    let without = Arc::new(tempfile::tempdir().expect("a folder"));
    shell(&format!("cp -r {}/data {}/data", with.path().display(), without.path().display()));
    fill_and_prove(report, with.path());
    let server = Server::start_in(Arc::clone(&with), GCFG);
    wait_for(&mut Admin::connect(&server), is_signed);
    measure_rates(report, &server);
    copy_and_audit(report, &server, &key);
    server.stop();
    start_both(report, &with, &without);
}

/// Runs a shell command, which must succeed.
fn shell(script: &str) {
    let status = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}

/// Appends entries to the log of a server that does not run, and computes proofs from its database.
fn fill_and_prove(report: &mut Report, folder: &Path) {
    let text = fs::read(folder.join("rstudio-pm.gcfg")).expect("a configuration");
    let config = config::parse("bench.gcfg", &text, []).expect("valid").config;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let guard = runtime.enter();
    let database = folder.join("data/db");
    let size_before = size_of(&database);
    let db = Db::open(&config).expect("a database");
    let added = runtime.block_on(fill(&db));
    let times = |kind: ProofOf| {
        let numbers = (1..=PROOFS).map(|number| number * 7_919 * 65_537 % ENTRIES);
        let times = numbers.map(|number| {
            let proof = kind(number);
            seconds(|| runtime.block_on(db.read(move |c| path(c, proof))).expect("a path"))
        });
        percentiles(times.collect())
    };
    for (name, kind) in
        [("inclusion", Proof::Inclusion as ProofOf), ("consistency", Proof::Consistency as ProofOf)]
    {
        let (time, p99) = times(kind);
        report.row(
            format!("{name} proof at {ENTRIES} entries from the database, p50 / p99"),
            format!("{:.2} / {:.2} ms", 1e3 * time, 1e3 * p99),
            "—",
            "—",
            "p99 ≤ 1 ms",
        );
    }
    db.close();
    drop(guard);
    drop(runtime);
    let bytes = size_of(&database) - size_before;
    report.row(
        format!("database of {ENTRIES} entries"),
        format!("{:.0} MB", bytes as f64 / 1e6),
        format!("texts of the entries {:.0} MB", added.bytes as f64 / 1e6),
        format!("{:.0} bytes for each entry", bytes as f64 / added.entries as f64),
        "≤ 400",
    );
}

/// Returns the total size of the files in a directory.
fn size_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("a folder");
    files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum()
}

#[derive(Clone, Copy)]
enum Proof {
    /// That the log has the entry of this number.
    Inclusion(u64),
    /// That the log begins with this number of entries.
    Consistency(u64),
}

type ProofOf = fn(u64) -> Proof;

/// Computes a proof from tiles in the database.
fn path(c: &mut dyn Conn, proof: Proof) -> Result<(), DbError> {
    let c = RefCell::new(c);
    let nodes = TileNodes::new(ENTRIES, |tile: Tile| proofs::tile_bytes(&mut **c.borrow_mut(), LOG, tile));
    let path = match proof {
        Proof::Inclusion(index) => inclusion_path(index, ENTRIES, &nodes),
        Proof::Consistency(old) => consistency_path(old, ENTRIES, &nodes),
    };
    path.map(|path| assert!(path.is_some())).map_err(DbError::refuse)
}

/// The number of entries that were added, and of the bytes of their texts.
struct Added {
    entries: u64,
    bytes: usize,
}

/// Appends the entries of days of a site, until the log has [`ENTRIES`].
async fn fill(db: &Db) -> Added {
    let mut head = db.read(tlog::head).await.expect("read").expect("a log");
    let (old_size, history) = (head.size, head.history.clone());
    let first = db.read(move |c| tlog::entries(c, LOG, 0, old_size)).await.expect("entries");
    let mut edge = Edge::default();
    edge.append(&first);
    let mut added = Added { entries: 0, bytes: 0 };
    let (mut day, mut transaction) = (0, head.tx.0);
    while head.size < ENTRIES {
        let mut entries = Vec::new();
        for _ in 0..DAYS {
            entries.extend(entries_of_day(day, &mut transaction, &history));
            day += 1;
        }
        entries.truncate((ENTRIES - head.size) as usize);
        let tiles = edge.append(entries.iter().map(|entry| &entry.text)).into_iter();
        let tiles = tiles.map(|(tile, hashes)| NewTile { level: tile.level, number: tile.index, hashes });
        let addition = Addition {
            log: LOG,
            old_size: head.size,
            tiles: tiles.collect(),
            events: Vec::new(),
            tx: head.tx,
            closed_until: head.closed_until,
            entries,
        };
        head.size += addition.entries.len() as u64;
        added.entries += addition.entries.len() as u64;
        added.bytes += addition.entries.iter().map(|entry| entry.text.len()).sum::<usize>();
        assert!(db.write(move |c| tlog::append(c, &addition)).await.expect("written"));
    }
    added
}

/// The entries of a day: 24 syncs with ten new records each, and the states of ten repositories.
fn entries_of_day(day: i64, transaction: &mut i64, history: &str) -> Vec<NewEntry> {
    let digest = |text: String| Sha256::of(text.as_bytes()).to_string();
    let start = Timestamp(day * DAY);
    let mut entries = Vec::new();
    for hour in 0..24 {
        *transaction += 1;
        let root = digest(format!("root {transaction}"));
        let salt = Sha256::of(root.as_bytes()).0.to_vec();
        let publish = vec![
            ("history", history.to_owned()),
            ("transaction", transaction.to_string()),
            ("time", Timestamp(start.0 + hour * DAY / 24).to_string()),
            ("kind", "sync".to_owned()),
            ("tree", format!("cran - {transaction} 22362 {root}")),
            ("audit", format!("{} {}", 100 + *transaction, digest(format!("row {transaction}")))),
        ];
        entries.push(entry("publish", publish, Some(salt)));
        let leaves: Vec<String> =
            (0..10).map(|number| digest(format!("{transaction} {number}"))[..16].to_owned()).collect();
        let records = vec![
            ("transaction", transaction.to_string()),
            ("tree", format!("cran - {transaction}")),
            ("leaves", leaves.join(" ")),
        ];
        entries.push(entry("records", records, None));
    }
    for number in 0..10 {
        let view = vec![
            ("repository", format!("team{number}")),
            ("snapshot", start.day().to_string()),
            ("document", "src/contrib/PACKAGES".to_owned()),
            ("records", "22362".to_owned()),
            ("root", digest(format!("{day} {number}"))),
            ("rules", digest("rules".to_owned())),
            ("transaction", transaction.to_string()),
        ];
        entries.push(entry("view", view, None));
    }
    entries
}

fn entry(kind: &str, lines: Vec<(&str, String)>, salt: Option<Vec<u8>>) -> NewEntry {
    let entry = Entry::new(kind, lines).expect("the keys of its kind");
    NewEntry { subject: proofs::subject_of(&entry), text: entry.to_string(), salt }
}

/// Requests per second for the checkpoint and for a full tile, against a 304 and a file of the same server.
fn measure_rates(report: &mut Report, server: &Server) {
    let index = server.url("/bench/latest/src/contrib/PACKAGES");
    let tag = fetch(&index, &server.path().join("copy"));
    let unchanged = [format!("If-None-Match: {tag}")];
    let file = server.url("/bench/latest/src/contrib/kb7_1.0.0.tar.gz");
    let (checkpoint, tile) = (server.url("/__log__/checkpoint"), server.url("/__log__/tile/0/000"));
    for (name, url, other_name, other_url, other_headers) in [
        ("checkpoint", &checkpoint, "304", &index, &unchanged[..]),
        ("full tile of 8 kB", &tile, "file of 7 kB", &file, &[]),
    ] {
        for (connections, with) in [(1, "1 connection"), (64, "64 connections")] {
            let mut rounds = Vec::new();
            for round in 0..RATE_ROUNDS {
                let measure = || wrk(url, connections, 1, &[]);
                let measure_other = || wrk(other_url, connections, 1, other_headers);
                // The order alternates.
                rounds.push(if round % 2 == 0 {
                    let rate = measure();
                    (rate, measure_other())
                } else {
                    let other_rate = measure_other();
                    (measure(), other_rate)
                });
            }
            // Sorted by ratio, so that the median round is in the middle.
            rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
            let (rate, other_rate) = rounds[RATE_ROUNDS / 2];
            report.row(
                format!("{name}, {with}"),
                format!("{rate:.0}/s"),
                format!("{other_name} {other_rate:.0}/s"),
                format!("{:.2}", rate / other_rate),
                "≥ 0.9",
            );
        }
    }
}

/// `rspm history export` against `cp`, and `rspm history audit` of the copy against `sha256sum` of its files.
fn copy_and_audit(report: &mut Report, server: &Server, key: &str) {
    let policy = server.path().join("policy");
    fs::write(&policy, format!("log {key}\nquorum none\n")).expect("written");
    let (mut export_times, mut cp_times, mut audit_times, mut sum_times) = (vec![], vec![], vec![], vec![]);
    let mut files = 0;
    for round in 0..COPIES {
        let [copy, other] = ["exported", "copied"].map(|name| server.path().join(format!("{name}{round}")));
        let to = format!("--to={}", copy.display());
        export_times.push(seconds(|| drop(server.rspm(&["history", "export", &to]))));
        let (from, other) = (copy.display(), other.display());
        cp_times.push(seconds(|| shell(&format!("cp -r {from} {other} && sync -f {other}"))));
        let arguments = [format!("--policy={}", policy.display()), format!("--from={from}")];
        let mut result = String::new();
        audit_times.push(seconds(|| {
            result = server.rspm(&["history", "audit", &arguments[0], &arguments[1]]);
        }));
        assert!(result.contains("No rule is violated."), "{result}");
        sum_times.push(seconds(|| shell(&format!("find {from} -type f -print0 | xargs -0 sha256sum"))));
        let found = Command::new("find").arg(&copy).args(["-type", "f"]).output().expect("find runs");
        files = found.stdout.iter().filter(|byte| **byte == b'\n').count();
        shell(&format!("rm -r {from} {other}"));
    }
    for (name, times, other_name, other_times, target) in [
        (format!("export of {ENTRIES} entries, {files} files"), export_times, "cp, sync", cp_times, "≤ 10 s"),
        (format!("audit of {ENTRIES} entries in a directory"), audit_times, "sha256sum", sum_times, "≤ 5 s"),
    ] {
        let (time, other_time) = (median(times), median(other_times));
        report.row(
            name,
            format!("{time:.1} s"),
            format!("{other_name} {other_time:.1} s"),
            format!("{:.1}", time / other_time),
            target,
        );
    }
}

/// Start and memory with the entries and without, in turn.
fn start_both(report: &mut Report, with: &Arc<TempDir>, without: &Arc<TempDir>) {
    let mut ready_times = [vec![], vec![]];
    let mut memory = [(0.0, 0.0); 2];
    for round in 0..STARTS {
        for (position, folder) in [with, without].into_iter().enumerate() {
            let server = Server::start_in(Arc::clone(folder), GCFG);
            ready_times[position].push(server.ready_time.as_secs_f64());
            if round + 1 == STARTS {
                memory[position] = memory_in_use(&server);
            }
            server.stop();
        }
    }
    let [with, without] = ready_times.map(median);
    report.row(
        format!("start to READY with {ENTRIES} entries"),
        format!("{:.1} ms", 1e3 * with),
        format!("with a new log {:.1} ms", 1e3 * without),
        format!("{:+.1} ms", 1e3 * (with - without)),
        "≤ + 2 ms",
    );
    let [(with, with_private), (without, without_private)] = memory;
    report.row(
        format!("memory with {ENTRIES} entries"),
        format!("{with:.1} MB; {with_private:.1} private"),
        format!("with a new log {without:.1} MB; {without_private:.1} private"),
        format!("{:+.1} MB; {:+.1} private", with - without, with_private - without_private),
        "≤ + 5 MB",
    );
}

/// The memory of a server in MB, and the private part of it, after a publish that was logged and after requests for the
/// log.
fn memory_in_use(server: &Server) -> (f64, f64) {
    let file = package(server.path(), "next", 500);
    server.rspm(&["add", "--source=team", &format!("--path={}", file.display())]);
    let size = wait_for(&mut Admin::connect(server), is_signed)["signed"].as_u64().expect("a number");
    for number in 0..500 {
        answers::get(server, "/__log__/checkpoint");
        let tile = match number {
            _ if size < 256 => format!("0/000.p/{size}"),
            number => format!("0/{number:03}"),
        };
        answers::get(server, &format!("/__log__/tile/{tile}"));
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    (server.memory("VmRSS"), server.memory("RssAnon"))
}
