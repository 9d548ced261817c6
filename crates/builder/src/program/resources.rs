//! The resources of a job: the time during which its processes got almost no processor time, because builds run only on
//! otherwise idle processors; processes that the kernel killed because the memory was exhausted; and the peak of memory.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// Maximum number of processes that are read.
const MAX_PROCESSES: usize = 4096;
/// Unit of the times in `/proc/PID/stat`, in milliseconds: a hundredth of a second on all platforms.
const MILLIS_PER_TICK: u64 = 10;

/// Processor times of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ProcessorTimes {
    running: Duration,
    /// Time on a processor of all children that have ended.
    ended_children: Duration,
    /// Time waiting for a processor. The current wait is not included: the kernel adds it at its end.
    waiting: Duration,
    /// Whether the process is running, or waiting for a processor.
    is_runnable: bool,
}

/// The state of the measurement, which consists of samples.
pub(super) struct Starvation {
    times: HashMap<u32, ProcessorTimes>,
    last: Instant,
    total: Duration,
}

impl Starvation {
    pub(super) fn begin() -> Starvation {
        let own = std::process::id();
        let times = times(own).map(|times| (own, times)).into_iter().collect();
        Starvation { times, last: Instant::now(), total: Duration::ZERO }
    }

    /// Adds the time since the last sample to the total if the processes got almost no processor time in it. The
    /// times of this process are included: it takes samples late when others of its control group have to wait.
    pub(super) fn sample(&mut self) {
        // This process is running now, but this does not show whether the others can run.
        let own = times(std::process::id()).map(|own| ProcessorTimes { is_runnable: false, ..own });
        let processes = descendants().into_iter().filter_map(|pid| Some((pid, times(pid)?)));
        let times = processes.chain(own.map(|own| (std::process::id(), own))).collect();
        let now = Instant::now();
        self.add(times, now - self.last);
        self.last = now;
    }

    /// Adds `elapsed` to the total if the processes together ran for less than half of this time, although one of them
    /// needs a processor now, or waited for one most of the time. If a job merely has more processes than there are
    /// processors, its processes together run for longer.
    fn add(&mut self, times: HashMap<u32, ProcessorTimes>, elapsed: Duration) {
        let used = running(&times).saturating_sub(running(&self.times));
        let has_waited = |(pid, now): (&u32, &ProcessorTimes)| {
            // A new process may have the process id of one that has ended.
            let before = self.times.get(pid).filter(|before| before.running <= now.running);
            let waiting = now.waiting.saturating_sub(before.map_or(Duration::ZERO, |before| before.waiting));
            now.is_runnable || waiting > elapsed / 2
        };
        if used < elapsed / 2 && times.iter().any(has_waited) {
            self.total += elapsed;
        }
        self.times = times;
    }

    /// Returns whether the processes got almost no processor time for more than half of a duration.
    pub(super) fn is_most_of(&self, duration: Duration) -> bool {
        self.total > duration / 2
    }
}

fn descendants() -> Vec<u32> {
    let mut found = children("self");
    let mut position = 0;
    while position < found.len() && found.len() < MAX_PROCESSES {
        let more = children(&found[position].to_string());
        found.extend(more);
        position += 1;
    }
    found
}

