//! A real nginx with its own directory: the web server of a mirror, or a proxy in front of the server.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::helper_program::HelperProgram;

/// A running nginx; killed on drop.
pub(crate) struct Nginx {
    _program: HelperProgram,
    port: u16,
    dir: tempfile::TempDir,
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
        Nginx::start_with(&upstream, &directives)
    }

    /// Starts one server with these directives.
    pub(crate) fn start(directives: &str) -> Nginx {
        Nginx::start_with("", directives)
    }

    fn start_with(upstream: &str, directives: &str) -> Nginx {
        let dir = tempfile::tempdir().expect("a directory");
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp_paths: String = kinds.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
        let (program, port) = HelperProgram::on_free_port(|port| {
            let text = format!(
                "daemon off; master_process off; pid nginx.pid;\nevents {{ worker_connections 256; }}\n\
                 http {{\naccess_log access.log;\n{temp_paths}{upstream}default_type application/octet-stream;\n\
                 server {{ listen 127.0.0.1:{port}; {directives} }}\n}}\n"
            );
            fs::write(dir.path().join("nginx.conf"), text).expect("the configuration is written");
            let mut command = Command::new("nginx");
            command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
            command
        });
        Nginx { _program: program, port, dir }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The number of requests for this path.
    pub(crate) fn requests(&self, path: &str) -> usize {
        let log = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        log.matches(&format!(" {path} HTTP/")).count()
    }
}
