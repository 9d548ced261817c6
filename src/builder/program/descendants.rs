//! Ends all processes that commands left running: the builder is the reaper of its descendants, so that those that
//! detached themselves become its children.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// Time limit. A unit or a process namespace ends the remaining processes.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two checks whether children have ended.
const PAUSE: Duration = Duration::from_millis(2);
/// Number of checks for processes that are about to end: at least a second. Not a time, because builds get only the
/// time of otherwise idle processors: the children get as much of it as this process.
const CHECKS: u32 = 500;

/// Waits at least a second for the children of this process; returns whether all of them have ended.
pub(super) fn have_ended() -> bool {
    let mut checks = 0;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) if checks == CHECKS => return false,
            Ok(None) => {
                checks += 1;
                std::thread::sleep(PAUSE);
            }
            Err(_) => return true,
        }
    }
}

/// Kills the children of this process until it has none. No command may be running.
pub(super) fn end_all() {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        for pid in children() {
            let _ = kill_process(pid, Signal::KILL);
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(PAUSE),
            // There are no children, and no one can become a child.
            Err(_) => return,
        }
    }
}

fn children() -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split(' ').filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>()
        })
        .collect()
}
