//! Processes that ran before this one and still finish requests: they are told what concerns them, too.

use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;

/// The processes; cloning shares the list.
#[derive(Clone, Debug, Default)]
pub struct Predecessors(Arc<Mutex<Vec<Predecessor>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Predecessor {
    pid: i32,
    /// When it began, in ticks since boot: a number that is used again is another process.
    began: u64,
}

impl Predecessors {
    /// Notes a process of this server that has handed over to this one and goes on with its requests. One that is
    /// not there is not noted.
    pub fn add(&self, pid: i32) {
        if let Some(began) = began(pid) {
            self.0.lock().push(Predecessor { pid, began });
        }
    }

    /// Sends a signal to those that are still there; returns their numbers.
    pub fn tell(&self, signal: Signal) -> Vec<i32> {
        let mut all = self.0.lock();
        all.retain(|one| began(one.pid) == Some(one.began));
        all.retain(|one| kill(Pid::from_raw(one.pid), signal).is_ok());
        all.iter().map(|one| one.pid).collect()
    }
}

/// When a process began; `None` when it is not there, is not ours, or has ended and waits for its parent.
fn began(pid: i32) -> Option<u64> {
    starttime(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// From the text of `proc_pid_stat(5)`. The program's name, second, may hold anything.
fn starttime(stat: &str) -> Option<u64> {
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
    fn the_start_is_the_twenty_second_field_whatever_the_name() {
        let rest: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        assert_eq!(starttime(&format!("7 (a) b) S {}", rest.join(" "))), Some(22));
        assert_eq!(starttime(&format!("7 (a) Z {}", rest.join(" "))), None);
        assert_eq!(starttime("7 (a) S 1 2"), None);
        assert_eq!(starttime(""), None);
    }

    #[test]
    fn the_living_are_told_and_the_dead_forgotten() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        let all = Predecessors::default();
        all.add(pid);
        all.add(i32::MAX);
        assert_eq!(all.tell(Signal::SIGCONT), [pid]);
        assert_eq!(all.tell(Signal::SIGTERM), [pid]);
        assert_eq!(child.wait().expect("our child").signal(), Some(15));
        assert_eq!(all.tell(Signal::SIGTERM), [0; 0]);
    }
}
