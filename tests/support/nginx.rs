//! A real nginx with its own directory: the web server of a mirror, or a proxy in front of the server.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::port::free_port;

/// A running nginx; killed on drop.
pub(crate) struct Nginx {
    dir: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Nginx {
    /// Serves the files below `root`.
    pub(crate) fn files(root: &Path) -> Nginx {
        Nginx::start(&format!("root {};", root.display()))
    }

    /// Passes requests on to one of several servers, given as directives of an `upstream`.
    pub(crate) fn load_balancer(servers: &str, directives: &str) -> Nginx {
        let upstream = format!("upstream packages {{ {servers} keepalive 32; }}");
        let directives = format!("location / {{ proxy_pass http://packages; {directives} }}");
        (0..5)
            .find_map(|_| Nginx::try_start(&upstream, &directives))
            .expect("nginx starts on one of five free ports")
    }

    /// Starts one server with these directives.
    pub(crate) fn start(directives: &str) -> Nginx {
        // Another process may take the free port before nginx does.
        (0..5).find_map(|_| Nginx::try_start("", directives)).expect("nginx starts on one of five free ports")
    }

    /// `None` if another process has taken the port.
    fn try_start(upstream: &str, directives: &str) -> Option<Nginx> {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp_paths: String = kinds.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
        let text = format!(
            "daemon off; master_process off; pid nginx.pid;\nevents {{ worker_connections 256; }}\n\
             http {{\naccess_log access.log;\n{temp_paths}{upstream}default_type application/octet-stream;\n\
             server {{ listen 127.0.0.1:{port}; {directives} }}\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), text).expect("the configuration is written");
        let process = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("nginx cannot be run ({e}): install nginx-light"));
        let mut nginx = Nginx { dir, process, port };
        let start = Instant::now();
        loop {
            if nginx.process.try_wait().expect("our own child").is_some() {
                let log = nginx.log("error.log");
                assert!(log.contains("Address already in use"), "nginx ended: {log}");
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(nginx);
            }
            assert!(start.elapsed() < Duration::from_secs(90), "nginx: {}", nginx.log("error.log"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The number of requests for this path.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.log("access.log").matches(&format!(" {path} HTTP/")).count()
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
