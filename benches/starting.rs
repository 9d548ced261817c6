//! Time from the start of the process to `READY=1` and to the first response with full CRAN metadata, relative to
//! nginx.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::mirror::{Mirror, data};
use super::nginx::Nginx;
use super::report::{Report, median};
use super::server::Server;

const ROUNDS: usize = 9;

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let rules = data().join("sysreqs").canonicalize().expect("the rules");
    let gcfg =
        format!("[CRAN]\nURL = {}\n[SystemRequirements]\nURL = file://{}", mirror.url(), rules.display());
    let server = Server::start(&gcfg);
    server.rspm(&["sync", "--quiet"]);
    server.rspm(&["sync", "--type=sysreqs", "--quiet"]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    let folder = server.folder();
    server.stop();
    let (mut ready_times, mut first_responses, mut nginx_times, mut ratios) =
        (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let server = Server::start_in(Arc::clone(&folder), &gcfg);
        request(&server);
        first_responses.push(start.elapsed().as_secs_f64());
        ready_times.push(server.ready_time.as_secs_f64());
        server.stop();
        let (nginx, nginx_time) = Nginx::start_timed();
        drop(nginx);
        nginx_times.push(nginx_time.as_secs_f64());
        ratios.push(ready_times.last().expect("pushed") / nginx_time.as_secs_f64());
    }
    report.row(
        "start to READY, full CRAN metadata",
        format!("{:.0} ms", 1e3 * median(ready_times)),
        format!("nginx {:.0} ms", 1e3 * median(nginx_times)),
        format!("{:.2}", median(ratios)),
        "≤ 1.5",
    );
    let first_response = 1e3 * median(first_responses);
    report.row(
        "start to the first response",
        format!("{first_response:.0} ms"),
        "—",
        format!("{first_response:.0} ms"),
        "≤ 60 ms",
    );
}

/// Sends a HEAD request for a package in a resolved snapshot over a new connection.
fn request(server: &Server) {
    let url = server.url("");
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("it is ready");
    let request = format!(
        "HEAD /bench/latest/src/contrib/zzz_0.0.1.tar.gz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 404") || text.starts_with("HTTP/1.1 200"), "{text}");
}
