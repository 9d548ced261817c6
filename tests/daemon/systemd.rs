//! The interface to systemd: inherited sockets, readiness, a restart that loses no request.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::http;
use crate::support::server::{Builder, Server};

/// Starts the server with `socket` as its inherited descriptor 3, as systemd does: the shell sets `LISTEN_PID` to its
/// own number and becomes the server.
fn inherit(server: &Server, socket: &TcpListener, name: &str, notify: &UnixDatagram) -> Child {
    let path = notify.local_addr().expect("bound").as_pathname().expect("a path").to_owned();
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" --config \"$1\"";
    let socket: OwnedFd = socket.try_clone().expect("a second handle").into();
    Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rstudio-pm")])
        .arg(server.config_file())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .env("NOTIFY_SOCKET", path)
        .stdin(Stdio::from(socket))
        .stderr(std::fs::File::create(log_file(server)).expect("a file"))
        .spawn()
        .expect("sh runs")
}

/// The standard error of the last start.
fn log_file(server: &Server) -> PathBuf {
    server.dir().join("stderr.log")
}

pub(super) fn notify_socket(server: &Server) -> UnixDatagram {
    let socket = UnixDatagram::bind(server.dir().join("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(90))).expect("a timeout");
    socket
}

/// Waits for a message that contains `text`, and returns it.
pub(super) fn wait_for_message(notify: &UnixDatagram, text: &str) -> String {
    let mut bytes = [0; 4096];
    loop {
        let size = notify.recv(&mut bytes).unwrap_or_else(|e| panic!("no message '{text}': {e}"));
        let message = String::from_utf8_lossy(&bytes[..size]).into_owned();
        if message.contains(text) {
            return message;
        }
    }
}

pub(super) fn terminate(child: &Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), Signal::SIGTERM).expect("it runs");
}

#[test]
fn an_inherited_socket_is_served_and_systemd_is_notified() {
    let server = Builder::default().prepare();
    let notify = notify_socket(&server);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound").to_string();
    let mut child = inherit(&server, &socket, "http", &notify);
    let ready = wait_for_message(&notify, "READY=1");
    assert!(ready.contains("STATUS=Online"), "{ready}");
    wait_for_message(&notify, "STATUS=Online: 0 repositories, 0 packages, cran never synced");
    assert_eq!(http::get(&format!("http://{address}/__ping__")).status, 200);
    terminate(&child);
    wait_for_message(&notify, "STOPPING=1");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
    TcpStream::connect(&address).expect("the socket is open: the server did not shut it down");
}

#[test]
fn a_socket_of_an_unknown_name_is_ignored_and_the_configured_one_serves() {
    let server = Builder::default().prepare();
    let notify = notify_socket(&server);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut child = inherit(&server, &socket, "telnet", &notify);
    wait_for_message(&notify, "READY=1");
    let log = std::fs::read_to_string(log_file(&server)).expect("a log");
    let address = log.lines().find_map(|line| Some(line.split_once("Listening on ")?.1.trim_matches('"')));
    let address = address.unwrap_or_else(|| panic!("no address:\n{log}"));
    assert_ne!(address, format!("http://{}", socket.local_addr().expect("bound")));
    assert_eq!(http::get(&format!("{address}/__ping__")).status, 200);
    terminate(&child);
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

#[test]
fn a_restart_behind_an_inherited_socket_loses_no_request() {
    let server = Builder::default().prepare();
    let notify = notify_socket(&server);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound").to_string();
    let mut child = inherit(&server, &socket, "http", &notify);
    wait_for_message(&notify, "READY=1");

    let stop = Arc::new(AtomicBool::new(false));
    let answer_count = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (address, stop, answer_count) =
                (address.clone(), Arc::clone(&stop), Arc::clone(&answer_count));
            std::thread::spawn(move || {
                let mut stream = http::connect(&address);
                while !stop.load(Ordering::Acquire) {
                    stream
                        .write_all(b"GET /__ping__ HTTP/1.1\r\nHost: h\r\n\r\n")
                        .expect("no request is cut");
                    let answer = http::try_read(&mut stream, "GET").expect("no answer is cut");
                    assert_eq!(answer.status, 200);
                    answer_count.fetch_add(1, Ordering::AcqRel);
                    if answer.header("connection") == Some("close") {
                        stream = http::connect(&address);
                    }
                }
            })
        })
        .collect();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(200));
        terminate(&child);
        assert_eq!(child.wait().expect("our own child").code(), Some(0));
        child = inherit(&server, &socket, "http", &notify);
        wait_for_message(&notify, "READY=1");
    }
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Ordering::Release);
    let failures = clients.into_iter().filter_map(|client| client.join().err()).count();
    terminate(&child);
    child.wait().expect("our own child");
    assert_eq!(failures, 0);
    assert!(answer_count.load(Ordering::Acquire) > 100, "there was load");
}
