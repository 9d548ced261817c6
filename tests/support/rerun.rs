//! Runs the current test once more in a process of its own, where it can have another environment, user or mount.

use std::path::PathBuf;
use std::process::Command;

/// Set in the process that a test was run again in.
const MARK: &str = "RSPM_TEST_AGAIN";

/// In the test's first process: prepares a command by `prepare`, runs this very test in it, panics with its output
/// if that fails, and returns true: the test is done. In the second process: returns false.
///
/// The environment of a process that has threads cannot be changed safely; that of a new one can.
pub(crate) fn elsewhere(prepare: impl FnOnce(&mut Command)) -> bool {
    if std::env::var_os(MARK).is_some() {
        return false;
    }
    let mut command = Command::new("/proc/self/exe");
    prepare(&mut command);
    let thread = std::thread::current();
    let name = thread.name().expect("the test runner names the thread after the test");
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARK, "1");
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = output.status.success() && text.contains("1 passed");
    assert!(ran, "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    true
}

/// `unshare` of that namespace. Root needs no user namespace for it, which a chroot and many containers refuse.
fn unshare(namespace: &str) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg(namespace);
    command
}

/// The words of a command that runs a script in a mount namespace of its own; what follows them is `$0` and `$@` of the script.
/// As root. The root of a chroot may be no mount, and cannot be made private then: the script takes away what it mounts.
pub(crate) fn with_mounts(script: &str) -> Vec<String> {
    let script = format!("mount --make-rprivate / 2>/dev/null; {script}");
    ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", &script].map(str::to_owned).to_vec()
}

/// [`elsewhere`], with a file system of 1 MB that only that process sees and that ends with it: its directory. `None` in
/// the test's first process: the test is done.
pub(crate) fn small_disk() -> Option<PathBuf> {
    mounted("-t tmpfs -o size=1m")
}

/// The same with a file system that `mount` makes of these words.
pub(crate) fn mounted(words: &str) -> Option<PathBuf> {
    const FOLDER: &str = "RSPM_TEST_MOUNT";
    let folder = tempfile::tempdir().expect("a directory");
    let prepare = |command: &mut Command| {
        // The root of a chroot may be no mount, and cannot be made private then: what is mounted is taken away again.
        let script = format!(
            r#"mount --make-rprivate / 2>/dev/null; mount {words} none "${FOLDER}" || exit 1
            "$0" "$@"; code=$?; umount -l "${FOLDER}"; exit $code"#
        );
        *command = unshare("--mount");
        command.args(["--propagation", "unchanged", "sh", "-c", &script]);
        command.arg(std::env::current_exe().expect("known")).env(FOLDER, folder.path());
    };
    (!elsewhere(prepare)).then(|| PathBuf::from(std::env::var_os(FOLDER).expect("set by the first process")))
}

/// [`elsewhere`], in a network namespace with nothing but a loopback interface. True in the test's first process.
pub(crate) fn without_network() -> bool {
    alone("ip link set lo up")
}

/// The same, where that interface has these addresses too: none of them is a loopback address.
pub(crate) fn with_addresses(addresses: &[&str]) -> bool {
    alone(&addresses.iter().fold("ip link set lo up".to_owned(), |script, address| {
        script + &format!(" && ip address add {address}/32 dev lo")
    }))
}

fn alone(script: &str) -> bool {
    elsewhere(|command| {
        *command = unshare("--net");
        command.args(["sh", "-c", &format!(r#"{script} && exec "$0" "$@""#)]);
        command.arg(std::env::current_exe().expect("known"));
    })
}
