//! Backups of a running server with all of CRAN and large packages of its own, against `cp` of the same files.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::admin::Admin;
use super::mirror::{Mirror, RELEASES};
use super::report::{Report, median};
use super::server::Server;

const ROUNDS: usize = 3;
/// Number of packages of a local source.
const PACKAGES: usize = 30;
/// Size of each package, in incompressible bytes.
const SIZE: usize = 10 << 20;
/// Time between two changes.
const WRITE_INTERVAL: Duration = Duration::from_millis(20);
/// Number of changes in a measurement.
const WRITES: u32 = 500;

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let server = Server::start(&format!("[CRAN]\nURL = {}", mirror.url()));
    let names: Vec<String> = (0..PACKAGES).map(|number| format!("large{number}")).collect();
    let packages: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), SIZE)).collect();
    server.create_repository(&packages);
    let root = server.path().to_owned();
    let (mut first, mut second, mut copies, mut tests) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let (folder, copy) = (root.join(format!("backups{round}")), root.join(format!("copy{round}")));
        let to = folder.display().to_string();
        copies.push(seconds(|| copy_files(&root.join("data/packages"), &copy)));
        let create = || drop(server.rspm(&["backup", "create", "--quiet", "--to", &to]));
        first.push(seconds(create));
        second.push(seconds(create));
        tests.push(seconds(|| drop(server.rspm(&["backup", "test", "--from", &to]))));
        std::fs::remove_dir_all(folder).expect("it was made");
        std::fs::remove_dir_all(copy).expect("it was made");
    }
    let [first, second, copied, tested] = [first, second, copies, tests].map(median);
    let database = root.join("data/db/rstudio-pm.db").metadata().expect("the database").len() as f64 / 1e6;
    let megabytes = PACKAGES * SIZE / 1_000_000;
    report.row(
        format!("first backup of {megabytes} MB of packages and {RELEASES} releases"),
        format!("{first:.2} s"),
        format!("cp, sync {copied:.2} s"),
        format!("{:.2}", copied / (first - second).max(0.001)),
        "≥ 0.6, without the database",
    );
    report.row(
        format!("second backup, nothing new: dump of a database of {database:.0} MB, compared"),
        format!("{second:.2} s"),
        String::new(),
        String::new(),
        "≤ 1 s for 54 MB",
    );
    report.row(
        format!("test of a backup: {RELEASES} releases and 30 files"),
        format!("{tested:.2} s"),
        String::new(),
        String::new(),
        "≤ 15 s",
    );
    beside_writes(&server, report);
    server.stop();
}

/// The 99th percentile of the times of changes with and without concurrent backups, measured alternately.
fn beside_writes(server: &Server, report: &mut Report) {
    let to = server.path().join("backups").display().to_string();
    let create = || drop(server.rspm(&["backup", "create", "--quiet", "--to", &to]));
    create();
    let (mut alone, mut together) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        alone.push(p99_of_writes(server));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    create();
                }
            });
            together.push(p99_of_writes(server));
            is_over.store(true, Ordering::Relaxed);
        });
    }
    let (alone, together) = (median(alone), median(together));
    report.row(
        "a change every 20 ms beside backups with nothing new, p99".to_owned(),
        format!("{:.1} ms", 1e3 * together),
        format!("without {:.1} ms", 1e3 * alone),
        format!("+{:.1} ms", 1e3 * (together - alone)),
        "≤ 5 ms more",
    );
}

/// Changes the description of the repository at a fixed rate; returns the 99th percentile of the times in seconds.
fn p99_of_writes(server: &Server) -> f64 {
    let (mut admin, mut times, first) = (Admin::connect(server), vec![], Instant::now());
    for number in 0..WRITES {
        let due = first + WRITE_INTERVAL * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        admin.send("PATCH", "/repos/bench", format!("{{\"description\":\"change {number}\"}}").as_bytes());
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Copies files with `cp`, and writes them to disk.
fn copy_files(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    assert!(copy.args(["-r", "--reflink=never"]).arg(from).arg(to).status().expect("cp runs").success());
    assert!(Command::new("sync").arg("-f").arg(to).status().expect("sync runs").success());
}
