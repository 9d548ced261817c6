//! 50 rotations by logrotate under load, some of them during restarts: all files together have exactly one line per
//! answered request.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::rotation::{ManagedServer, run};
use crate::support::fixtures::until;
use crate::support::http;

const ROTATIONS: usize = 50;
const CLIENTS: usize = 4;
/// Pipelined requests on each connection.
const DEPTH: usize = 64;

/// State shared by the clients and the test.
#[derive(Default)]
struct Load {
    next: AtomicU64,
    stop: AtomicBool,
    /// One request at a time: a connection that is closed after an answer has no other pending requests.
    one_at_a_time: AtomicBool,
    /// Number of clients in this mode.
    one_at_a_time_clients: AtomicUsize,
    /// Requests to the admin API that were answered.
    admin: AtomicU64,
}

/// Sends numbered requests until `stop` is set; returns the numbers of the answered requests. All are answered.
fn client(address: &str, load: &Load) -> Vec<u64> {
    let mut stream = http::connect(address);
    let mut answered_numbers = Vec::new();
    let (mut buffer, mut request) = (vec![0; 64 << 10], Vec::new());
    let mut was_one_at_a_time = false;
    while !load.stop.load(Ordering::Acquire) {
        let one_at_a_time = load.one_at_a_time.load(Ordering::Acquire);
        if one_at_a_time != std::mem::replace(&mut was_one_at_a_time, one_at_a_time) {
            let count = if one_at_a_time { usize::wrapping_add } else { usize::wrapping_sub };
            load.one_at_a_time_clients
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| Some(count(n, 1)))
                .expect("always a number");
        }
        let size = if one_at_a_time { 1 } else { DEPTH };
        let first = load.next.fetch_add(size as u64, Ordering::AcqRel);
        let mut pending_numbers: VecDeque<u64> = (first..first + size as u64).collect();
        request.clear();
        for number in &pending_numbers {
            let _ = write!(request, "GET /__ping__?n={number} HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        stream.write_all(&request).expect("no request is cut");
        let mut filled = 0;
        while !pending_numbers.is_empty() {
            let size = stream.read(&mut buffer[filled..]).expect("no answer is cut");
            assert!(size > 0, "the connection ended before the answers {pending_numbers:?}");
            filled += size;
            let mut done = 0;
            while let Some(length) = end(&buffer[done..filled]) {
                let answer = &buffer[done..done + length];
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(answer));
                answered_numbers.push(pending_numbers.pop_front().expect("an answer for each request"));
                let closes = one_at_a_time && String::from_utf8_lossy(answer).contains("connection: close");
                done += length;
                if closes {
                    stream = http::connect(address);
                }
            }
            buffer.copy_within(done..filled, 0);
            filled -= done;
        }
    }
    answered_numbers
}

/// The length of the first answer: its head and the body `{}`.
fn end(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n{}";
    let mut position = 0;
    // Searches for the closing brace only: a search for the whole text is slow in an unoptimized test.
    loop {
        position += bytes[position..].iter().position(|&byte| byte == b'}')? + 1;
        if bytes[..position].ends_with(END) {
            return Some(position);
        }
    }
}

/// Sends the admin API requests for unknown paths: each is a line of the server log.
fn administrator(socket: &std::path::Path, load: &Load) {
    while !load.stop.load(Ordering::Acquire) {
        let number = load.admin.load(Ordering::Acquire);
        let answer = http::admin(socket, "POST", &format!("/__api__/admin/v1/number/{number}"), b"");
        // A process that stops answers 503.
        assert!(matches!(answer.status, 404 | 503), "{}", answer.text());
        load.admin.store(number + 1, Ordering::Release);
    }
}

/// The sorted numbers that `of` finds in the lines; every text must end with a complete line.
fn numbers(texts: &[String], of: impl Fn(&str) -> Option<u64>) -> Vec<u64> {
    let mut all = Vec::new();
    for text in texts {
        assert!(text.is_empty() || text.ends_with('\n'), "a broken last line: {:?}", text.lines().last());
        all.extend(text.lines().filter_map(&of));
    }
    all.sort_unstable();
    all
}

