//! The command that runs a builder in its own namespaces with bubblewrap. It is used where systemd does not run. The
//! units `rstudio-pm-fetch@.service` and `rstudio-pm-build@.service` are the sandbox elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::message::Role;

/// Size of the workspace in bytes.
const WORKSPACE_SIZE: &str = "3221225472";

/// Paths that both roles can read, if they exist. In `/etc`, these are only the files that programs need.
const VISIBLE_PATHS: &[&str] = &[
    "/opt/R",
    "/opt/python",
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

/// Additional paths that a builder with network access can read.
const NETWORK_PATHS: &[&str] = &[
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

/// Returns the command that runs the program `builder` in a role. The builder can also read `readable_paths`.
pub(super) fn command(bubblewrap: &Path, builder: &Path, role: Role, readable_paths: &[PathBuf]) -> Command {
    let mut command = Command::new(bubblewrap);
    command.env_clear().args(["--unshare-all", "--unshare-user", "--die-with-parent"]);
    // A new session prevents a build from writing input to the terminal. Without a terminal, the builder stays in the
    // session of the server: where the kernel schedules sessions as groups (sched(7), autogroup), a new session would
    // get as much processor time as the server.
    if std::fs::File::open("/dev/tty").is_ok() {
        command.arg("--new-session");
    }
    // The first process of its namespace, so that all others end with it. Never runs as root, even if the server does.
    command.args(["--as-pid-1", "--uid", "65534", "--gid", "65534"]);
    // Prevents nested user namespaces, which would expose more of the kernel. Some container runtimes do not permit
    // setting this limit.
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
    let network_paths = if role == Role::Fetch { NETWORK_PATHS } else { &[] };
    for path in VISIBLE_PATHS.iter().chain(network_paths) {
        command.args(["--ro-bind-try", path, path]);
    }
    for path in readable_paths.iter().map(PathBuf::as_path).chain([builder]) {
        command.arg("--ro-bind").args([path, path]);
    }
    command.args(["--proc", "/proc", "--dev", "/dev", "--size", WORKSPACE_SIZE, "--tmpfs", "/build"]);
    command.args(["--chdir", "/build", "--"]).arg(builder).arg(role.argument());
    command
}

fn is_writable(path: &str) -> bool {
    std::fs::OpenOptions::new().write(true).open(path).is_ok()
}
