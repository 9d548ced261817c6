//! Response times of the public API with a full-size source: the median relative to the smallest response of the same
//! server, and the first one, which fills the caches.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Instant;

use rstudio_pm::r::rds::matrix::write_matrix;

use super::mirror::{Mirror, data};
use super::report::{Report, median};
use super::server::Server;

const ROUNDS: usize = 41;
/// Number of names in the largest request that `filter/packages` accepts.
const NAMES: usize = 10_000;
/// Number of largest requests.
const LARGE_ROUNDS: u32 = 10;

/// Requests: description, path, and target for the median time. `{first}` and `{second}` are the most required packages.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("status", "/__api__/status", "< 5 ms"),
    ("the package with the most reverse dependencies", "/__api__/repos/bench/packages/{first}", "< 5 ms"),
    ("a package with many reverse dependencies", "/__api__/repos/bench/packages/{second}", ""),
    (
        "search, 20 rows",
        "/__api__/repos/bench/packages?name_search=plot&exact_first=true&_limit=20",
        "< 30 ms",
    ),
    ("search, all rows", "/__api__/repos/bench/packages?name_search=plot", "< 30 ms"),
    ("a page of 20", "/__api__/repos/bench/packages?_limit=20&_page=300", "< 5 ms"),
    (
        "a page of 20 by date",
        "/__api__/repos/bench/packages?_limit=20&_sort=date_publication&_order=desc",
        "< 30 ms",
    ),
    ("a page of 1000", "/__api__/repos/bench/packages?_page=5", ""),
    ("transaction-dates", "/__api__/repos/bench/transaction-dates", "< 5 ms"),
    (
        "sysreqs of one with dependencies",
        "/__api__/repos/bench/sysreqs?pkgname={first}&distribution=ubuntu&release=22.04",
        "< 5 ms",
    ),
    ("sysreqs of all", "/__api__/repos/bench/sysreqs?all=true&distribution=ubuntu&release=22.04", ""),
];

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let root = Path::new(mirror.url().trim_start_matches("file://")).to_owned();
    write_database(&root);
    let rules = data().join("sysreqs").canonicalize().expect("the rules");
    let server = Server::start(&format!(
        "[CRAN]\nURL = {}\n[SystemRequirements]\nURL = file://{}",
        mirror.url(),
        rules.display()
    ));
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    server.rspm(&["sync"]);
    let start = Instant::now();
    let message = server.rspm(&["sync", "--type=sysreqs"]);
    eprintln!("  {} in {:.1} s", message.trim(), start.elapsed().as_secs_f64());
    let timed_get = |path: &str| {
        let start = Instant::now();
        let size = get(&server, path);
        (start.elapsed().as_secs_f64() * 1e3, size)
    };
    let [first, second] = most_required(&index(&root));
    let path = |path: &str| path.replace("{first}", &first).replace("{second}", &second);
    let names = REQUESTS.iter().map(|(name, template, target)| (*name, path(template), *target));
    let body = filter_body(&index(&root));
    for (name, path, target) in names.chain([("filter of 100 names", "POST".to_owned(), "")]) {
        let timed_request = |path: &str| {
            if path == "POST" {
                let start = Instant::now();
                let size = post(&server, "/__api__/repos/bench/filter/packages", &body);
                (start.elapsed().as_secs_f64() * 1e3, size)
            } else {
                timed_get(path)
            }
        };
        let (first_time, size) = timed_request(&path);
        let (mut times, mut ping_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            times.push(timed_request(&path).0);
            ping_times.push(timed_get("/__ping__").0);
        }
        let (time, ping_time) = (median(times), median(ping_times));
        report.row(
            format!("API: {name} ({} kB; first {first_time:.1} ms)", size / 1000),
            format!("{time:.2} ms"),
            format!("ping {ping_time:.2} ms"),
            format!("{:.1}", time / ping_time),
            target,
        );
    }
    large_filter(report, &server, &root);
    report.row(
        "API: memory after all requests",
        format!(
            "{:.0} MB, {:.0} of them the process's own",
            server.memory("VmRSS"),
            server.memory("RssAnon")
        ),
        "—",
        "—",
        "≤ 120 MB",
    );
    server.stop();
}