fn children(process: &str) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Reads the times of a process; `None` if it has ended, or the kernel does not measure them.
fn times(pid: u32) -> Option<ProcessorTimes> {
    let times = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    parse(&times, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses `schedstat`, which begins with the running and waiting times in nanoseconds, and `stat`. In `stat`, the state
/// follows the name of the program in parentheses, and the fields 16 and 17 are the times of ended children (proc(5)).
fn parse(times: &str, status: &str) -> Option<ProcessorTimes> {
    let mut numbers = times.split_ascii_whitespace().map(|number| number.parse().ok());
    let (_, fields) = status.rsplit_once(") ")?;
    let of_ended = fields.split_ascii_whitespace().skip(13).take(2).map(|ticks| ticks.parse::<u64>().ok());
    Some(ProcessorTimes {
        running: Duration::from_nanos(numbers.next()??),
        ended_children: Duration::from_millis(of_ended.sum::<Option<u64>>()? * MILLIS_PER_TICK),
        waiting: Duration::from_nanos(numbers.next()??),
        is_runnable: fields.starts_with('R'),
    })
}

/// Returns the time that all processes together ran on a processor.
fn running(times: &HashMap<u32, ProcessorTimes>) -> Duration {
    times.values().map(|times| times.running + times.ended_children).sum()
}

/// The number of processes that the kernel has killed because the memory of the control group was exhausted; `None`
/// without control groups version 2.
#[derive(Clone, Copy)]
pub(super) struct OomKills(Option<u64>);

impl OomKills {
    pub(super) fn now() -> OomKills {
        OomKills(oom_kills())
    }

    /// Returns whether the number has increased since it was read.
    pub(super) fn has_increased(self) -> bool {
        matches!((self.0, oom_kills()), (Some(old_count), Some(new_count)) if new_count > old_count)
    }
}

fn oom_kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let events = Path::new("/sys/fs/cgroup").join(path).join("memory.events");
    let events = std::fs::read_to_string(events).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

/// Returns the peak memory of the largest ended command in bytes.
pub(super) fn peak_memory() -> u64 {
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    u64::try_from(kilobytes).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the total in seconds for samples at intervals of ten seconds. A sample lists processes: number, and
    /// seconds that it has run and waited.
    fn starved(samples: &[&[(u32, u64, u64)]]) -> u64 {
        let mut starvation = Starvation::begin();
        for sample in samples {
            let seconds = Duration::from_secs;
            let times = sample
                .iter()
                .map(|(pid, running, waiting)| {
                    let (running, waiting) = (seconds(*running), seconds(*waiting));
                    (*pid, ProcessorTimes { running, waiting, ..ProcessorTimes::default() })
                })
                .collect();
            starvation.add(times, seconds(10));
        }
        starvation.total.as_secs()
    }

    #[test]
    fn only_waiting_without_a_processor_counts() {
        assert_eq!(starved(&[&[(1, 0, 9)], &[(1, 1, 18)]]), 20, "it waits");
        assert_eq!(starved(&[&[(1, 0, 9)], &[(1, 9, 9)]]), 10, "and runs afterwards");
        assert_eq!(starved(&[&[(1, 0, 0)], &[(1, 0, 0)]]), 0, "it sleeps");
        assert_eq!(starved(&[&[(1, 0, 0), (2, 0, 9)], &[(1, 0, 0), (3, 0, 9)]]), 20, "one of them waits");
        assert_eq!(starved(&[&[(1, 4, 6), (2, 4, 6), (3, 4, 6)]]), 0, "they wait for each other");
        assert_eq!(starved(&[&[(1, 9, 9)], &[(1, 0, 8)]]), 10, "another process with the same number");
    }

    #[test]
    fn a_runnable_process_is_starved_although_the_kernel_has_not_added_its_waiting() {
        for (is_runnable, expected) in [(true, 20), (false, 0)] {
            let mut starvation = Starvation::begin();
            let times =
                ProcessorTimes { running: Duration::from_secs(1), is_runnable, ..ProcessorTimes::default() };
            for _ in 0..2 {
                starvation.add(HashMap::from([(1, times)]), Duration::from_secs(10));
            }
            assert_eq!(starvation.total.as_secs(), expected);
        }
    }

    #[test]
    fn the_time_of_ended_children_counts() {
        let mut starvation = Starvation::begin();
        for seconds in [9, 18] {
            let ended_children = Duration::from_secs(seconds);
            let times = ProcessorTimes { ended_children, is_runnable: true, ..ProcessorTimes::default() };
            starvation.add(HashMap::from([(1, times)]), Duration::from_secs(10));
        }
        assert_eq!(starvation.total, Duration::ZERO);
    }

    #[test]
    fn most_of_the_time_is_more_than_half() {
        let starvation = Starvation { total: Duration::from_secs(6), ..Starvation::begin() };
        assert!(starvation.is_most_of(Duration::from_secs(11)));
        assert!(!starvation.is_most_of(Duration::from_secs(12)));
    }

    #[test]
    fn the_kernel_measures_times() {
        let status = "5 (a) b) R 4 5 5 0 -1 4194560 107 0 0 0 7 8 30 40 20 0 1 0 100 200 300";
        let parsed = parse("1000000000 2000000000 7\n", status).expect("times");
        assert_eq!((parsed.running.as_secs(), parsed.waiting.as_secs()), (1, 2));
        assert_eq!((parsed.ended_children.as_millis(), parsed.is_runnable), (700, true));
        assert_eq!(parse("x", status), None);
        assert_eq!(parse("1 2 3", "x"), None);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let is_found = descendants().contains(&child.id()) && times(child.id()).is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_found);
    }
}
