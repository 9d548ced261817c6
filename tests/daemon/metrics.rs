//! Metrics for Prometheus: their format, their values, every mode of the server, and a port in use.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::support::fixtures::{create_mirror, until};
use crate::support::http;
use crate::support::manager::Manager;
use crate::support::prometheus;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;

#[test]
fn the_text_has_the_format_of_prometheus() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    assert_eq!(server.get("/team/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
    until("the space is measured", || server.metrics().text().contains("ppm_storage_used"));
    let answer = server.metrics();
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    let families = prometheus::parse(&answer.text());
    for (name, kind) in [
        ("process_cpu_seconds", "counter"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_max_fds", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("ppm_build_info", "gauge"),
        ("ppm_http_requests", "counter"),
        ("ppm_http_request_duration_seconds", "histogram"),
        ("ppm_http_response_bytes", "counter"),
        ("ppm_http_connections", "gauge"),
        ("ppm_http_requests_in_flight", "gauge"),
        ("ppm_log_lines_dropped", "counter"),
        ("ppm_database_queue", "gauge"),
        ("ppm_sync_runs", "counter"),
        ("ppm_sync_failures", "counter"),
        ("ppm_upstream_requests", "counter"),
        ("ppm_upstream_bytes", "counter"),
        ("ppm_python_outdated_pages", "counter"),
        ("ppm_fetches", "gauge"),
        ("ppm_storage_calculation_time", "gauge"),
        ("ppm_storage_size", "gauge"),
        ("ppm_storage_free", "gauge"),
        ("ppm_storage_used", "gauge"),
    ] {
        let family = families.get(name).unwrap_or_else(|| panic!("{name}: {:?}", families.keys()));
        assert_eq!(family.0, kind, "{name}");
    }
    let path = server.dir().join("data/packages").display().to_string();
    let value = |name: &str| families[name].1[&format!("{name}{{path=\"{path}\"}}")];
    assert!(value("ppm_storage_size") > value("ppm_storage_free") && value("ppm_storage_free") > 0.0);
    let version = format!("ppm_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(families["ppm_build_info"].1[&version], 1.0);
}

#[test]
fn answers_are_counted_with_their_duration_and_size() {
    let server = Server::start();
    let count = |method: &str, status: &str| {
        let series = format!("ppm_http_requests_total{{method=\"{method}\",status=\"{status}\"}}");
        server.series(&series).expect("the series exists from the start")
    };
    let response_bytes = || server.series("ppm_http_response_bytes_total").expect("bytes");
    let timed_requests =
        || server.series("ppm_http_request_duration_seconds_count{method=\"GET\"}").expect("a histogram");
    assert_eq!(
        (count("GET", "2xx"), count("GET", "4xx"), response_bytes(), timed_requests()),
        (0.0, 0.0, 0.0, 0.0)
    );
    let mut bytes = 0;
    for path in ["/__ping__", "/", "/nothing/latest/x"] {
        bytes += server.get(path).body.len();
    }
    http::request("HEAD", &server.url("/__ping__"), &[], b"");
    http::request("PUT", &server.url("/__ping__"), &[], b"");
    until("all are counted", || count("other", "4xx") >= 1.0 && timed_requests() >= 3.0);
    assert_eq!((count("GET", "2xx"), count("GET", "4xx"), count("HEAD", "2xx")), (2.0, 1.0, 1.0));
    assert!(response_bytes() >= bytes as f64, "{} of {bytes}", response_bytes());
    assert!(server.series("ppm_http_requests_in_flight").expect("a gauge") >= 1.0, "this request");
    assert!(server.series("ppm_http_connections").expect("a gauge") >= 1.0);
}

#[test]
fn syncs_and_upstream_traffic_are_counted() {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(folder.path());
    let upstream = Upstream::of(folder.path());
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", upstream.url())).start();
    let value = |series: &str| server.series(series);
    until("the schedule is read", || value("ppm_sync_failures_total{source=\"cran\"}") == Some(0.0));
    assert_eq!(value("ppm_sync_last_success_timestamp_seconds{source=\"cran\"}"), None);
    server.sync().expect("a sync");
    assert_eq!(value("ppm_sync_runs_total{source=\"cran\"}"), Some(1.0));
    let last = value("ppm_sync_last_success_timestamp_seconds{source=\"cran\"}").expect("a time");
    assert!(last > 1.7e9, "{last}");
    assert!(value("ppm_sync_last_duration_seconds{source=\"cran\"}").expect("a time") > 0.0);
    let before = value("ppm_upstream_bytes_total").expect("bytes");
    assert!(before > 0.0 && value("ppm_upstream_requests_total{status=\"2xx\"}") > Some(0.0));
    server.repository("r", "cran");
    let file = server.get("/r/latest/src/contrib/alpha_1.0.tar.gz");
    assert_eq!(file.status, 200);
    assert_eq!(value("ppm_upstream_bytes_total"), Some(before + file.body.len() as f64));
    upstream.remove("src/contrib/PACKAGES");
    server.sync().expect_err("there is no index");
    assert_eq!(value("ppm_sync_failures_total{source=\"cran\"}"), Some(1.0));
    assert_eq!(value("ppm_sync_last_success_timestamp_seconds{source=\"cran\"}"), Some(last));
    assert!(value("ppm_upstream_requests_total{status=\"4xx\"}") > Some(0.0));
}

#[test]
fn metrics_are_served_offline_too_and_only_at_their_address() {
    let server = Server::start();
    server.rspm_stdout("offline");
    assert_eq!(server.get("/__ping__").status, 503);
    let answer = server.metrics();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("ppm_http_requests_total{method=\"GET\",status=\"5xx\"} 1"));
    let lines = server.log_lines();
    let url = lines.iter().find_map(|line| line.split_once("Metrics are served on ")).expect("served").1;
    let base = url.trim_matches('"').strip_suffix("/metrics").expect("its path");
    assert_eq!(http::get(&format!("{base}/__ping__")).status, 404);
    assert_eq!(http::request("POST", &format!("{base}/metrics"), &[], b"").status, 405);
    let head = http::request("HEAD", &format!("{base}/metrics"), &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_port_in_use_disables_only_the_metrics() {
    let occupied_port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = occupied_port.local_addr().expect("bound").to_string();
    let server = Builder::default()
        .gcfg(&format!("[Metrics]\nListen = {address}\n[CRAN]\nURL = https://cran.invalid"))
        .start();
    assert_eq!(server.get("/__ping__").status, 200);
    let log = server.log_lines().join("\n");
    let message = format!(
        "Could not initialize the Metrics listener: listen tcp {address}: bind: address already in use"
    );
    assert!(log.contains(&message), "{log}");
    assert!(server.rspm_stdout("status").contains(&format!("{message}; retrying every 5 seconds")));
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("[INFO] Listeners and start settings") && text.contains(&address), "{text}");
    drop(occupied_port);
    until("the metrics are served", || {
        std::net::TcpStream::connect(&address).is_ok()
            && http::get(&format!("http://{address}/metrics")).status == 200
    });
}

#[test]
fn an_inherited_socket_is_served() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound").to_string();
    let server = Builder::default().gcfg(&format!("[Metrics]\nListen = {address}")).prepare();
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" --config \"$1\"";
    let inherited: OwnedFd = socket.try_clone().expect("a second handle").into();
    let mut child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rstudio-pm")])
        .arg(server.config_file())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "metrics")
        .stdin(Stdio::from(inherited))
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    // The socket accepts connections from the beginning; the client waits until the server answers.
    let answer = http::get(&format!("http://{address}/metrics"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert_eq!(child.wait().expect("our own child").code(), Some(0));
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("ppm_build_info"));
}

#[test]
fn the_listener_is_passed_to_the_next_version() {
    let mut manager = Manager::new("");
    manager.start();
    let log = manager.log();
    let url = log.lines().find_map(|line| line.split_once("Metrics are served on ")).expect("served").1;
    let url = url.trim_matches('"').to_owned();
    let start = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        line.expect("a time").parse::<f64>().expect("seconds")
    };
    let before = start(&http::get(&url).text());
    manager.upgrade().expect("an upgrade");
    let mut after = before;
    until("the new process answers", || {
        let answer = http::get(&url);
        assert_eq!(answer.status, 200);
        after = start(&answer.text());
        after > before
    });
}

#[test]
fn a_liveness_probe_is_answered_in_every_mode() {
    let server = Server::start();
    let live = server.metrics_url().replace("/metrics", "/-/live");
    assert_eq!(http::get(&live).status, 200);
    server.rspm_stdout("offline");
    assert_eq!((http::get(&live).status, server.get("/__ping__").status), (200, 503));
}
