//! `rspm offline` and `rspm online`: the requests that are finished, the responses of an offline server, and the
//! configuration that applies.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use crate::support::fixtures::until;
use crate::support::manager::Manager;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};
use crate::support::{http, postgres};

/// Files of the database that the server has open.
fn open_database(server: &Server) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
    let links = folder.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let names = links.map(|path| path.display().to_string());
    names.filter(|name| name.contains("rstudio-pm.db") && !name.ends_with(".lock")).collect()
}

/// Replaces text in the configuration file.
fn rewrite(server: &Server, old: &str, new: &str) {
    let text = std::fs::read_to_string(server.config_file()).expect("readable");
    assert!(text.contains(old), "no '{old}' in {text}");
    std::fs::write(server.config_file(), text.replace(old, new)).expect("written");
}

fn repositories(server: &Server) -> Vec<String> {
    let repos = server.json("list repos");
    let names = repos.as_array().expect("a list").iter();
    names.map(|repo| repo["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn offline_closes_the_stores_and_answers_503_until_online() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let file = "/team/latest/src/contrib/alpha_1.0.tar.gz";
    assert_eq!(server.get(file).status, 200);
    assert!(!open_database(&server).is_empty());
    assert_eq!(server.rspm_stdout("offline"), "The server is offline. To serve again, run: rspm online\n");
    assert_eq!(open_database(&server), [""; 0], "the database can be copied now");
    for path in ["/__ping__", file, "/", "/__api__/status", "/__api__/admin/v1/nodes", "/nothing"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.header("retry-after"), Some("60"), "{path}");
        assert_eq!(answer.header("x-repository-type"), Some("RSPM"), "{path}");
        assert!(answer.text().contains("the server is offline"), "{path}: {}", answer.text());
    }
    let json = server.get("/__api__/repos").json();
    assert!(json["code"].is_number() && json["payload"].is_null(), "{json}");
    assert_eq!(json["error"], "the server is offline");
    // The admin socket still answers: `list` and `hup` with the remedy, the other commands normally.
    assert!(server.refused("list").contains("rspm online"));
    assert!(server.rspm_stdout("status").starts_with("Offline: every request gets 503"));
    let nodes = server.json("cluster nodes");
    assert_eq!((nodes[0]["mode"].as_str(), nodes.as_array().map(Vec::len)), (Some("offline"), Some(1)));
    assert!(server.rspm_stdout("offline").contains("already"));
    assert!(server.refused("hup").contains("rspm online"));

    assert_eq!(server.rspm_stdout("online"), "The server is online.\n");
    assert_eq!((server.get(file).status, server.get("/__ping__").status), (200, 200));
    assert!(server.rspm_stdout("online").contains("already"));
    let status = server.rspm_stdout("status");
    assert!(status.starts_with("Online: 1 repository, 1 package, cran never synced\n"), "{status}");
    // The access log has the requests made while offline.
    let log = std::fs::read_to_string(server.dir().join("access.log")).expect("readable");
    assert!(log.contains("GET /__ping__ HTTP/1.1\" 503 "), "{log}");
}

#[test]
fn a_restart_is_online() {
    let mut server = Server::start();
    server.rspm_stdout("offline");
    server.restart();
    assert_eq!(server.get("/__ping__").status, 200);
}

#[test]
fn online_applies_another_database_and_another_data_directory() {
    let server =
        Builder::default().gcfg("[Database]\nProvider = sqlite\n[Postgres]\nURL = postgres://unused").start();
    server.local_repository("small", &[Tarball::new("alpha", "1.0")]);
    let url = postgres::server().schema();
    server.rspm_stdout("offline");
    rewrite(&server, "Provider = sqlite", "Provider = postgres");
    rewrite(&server, "URL = postgres://unused", &format!("URL = \"{url}\""));
    server.rspm_stdout("online");
    assert_eq!(repositories(&server), [""; 0], "a new database");
    // The stored objects belong to the other database.
    server.rspm_stdout("storage adopt");
    server.local_repository("large", &[Tarball::new("beta", "1.0")]);
    assert_eq!(server.get("/large/latest/src/contrib/beta_1.0.tar.gz").status, 200);
    assert_eq!(server.get("/small/latest/src/contrib/PACKAGES").status, 404);

    server.rspm_stdout("offline");
    rewrite(&server, "Provider = postgres", "Provider = sqlite");
    server.rspm_stdout("online");
    assert_eq!(repositories(&server), ["small"]);
    assert_eq!(server.get("/small/latest/src/contrib/alpha_1.0.tar.gz").status, 200);

    // Everything below DataDir moves with it.
    server.rspm_stdout("offline");
    let (old, new) = (server.dir().join("data"), server.dir().join("elsewhere"));
    std::fs::rename(&old, &new).expect("moved");
    rewrite(&server, &format!("DataDir = {}", old.display()), &format!("DataDir = {}", new.display()));
    server.rspm_stdout("online");
    assert_eq!(server.get("/small/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
    assert!(!old.exists() && open_database(&server).iter().all(|file| file.contains("elsewhere")));
}

#[test]
fn online_applies_removed_lines_but_no_listener() {
    let line = "Address = https://pm.example.org/prefix";
    let server = Builder::default().gcfg(&format!("[Server]\n{line}")).start();
    assert_eq!(server.get("/prefix/__ping__").status, 200);
    server.rspm_stdout("offline");
    rewrite(&server, line, "");
    rewrite(&server, "Listen = 127.0.0.1:0", "Listen = 127.0.0.1:1");
    let output = server.rspm_stdout("online");
    assert!(output.contains("listening addresses changed"), "{output}");
    assert_eq!((server.get("/__ping__").status, server.get("/prefix/__ping__").status), (200, 404));
}

#[test]
fn an_unusable_configuration_keeps_the_server_offline() {
    let server = Server::start();
    server.rspm_stdout("offline");
    let valid_gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    for (invalid_lines, reason) in [
        ("\n[HTTP]\nListen = nowhere\n", "nowhere"),
        ("\n[SQLite]\nDir = /proc/nothing\n", "/proc/nothing"),
        ("\n[HTTPS]\nListen = :0\nCertificate = /nothing\nKey = /nothing\n", "/nothing"),
    ] {
        std::fs::write(server.config_file(), format!("{valid_gcfg}{invalid_lines}")).expect("written");
        let error = server.refused("online");
        assert!(error.contains(reason) && error.contains("stays offline"), "{error}");
        assert!(server.rspm_stdout("status").starts_with("Offline"));
        assert_eq!(server.get("/__ping__").text(), "the server is offline\n");
    }
    std::fs::write(server.config_file(), valid_gcfg).expect("written");
    server.rspm_stdout("online");
    assert_eq!(server.get("/__ping__").status, 200);
}

/// Bytes that gzip cannot shrink.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    step.take(size / 8).flatten().collect()
}

#[test]
fn a_running_download_is_finished_or_reported_and_never_cut() {
    let server = Server::start();
    let mut package = Tarball::new("large", "1.0");
    package.files.push(("inst/noise".to_owned(), noise(24 << 20)));
    server.local_repository("team", &[package]);
    let path = "/team/latest/src/contrib/large_1.0.tar.gz";
    let body = server.get(path).body;
    // A small window, so that the kernel does not buffer the whole answer.
    let mut stream = TcpStream::connect(server.host()).expect("it answers");
    setsockopt(&stream, RcvBuf, &(64 << 10)).expect("a small window");
    let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
    let mut first = [0; 1];
    stream.read_exact(&mut first).expect("a first byte");

    let start = Instant::now();
    let error = server.refused("offline --timeout=1s");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(error.contains("still running: 1 request.") && error.contains("It stays online"), "{error}");
    assert_eq!(server.get("/__ping__").status, 200);
    assert!(server.rspm_stdout("status").starts_with("Online"));

    let child = server.rspm_command("offline --timeout=120").spawn().expect("rspm runs");
    let deadline = Instant::now() + Duration::from_secs(90);
    while server.get("/__ping__").status != 503 {
        assert!(Instant::now() < deadline, "new requests are refused");
    }
    let deadline = Instant::now() + Duration::from_secs(90);
    // The refused requests may still be counted.
    while !server.rspm_stdout("status").starts_with("Draining, waiting for 1 request\n") {
        assert!(Instant::now() < deadline, "{}", server.rspm_stdout("status"));
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("a complete answer");
    assert!(answer.ends_with(&body), "complete and correct: {} of {}", answer.len(), body.len());
    assert!(child.wait_with_output().expect("our own child").status.success());
    assert!(server.rspm_stdout("status").starts_with("Offline"));
}

/// A mirror that delays a sync.
fn slow_mirror(pause: Duration) -> Upstream {
    let mirror = Upstream::of(&crate::support::data::path("cran-mirror"));
    delay(&mirror, pause);
    mirror
}

/// Delays further answers with an index.
fn delay(mirror: &Upstream, pause: Duration) {
    for index in ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"] {
        mirror.always(index, Fault::Slow(pause));
    }
}

#[test]
fn a_long_sync_is_interrupted_and_resumed_when_online() {
    let mirror = slow_mirror(Duration::from_secs(60));
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.json("sync --no-wait");
    until("the sync reads the index", || !mirror.pending().is_empty());
    server.rspm_stdout("offline --timeout=10s");
    assert_eq!(mirror.take_requests(), [], "the command does not wait for the sync");
    delay(&mirror, Duration::from_secs(8));
    server.rspm_stdout("online");
    let jobs = server.admin("GET", "/jobs", &serde_json::Value::Null).json();
    assert_eq!(jobs[0]["key"], "sync:cran", "{jobs}");
    let output = server.rspm_stdout("sync --quiet");
    assert!(output.contains(&crate::support::data::cran().added_message()), "{output}");
    let rows = server.get("/__api__/sources/1/transactions").json();
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "one transaction: {rows}");
    let status = server.rspm_stdout("status");
    assert!(status.starts_with("Online: 0 repositories, 0 packages, cran synced 20"), "{status}");
}

#[test]
fn a_sync_interrupted_by_a_refused_offline_request_is_resumed_at_once() {
    let mirror = slow_mirror(Duration::from_secs(8));
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    // A running upload prevents offline mode.
    let _upload = server.begin_upload();
    server.json("sync --no-wait");
    let error = server.refused("offline --timeout=1s");
    assert!(error.contains("1 request"), "{error}");
    let jobs = server.admin("GET", "/jobs", &serde_json::Value::Null).json();
    assert_eq!((&jobs[0]["key"], &jobs[0]["id"]), (&"sync:cran".into(), &2.into()), "{jobs}");
    assert!(server.rspm_stdout("sync --quiet").contains(&crate::support::data::cran().added_message()));
}

#[test]
fn a_short_sync_is_finished_first() {
    let mirror = slow_mirror(Duration::from_millis(300));
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.json("sync --no-wait");
    server.rspm_stdout("offline --timeout=40s");
    server.rspm_stdout("online");
    let jobs = server.admin("GET", "/jobs", &serde_json::Value::Null).json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(0), "{jobs}");
    assert!(server.rspm_stdout("sync").contains("up to date"));
}

