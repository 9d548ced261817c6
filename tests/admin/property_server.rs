//! `[Server]`: one test per property, which sets it and checks its effect.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rstudio_pm::config::key_file;

use crate::support::fixtures::{create_mirror, until};
use crate::support::recording_server::RecordingServer;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{http, rerun, s3};

pub(super) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn stored_size(line: &str) -> u64 {
    let code =
        (0..4000).fold(String::new(), |code, n| code + &format!("f{n} <- function(x) x + {}\n", n * n));
    let server = Builder::default().gcfg(&format!("[Server]\n{line}")).start();
    server.store("local", &Tarball::new("alpha", "1.0").with("R/code.R", &code))
}

#[test]
pub(super) fn address_is_the_base_of_printed_urls_and_its_path_a_prefix() {
    let url = |server: &Server| {
        server.repository("r", "cran");
        server.call("GET", "/repos/r", &serde_json::Value::Null)["url"].clone()
    };
    let server_without_address = Server::start();
    assert_eq!(
        (url(&server_without_address), server_without_address.get("/rspm/__ping__").status),
        ("/r/latest".into(), 404)
    );
    let server = Builder::default().gcfg("[Server]\nAddress = https://pm.example.org/rspm").start();
    assert_eq!(url(&server), "https://pm.example.org/rspm/r/latest");
    assert_eq!(server.get("/rspm/__ping__").status, 200);
}

/// Starts a server, with a line of `[Server]`, whose mirror records requests. Returns it, the mirror and its folder.
pub(super) fn server_with_recorded_mirror(line: &str) -> (Server, RecordingServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    create_mirror(folder.path());
    let mirror = RecordingServer::folder(folder.path());
    let gcfg = format!("[Server]\n{line}\n[CRAN]\nURL = http://{}", mirror.host());
    (Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start(), mirror, folder)
}

/// Returns true if every request, of which there are some, has this header `User-Agent`.
pub(super) fn all_have_agent(heads: &[String], agent: &str) -> bool {
    let line = format!("\r\nuser-agent: {agent}\r\n").to_lowercase();
    !heads.is_empty() && heads.iter().all(|head| head.to_lowercase().contains(&line))
}

pub(super) const AGENT: &str = concat!("rstudio-pm/", env!("CARGO_PKG_VERSION"));

#[test]
pub(super) fn contact_is_part_of_the_user_agent_of_requests_to_mirrors() {
    for (line, contact) in [
        ("", ""),
        ("Contact = packages@example.org", " (packages@example.org)"),
        ("Contact = https://example.org/packages", " (https://example.org/packages)"),
    ] {
        let (server, mirror, _folder) = server_with_recorded_mirror(line);
        server.sync().expect("a mirror");
        let (heads, agent) = (mirror.heads(), format!("{AGENT}{contact}"));
        assert!(all_have_agent(&heads, &agent), "{agent}: {heads:?}");
    }
}

/// Returns the address of the server in one of its pages, for a request through a proxy with these header fields.
pub(super) fn address_through_a_proxy(server: &Server, fields: &[(&str, &str)]) -> String {
    let page = http::request("GET", &server.url("/r/latest/"), fields, b"").text();
    let (_, url) = page.split_once("c(CRAN = &quot;").expect("its address");
    url.split_once("/r/latest").expect("its address").0.to_owned()
}

pub(super) const FORWARDED: [(&str, &str); 2] =
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "pm.example.org")];

#[test]
pub(super) fn trusted_proxy_may_declare_the_address_of_the_server() {
    let server_with = |line: &str| {
        let server = Builder::default().gcfg(&format!("[Server]\n{line}")).start();
        server.local_repository("r", &[Tarball::new("alpha", "1.0")]);
        server
    };
    let server = server_with("");
    assert_eq!(address_through_a_proxy(&server, &FORWARDED), "https://pm.example.org");
    let original = [("X-RSPM-Request", "https://pm.example.org/packages/r/latest/")];
    assert_eq!(address_through_a_proxy(&server, &original), "https://pm.example.org/packages");
    assert_eq!(address_through_a_proxy(&server, &[]), server.url(""));
    let day = server.get("/__api__/repos/r/transaction-dates").json()[0]["date"].clone();
    let body = serde_json::json!({ "repo": "r", "snapshot": day }).to_string();
    let link = http::request("POST", &server.url("/__api__/url"), &FORWARDED, body.as_bytes()).json();
    let url = link["url"].as_str().expect("a URL");
    assert!(url.starts_with("https://pm.example.org/r/"), "{url}");
    let description = http::request("GET", &server.url("/__api__/swagger/doc.json"), &FORWARDED, b"").json();
    assert_eq!(description["servers"][0]["url"], "https://pm.example.org");
    let other_server = server_with("TrustedProxy = 192.0.2.0/24");
    assert_eq!(
        address_through_a_proxy(&other_server, &FORWARDED),
        other_server.url(""),
        "this machine is not trusted"
    );
}

