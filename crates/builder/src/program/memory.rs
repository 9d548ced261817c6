//! Counts processes that the kernel killed because the memory of the control group was exhausted, and reads the peak of
//! memory.

use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};

/// The number of processes that the kernel had killed when the number was read; `None` without control groups
/// version 2.
#[derive(Clone, Copy)]
pub(super) struct OomKills(Option<u64>);

impl OomKills {
    pub(super) fn now() -> OomKills {
        OomKills(read())
    }

    /// Returns whether the number has increased since it was read.
    pub(super) fn has_increased(self) -> bool {
        matches!((self.0, read()), (Some(old_count), Some(new_count)) if new_count > old_count)
    }
}

fn read() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let events = Path::new("/sys/fs/cgroup").join(path).join("memory.events");
    let events = std::fs::read_to_string(events).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

/// Returns the peak memory of the largest ended command in bytes.
pub(super) fn peak() -> u64 {
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    u64::try_from(kilobytes).unwrap_or(0) * 1024
}
