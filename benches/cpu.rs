//! CPU time of this process and of its terminated children.

use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

fn cpu_seconds(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("getrusage");
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// Returns the CPU seconds of all threads of this process during `work`, and its result.
pub(crate) fn seconds_of<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = cpu_seconds(UsageWho::RUSAGE_SELF);
    let result = work();
    (cpu_seconds(UsageWho::RUSAGE_SELF) - before, result)
}

/// Returns the CPU seconds of a command and its children; discards its output.
pub(crate) fn seconds_of_command(command: &mut Command) -> f64 {
    let before = cpu_seconds(UsageWho::RUSAGE_CHILDREN);
    let status = command.stdout(Stdio::null()).status().expect("the command starts");
    assert!(status.success(), "{command:?}");
    cpu_seconds(UsageWho::RUSAGE_CHILDREN) - before
}
