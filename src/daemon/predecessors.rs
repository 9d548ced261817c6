//! The older server processes that still finish requests, and to which signals are forwarded.

use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;

/// The list of processes; cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Predecessors(Arc<Mutex<Vec<EarlierServer>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EarlierServer {
    pid: i32,
    /// Start time in clock ticks since boot, which distinguishes the process from a later one with the same ID.
    start_time: u64,
}

impl Predecessors {
    /// Adds a process that has handed over to this one and still finishes its requests, if it exists.
    pub fn add(&self, pid: i32) {
        if let Some(start) = start_time(pid) {
            self.0.lock().push(EarlierServer { pid, start_time: start });
        }
    }

    /// Sends a signal to the processes that still exist; returns their IDs.
    pub fn signal(&self, signal: Signal) -> Vec<i32> {
        let mut processes = self.0.lock();
        processes.retain(|process| start_time(process.pid) == Some(process.start_time));
        processes.retain(|process| kill(Pid::from_raw(process.pid), signal).is_ok());
        processes.iter().map(|process| process.pid).collect()
    }
}

/// Returns the start time of a process; `None` if it does not exist, cannot be read, or is a zombie.
fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses `/proc/[pid]/stat` (proc_pid_stat(5)). The second field, the program's name, may contain any character.
fn parse_start_time(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn the_start_time_is_the_twenty_second_field_with_any_process_name() {
        let rest: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        assert_eq!(parse_start_time(&format!("7 (a) b) S {}", rest.join(" "))), Some(22));
        assert_eq!(parse_start_time(&format!("7 (a) Z {}", rest.join(" "))), None);
        assert_eq!(parse_start_time("7 (a) S 1 2"), None);
        assert_eq!(parse_start_time(""), None);
    }

    #[test]
    fn running_processes_get_the_signal_and_ended_ones_are_removed() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        let predecessors = Predecessors::default();
        predecessors.add(pid);
        predecessors.add(i32::MAX);
        assert_eq!(predecessors.signal(Signal::SIGCONT), [pid]);
        assert_eq!(predecessors.signal(Signal::SIGTERM), [pid]);
        assert_eq!(child.wait().expect("our child").signal(), Some(15));
        assert_eq!(predecessors.signal(Signal::SIGTERM), [0; 0]);
    }
}