/// A listen address that is not a loopback address.
pub(super) const OTHER_ADDRESS: &str = "192.0.2.1";

/// Starts a server that listens on [`OTHER_ADDRESS`], with a line of `[Server]`.
pub(super) fn server_on_other_address(line: &str) -> Server {
    Builder::default().gcfg(&format!("[Server]\n{line}\n[HTTP]\nListen = {OTHER_ADDRESS}:0")).start()
}

/// Returns how many of ten connections the server leaves open; all come from the address on which it listens.
pub(super) fn open_connection_count(server: &Server) -> usize {
    let url = server.url("");
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let ask = |mut stream: TcpStream| {
        stream.write_all(b"GET /__ping__ HTTP/1.1\r\nHost: h\r\n\r\n").ok()?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).ok()?;
        (first == *b"HTTP/1.1 200").then_some(stream)
    };
    let streams: Vec<TcpStream> = (0..10)
        .map(|_| {
            let stream = TcpStream::connect(address).expect("the kernel accepts");
            stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a timeout");
            stream
        })
        .collect();
    let open_streams: Vec<TcpStream> = streams.into_iter().filter_map(ask).collect();
    open_streams.len()
}

#[test]
pub(super) fn connections_per_address_limits_addresses_that_are_no_proxy() {
    if rerun::with_addresses(&[OTHER_ADDRESS]) {
        return;
    }
    assert_eq!(open_connection_count(&server_on_other_address("")), 10);
    assert_eq!(open_connection_count(&server_on_other_address("ConnectionsPerAddress = 3")), 3);
    assert_eq!(open_connection_count(&server_on_other_address("ConnectionsPerAddress = 0")), 10);
    let proxy = format!("ConnectionsPerAddress = 3\nTrustedProxy = {OTHER_ADDRESS}");
    assert_eq!(open_connection_count(&server_on_other_address(&proxy)), 10);
    let local = Builder::default().gcfg("[Server]\nConnectionsPerAddress = 3\nTrustedProxy =").start();
    assert_eq!(open_connection_count(&local), 10, "a loopback address");
}

#[test]
pub(super) fn data_dir_contains_database_and_storage() {
    let server = Builder::default().gcfg("[Server]\nDataDir = {dir}/elsewhere").start();
    for name in ["db/rstudio-pm.db", "packages", "cran", "persistent"] {
        assert!(server.dir().join("elsewhere").join(name).exists(), "{name}");
    }
    assert!(!server.dir().join("data").exists());
}

#[test]
pub(super) fn temp_dir_contains_unfinished_files_of_classes_on_s3() {
    let location = s3::bucket(s3::server());
    let lines = s3::lines(&location);
    let name = format!("rstudio-pm-{}", nix::unistd::geteuid());
    let mut server = s3::builder()
        .gcfg(&format!("[Server]\nTempDir = {{dir}}/scratch\n[Storage]\nDefault = s3\n{lines}"))
        .prepare();
    std::fs::create_dir(server.dir().join("scratch")).expect("a directory");
    server.launch();
    assert!(server.dir().join("scratch").join(&name).is_dir());
    assert!(!server.dir().join("tmp").join(&name).exists());
}

#[test]
pub(super) fn temp_dir_is_tmpdir_of_the_environment_when_it_is_not_set() {
    let location = s3::bucket(s3::server());
    let scratch = tempfile::tempdir().expect("a directory");
    let server = s3::builder()
        .gcfg(&format!("[Storage]\nDefault = s3\n{}", s3::lines(&location)))
        .env("TMPDIR", &scratch.path().display().to_string());
    let mut server = server.prepare();
    let gcfg = text(&server.config_file());
    let other_lines: Vec<&str> = gcfg.lines().filter(|line| !line.starts_with("TempDir")).collect();
    std::fs::write(server.config_file(), other_lines.join("\n")).expect("written");
    server.launch();
    assert!(scratch.path().join(format!("rstudio-pm-{}", nix::unistd::geteuid())).is_dir());
}

