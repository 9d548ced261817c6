//! The source `pypi` with as many names as PyPI has, and projects of 50 and of 4,312 files: the sync of the list,
//! searches, pages of days that were not requested before, and pages from memory, files and metadata against
//! nginx.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rstudio_pm::model::digest::Sha256;

use super::nginx::Nginx;
use super::python_index::{FilePaths, write_project};
use super::report::{Report, median};
use super::server::Server;
use super::serving::{self, Load, compressed_load, load};
use super::wheel::wheel;

/// Number of projects of PyPI, rounded.
const PROJECTS: usize = 880_000;
/// Number of projects that change between two syncs.
const CHANGED: usize = 10_000;
/// Projects with pages, and their numbers of files on the first day that is requested.
const PAGES: [(&str, usize); 2] = [("bench-large", 4_312), ("bench-small", 50)];
/// A project of one wheel that exists.
const WHEEL: &str = "bench-wheel";
/// Number of days that are requested for the first time: the first ones of December 2024.
const DAYS: usize = 21;
/// Number of files that a project has on 2024-12-30 in addition to those of 2024-12-01.
const LATER_FILES: usize = 29;
/// Time between two requests for pages that are rendered, and possibly stored, for the first time.
const STORE_TIME: Duration = Duration::from_millis(150);
const SEARCHES: usize = 200;
const STARTS: usize = 5;
/// Seconds of each measurement of a load.
const SECONDS: u32 = 1;
pub(crate) const JSON: &str = "format=application/vnd.pypi.simple.v1%2Bjson";

const LOADS: [Load; 9] = [
    load("page of 4,341 files, 1 connection", "/py/latest/simple/bench-large/", false, 1, "≥ 1.0"),
    load("page of 4,341 files, 64 connections", "/py/latest/simple/bench-large/", false, 64, "≥ 1.0"),
    load("page of 79 files, 1 connection", "/py/latest/simple/bench-small/", false, 1, "≥ 1.0"),
    load("page of 79 files, 64 connections", "/py/latest/simple/bench-small/", false, 64, "≥ 1.0"),
    load("304 of a page, 1 connection", "/py/latest/simple/bench-small/", true, 1, "≥ 1.0"),
    load("304 of a page, 64 connections", "/py/latest/simple/bench-small/", true, 64, "≥ 1.0"),
    compressed_load(
        "page of 4,341 files in gzip, 64 connections",
        "/py/latest/simple/bench-large/",
        64,
        "≥ 1.0",
    ),
    compressed_load("page of 79 files in gzip, 1 connection", "/py/latest/simple/bench-small/", 1, "≥ 1.0"),
    compressed_load(
        "page of 79 files in gzip, 64 connections",
        "/py/latest/simple/bench-small/",
        64,
        "≥ 1.0",
    ),
];

pub(crate) fn run(report: &mut Report) {
    let index = tempfile::tempdir().expect("a folder");
    let root = index.path().canonicalize().expect("a folder");
    write_list(&root, 0);
    for (project, files) in PAGES {
        write_page(&root, project, files + LATER_FILES);
    }
    let paths = write_project(&root, WHEEL, &[wheel(WHEEL, "1.0", 100 << 10, 1)]);
    let gcfg = format!("[PyPI]\nURL = file://{}", root.display());
    let server = Server::start(&gcfg);
    server.rspm(&["create", "repo", "--name=py", "--type=python"]);
    server.rspm(&["subscribe", "--repo=py", "--source=pypi"]);
    let empty_start = starts(server, &gcfg);
    let server = Server::start_in(Arc::clone(&empty_start.folder), &gcfg);
    let before = server.memory("RssAnon");
    let seconds = sync(&server);
    report.row(
        format!("first sync of a list of {PROJECTS} projects"),
        format!("{seconds:.1} s, {:.0} MB", server.memory("VmHWM")),
        format!("before it {before:.0} MB"),
        "—",
        "≤ 8 s, ≤ 150 MB",
    );
    write_list(&root, CHANGED);
    let seconds = sync(&server);
    report.row(format!("sync of {CHANGED} changes"), format!("{seconds:.1} s"), "—", "—", "≤ 2 s");
    search(report, &server);
    cold_pages(report, &server, "open");
    let server = two_days_later(server, &gcfg);
    cold_pages(report, &server, "closed");
    let nginx = Nginx::start();
    serving::measure_for(SECONDS, report, &server, &nginx, &LOADS);
    // The files of a project are known once its page was read.
    get(&server, &format!("/py/latest/simple/{WHEEL}/"));
    serving::measure_for(SECONDS, report, &server, &nginx, &file_loads(&paths));
    let full_start = starts(server, &gcfg);
    report.row(
        format!("start to READY with {PROJECTS} projects"),
        format!("{:.0} ms", 1e3 * full_start.seconds),
        format!("without {:.0} ms", 1e3 * empty_start.seconds),
        format!("{:.2}", full_start.seconds / empty_start.seconds),
        "≤ 1.2",
    );
}

