//! Runs the current test again in a separate process with a different environment, user or mount.

use std::path::PathBuf;
use std::process::Command;

/// Environment variable that is set in the second process.
const MARKER: &str = "RSPM_TEST_AGAIN";

/// In the first process of a test: runs the same test in a command modified by `prepare`, panics with its output if
/// it fails, and returns true: the test is finished. In the second process: returns false.
///
/// A second process is needed because the environment of a process with threads cannot be changed safely.
pub(crate) fn with_command(prepare: impl FnOnce(&mut Command)) -> bool {
    if std::env::var_os(MARKER).is_some() {
        return false;
    }
    let mut command = Command::new("/proc/self/exe");
    prepare(&mut command);
    let thread = std::thread::current();
    let name = thread.name().expect("the test runner names the thread after the test");
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARKER, "1");
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let has_passed = output.status.success() && text.contains("1 passed");
    assert!(has_passed, "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    true
}

/// `unshare` for a namespace. If this process is root, no user namespace is created, because a chroot and many
/// containers do not permit one.
fn unshare(namespace: &str) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg(namespace);
    command
}

/// The words of a command that runs a script as root in a new mount namespace; further words are `$0` and `$@` of the
/// script. The script must unmount what it mounts: if the root of a chroot is not a mount point, it cannot be made
/// private.
pub(crate) fn with_mounts(script: &str) -> Vec<String> {
    let script = format!("mount --make-rprivate / 2>/dev/null; {script}");
    ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", &script].map(str::to_owned).to_vec()
}

/// [`with_command`] with a file system of 1 MB that only the second process sees. Returns its directory; in the first
/// process `None`: the test is finished.
pub(crate) fn small_disk() -> Option<PathBuf> {
    with_mount("-t tmpfs -o size=1m")
}

/// [`small_disk`] with a file system that `mount` mounts with these arguments.
pub(crate) fn with_mount(arguments: &str) -> Option<PathBuf> {
    const FOLDER: &str = "RSPM_TEST_MOUNT";
    let folder = tempfile::tempdir().expect("a directory");
    let prepare = |command: &mut Command| {
        // Unmounted, because the root cannot be made private if it is the root of a chroot and not a mount point.
        let script = format!(
            r#"mount --make-rprivate / 2>/dev/null; mount {arguments} none "${FOLDER}" || exit 1
            "$0" "$@"; code=$?; umount -l "${FOLDER}"; exit $code"#
        );
        *command = unshare("--mount");
        command.args(["--propagation", "unchanged", "sh", "-c", &script]);
        command.arg(std::env::current_exe().expect("known")).env(FOLDER, folder.path());
    };
    (!with_command(prepare))
        .then(|| PathBuf::from(std::env::var_os(FOLDER).expect("set by the first process")))
}

/// [`with_command`] in a network namespace with only a loopback interface. True in the first process.
pub(crate) fn without_network() -> bool {
    in_network_namespace("ip link set lo up")
}

/// [`without_network`] where the loopback interface also has these addresses, which are not loopback addresses.
pub(crate) fn with_addresses(addresses: &[&str]) -> bool {
    in_network_namespace(&addresses.iter().fold("ip link set lo up".to_owned(), |script, address| {
        script + &format!(" && ip address add {address}/32 dev lo")
    }))
}

fn in_network_namespace(script: &str) -> bool {
    with_command(|command| {
        *command = unshare("--net");
        command.args(["sh", "-c", &format!(r#"{script} && exec "$0" "$@""#)]);
        command.arg(std::env::current_exe().expect("known"));
    })
}
