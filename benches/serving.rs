//! Requests per second relative to nginx serving the same bytes from disk, interleaved; of five rounds, the one
//! with the median ratio.

use std::borrow::Cow;

use super::mirror::{Mirror, data};
use super::nginx::{Nginx, fetch, fetch_with, wrk};
use super::report::Report;
use super::server::Server;

const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

/// A request, the number of connections, and the target.
pub(crate) struct Load {
    name: &'static str,
    path: Cow<'static, str>,
    is_revalidation: bool,
    /// Whether the client accepts gzip; nginx serves the compressed bytes as they are.
    is_compressed: bool,
    connections: u32,
    target: &'static str,
}

impl Load {
    /// A load whose path is known at run time.
    pub(crate) fn of(name: &'static str, path: String, connections: u32, target: &'static str) -> Load {
        let path = Cow::Owned(path);
        Load { name, path, is_revalidation: false, is_compressed: false, connections, target }
    }
}

pub(crate) const fn load(
    name: &'static str,
    path: &'static str,
    is_revalidation: bool,
    connections: u32,
    target: &'static str,
) -> Load {
    let path = Cow::Borrowed(path);
    Load { name, path, is_revalidation, is_compressed: false, connections, target }
}

/// A load of clients that accept gzip.
pub(crate) const fn compressed_load(
    name: &'static str,
    path: &'static str,
    connections: u32,
    target: &'static str,
) -> Load {
    let path = Cow::Borrowed(path);
    Load { name, path, is_revalidation: false, is_compressed: true, connections, target }
}

const INDEX: &str = "/bench/latest/src/contrib/PACKAGES.gz";

/// Loads with the small mirror of the test data.
const SMALL_LOADS: [Load; 2] = [
    load("small PACKAGES.gz, 1 connection", INDEX, false, 1, "≥ 1.0"),
    load("small PACKAGES.gz, 64 connections", INDEX, false, 64, "≥ 1.0"),
];

/// Loads with a full-size mirror and with uploaded packages.
const LOADS: [Load; 12] = [
    load("PACKAGES.gz, 1 connection", INDEX, false, 1, "≥ 1.0"),
    load("PACKAGES.gz, 64 connections", INDEX, false, 64, "≥ 1.0"),
    load("304, 1 connection", INDEX, true, 1, "≥ 1.0"),
    load("304, 64 connections", INDEX, true, 64, "≥ 1.0"),
    load("1 kB file, 1 connection", "/bench/latest/src/contrib/kb1_1.0.0.tar.gz", false, 1, "≥ 1.0"),
    load("1 kB file, 64 connections", "/bench/latest/src/contrib/kb1_1.0.0.tar.gz", false, 64, "≥ 1.0"),
    load("100 kB tarball, 1 connection", "/bench/latest/src/contrib/kb100_1.0.0.tar.gz", false, 1, "≥ 0.9"),
    load(
        "100 kB tarball, 64 connections",
        "/bench/latest/src/contrib/kb100_1.0.0.tar.gz",
        false,
        64,
        "≥ 0.9",
    ),
    load("300 kB tarball, 1 connection", "/bench/latest/src/contrib/kb300_1.0.0.tar.gz", false, 1, "≥ 1.0"),
    load(
        "300 kB tarball, 64 connections",
        "/bench/latest/src/contrib/kb300_1.0.0.tar.gz",
        false,
        64,
        "≥ 0.9",
    ),
    load("20 MB tarball, 1 connection", "/bench/latest/src/contrib/mb20_1.0.0.tar.gz", false, 1, "≥ 1.0"),
    load("20 MB tarball, 8 connections", "/bench/latest/src/contrib/mb20_1.0.0.tar.gz", false, 8, "≥ 0.9"),
];

pub(crate) fn run(report: &mut Report) {
    let nginx = Nginx::start();
    let server = Server::start(&format!("[CRAN]\nURL = {}", small_mirror()));
    server.create_repository(&[]);
    measure(report, &server, &nginx, &SMALL_LOADS);
    server.stop();
    let mirror = Mirror::write();
    let server = Server::start(&format!("[CRAN]\nURL = {}", mirror.url()));
    server.create_repository(&[("kb1", 400), ("kb100", 100 << 10), ("kb300", 300 << 10), ("mb20", 20 << 20)]);
    measure(report, &server, &nginx, &LOADS);
}

/// The `file://` URL of the small mirror of the test data: real packages, an index of several kilobytes.
pub(crate) fn small_mirror() -> String {
    let folder = data().join("cran-mirror").canonicalize().expect("the test data: run tests/setup");
    format!("file://{}", folder.display())
}

/// Compares loads with the same bytes from nginx.
fn measure(report: &mut Report, server: &Server, nginx: &Nginx, loads: &[Load]) {
    measure_for(SECONDS, report, server, nginx, loads);
}

/// Like [`measure`], with this number of seconds for each measurement of a round.
pub(crate) fn measure_for(seconds: u32, report: &mut Report, server: &Server, nginx: &Nginx, loads: &[Load]) {
    for load in loads {
        let copy = server.path().join("copy");
        let server_url = server.url(&load.path);
        let accepted = if load.is_compressed { vec!["Accept-Encoding: gzip".to_owned()] } else { Vec::new() };
        let server_tag = fetch_with(&server_url, &copy, &accepted);
        let bytes = std::fs::read(&copy).expect("just fetched");
        // nginx caches open files for a minute, so each load has its own file.
        let name: String = load.name.chars().filter(char::is_ascii_alphanumeric).collect();
        nginx.serve(&name, &bytes);
        let nginx_url = nginx.url(&name);
        let nginx_tag = fetch(&nginx_url, &copy);
        let header = |tag: &str| {
            let condition = load.is_revalidation.then(|| format!("If-None-Match: {tag}"));
            accepted.iter().cloned().chain(condition).collect::<Vec<_>>()
        };
        let (server_header, nginx_header) = (header(&server_tag), header(&nginx_tag));
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let measure_server = || wrk(&server_url, load.connections, seconds, &server_header);
            let measure_nginx = || wrk(&nginx_url, load.connections, seconds, &nginx_header);
            // The order alternates.
            let (server_rate, nginx_rate) = if round % 2 == 0 {
                let server_rate = measure_server();
                (server_rate, measure_nginx())
            } else {
                let nginx_rate = measure_nginx();
                (measure_server(), nginx_rate)
            };
            rounds.push((server_rate, nginx_rate));
        }
        // Sorted by ratio, so that the median round is in the middle.
        rounds.sort_by(|a: &(f64, f64), b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (server_rate, nginx_rate) = rounds[ROUNDS / 2];
        report.row(
            format!("{} ({} bytes)", load.name, bytes.len()),
            format!("{server_rate:.0}/s"),
            format!("nginx {nginx_rate:.0}/s"),
            format!("{:.2}", server_rate / nginx_rate),
            load.target,
        );
    }
}