/// Loads of a wheel and of its metadata.
fn file_loads(paths: &FilePaths) -> [Load; 4] {
    let path = |path: &str| format!("/py/latest/{path}");
    let (file, metadata) = (path(&paths.file), path(&paths.metadata));
    [
        Load::of("wheel of 100 kB, 1 connection", file.clone(), 1, "≥ 0.9"),
        Load::of("wheel of 100 kB, 64 connections", file, 64, "≥ 0.9"),
        Load::of("metadata of a wheel, 1 connection", metadata.clone(), 1, "≥ 1.0"),
        Load::of("metadata of a wheel, 64 connections", metadata, 64, "≥ 1.0"),
    ]
}

/// The median time from the start to `READY=1`, and the directory of the server.
struct Starts {
    seconds: f64,
    folder: Arc<tempfile::TempDir>,
}

/// Stops a server and starts it several times.
fn starts(server: Server, gcfg: &str) -> Starts {
    let folder = server.folder();
    server.stop();
    let times = (0..STARTS).map(|_| {
        let server = Server::start_in(Arc::clone(&folder), gcfg);
        let seconds = server.ready_time.as_secs_f64();
        server.stop();
        seconds
    });
    Starts { seconds: median(times.collect()), folder }
}

fn sync(server: &Server) -> f64 {
    let start = Instant::now();
    server.rspm(&["sync", "--type=pypi", "--quiet"]);
    start.elapsed().as_secs_f64()
}

/// Writes the list; the serials of the first `changed` projects differ from those in the list without changes.
fn write_list(root: &Path, changed: usize) {
    let mut text =
        String::from("{\"meta\":{\"_last-serial\":9000000,\"api-version\":\"1.4\"},\"projects\":[");
    let projects = PAGES.map(|(project, _)| project);
    for project in projects.into_iter().chain([WHEEL]) {
        write!(text, "{{\"_last-serial\":1,\"name\":\"{project}\"}},").expect("memory");
    }
    for number in 0..PROJECTS - PAGES.len() - 1 {
        let serial = if number < changed { 8_000_000 + number } else { number + 1 };
        let comma = if number == 0 { "" } else { "," };
        // Names in an order and of a length like those of PyPI.
        let name = number.wrapping_mul(2_654_435_761) % 4_294_967_296;
        write!(text, "{comma}{{\"_last-serial\":{serial},\"name\":\"p{name:x}-{number}\"}}").expect("memory");
    }
    text.push_str("]}");
    fs::create_dir_all(root.join("simple")).expect("a folder");
    fs::write(root.join("simple/index.v1_json"), text).expect("written");
}

/// Writes a page whose files were uploaded on consecutive days until the end of 2024.
pub(crate) fn write_page(root: &Path, project: &str, files: usize) {
    let entry = |number: usize| {
        let days_before = i64::try_from(files - number).expect("small");
        let time = rstudio_pm::model::time::Timestamp((20_088 - days_before) * 86_400_000_000 + 1);
        let name = format!("{}-1.{number}-py3-none-any.whl", project.replace('-', "_"));
        serde_json::json!({
            "core-metadata": { "sha256": Sha256::of(format!("{name}.metadata")).to_string() },
            "filename": name,
            "hashes": { "sha256": Sha256::of(&name).to_string() },
            "requires-python": ">=3.9",
            "size": 100_000 + number,
            "upload-time": time.to_string(),
            "url": format!("../../packages/{number:x}/{name}"),
            "yanked": false,
        })
    };
    let page = serde_json::json!({
        "files": (0..files).map(entry).collect::<Vec<_>>(),
        "meta": { "_last-serial": 1, "api-version": "1.4" },
        "name": project,
    });
    let folder = root.join("simple").join(project);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("index.v1_json"), page.to_string()).expect("written");
}