#[test]
fn fifty_rotations_under_load_lose_and_duplicate_no_line() {
    let mut managed = ManagedServer::start(1000);
    let load = Arc::new(Load::default());
    let (address, socket) = (managed.address(), managed.server.admin_socket());
    assert_eq!(http::get(&format!("http://{address}/__ping__")).status, 200);
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (load, address) = (Arc::clone(&load), address.clone());
            std::thread::spawn(move || client(&address, &load))
        })
        .collect();
    let administrator = std::thread::spawn({
        let load = Arc::clone(&load);
        move || administrator(&socket, &load)
    });
    for turn in 0..ROTATIONS {
        // The process is replaced twice: during a stop of the old one and during the start of the new one.
        let during_stop = turn == ROTATIONS / 3;
        let during_start = turn == 2 * ROTATIONS / 3;
        if during_stop || during_start {
            load.one_at_a_time.store(true, Ordering::Release);
            until("every client sends one request at a time", || {
                load.one_at_a_time_clients.load(Ordering::Acquire) == CLIENTS
            });
            managed.terminate();
        }
        if during_start {
            managed.wait();
            managed.launch();
        }
        let rotation = managed.rotate();
        let rotation = std::thread::spawn(move || run(rotation));
        if during_stop {
            managed.wait();
            managed.launch();
        }
        rotation.join().expect("a rotation");
        if during_stop || during_start {
            assert_eq!(http::get(&format!("http://{address}/__ping__")).status, 200);
            load.one_at_a_time.store(false, Ordering::Release);
        }
    }
    let elapsed = start.elapsed();
    load.stop.store(true, Ordering::Release);
    let mut answered_numbers: Vec<u64> =
        clients.into_iter().flat_map(|client| client.join().expect("every request was answered")).collect();
    administrator.join().expect("every admin request was answered");
    managed.terminate();
    managed.wait();

    answered_numbers.sort_unstable();
    let access = managed.all("rstudio-pm.access.log");
    assert_eq!(access.len(), ROTATIONS + 1);
    let logged_numbers = numbers(&access, |line| {
        let (client, rest) = line.split_once(" - - [").unwrap_or_else(|| panic!("broken: {line:?}"));
        let (_, rest) = rest.split_once("] \"GET /__ping__").unwrap_or_else(|| panic!("broken: {line:?}"));
        let number = rest.strip_suffix(" HTTP/1.1\" 200 2 \"-\" \"-\"");
        let number = number.unwrap_or_else(|| panic!("broken: {line:?}"));
        assert_eq!(client, "127.0.0.1", "broken: {line:?}");
        // The requests of the test itself have no number.
        (!number.is_empty()).then(|| {
            let number = number.strip_prefix("?n=").and_then(|n| n.parse().ok());
            number.unwrap_or_else(|| panic!("broken: {line:?}"))
        })
    });
    let rate = answered_numbers.len() as f64 / elapsed.as_secs_f64();
    eprintln!(
        "{} lines in {:.1} s: {rate:.0} lines/s, {ROTATIONS} rotations",
        answered_numbers.len(),
        elapsed.as_secs_f64()
    );
    assert!(
        logged_numbers.len() == answered_numbers.len(),
        "{} lines of {} requests",
        logged_numbers.len(),
        answered_numbers.len()
    );
    assert!(logged_numbers == answered_numbers, "the lines differ from the requests");

    let sent_count = load.admin.load(Ordering::Acquire);
    let admin_numbers = numbers(&managed.all("rstudio-pm.log"), |line| {
        let stamp = line.split(' ').next().unwrap_or_default();
        assert!(stamp.len() == 10 && stamp.starts_with("20"), "broken: {line:?}");
        let (_, rest) = line.split_once("path=number/")?;
        Some(
            rest.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("broken: {line:?}")),
        )
    });
    assert!(
        sent_count > 0 && admin_numbers == (0..sent_count).collect::<Vec<u64>>(),
        "{} of {sent_count} log lines",
        admin_numbers.len()
    );
}
