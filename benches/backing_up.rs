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
/// Time between the starts of two changes.
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
    let (mut first_times, mut second_times, mut copy_times, mut test_times) =
        (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let (folder, copy) = (root.join(format!("backups{round}")), root.join(format!("copy{round}")));
        let to = folder.display().to_string();
        copy_times.push(seconds(|| copy_files(&root.join("data/packages"), &copy)));
        let create = || drop(server.rspm(&["backup", "create", "--quiet", "--to", &to]));
        first_times.push(seconds(create));
        second_times.push(seconds(create));
        test_times.push(seconds(|| drop(server.rspm(&["backup", "test", "--from", &to]))));
        std::fs::remove_dir_all(folder).expect("created above");
        std::fs::remove_dir_all(copy).expect("created above");
    }
    let [first_time, second_time, copy_time, test_time] =
        [first_times, second_times, copy_times, test_times].map(median);
    let database = root.join("data/db/rstudio-pm.db").metadata().expect("the database").len() as f64 / 1e6;
    let megabytes = PACKAGES * SIZE / 1_000_000;
    report.row(
        format!("first backup of {megabytes} MB of packages and {RELEASES} releases"),
        format!("{first_time:.2} s"),
        format!("cp, sync {copy_time:.2} s"),
        format!("{:.2}", copy_time / (first_time - second_time).max(0.001)),
        "≥ 0.6, without the database",
    );
    report.row(
        format!("second backup, nothing new: dump of a database of {database:.0} MB, compared"),
        format!("{second_time:.2} s"),
        String::new(),
        String::new(),
        "≤ 1 s for 54 MB",
    );
    report.row(
        format!("test of a backup: {RELEASES} releases and 30 files"),
        format!("{test_time:.2} s"),
        String::new(),
        String::new(),
        "≤ 15 s",
    );
    measure_writes(&server, report);
    server.stop();
}

/// The 99th percentile of the times of changes with and without concurrent backups, measured alternately.
fn measure_writes(server: &Server, report: &mut Report) {
    let to = server.path().join("backups").display().to_string();
    let create = || drop(server.rspm(&["backup", "create", "--quiet", "--to", &to]));
    create();
    let (mut times_without, mut times_with) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        times_without.push(p99_of_writes(server));
        let is_finished = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_finished.load(Ordering::Relaxed) {
                    create();
                }
            });
            times_with.push(p99_of_writes(server));
            is_finished.store(true, Ordering::Relaxed);
        });
    }
    let (time_without, time_with) = (median(times_without), median(times_with));
    report.row(
        "a change every 20 ms during backups with nothing new, p99".to_owned(),
        format!("{:.1} ms", 1e3 * time_with),
        format!("without {:.1} ms", 1e3 * time_without),
        format!("+{:.1} ms", 1e3 * (time_with - time_without)),
        "≤ 5 ms more",
    );
}

/// Changes the description of the repository at a fixed rate; returns the 99th percentile of the times in seconds.
fn p99_of_writes(server: &Server) -> f64 {
    let (mut admin, mut times, measurement_start) = (Admin::connect(server), vec![], Instant::now());
    for number in 0..WRITES {
        let deadline = measurement_start + WRITE_INTERVAL * number;
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        admin.send("PATCH", "/repos/bench", format!("{{\"description\":\"change {number}\"}}").as_bytes());
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

/// The duration of `work` in seconds.
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
