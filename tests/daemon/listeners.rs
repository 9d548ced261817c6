//! Listeners under a service manager: one that cannot be opened, and one that is superfluous.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::systemd::{notify_socket, terminate, wait_for_message};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::manager::Manager;
use crate::support::server::{Builder, Server};

/// Starts the server with these sockets as its inherited descriptors 3 and 4.
fn inherit(server: &Server, names: &str, first: &TcpListener, second: &TcpListener) -> Child {
    let to_stdio =
        |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().expect("a second handle")));
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$0\" --config \"$1\"";
    Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rstudio-pm")])
        .arg(server.config_file())
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", names)
        .env("NOTIFY_SOCKET", server.dir().join("notify"))
        .stdin(to_stdio(first))
        .stdout(to_stdio(second))
        .stderr(Stdio::from(std::fs::File::create(server.dir().join("stderr.log")).expect("created")))
        .spawn()
        .expect("sh runs")
}

fn log(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("stderr.log")).expect("readable")
}

fn port() -> (TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound").to_string();
    (socket, address)
}

fn ping_status(address: &str) -> u16 {
    http::get(&format!("http://{address}/__ping__")).status
}

#[test]
fn without_a_listener_the_server_cannot_serve_until_the_port_is_free() {
    let ((taken, address), (metrics, _), (redirect, _)) = (port(), port(), port());
    let server = Builder::default().gcfg(&format!("[HTTP]\nListen = {address}")).prepare();
    let notify = notify_socket(&server);
    let mut child = inherit(&server, "metrics:redirect", &metrics, &redirect);
    let ready = wait_for_message(&notify, "READY=1");
    let cause = format!("listen tcp {address}: bind: address already in use");
    let sentences = format!("{cause}. Another program listens on port");
    let expected = format!("STATUS=Cannot serve: Could not initialize the HTTP listener: {sentences}");
    assert!(ready.contains(&expected), "{ready}");
    assert_eq!(server.json("cluster nodes")[0]["mode"], "broken");
    assert!(server.refused("list").contains(&cause));
    drop(taken);
    wait_for_message(&notify, "STATUS=Online");
    assert_eq!(ping_status(&address), 200);
    assert!(!server.rspm_stdout("status").contains("Could not initialize"));
    // A successor gets the socket that was opened after the start.
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), Signal::SIGUSR2).expect("it runs");
    let main = wait_for_message(&notify, "MAINPID=");
    let main = main.lines().find_map(|line| line.strip_prefix("MAINPID=")).expect("a number");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
    assert_eq!(ping_status(&address), 200);
    kill(Pid::from_raw(main.parse().expect("a number")), Signal::SIGTERM).expect("it runs");
    wait_for_message(&notify, "STOPPING=1");
}

#[test]
fn a_listener_that_fails_beside_another_is_reported_and_opened_later() {
    let ((taken, address), (http, public), (redirect, _)) = (port(), port(), port());
    let gcfg = format!("[HTTP]\nListen = {public}\n[Metrics]\nListen = {address}");
    let server = Builder::default().gcfg(&gcfg).prepare();
    let notify = notify_socket(&server);
    let mut child = inherit(&server, "http:redirect", &http, &redirect);
    let ready = wait_for_message(&notify, "READY=1");
    let cause = format!(
        "Could not initialize the Metrics listener: listen tcp {address}: bind: address already in use"
    );
    assert!(ready.contains("STATUS=Online") && ready.contains(&cause), "{ready}");
    assert_eq!(ping_status(&public), 200);
    drop(taken);
    until("the metrics are served", || {
        std::net::TcpStream::connect(&address).is_ok()
            && http::get(&format!("http://{address}/metrics")).status == 200
    });
    assert!(!server.rspm_stdout("status").contains("Could not initialize"));
    terminate(&child);
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

#[test]
fn an_inherited_socket_that_the_configuration_does_not_name_is_closed_if_another_is_given() {
    for names in ["http:http", "http:https"] {
        let ((old, before), (new, after)) = (port(), port());
        let server = Builder::default().gcfg(&format!("[HTTP]\nListen = {after}")).prepare();
        let notify = notify_socket(&server);
        let mut child = match names {
            "http:http" => inherit(&server, names, &old, &new),
            _ => inherit(&server, names, &new, &old),
        };
        let ready = wait_for_message(&notify, "READY=1");
        assert!(!ready.contains("differ from the configuration"), "{ready}");
        assert_eq!(ping_status(&after), 200);
        let log = log(&server);
        let is_warning = |line: &&str| line.contains(&format!("systemd listens on {before} for "));
        let line = log.lines().find(is_warning).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("closed here"), "{line}");
        assert!(!log.contains(&format!("Listening on http://{before}")), "{log}");
        terminate(&child);
        assert_eq!(child.wait().expect("our own child").code(), Some(0));
    }
}

#[test]
fn a_socket_that_the_configuration_does_not_name_serves_if_there_is_no_other() {
    let ((old, before), (metrics, _)) = (port(), port());
    let server =
        Builder::default().gcfg("[HTTP]\nListen = 127.0.0.1:1\n[Metrics]\nEnabled = false").prepare();
    let notify = notify_socket(&server);
    let mut child = inherit(&server, "http:metrics", &old, &metrics);
    assert!(wait_for_message(&notify, "READY=1").contains("differ from the configuration"));
    assert_eq!(ping_status(&before), 200);
    terminate(&child);
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
}

#[test]
fn a_successor_sends_systemd_nothing_before_it_is_the_main_process() {
    let mut manager = Manager::new("");
    manager.start();
    let before = manager.notification_count();
    manager.upgrade().expect("an upgrade");
    // Each start requests more time, and only the main process may do so.
    assert_eq!(manager.count(before, "EXTEND_TIMEOUT_USEC="), 0);
    manager.wait_for_notification(before, "STATUS=Online: ");
    manager.stop();
}
