//! A real PgBouncer in transaction mode, in front of a PostgreSQL server.

use std::fs;
use std::process::Command;

use super::helper_program::HelperProgram;

/// A running PgBouncer; killed on drop.
pub(crate) struct PgBouncer {
    _program: HelperProgram,
    port: u16,
    _dir: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts one with four sessions to the database `postgres` of the server at a loopback port.
    pub(crate) fn start(server: u16) -> PgBouncer {
        let dir = tempfile::tempdir().expect("a directory");
        let is_root = nix::unistd::geteuid().is_root();
        if is_root {
            fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("ours");
        }
        let (program, port) = HelperProgram::on_free_port(|port| {
            let text = format!(
                "[databases]\npostgres = host=127.0.0.1 port={server} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n"
            );
            let file = dir.path().join("pgbouncer.ini");
            fs::write(&file, text).expect("the configuration is written");
            let mut command = Command::new("pgbouncer");
            if is_root {
                // It refuses to run as root.
                command.args(["-u", "nobody"]);
            }
            command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
            command.arg(file);
            command
        });
        PgBouncer { _program: program, port, _dir: dir }
    }

    /// The URL of the database through the pooler.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}
