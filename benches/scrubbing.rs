//! A scrub of stored packages against `sha256sum` of the same files, and its effect on the response times of requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::report::{Report, median};
use super::server::{Server, package};

/// Size of packages in bytes, and their number.
const PACKAGES: [(usize, usize); 2] = [(1_000_000, 150), (100_000, 600)];
const ROUNDS: usize = 7;
/// Size in bytes and number of further packages, so that a scrub takes seconds.
const LARGE: (usize, usize) = (100_000_000, 30);
/// Requests per second.
const RATE: u32 = 500;
/// Duration of a measurement.
const SECONDS: u32 = 8;

pub(crate) fn run(report: &mut Report) {
    let server = Server::start("");
    server.rspm(&["create", "source", "--name=team"]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
    let mut megabytes = 0.0;
    for (size, count) in PACKAGES {
        megabytes += add(&server, size, count);
    }
    // Storage is compared with the database in the background.
    while server.rspm(&["storage", "list", "-o", "json"]).matches("\"own\"").count() < 9 {
        std::thread::sleep(Duration::from_millis(100));
    }
    for (location, is_cold) in [("in the page cache", false), ("on disk", true)] {
        let (mut scrub_times, mut sha256sum_times, mut quick_times) = (vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            if is_cold {
                drop_from_cache(&server);
            }
            sha256sum_times.push(seconds(|| sha256sum(&server)));
            if is_cold {
                drop_from_cache(&server);
            }
            scrub_times.push(seconds(|| drop(server.rspm(&["scrub", "-o", "json"]))));
            quick_times.push(seconds(|| drop(server.rspm(&["scrub", "--quick", "-o", "json"]))));
        }
        let (scrub_time, sha256sum_time) = (median(scrub_times), median(sha256sum_times));
        report.row(
            format!("scrub {megabytes:.0} MB {location}"),
            format!("{:.0} MB/s", megabytes / scrub_time),
            format!("sha256sum {:.0} MB/s", megabytes / sha256sum_time),
            format!("{:.2}", sha256sum_time / scrub_time),
            "≥ 0.8",
        );
        if !is_cold {
            let objects: usize = PACKAGES.iter().map(|(_, count)| count).sum();
            report.row(
                format!("scrub --quick of {objects} objects"),
                format!("{:.2} s", median(quick_times)),
                "",
                "",
                "",
            );
        }
    }
    add(&server, LARGE.0, LARGE.1);
    measure_requests(&server, report);
}

/// Adds packages of a size; returns their total size in MB.
pub(crate) fn add(server: &Server, size: usize, count: usize) -> f64 {
    let mut megabytes = 0.0;
    let numbers: Vec<_> = (0..count).collect();
    for group in numbers.chunks(50.min(1_000_000_000 / size)) {
        let files: Vec<_> =
            group.iter().map(|n| package(server.path(), &format!("p{size}x{n}"), size + n)).collect();
        let list: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        server.rspm(&["add", "--source=team", &format!("--path={}", list.join(","))]);
        for file in files {
            megabytes += file.metadata().expect("written").len() as f64 / 1e6;
            std::fs::remove_file(file).expect("written");
        }
    }
    megabytes
}

/// The duration of `work` in seconds.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Runs a shell command in the directory of the stored packages.
fn shell(server: &Server, script: &str) {
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(server.path().join("data/packages/packages"))
        .stdout(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}

fn sha256sum(server: &Server) {
    shell(server, "find . -type f -print0 | xargs -0 sha256sum");
}

/// Removes the stored packages from the page cache.
fn drop_from_cache(server: &Server) {
    shell(
        server,
        "find . -type f | while read -r file; do dd of=$file oflag=nocache conv=notrunc,fdatasync count=0 status=none; done",
    );
}

/// The 99th percentile of response times with and without a concurrent scrub, measured alternately.
fn measure_requests(server: &Server, report: &mut Report) {
    let (mut times_without, mut times_with) = (vec![], vec![]);
    for _ in 0..3 {
        times_without.push(p99(server));
        let is_finished = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_finished.load(Ordering::Relaxed) {
                    server.rspm(&["scrub", "-o", "json"]);
                }
            });
            times_with.push(p99(server));
            is_finished.store(true, Ordering::Relaxed);
        });
    }
    let (time_without, time_with) = (median(times_without), median(times_with));
    report.row(
        format!("{RATE} requests/s of a 100 kB package during an unlimited scrub, p99"),
        format!("{:.2} ms", 1e3 * time_with),
        format!("without it {:.2} ms", 1e3 * time_without),
        format!("{:.2}", time_with / time_without),
        "≤ 1.2",
    );
}

/// Requests packages at a fixed rate on one connection; returns the 99th percentile of the times in seconds.
pub(crate) fn p99(server: &Server) -> f64 {
    let url = server.url("");
    let host = url.trim_start_matches("http://");
    let mut connection = BufReader::new(TcpStream::connect(host).expect("the server"));
    connection.get_ref().set_nodelay(true).expect("a socket");
    let (mut times, start) = (vec![], Instant::now());
    for number in 0..RATE * SECONDS {
        let deadline = start + Duration::from_secs(1) * number / RATE;
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        let name = format!("p100000x{}", number % 50);
        let start = Instant::now();
        let request =
            format!("GET /bench/latest/src/contrib/{name}_1.0.0.tar.gz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes()).expect("sent");
        read_response(&mut connection);
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

/// Reads a response, which must be successful.
fn read_response(connection: &mut BufReader<TcpStream>) {
    let (mut status, mut length) = (String::new(), 0);
    connection.read_line(&mut status).expect("an answer");
    assert!(status.contains(" 200 "), "{status}");
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).expect("a header");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().expect("a number");
        }
    }
    std::io::copy(&mut connection.take(length), &mut std::io::sink()).expect("a body");
}
