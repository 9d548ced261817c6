//! Time to add a package until it is durable and visible, relative to an fsync on the same disk; with 1,000 and with
//! 23,000 packages in the source.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use super::admin::Admin;
use super::report::{Report, median};
use super::server::{Server, package};

const ROUNDS: usize = 101;

pub(crate) fn run(report: &mut Report) {
    let server = Server::start("");
    server.rspm(&["create", "source", "--name=team"]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
    let mut number = 0;
    let mut results = Vec::new();
    for packages in [1_000, 23_000] {
        fill(&server, &mut number, packages);
        let mut admin = Admin::connect(&server);
        let (mut add_times, mut fsync_times) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            number += 1;
            let file = package(server.path(), &format!("added{number}"), 500);
            let archive = std::fs::read(file).expect("just written");
            // Both requests of a client: upload the file, add it to the source.
            let start = Instant::now();
            let upload = admin.send("POST", &format!("/uploads?file=added{number}_1.0.0.tar.gz"), &archive);
            let id = upload.split("\"id\":").nth(1).and_then(|t| t.split(',').next()).expect("an upload");
            admin.send("POST", "/sources/team/packages", format!("{{\"uploads\":[{id}]}}").as_bytes());
            add_times.push(start.elapsed().as_secs_f64());
            fsync_times.push(fsync(&server));
        }
        results.push((packages, median(add_times), median(fsync_times)));
    }
    for (packages, add_time, fsync_time) in &results {
        report.row(
            format!("add one package to {packages}, durable and visible, p50"),
            format!("{:.1} ms", 1e3 * add_time),
            format!("one fsync {:.2} ms", 1e3 * fsync_time),
            format!("{:.1} fsyncs", add_time / fsync_time),
            "≤ 5",
        );
    }
    let growth = (results[1].1 / results[1].2) / (results[0].1 / results[0].2);
    report.row("the same, 23,000 against 1,000 packages", "", "", format!("{growth:.2}"), "1.0");
}

/// Seconds for an fsync of 4 kB on the disk of the server's data.
fn fsync(server: &Server) -> f64 {
    let mut file = File::create(server.path().join("fsync")).expect("a file");
    file.write_all(&[7; 4096]).expect("written");
    let start = Instant::now();
    file.sync_all().expect("on disk");
    start.elapsed().as_secs_f64()
}

/// Adds small packages in large batches until the source has `packages` of them.
fn fill(server: &Server, number: &mut usize, packages: usize) {
    while *number < packages {
        let mut files = Vec::new();
        while files.len() < 500 && *number < packages {
            *number += 1;
            files.push(package(server.path(), &format!("added{number}"), 16).display().to_string());
        }
        server.rspm(&["add", "--source=team", &format!("--path={}", files.join(","))]);
        files.iter().for_each(|file| std::fs::remove_file(file).expect("ours"));
    }
}