#[test]
fn systemd_is_notified_of_each_mode() {
    let mut manager = Manager::new("");
    manager.start();
    manager.wait_for_notification(0, "STATUS=Online: 0 repositories, 0 packages, cran never synced");
    let before = manager.notification_count();
    manager.server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    manager.wait_for_notification(before, "STATUS=Online: 1 repository, 1 package, cran never synced");
    let before = manager.notification_count();
    manager.server.rspm_stdout("offline");
    manager.wait_for_notification(before, "STATUS=Offline");
    let before = manager.notification_count();
    manager.server.rspm_stdout("online");
    manager.wait_for_notification(before, "STATUS=Online: 1 repository, 1 package, cran never synced");
    manager.stop();
    manager.wait_for_notification(before, "STOPPING=1");
}

#[test]
fn systemd_is_notified_of_sockets_that_differ_from_the_configuration() {
    let manager = Manager::new("");
    let text = std::fs::read_to_string(manager.server.config_file()).expect("readable");
    let address = manager.target().http;
    std::fs::write(manager.server.config_file(), text.replace(&address, "127.0.0.1:1")).expect("written");
    let mut manager = manager;
    manager.start();
    let commands = "differ from the configuration; run: systemctl restart rstudio-pm";
    assert!(manager.wait_for_notification(0, "READY=1").contains(commands), "{}", manager.log());
    assert!(manager.server.rspm_stdout("status").contains(commands));
    manager.stop();
}

