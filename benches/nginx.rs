//! The reference for serving: nginx with the committed configuration, and wrk as the client for both servers.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A running nginx; terminated on drop.
pub(crate) struct Nginx {
    folder: tempfile::TempDir,
    process: Child,
    port: u16,
    tls_port: Option<u16>,
}

impl Nginx {
    /// Starts nginx with an empty document root.
    pub(crate) fn start() -> Nginx {
        Nginx::start_timed().0
    }

    /// Starts nginx with a further port for HTTP/2 over TLS, with the `server.crt` and `server.key` in a
    /// directory.
    pub(crate) fn with_tls(certificate_dir: &Path) -> Nginx {
        let (port, certificate_dir) = (free_port(), certificate_dir.display());
        // Session tickets like our server, and no session cache.
        let lines = format!(
            "listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate_dir}/server.crt; \
             ssl_certificate_key {certificate_dir}/server.key; ssl_protocols TLSv1.2 TLSv1.3;"
        );
        let mut nginx = Nginx::start_with(&lines).0;
        nginx.tls_port = Some(port);
        nginx
    }

    /// Starts nginx with an index of Python packages in a directory: pages as JSON below `/simple/`, and
    /// `/packages/`.
    pub(crate) fn with_index(root: &Path) -> Nginx {
        let root = root.display();
        let lines = format!(
            "location /simple/ {{ root {root}; index index.v1_json; \
             default_type application/vnd.pypi.simple.v1+json; }} location /packages/ {{ root {root}; }}"
        );
        Nginx::start_with(&lines).0
    }

    /// Starts nginx; also returns the time until a connection was accepted.
    pub(crate) fn start_timed() -> (Nginx, Duration) {
        Nginx::start_with("")
    }

    /// Starts nginx with further directives in the block of the server.
    fn start_with(directives: &str) -> (Nginx, Duration) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("www")).expect("a folder");
        let port = free_port();
        let conf = include_str!("nginx.conf")
            .replace("{root}", &folder.path().display().to_string())
            .replace("{port}", &port.to_string())
            .replace("{directives}", directives);
        let path = folder.path().join("nginx.conf");
        fs::write(&path, conf).expect("written");
        let start = Instant::now();
        let process =
            Command::new("nginx").arg("-c").arg(&path).spawn().expect("nginx is installed: tests/setup");
        let deadline = start + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nginx does not start");
            std::thread::sleep(Duration::from_micros(200));
        }
        let start_time = start.elapsed();
        (Nginx { folder, process, port, tls_port: None }, start_time)
    }

    /// Serves bytes under `/{name}`.
    pub(crate) fn serve(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join("www").join(name), bytes).expect("written");
    }

    /// The URL of a file.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }
}

impl Nginx {
    /// `127.0.0.1:PORT` of the TLS port.
    pub(crate) fn tls_host(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port.expect("started with TLS"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// Returns a loopback port without a listener.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// Measures requests per second with wrk; panics if a request fails.
pub(crate) fn wrk(url: &str, connections: u32, seconds: u32, headers: &[String]) -> f64 {
    try_wrk(url, connections, seconds, headers).unwrap_or_else(|error| panic!("{error}"))
}

/// Like [`wrk`]; returns an error if a request fails.
pub(crate) fn try_wrk(url: &str, connections: u32, seconds: u32, headers: &[String]) -> Result<f64, String> {
    let (rate, text) = run_wrk(wrk_command(connections, seconds, headers), url)?;
    if text.contains("Non-2xx") { Err(format!("{url}:\n{text}")) } else { Ok(rate) }
}

/// Like [`wrk`]; panics if no request is refused.
pub(crate) fn wrk_refused(url: &str, connections: u32, seconds: u32, headers: &[String]) -> f64 {
    let result = run_wrk(wrk_command(connections, seconds, headers), url);
    let (rate, text) = result.unwrap_or_else(|error| panic!("{error}"));
    assert!(text.contains("Non-2xx"), "{url}:\n{text}");
    rate
}

/// Like [`wrk`], with the requests of a script in Lua.
pub(crate) fn wrk_script(url: &str, connections: u32, seconds: u32, script: &Path) -> f64 {
    let mut command = wrk_command(connections, seconds, &[]);
    command.arg("--script").arg(script);
    let (rate, text) = run_wrk(command, url).unwrap_or_else(|error| panic!("{error}"));
    assert!(!text.contains("Non-2xx"), "{url}:\n{text}");
    rate
}

fn wrk_command(connections: u32, seconds: u32, headers: &[String]) -> Command {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s"]);
    for header in headers {
        command.args(["-H", header]);
    }
    command
}

fn run_wrk(mut command: Command, url: &str) -> Result<(f64, String), String> {
    let output = command.arg(url).output().expect("wrk is installed: tests/setup");
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Socket errors") {
        return Err(format!("{url}:\n{text}"));
    }
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"))
        .and_then(|n| n.trim().parse().ok())
        .ok_or_else(|| format!("wrk printed no request rate:\n{text}"))?;
    Ok((rate, text.into_owned()))
}

/// Downloads a URL to a file; returns the `ETag`.
pub(crate) fn fetch(url: &str, to: &Path) -> String {
    fetch_with(url, to, &[])
}

/// Like [`fetch`], with further headers; the bytes are written as they are sent.
pub(crate) fn fetch_with(url: &str, to: &Path, headers: &[String]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--dump-header", "-", "--output"]).arg(to).arg(url);
    for header in headers {
        command.args(["--header", header]);
    }
    let output = command.output().expect("curl is installed");
    assert!(output.status.success(), "{url}");
    let head = String::from_utf8_lossy(&output.stdout).into_owned();
    head.lines()
        .find_map(|l| {
            l.split_once(": ")
                .filter(|(n, _)| n.eq_ignore_ascii_case("etag"))
                .map(|(_, v)| v.trim().to_owned())
        })
        .unwrap_or_default()
}
