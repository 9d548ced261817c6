//! A server of OpenSSH for one key, on a port of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::helper_program::HelperProgram;
use crate::support::port::free_port;

/// The server; it ends when it is dropped.
pub(super) struct SshServer {
    program: Option<HelperProgram>,
    port: u16,
    directory: tempfile::TempDir,
}

/// Runs `ssh-keygen` and returns its output.
pub(super) fn ssh_keygen(arguments: &[&str]) -> String {
    let output = Command::new("ssh-keygen").args(arguments).output().expect("ssh-keygen can be run");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl SshServer {
    /// Starts a server that accepts the public key of a file.
    pub(super) fn start(public_key: &Path) -> SshServer {
        let directory = tempfile::tempdir().unwrap();
        // Other users must be able to reach the keys, or sshd refuses them.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(public_key, directory.path().join("authorized_keys")).unwrap();
        let port = free_port();
        new_host_key(directory.path());
        let program = Some(start(directory.path(), port));
        SshServer { program, port, directory }
    }

    /// Starts it again with another host key.
    pub(super) fn change_host_key(&mut self) {
        self.program = None;
        new_host_key(self.directory.path());
        self.program = Some(start(self.directory.path(), self.port));
    }

    /// The URL of a repository.
    pub(super) fn url(&self, path: &Path) -> String {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap().name;
        format!("ssh://{user}@127.0.0.1:{}{}", self.port, path.display())
    }

    /// The name of this server in `known_hosts`.
    pub(super) fn host(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// A line of `known_hosts` with its key.
    pub(super) fn known_host(&self) -> String {
        let public = fs::read_to_string(self.directory.path().join("host_key.pub")).unwrap();
        format!("{} {public}", self.host())
    }

    /// The fingerprint of its key.
    pub(super) fn fingerprint(&self) -> String {
        let file = self.directory.path().join("host_key.pub");
        let listed = ssh_keygen(&["-l", "-f", file.to_str().unwrap()]);
        listed.split(' ').nth(1).unwrap().to_owned()
    }
}

fn new_host_key(directory: &Path) {
    let file = directory.join("host_key");
    let _ = fs::remove_file(&file);
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", file.to_str().unwrap()]);
}

fn start(directory: &Path, port: u16) -> HelperProgram {
    // sshd needs it as root.
    let _ = fs::create_dir_all("/run/sshd");
    let path = directory.display();
    let config = directory.join("config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {path}/host_key\nAuthorizedKeysFile {path}/authorized_keys\nPidFile none\n\
         UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nPermitRootLogin prohibit-password\n"
    );
    fs::write(&config, text).unwrap();
    // It must be started by its absolute path.
    let mut command = Command::new("/usr/sbin/sshd");
    command.arg("-D").arg("-e").arg("-f").arg(&config);
    HelperProgram::on_port(command, port)
}
