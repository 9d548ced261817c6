//! A real PgBouncer in transaction mode, in front of a PostgreSQL server.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::fixtures::free_port;

/// A running PgBouncer; killed on drop.
pub(crate) struct PgBouncer {
    dir: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl PgBouncer {
    /// Starts one with four sessions to the database `postgres` of the server at a loopback port.
    pub(crate) fn start(server: u16) -> PgBouncer {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n"
        );
        let file = dir.path().join("pgbouncer.ini");
        fs::write(&file, text).expect("the configuration is written");
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let mut command = Command::new("pgbouncer");
        if nix::unistd::geteuid().is_root() {
            // It refuses to run as root.
            fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("ours");
            command.args(["-u", "nobody"]);
        }
        let process = command
            .arg(&file)
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("pgbouncer cannot be run ({e}): install pgbouncer"));
        let mut pooler = PgBouncer { dir, process, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(pooler.dir.path().join("log")).unwrap_or_default();
            assert!(
                pooler.process.try_wait().expect("our own child").is_none(),
                "pgbouncer ended: {}",
                log()
            );
            assert!(start.elapsed() < Duration::from_secs(90), "pgbouncer: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        pooler
    }

    /// The URL of the database through the pooler.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