/// Measures the CPU time of the largest `filter/packages` request.
fn large_filter(report: &mut Report, server: &Server, root: &Path) {
    let index = index(root);
    let names = index.lines().filter_map(|line| line.strip_prefix("Package: "));
    let body = serde_json::json!({ "names": names.take(NAMES).collect::<Vec<_>>() }).to_string();
    let path = "/__api__/repos/bench/filter/packages";
    post(server, path, &body);
    let (start, cpu_time_before, mut size) = (Instant::now(), server.cpu_time(), 0);
    for _ in 0..LARGE_ROUNDS {
        size = post(server, path, &body);
    }
    let per_request = |seconds: f64| format!("{:.0} ms", 1e3 * seconds / f64::from(LARGE_ROUNDS));
    let (elapsed, cpu_time) = (start.elapsed().as_secs_f64(), server.cpu_time() - cpu_time_before);
    report.row(
        format!("API: filter of {NAMES} names ({} kB), CPU time", size / 1000),
        per_request(cpu_time),
        format!("elapsed time {}", per_request(elapsed)),
        "—",
        "≤ 200 ms",
    );
}

/// Returns the text of the mirror's index.
pub(crate) fn index(root: &Path) -> String {
    let mut index = String::new();
    let file = fs::File::open(root.join("src/contrib/PACKAGES.gz")).expect("an index");
    flate2::read::GzDecoder::new(file).read_to_string(&mut index).expect("text");
    index
}

/// Writes a package database to the mirror: every package with about two kilobytes of text, every fifth with a
/// text of `sysreqs/test/sysreqs.json` as its system requirements.
fn write_database(root: &Path) {
    let index = index(root);
    let json = fs::read(data().join("sysreqs/test/sysreqs.json")).expect("the sample");
    let samples: Vec<serde_json::Value> = serde_json::from_slice(&json).expect("JSON");
    let text = "Words that describe what it does. ".repeat(40);
    let stanzas = index.split("\n\n").filter(|record| record.starts_with("Package: ")).enumerate();
    let stanzas: Vec<String> = stanzas
        .map(|(position, record)| {
            let mut stanza = format!(
                "{record}\nTitle: Title of It\nDescription: {text}\nAuthor: {}\nMaintainer: A <a@example.org>\n",
                "Somebody [aut], ".repeat(20)
            );
            if position % 5 == 0 {
                let requirements = samples[position / 5 % samples.len()]["SystemRequirements"].as_str().unwrap_or_default();
                stanza.push_str(&format!("SystemRequirements: {}\n", requirements.replace('\n', " ")));
            }
            stanza
        })
        .collect();
    let fields = [
        "Package",
        "Version",
        "Depends",
        "Imports",
        "LinkingTo",
        "Suggests",
        "License",
        "Title",
        "Description",
        "Author",
        "Maintainer",
        "SystemRequirements",
    ];
    let folder = root.join("web/packages");
    fs::create_dir_all(&folder).expect("a folder");
    let file = fs::File::create(folder.join("packages.rds")).expect("a file");
    let gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    write_matrix(gz, &fields, &stanzas).expect("written");
}

/// Returns the two packages that most others require.
pub(crate) fn most_required(index: &str) -> [String; 2] {
    let mut counts = HashMap::<&str, usize>::new();
    let listed: HashSet<&str> = index.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    let tokens = index.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    tokens.filter(|word| listed.contains(word)).for_each(|word| *counts.entry(word).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    [counts[0].0.to_owned(), counts[1].0.to_owned()]
}

/// The body of a `filter/packages` request for 100 names.
fn filter_body(index: &str) -> String {
    let names = index.lines().filter_map(|line| line.strip_prefix("Package: "));
    serde_json::json!({ "names": names.take(100).collect::<Vec<_>>() }).to_string()
}

/// Sends a GET request; returns the size of the response body in bytes.
pub(crate) fn get(server: &Server, path: &str) -> usize {
    request(server, "GET", path, "")
}

/// Sends a POST request; returns the size of the response body in bytes.
fn post(server: &Server, path: &str, body: &str) -> usize {
    request(server, "POST", path, body)
}

/// Sends a request over a new connection; returns the size of the response body in bytes.
fn request(server: &Server, method: &str, path: &str, body: &str) -> usize {
    let length = format!("Content-Length: {}\r\n", body.len());
    let (head, size) = exchange(server, method, path, &length, body);
    assert!(head.contains(" 200 "), "{path}: {head}");
    size
}

/// Sends a request with these header lines over a new connection; returns the status line with the headers, and the size
/// of the body in bytes.
pub(crate) fn exchange(
    server: &Server,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (String, usize) {
    let url = server.url(path);
    let (host, target) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let mut stream = std::net::TcpStream::connect(host).expect("it answers");
    stream.set_nodelay(true).expect("an option");
    let head =
        format!("{method} /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n{body}");
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
    let mut response = Vec::new();
    BufReader::new(stream).read_to_end(&mut response).expect("its end");
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&response[..end]).into_owned(), response.len() - end)
}