#[test]
pub(super) fn access_log_is_written_to_that_file() {
    let server = Builder::default().gcfg("[Server]\nAccessLog = {dir}/logs/requests.log").start();
    server.get("/__ping__");
    let file = server.dir().join("logs/requests.log");
    until("the request is in the log", || text(&file).contains("\"GET /__ping__ HTTP/1.1\" 200 2"));
    assert!(!server.dir().join("access.log").exists());
}

#[test]
pub(super) fn service_log_is_written_to_that_file() {
    let server = Builder::default().gcfg("[Server]\nServiceLog = {dir}/logs/packages.log").start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    server.get("/team/latest/src/contrib/alpha_1.0.tar.gz");
    let file = server.dir().join("logs/packages.log");
    until("the request is in the log", || text(&file).ends_with("\"message\":\"ok\"}\n"));
    assert!(text(&file).contains("\"name\":\"alpha\",\"version\":\"1.0\""));
    assert!(!server.dir().join("service.log").exists());
}

#[test]
pub(super) fn access_log_format_decides_whether_referer_and_agent_are_written() {
    for (format, expected) in [("common", false), ("combined", true)] {
        let server = Builder::default().gcfg(&format!("[Server]\nAccessLogFormat = {format}")).start();
        let headers = [("User-Agent", "the-agent"), ("Referer", "http://the.referer/")];
        http::request("GET", &server.url("/__ping__"), &headers, b"");
        let file = server.dir().join("access.log");
        until("the request is in the log", || text(&file).ends_with('\n'));
        let line = text(&file);
        assert_eq!(
            line.trim_end().ends_with(r#" 200 2 "http://the.referer/" "the-agent""#),
            expected,
            "{line}"
        );
        assert_eq!(line.trim_end().ends_with("\" 200 2"), !expected, "{line}");
    }
}

#[test]
pub(super) fn sock_file_dir_contains_socket_and_pid_file() {
    let server = Builder::default().gcfg("[Server]\nSockFileDir = {dir}/sockets").start();
    let socket = server.dir().join("sockets/rstudio-pm.sock");
    assert_eq!(http::admin(&socket, "GET", "/__ping__", b"").status, 200);
    assert!(server.dir().join("sockets/rstudio-pm.pid").exists());
    assert!(!server.dir().join("run").exists());
}

#[test]
pub(super) fn encryption_key_path_is_the_file_of_the_key() {
    let mut server = Builder::default().gcfg("[Server]\nEncryptionKeyPath = {dir}/secret.key").prepare();
    let path = server.dir().join("secret.key");
    key_file::create(&path, &key_file::random().unwrap()).unwrap();
    server.launch();
    let key_status = json_key(&server).to_string();
    assert!(key_status.contains(&path.display().to_string()), "{key_status}");
    assert_eq!(json_key(&Server::start()), serde_json::Value::Null);
}

fn json_key(server: &Server) -> serde_json::Value {
    server.json("status")["encryption_key"].clone()
}

#[test]
pub(super) fn package_rewrite_compression_level_decides_the_size_of_stored_packages() {
    let [fast, default, small] =
        [1, 6, 9].map(|n| stored_size(&format!("PackageRewriteCompressionLevel = {n}")));
    assert!(fast > default && default >= small, "{fast} {default} {small}");
    assert_eq!(stored_size(""), default, "6 is the default");
}

/// Returns the number of `write` calls of the process.
fn write_calls(server: &Server) -> u64 {
    let io = text(Path::new(&format!("/proc/{}/io", server.pid())));
    let line = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    line.expect("the kernel counts writes").parse().expect("a number")
}

/// Returns the number of `write` calls for adding a package of 2 MB.
pub(super) fn writes_of_an_add(server: &Server, name: &str) -> u64 {
    let calls_of_one_add = |seed: u64| {
        let mut package = Tarball::new(name, &format!("1.{seed}"));
        let (noise, _) = crate::support::storage::bytes(2 << 20, seed);
        package.files.push(("data/noise".to_owned(), noise));
        let before = write_calls(server);
        assert!(server.store("local", &package) > 2 << 20, "the package does not become smaller");
        write_calls(server) - before
    };
    // The upload arrives in a varying number of chunks; the minimum shows the effect of the buffer size.
    (1..=5).map(calls_of_one_add).min().expect("five times")
}

#[test]
pub(super) fn package_rewrite_buffer_size_decides_how_many_writes_an_add_takes() {
    let calls = |size: &str| {
        let server = Builder::default().gcfg(&format!("[Server]\nPackageRewriteBufferSize = {size}")).start();
        writes_of_an_add(&server, "alpha")
    };
    let (small, large) = (calls("32KB"), calls("1MB"));
    // 2 MB are 64 writes of 32 KB or two of 1 MB; the rest is the database and the log.
    assert!(small > large + 40, "{small} and {large} writes");
}

#[test]
pub(super) fn content_type_sniffing_removes_a_header() {
    let header = |line: &str| {
        let server = Builder::default().gcfg(&format!("[Server]\n{line}")).start();
        server.get("/__ping__").header("x-content-type-options").map(str::to_owned)
    };
    assert_eq!(header("").as_deref(), Some("nosniff"));
    assert_eq!(header("ContentTypeSniffing = true"), None);
}

/// Stops a server; asserts that its health check fails at once and that other requests are answered for two seconds.
pub(super) fn stop_with_delay(mut server: Server) {
    server.signal(nix::sys::signal::Signal::SIGTERM);
    until("the health check fails", || server.get("/__ping__").status == 503);
    let start = Instant::now();
    assert_eq!(server.get("/__ping__").header("retry-after"), Some("5"));
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(server.get("/__api__/repos").status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(server.wait().success());
}

#[test]
pub(super) fn drain_delay_fails_health_checks_at_the_beginning_of_a_stop() {
    let server = Builder::default().gcfg("[Server]\nDrainDelay = 8s").start();
    assert_eq!(server.get("/__ping__").status, 200);
    stop_with_delay(server);
}

#[test]
fn drain_delay_fails_health_checks_before_the_server_goes_offline() {
    let server = Builder::default().gcfg("[Server]\nDrainDelay = 10s").start();
    std::thread::scope(|scope| {
        let offline = scope.spawn(|| server.rspm("offline --timeout=60s"));
        until("health checks fail", || server.get("/__ping__").text().contains("going offline"));
        for _ in 0..5 {
            assert_eq!(server.get("/__api__/repos").status, 200);
        }
        assert_eq!(offline.join().expect("it ends").code, 0);
    });
    assert_eq!(server.get("/__api__/repos").status, 503);
    server.rspm_stdout("online");
    assert_eq!(server.get("/__ping__").status, 200);
}

#[test]
pub(super) fn backup_paths_are_the_only_folders_for_backups() {
    let server =
        Builder::default().gcfg("[Server]\nBackupPaths = {dir}/first\nBackupPaths = {dir}/second").start();
    let create = |to: &str| server.rspm(&format!("backup create --to {}/{to}", server.dir().display()));
    server.rspm_stdout("backup create");
    assert_eq!(create("second").code, 0);
    for folder in ["third", "second/../third"] {
        let refusal = create(folder);
        assert_eq!(refusal.code, 1, "{folder}: {}", refusal.out);
        assert!(refusal.err.contains("Server.BackupPaths allows"), "{folder}: {}", refusal.err);
    }
    let count = |arguments: &str| server.json(&format!("backup list {arguments}")).as_array().map(Vec::len);
    assert_eq!(count(""), Some(1));
    assert_eq!(count(&format!("--from {}/second", server.dir().display())), Some(1));
}

/// A server whose local source had the package `alpha` before a mirror listed it; the repository `r` subscribes only to
/// the mirror.
pub(super) fn server_with_a_shadowed_name(line: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[Server]\n{line}")).start();
    server.local_repository("team", &[Tarball::new("alpha", "0.1")]);
    create_mirror(&server.dir().join("no-mirror"));
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    server
}

/// The status of the file of the mirror.
pub(super) fn status_of_the_shadowed_file(server: &Server) -> u16 {
    server.get("/r/latest/src/contrib/alpha_1.0.tar.gz").status
}

#[test]
pub(super) fn automatic_name_guard_keeps_names_of_local_packages_from_mirrors() {
    for (line, expected) in [("", 403), ("AutomaticNameGuard = no", 200)] {
        let server = server_with_a_shadowed_name(line);
        assert_eq!(status_of_the_shadowed_file(&server), expected, "{line}");
    }
}
