//! A stop finishes running requests, and each signal has its documented effect.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstudio_pm::http::Limits;

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Server;

#[test]
fn no_request_fails_while_the_server_drains() {
    let mut server = Server::start();
    let host = server.host().to_owned();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let answer_count = Arc::new(AtomicUsize::new(0));
    // Keep-alive clients that reconnect after `Connection: close`, as load balancers and R's libcurl do.
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (host, is_stopped, answer_count) =
                (host.clone(), Arc::clone(&is_stopped), Arc::clone(&answer_count));
            std::thread::spawn(move || -> Result<(), String> {
                'connect: loop {
                    let Ok(mut stream) = std::net::TcpStream::connect(&host) else {
                        // Refused: the port is closed, because no other process holds the socket of the ended server.
                        assert!(is_stopped.load(Ordering::Acquire), "refused before the stop");
                        return Ok(());
                    };
                    stream.set_nodelay(true).expect("no delay");
                    let mut is_first = true;
                    loop {
                        let result = stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: x\r\n\r\n");
                        let outcome = result.and_then(|()| http::try_read(&mut stream, "GET"));
                        match outcome {
                            Ok(answer) if answer.status == 200 => {
                                answer_count.fetch_add(1, Ordering::AcqRel);
                                if answer.header("connection") == Some("close") {
                                    continue 'connect;
                                }
                            }
                            Ok(answer) => return Err(format!("status {}", answer.status)),
                            // The connection was still in the backlog when the last owner of the socket ended.
                            Err(_) if is_first && is_stopped.load(Ordering::Acquire) => return Ok(()),
                            Err(error) => return Err(format!("a request was cut: {error}")),
                        }
                        is_first = false;
                    }
                }
            })
        })
        .collect();
    until("there is load", || answer_count.load(Ordering::Acquire) > 100);
    is_stopped.store(true, Ordering::Release);
    let status = server.stop();
    assert_eq!(status.code(), Some(0));
    for client in clients {
        assert_eq!(client.join().expect("no panic"), Ok(()));
    }
}

#[test]
fn idle_keep_alive_connections_do_not_delay_a_stop() {
    let mut server = Server::start();
    let start = Instant::now();
    let mut idle = http::connect(server.host());
    idle.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert_eq!(http::read(&mut idle, "GET").status, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert!(start.elapsed() < Limits::default().head_timeout, "it was open until its own time limit");
    assert_eq!(idle.read(&mut [0]).expect("closed, not reset"), 0);
}

/// An overloaded machine: the requests arrive before the end of idle connections and are read after it.
#[test]
fn a_request_that_waits_in_the_kernel_when_idle_connections_end_is_answered() {
    let mut server = Server::start();
    let send = |stream: &mut std::net::TcpStream| {
        stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    };
    let mut idle: Vec<_> = (0..64).map(|_| http::connect(server.host())).collect();
    for stream in &mut idle {
        send(stream);
        assert_eq!(http::read(stream, "GET").status, 200);
    }
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping:");
    server.signal(Signal::SIGSTOP);
    idle.iter_mut().for_each(send);
    // Longer than the time that idle clients get.
    std::thread::sleep(Duration::from_millis(800));
    server.signal(Signal::SIGCONT);
    for (number, stream) in idle.iter_mut().enumerate() {
        let answer =
            http::try_read(stream, "GET").unwrap_or_else(|e| panic!("connection {number} was cut: {e}"));
        // The first ones may be answered before all tasks know of the stop, without `Connection: close`.
        assert_eq!(answer.status, 200, "connection {number}");
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_first_request_of_a_new_connection_is_answered_although_it_arrives_late() {
    let mut server = Server::start();
    // The connection has to be accepted before the stop: the server answers on another one that was opened later.
    let mut new = std::net::TcpStream::connect(server.host()).expect("connected");
    assert_eq!(server.get("/__ping__").status, 200);
    server.signal(Signal::SIGTERM);
    std::thread::sleep(Limits::default().linger * 2);
    new.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert_eq!(http::try_read(&mut new, "GET").expect("a response").status, 200);
    assert!(server.wait().success());
}

#[test]
fn log_signals_leave_the_server_running() {
    let server = Server::start();
    for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
        server.signal(signal);
    }
    server.wait_for_log("log files reopened");
    assert_eq!(server.get("/__ping__").status, 200);
}

#[test]
fn an_interrupt_stops_the_server_and_a_killed_server_starts_again() {
    let mut server = Server::start();
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait().code(), Some(0));
    server.launch();
    server.kill();
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
    server.restart();
    assert_eq!(server.get("/__ping__").status, 200);
}
