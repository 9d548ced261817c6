//! A real HAProxy with its own directory, in front of several servers.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::fixtures::free_port;

/// A running HAProxy; killed on drop.
pub(crate) struct Haproxy {
    dir: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Haproxy {
    /// Starts HAProxy in front of these servers (`127.0.0.1:PORT`), with the documented health check every 200 ms.
    pub(crate) fn start(servers: &[String]) -> Haproxy {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let lines: String =
            servers.iter().enumerate().map(|(n, host)| format!("    server pm{n} {host} check\n")).collect();
        let text = format!(
            "global\n    maxconn 2000\n\
             defaults\n    mode http\n    timeout connect 5s\n    timeout client 5m\n    timeout server 5m\n    timeout check 10s\n\
             frontend all\n    bind 127.0.0.1:{port}\n    default_backend packages\n\
             backend packages\n    balance roundrobin\n    option redispatch 1\n    \
             retry-on conn-failure empty-response 503\n    http-request disable-l7-retry unless METH_GET\n    option httpchk GET /__ping__\n    http-check expect status 200\n    \
             default-server inter 200ms fall 1 rise 2\n{lines}"
        );
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, text).expect("the configuration is written");
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let process = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("haproxy cannot be run ({e}): install haproxy"));
        let mut haproxy = Haproxy { dir, process, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(haproxy.dir.path().join("log")).unwrap_or_default();
            assert!(haproxy.process.try_wait().expect("our own child").is_none(), "haproxy ended: {}", log());
            assert!(start.elapsed() < Duration::from_secs(90), "haproxy: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        haproxy
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
