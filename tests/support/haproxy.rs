//! A real HAProxy with its own directory, in front of several servers.

use std::fs;
use std::process::Command;

use super::helper_program::HelperProgram;

/// A running HAProxy; killed on drop.
pub(crate) struct Haproxy {
    _program: HelperProgram,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Haproxy {
    /// Starts HAProxy in front of these servers (`127.0.0.1:PORT`), with the documented health check every 200 ms.
    pub(crate) fn start(servers: &[String]) -> Haproxy {
        let dir = tempfile::tempdir().expect("a directory");
        let lines: String =
            servers.iter().enumerate().map(|(n, host)| format!("    server pm{n} {host} check\n")).collect();
        let (program, port) = HelperProgram::on_free_port(|port| {
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
            let mut command = Command::new("haproxy");
            command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
            command.arg("-db").arg("-f").arg(file);
            command
        });
        Haproxy { _program: program, port, _dir: dir }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
