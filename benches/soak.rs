//! Memory of a server under a constant mixed load for an hour; runs only on request, with `make bench ARGS=soak`.
//! `SOAK_MINUTES` sets another duration.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::mirror::Mirror;
use super::nginx::free_port;
use super::report::{Report, median};
use super::server::{Server, package};
use super::tls::write_certificate;

/// Pause of each client between two requests.
const PAUSE: Duration = Duration::from_millis(40);
const CLIENTS: usize = 4;
/// Interval between the actions of the administrator.
const INTERVAL: Duration = Duration::from_secs(10);

/// The paths that each client requests in turn.
const PATHS: [&str; 12] = [
    "/bench/latest/src/contrib/PACKAGES.gz",
    "/bench/latest/src/contrib/PACKAGES",
    "/bench/latest/src/contrib/kb64_1.0.0.tar.gz",
    "/bench/latest/src/contrib/PACKAGES.rds",
    "/bench/latest/src/contrib/mb3_1.0.0.tar.gz",
    "/__api__/repos/bench/packages?name_search=plot&_limit=20",
    "/__api__/repos/bench/packages/kb64",
    "/__api__/repos/bench/packages?_page=5",
    "/bench/__linux__/jammy/latest/src/contrib/PACKAGES.gz",
    "/bench/latest/web/packages/packages.rds",
    "/__api__/status",
    "/bench/latest/src/contrib/kb1_1.0.0.tar.gz",
];

pub(crate) fn run(report: &mut Report) {
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60_u64);
    let duration = Duration::from_secs(minutes * 60);
    let mirror = Mirror::write();
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    write_certificate(folder.path());
    let (port, root) = (free_port(), folder.path().display());
    let server = Server::start_in(
        Arc::clone(&folder),
        &format!(
            "[HTTPS]\nListen = 127.0.0.1:{port}\nCertificate = {root}/server.crt\nKey = {root}/server.key\n[CRAN]\nURL = {}",
            mirror.url()
        ),
    );
    server.create_repository(&[("kb1", 400), ("kb64", 64 << 10), ("mb3", 3 << 20)]);
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut samples: Vec<(Duration, f64)> = Vec::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, stop, requests) = (&server, &stop, &requests);
            scope.spawn(move || run_client(server, client, stop, requests));
        }
        let mut turn = 0;
        while start.elapsed() < duration {
            administer(&server, folder.path(), port, turn);
            turn += 1;
            let deadline = INTERVAL * turn;
            std::thread::sleep(deadline.saturating_sub(start.elapsed()));
            samples.push((start.elapsed(), server.memory("VmRSS")));
            if turn % 30 == 0 {
                eprintln!("  {} min: {:.0} MB", start.elapsed().as_secs() / 60, samples[samples.len() - 1].1);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let median_between = |from: Duration, to: Duration| {
        median(samples.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, mb)| *mb).collect())
    };
    let first_memory = median_between(Duration::ZERO, duration / 6);
    let last_memory = median_between(duration - duration / 6, duration + INTERVAL * 10);
    let count = requests.load(Ordering::Relaxed);
    report.row(
        format!("{minutes} minutes of mixed load ({count} requests): memory in the last sixth"),
        format!("{last_memory:.0} MB"),
        format!("first sixth {first_memory:.0} MB, peak {:.0} MB", server.memory("VmHWM")),
        format!("{:.2}", last_memory / first_memory),
        "≤ 1.2",
    );
    server.stop();
}

/// Runs a client that uses one connection until the server closes it.
fn run_client(server: &Server, client: usize, stop: &AtomicBool, requests: &AtomicU64) {
    let url = server.url("");
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("connected");
    let mut turn = client * 3;
    let mut bytes = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        let path = PATHS[turn % PATHS.len()];
        let result = write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        if result.is_err() || !read_response(&mut stream, &mut bytes) {
            stream = TcpStream::connect(host).expect("connected");
        } else {
            requests.fetch_add(1, Ordering::Relaxed);
        }
        turn += 1;
        std::thread::sleep(PAUSE);
    }
}

/// Reads a response with a `Content-Length`; returns false if the connection ended before its end.
fn read_response(stream: &mut TcpStream, bytes: &mut [u8]) -> bool {
    let mut head = Vec::new();
    let end = loop {
        match stream.read(bytes) {
            Ok(n) if n > 0 => head.extend_from_slice(&bytes[..n]),
            Ok(_) | Err(_) => return false,
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200") || text.starts_with("http/1.1 404"), "{text}");
    let size = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let mut remaining = size.expect("a Content-Length").saturating_sub(head.len() - end);
    while remaining > 0 {
        match stream.read(bytes) {
            Ok(n) if n > 0 => remaining = remaining.saturating_sub(n),
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

/// Performs the next action of an administrator or a burst of requests from many clients.
fn administer(server: &Server, folder: &Path, port: u16, turn: u32) {
    match turn % 6 {
        0 => {
            let path = package(folder, &format!("soak{turn}"), 200 << 10);
            server.rspm(&["add", "--source=files", &format!("--path={}", path.display())]);
            std::fs::remove_file(path).expect("just written");
        }
        1 | 4 => {
            let url = format!("https://127.0.0.1:{port}/bench/latest/src/contrib/kb64_1.0.0.tar.gz");
            let output = Command::new("h2load").args(["-t1", "-c32", "-m16", "-n4000", &url]).output();
            let text = output.expect("h2load is installed: make bench").stdout;
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(" 0 failed, 0 errored, 0 timeout"), "{text}");
        }
        2 => drop(server.rspm(&["sync"])),
        3 => drop(server.rspm(&["hup"])),
        _ => drop(server.rspm(&["status"])),
    }
}
