//! Response times of web pages with a full-size source: the median relative to that of the public API with
//! the same data, and the 99th percentile.

use std::path::Path;
use std::time::Instant;

use rstudio_pm::r::packages;

use super::answers::{exchange, get, index, most_required};
use super::mirror::Mirror;
use super::report::{Report, median};
use super::server::Server;

/// Enough for a 99th percentile.
const ROUNDS: usize = 201;
/// Number of packages that the second state of the mirror lacks.
const REMOVED: usize = 500;

/// Pages: description, path, and the path of the same data in the public API. `{first}` is the most required
/// package, `{before}` the transaction of the first sync.
const PAGES: &[(&str, &str, &str)] = &[
    ("home", "/", "/__ping__"),
    ("a repository", "/bench/latest/web/", "/__ping__"),
    ("a package", "/bench/latest/web/packages/{first}/", "/__api__/repos/bench/packages/{first}"),
    ("a history", "/bench/latest/web/packages/{first}/history/", "/__api__/repos/bench/packages/{first}"),
    ("a list", "/bench/latest/web/packages/?page=3", "/__api__/repos/bench/packages?_limit=100&_page=3"),
    (
        "a search",
        "/bench/latest/web/packages/?q=plot",
        "/__api__/repos/bench/packages?search=plot&_limit=100",
    ),
    ("changes", "/bench/latest/web/changes/?since={before}", "/__api__/repos/bench/diff?from={before}"),
];

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let server = Server::start(&format!("[CRAN]\nURL = {}", mirror.url()));
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    let before = transaction(&server.rspm(&["sync", "--quiet"]));
    let root = Path::new(mirror.url().trim_start_matches("file://")).to_owned();
    let [first, _] = most_required(&index(&root));
    remove_packages(&root, &first);
    server.rspm(&["sync", "--quiet"]);
    let path_of = |path: &str| path.replace("{first}", &first).replace("{before}", &before);
    let timed = |path: &str| {
        let start = Instant::now();
        let size = get(&server, path);
        (start.elapsed().as_secs_f64() * 1e3, size)
    };
    for (name, page, data) in PAGES {
        let (page, data) = (path_of(page), path_of(data));
        let (first_time, size) = timed(&page);
        timed(&data);
        let (mut times, mut data_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            times.push(timed(&page).0);
            data_times.push(timed(&data).0);
        }
        times.sort_by(f64::total_cmp);
        let p99 = times[ROUNDS * 99 / 100];
        let (time, data_time) = (median(times), median(data_times));
        // A request without data is only a reference.
        let (reference, target) = match data.as_str() {
            "/__ping__" => ("__ping__", "—"),
            _ => ("API", "≤ 2.0"),
        };
        report.row(
            format!("page: {name} ({} kB; first {first_time:.1} ms; p99 {p99:.1} ms)", size / 1000),
            format!("{time:.2} ms"),
            format!("{reference} {data_time:.2} ms"),
            format!("{:.1}", time / data_time),
            target,
        );
    }
    let page = path_of("/bench/latest/web/packages/{first}/");
    let (head, _) = exchange(&server, "GET", &page, "", "");
    let tag = head
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("etag")))
        .expect("an ETag")
        .1
        .to_owned();
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        let (head, size) = exchange(&server, "GET", &page, &format!("If-None-Match: {tag}\r\n"), "");
        assert!(head.contains(" 304 ") && size == 0, "{head}");
        start.elapsed().as_secs_f64() * 1e3
    });
    let time = format!("{:.2} ms", median(times.collect()));
    report.row("page: a package, 304", time.clone(), "—", time, "≤ 1 ms");
    server.stop();
}

/// The number in the output of `rspm sync`.
fn transaction(output: &str) -> String {
    let (_, rest) = output.split_once("transaction ").unwrap_or_else(|| panic!("a transaction: {output}"));
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// Removes packages other than `needed` from the index of the mirror.
fn remove_packages(root: &Path, needed: &str) {
    let path = root.join("src/contrib/PACKAGES.gz");
    let compressed_index = std::fs::read(&path).expect("an index");
    let text = packages::decode_text(&compressed_index, 1 << 30).expect("an index");
    let records = packages::records(&text).map(|record| record.expect("a record"));
    let remaining =
        records.enumerate().filter(|(position, record)| *position >= REMOVED || record.package == needed);
    let stanzas: Vec<Vec<u8>> = remaining.map(|(_, record)| record.stanza.to_vec()).collect();
    let mut gz = packages::gzip(Vec::new());
    packages::render(&mut gz, &stanzas).expect("writing to a Vec cannot fail");
    std::fs::write(path, gz.finish().expect("writing to a Vec cannot fail")).expect("written");
}
