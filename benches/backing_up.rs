//! Backups of a working server with all of CRAN and large packages of its own, against `cp` of the same files.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::mirror::{Mirror, RELEASES};
use super::report::{Report, median};
use super::server::Server;

const ROUNDS: usize = 3;
/// Packages of a local source.
const PACKAGES: usize = 30;
/// Incompressible bytes of each.
const SIZE: usize = 10 << 20;

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
    let megabytes = PACKAGES * SIZE / 1_000_000;
    report.row(
        format!("first backup of {megabytes} MB of packages and {RELEASES} releases"),
        format!("{first:.2} s"),
        format!("cp, sync {copied:.2} s"),
        format!("{:.2}", copied / (first - second).max(0.001)),
        "≥ 0.6, without the database",
    );
    report.row(
        "second backup, nothing new".to_owned(),
        format!("{second:.2} s"),
        String::new(),
        String::new(),
        "≤ 2 s",
    );
    report.row(
        format!("test of a backup: {RELEASES} releases and 30 files"),
        format!("{tested:.2} s"),
        String::new(),
        String::new(),
        "≤ 15 s",
    );
    server.stop();
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