#[test]
fn progress_is_shown_on_a_terminal() {
    let server = Server::start();
    let _upload = server.begin_upload();
    let command = server.rspm_command("offline --timeout=2s");
    let line: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = line.join(std::ffi::OsStr::new(" "));
    let mut script = std::process::Command::new("script");
    let output =
        script.args(["--quiet", "--return", "/dev/null", "--command"]).arg(line).env("TERM", "xterm");
    let output =
        output.stdin(std::process::Stdio::null()).output().expect("script of util-linux is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Draining, waiting for 1 request"), "{text}");
    assert!(!output.status.success() && text.contains("It stays online"), "{text}");
}

#[test]
fn an_interrupted_offline_request_is_cancelled() {
    let server = Server::start();
    let _upload = server.begin_upload();
    let mut child = server.rspm_command("offline --timeout=1h").spawn().expect("rspm runs");
    // A request that ends at the same time may be counted before.
    until("only the upload runs", || {
        server.rspm_stdout("status").starts_with("Draining, waiting for 1 request\n")
    });
    // The command is interrupted.
    child.kill().expect("it runs");
    child.wait().expect("our own child");
    server.wait_for_log(
        "offline request cancelled: its client disconnected; the server is online again; still running: 1 request",
    );
    assert_eq!(server.get("/__ping__").status, 200);
    assert!(server.rspm_stdout("status").starts_with("Online"));
}

#[test]
fn a_stop_while_offline_or_going_offline_succeeds() {
    let mut server = Server::start();
    server.rspm_stdout("offline");
    assert_eq!(server.stop().code(), Some(0));
    server.launch();
    let mirror = slow_mirror(Duration::from_secs(15));
    rewrite(&server, "[CRAN]\nURL = ", &format!("[CRAN]\nURL = {}\n#", mirror.url()));
    server.restart();
    server.json("sync --no-wait");
    let child = server.rspm_command("offline").stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    server.wait_for_log("going offline");
    assert_eq!(server.stop().code(), Some(0));
    let output = child.wait_with_output().expect("our own child");
    assert!(!output.status.success(), "{output:?}");
    server.launch();
    assert_eq!(http::get(&server.url("/__ping__")).status, 200);
}
