//! Ends processes that commands left. The builder is a child subreaper, so that detached ones become its children.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// Time limit for ending the processes. The systemd unit or the process namespace ends any remaining ones.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two checks for children that have ended.
const PAUSE: Duration = Duration::from_millis(2);
/// Number of checks for processes that are about to end; they take at least a second. A time limit is not used, because
/// the control group of builds runs only on otherwise idle processors: this process may have to wait as its children do.
const CHECKS: u32 = 500;

/// Waits until all children of this process have ended, but not much longer than a second; returns whether they have.
pub(super) fn wait_for_end() -> bool {
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

/// Kills the children of this process until there are none. No command may be running.
pub(super) fn end_all() {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        for pid in children() {
            let _ = kill_process(pid, Signal::KILL);
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(PAUSE),
            // There are no children, so no further process can become a child.
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
