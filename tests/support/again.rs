//! Runs the current test once more in a process of its own, where it can have another environment, user or mount.

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
