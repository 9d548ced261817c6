//! Pages of Python projects of 500 files: the first readings from an index, which nginx serves, by 64 connections at once,
//! and random pages that memory has no space for, against nginx with the same bytes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::nginx::{Nginx, fetch_with, wrk_script};
use super::pypi::{JSON, get, write_page};
use super::python_index::write_list;
use super::report::{Report, median};
use super::server::Server;

const PROJECTS: usize = 400;
const FILES: usize = 500;
const CONNECTIONS: u32 = 64;
const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json";

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a folder");
    let projects: Vec<String> = (0..PROJECTS).map(|number| format!("bench-{number}")).collect();
    write_list(&root, &projects.iter().map(String::as_str).collect::<Vec<_>>());
    for project in &projects {
        write_page(&root, project, FILES);
    }
    let index = Nginx::with_index(&root);
    let server = Server::start(&format!("[PyPI]\nURL = {}", index.url("")));
    server.rspm(&["create", "repo", "--name=py", "--type=python"]);
    server.rspm(&["subscribe", "--repo=py", "--source=pypi"]);
    server.rspm(&["sync", "--type=pypi", "--quiet"]);
    read_pages(report, &server, &projects);
    random_pages(report, &server, &root, &projects);
}

/// Measures the first requests for the pages, each of which the server reads from the index.
fn read_pages(report: &mut Report, server: &Server, projects: &[String]) {
    let (cpu_time, start) = (server.cpu_time(), Instant::now());
    let wal = Wal::during(server, || {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    while let Some(project) = projects.get(next.fetch_add(1, Ordering::Relaxed)) {
                        get(server, &format!("/py/latest/simple/{project}/?{JSON}"));
                    }
                });
            }
        });
    });
    let (seconds, cpu_time) = (start.elapsed().as_secs_f64(), server.cpu_time() - cpu_time);
    let each = |total: f64| total / PROJECTS as f64;
    let name =
        format!("first request for each of {PROJECTS} pages of {FILES} files, {CONNECTIONS} connections");
    report.row(name, format!("{:.0}/s", PROJECTS as f64 / seconds), "—", "—", "≥ 120/s");
    report.row("CPU time of such a request", format!("{:.1} ms", 1e3 * each(cpu_time)), "—", "—", "≤ 6 ms");
    report.row("WAL of such a request", format!("{:.2} MB", each(wal.written)), "—", "—", "≤ 0.5 MB");
    report.row("WAL at most", format!("{:.0} MB", wal.largest), "—", "—", "≤ 256 MB");
}

fn random_pages(report: &mut Report, server: &Server, root: &Path, projects: &[String]) {
    let random = "local number = math.random(0, PROJECTS - 1)";
    for (name, encoding) in [("", "identity"), (" in gzip", "gzip")] {
        let nginx = Nginx::start();
        let headers = [format!("Accept: {ACCEPT}"), format!("Accept-Encoding: {encoding}")];
        for project in projects {
            let copy = root.join("copy");
            fetch_with(&server.url(&format!("/py/latest/simple/{project}/")), &copy, &headers);
            nginx.serve(project, &fs::read(&copy).expect("just fetched"));
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let measure =
                |url: String, page: String| wrk_script(&url, CONNECTIONS, SECONDS, &script(root, &page));
            let rate = measure(server.url(""), server_page(random, encoding));
            rounds.push((rate, measure(nginx.url(""), page(random, "/bench-", "", ""))));
        }
        report.row(
            format!("random pages of {PROJECTS}{name}, {CONNECTIONS} connections"),
            format!(
                "{:.0}/s, {:.0} MB of memory",
                median(rounds.iter().map(|round| round.0).collect()),
                server.memory("VmRSS")
            ),
            format!("nginx {:.0}/s", median(rounds.iter().map(|round| round.1).collect())),
            format!("{:.2}", median(rounds.iter().map(|(rate, reference)| rate / reference).collect())),
            "≥ 0.8",
        );
    }
}

/// The function of a script of wrk that makes a request to this server; `number` is Lua that sets the number of the project.
fn server_page(number: &str, encoding: &str) -> String {
    page(number, "/py/latest/simple/bench-", "/", encoding)
}

fn page(number: &str, prefix: &str, suffix: &str, encoding: &str) -> String {
    format!(
        "local headers = {{ ['Host'] = 'localhost', ['Accept'] = '{ACCEPT}', ['Accept-Encoding'] = '{encoding}' }}\n\
         function request()\n{number}\nreturn wrk.format('GET', '{prefix}' .. number .. '{suffix}', headers)\nend\n"
    )
}

fn script(root: &Path, request: &str) -> PathBuf {
    let path = root.join("wrk.lua");
    fs::write(&path, format!("local PROJECTS = {PROJECTS}\n{request}")).expect("written");
    path
}

/// What was written to the WAL of the database, in MB.
struct Wal {
    written: f64,
    largest: f64,
}

impl Wal {
    /// Observes the number of pages in the WAL, which is in the header of its index.
    fn during(server: &Server, work: impl FnOnce()) -> Wal {
        let index = File::open(server.path().join("data/db/rstudio-pm.db-shm")).expect("an open database");
        let pages = || {
            let mut bytes = [0; 4];
            index.read_exact_at(&mut bytes, 16).expect("a header");
            u32::from_ne_bytes(bytes)
        };
        let is_over = AtomicBool::new(false);
        let (written, largest) = std::thread::scope(|scope| {
            let observer = scope.spawn(|| {
                let (mut last, mut written, mut largest) = (pages(), 0, 0);
                while !is_over.load(Ordering::Relaxed) {
                    let now = pages();
                    // A smaller number: the WAL was begun anew.
                    written += now.checked_sub(last).unwrap_or(now);
                    (last, largest) = (now, largest.max(now));
                    std::thread::sleep(Duration::from_micros(500));
                }
                (written, largest)
            });
            work();
            is_over.store(true, Ordering::Relaxed);
            observer.join().expect("no panic")
        });
        let megabytes = |pages: u32| f64::from(pages) * 4096.0 / 1e6;
        Wal { written: megabytes(written), largest: megabytes(largest) }
    }
}
