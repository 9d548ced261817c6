//! The first sync of a full mirror, a sync without changes, and the memory of the server.

use std::sync::Arc;
use std::time::Instant;

use super::mirror::{Mirror, PACKAGES, RELEASES};
use super::report::Report;
use super::server::Server;

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let url = super::postgres::server().schema();
    let postgres = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = {url}");
    for (engine, gcfg, target) in [("SQLite", "", "≤ 4 s"), ("PostgreSQL", postgres.as_str(), "≤ 8 s")] {
        let server = Server::start(&format!("[CRAN]\nURL = {}\n{gcfg}", mirror.url()));
        let start = Instant::now();
        server.rspm(&["sync", "--quiet"]);
        let first_time = start.elapsed();
        let peak = server.memory("VmHWM");
        let start = Instant::now();
        let message = server.rspm(&["sync", "--quiet"]);
        let second_time = start.elapsed();
        report.row(
            format!("import of {RELEASES} releases ({PACKAGES} current), {engine}"),
            format!("{:.2} s", first_time.as_secs_f64()),
            "—",
            format!("{:.2} s", first_time.as_secs_f64()),
            target,
        );
        report.row(
            format!("memory during this import, {engine}"),
            format!("{peak:.0} MB"),
            "—",
            format!("{peak:.0} MB"),
            "≤ 200 MB",
        );
        report.row(
            format!("sync with nothing new, {engine} ({})", message.trim()),
            format!("{} ms", second_time.as_millis()),
            "—",
            format!("{} ms", second_time.as_millis()),
            "≤ 200 ms",
        );
        if engine == "SQLite" {
            measure_memory_at_rest(report, server, &mirror);
        }
    }
    let empty_server = Server::start("");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let (memory, anonymous) = (empty_server.memory("VmRSS"), empty_server.memory("RssAnon"));
    report.row(
        "memory at rest, empty",
        format!("{memory:.1} MB, of which {anonymous:.1} MB are private memory of the process"),
        "—",
        format!("{memory:.1} MB"),
        "≤ 14 MB",
    );
}

/// Measures the memory of a restarted server with full CRAN that has served the index in both formats.
fn measure_memory_at_rest(report: &mut Report, server: Server, mirror: &Mirror) {
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    let folder = server.folder();
    server.stop();
    let server = Server::start_in(Arc::clone(&folder), &format!("[CRAN]\nURL = {}", mirror.url()));
    for format in ["gz", "rds"] {
        let url = server.url(&format!("/bench/latest/src/contrib/PACKAGES.{format}"));
        super::nginx::fetch(&url, &folder.path().join("copy"));
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let memory = server.memory("VmRSS");
    report.row(
        "memory at rest, full CRAN, index served",
        format!("{memory:.1} MB"),
        "—",
        format!("{memory:.1} MB"),
        "≤ 60 MB",
    );
}