/// Sends a GET over a new connection; returns the milliseconds until the end of the response.
pub(crate) fn get(server: &Server, path: &str) -> f64 {
    let url = server.url(path);
    let (host, target) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let start = Instant::now();
    let mut stream = std::net::TcpStream::connect(host).expect("it answers");
    let head = format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
    let mut response = BufReader::new(stream);
    let mut line = String::new();
    response.read_line(&mut line).expect("an answer");
    assert!(line.contains(" 200 "), "{path}: {line}");
    response.read_to_end(&mut Vec::new()).expect("its end");
    start.elapsed().as_secs_f64() * 1e3
}

fn search(report: &mut Report, server: &Server) {
    let path = |number: usize| {
        format!("/__api__/repos/py/packages?name_search={:x}&exact_first=true&_limit=20", 4_096 + number)
    };
    let first = get(server, &path(0));
    let mut times: Vec<f64> = (0..SEARCHES).map(|number| get(server, &path(number))).collect();
    times.sort_by(f64::total_cmp);
    report.row(
        format!("search among {PROJECTS} projects, 99th percentile (first {first:.0} ms)"),
        format!("{:.1} ms", times[SEARCHES * 99 / 100]),
        format!("ping {:.2} ms", median((0..DAYS).map(|_| get(server, "/__ping__")).collect())),
        "—",
        "≤ 10 ms",
    );
}

/// Restarts the server with a database in which everything was published two days earlier, so that all past
/// days of the repository are closed, and their pages are stored.
fn two_days_later(server: Server, gcfg: &str) -> Server {
    let folder = server.folder();
    server.stop();
    let path = folder.path().join("data/db/rstudio-pm.db");
    let database = rusqlite::Connection::open(path).expect("the database of a stopped server");
    for (table, column) in [("repo_step", "at"), ("step", "at"), ("tx", "at"), ("clock", "at")] {
        let statement = format!("UPDATE {table} SET {column} = {column} - 2 * 86400000000");
        database.execute(&statement, []).expect("a table with times");
    }
    drop(database);
    Server::start_in(folder, gcfg)
}

/// Sends requests for [`STORE_TIME`], so that the processors are awake, and the documents that were rendered before are
/// stored.
fn ping(server: &Server) {
    let start = Instant::now();
    while start.elapsed() < STORE_TIME {
        get(server, "/__ping__");
    }
}

/// Measures pages that are rendered for the first time. `days` states whether the days are open or closed;
/// the pages of closed days are also stored, shortly after their responses.
fn cold_pages(report: &mut Report, server: &Server, days: &str) {
    for ((project, files), target) in PAGES.into_iter().zip(["≤ 15 ms", "≤ 1 ms"]) {
        let first = get(server, &format!("/py/latest/simple/{project}/?{JSON}"));
        // A page differs from day to day, because a file was uploaded on each.
        let day = |number: usize| format!("/py/2024-12-{:02}/simple/{project}/?{JSON}", number + 1);
        let cold = |number: usize| {
            ping(server);
            get(server, &day(number))
        };
        let times: Vec<f64> = (0..DAYS).map(cold).collect();
        ping(server);
        let warm: Vec<f64> = (0..DAYS).map(|number| get(server, &day(number))).collect();
        report.row(
            format!(
                "page of {files} to {} files of a day that was never requested ({days}; first request {first:.0} ms)",
                files + DAYS - 1
            ),
            format!("{:.1} ms", median(times)),
            format!("requested before {:.2} ms", median(warm)),
            "—",
            target,
        );
    }
}
