//! The command that runs a builder in namespaces of its own with bubblewrap, where systemd does not run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::message::Role;

/// Size of the workspace in bytes.
const WORKSPACE: &str = "3221225472";

/// What both roles can see, if it exists. Of `/etc` only what programs need.
const VISIBLE: &[&str] = &[
    "/opt/R",
    "/etc/R",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
];

/// What a builder with the network can see in addition.
const VISIBLE_WITH_NETWORK: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/ssh/ssh_known_hosts",
    "/run/systemd/resolve",
];

/// The command.
pub(super) fn command(bubblewrap: &Path, builder: &Path, role: Role, readable: &[PathBuf]) -> Command {
    let mut command = Command::new(bubblewrap);
    command.env_clear().args(["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]);
    // The builder is the first process of its namespace: all others end with it. It is never root, even if the server is.
    command.args(["--as-pid-1", "--uid", "65534", "--gid", "65534"]);
    // Namespaces inside of namespaces reach more of the kernel. Some container runtimes forbid the limit itself.
    if is_writable("/proc/sys/user/max_user_namespaces") {
        command.arg("--disable-userns");
    }
    if role == Role::Fetch {
        command.arg("--share-net");
    }
    command.args(["--clearenv", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]);
    for name in ["bin", "sbin", "lib", "lib64"] {
        let path = format!("/{name}");
        match std::fs::read_link(&path) {
            Ok(target) => command.args(["--symlink".as_ref(), target.as_os_str(), path.as_ref()]),
            Err(_) => command.args(["--ro-bind-try", &path, &path]),
        };
    }
    let network = if role == Role::Fetch { VISIBLE_WITH_NETWORK } else { &[] };
    for path in VISIBLE.iter().chain(network) {
        command.args(["--ro-bind-try", path, path]);
    }
    for path in readable.iter().map(PathBuf::as_path).chain([builder]) {
        command.arg("--ro-bind").args([path, path]);
    }
    command.args(["--proc", "/proc", "--dev", "/dev", "--size", WORKSPACE, "--tmpfs", "/build"]);
    command.args(["--chdir", "/build", "--"]).arg(builder).arg(role.argument());
    command
}

fn is_writable(path: &str) -> bool {
    std::fs::OpenOptions::new().write(true).open(path).is_ok()
}
