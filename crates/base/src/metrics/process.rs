//! Statistics of the process from the kernel. Values that the sandbox hides are 0.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessStats {
    /// User and system CPU time.
    pub(super) cpu: Duration,
    /// Resident memory in bytes.
    pub(super) resident_memory: u64,
    /// Virtual memory in bytes.
    pub(super) virtual_memory: u64,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
}

/// Reads the statistics of this process. Ten thousand open descriptors take several milliseconds.
pub(super) fn read() -> ProcessStats {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    // One descriptor is that of the directory listing itself.
    let open_fds = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
    ProcessStats {
        cpu: usage
            .map_or(Duration::ZERO, |usage| duration(usage.user_time()) + duration(usage.system_time())),
        resident_memory: number(&status, "VmRSS:") * 1024,
        virtual_memory: number(&status, "VmSize:") * 1024,
        threads: number(&status, "Threads:"),
        open_fds: open_fds as u64,
        max_fds: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
    }
}

fn duration(time: TimeVal) -> Duration {
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec())) + Duration::from_micros(part(time.tv_usec()))
}

/// Returns the number in a line of proc_pid_status(5), in the unit of that line; 0 if there is none.
fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_kernel_are_read_and_missing_ones_are_zero() {
        let status = "Name:\tx\nVmSize:\t  123 kB\nVmRSS:\t 7 kB\nThreads:\t3\n";
        let value = |name| number(status, name);
        assert_eq!((value("VmSize:"), value("VmRSS:"), value("Threads:"), value("VmSwap:")), (123, 7, 3, 0));
    }

    #[test]
    fn an_open_file_is_counted_as_a_descriptor() {
        // Other tests of this process open files, too; 200 are more than theirs.
        let old_stats = read();
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").expect("there")).collect();
        let new_stats = read();
        assert!(
            new_stats.open_fds > old_stats.open_fds + 100 && new_stats.max_fds >= new_stats.open_fds,
            "{old_stats:?} {new_stats:?}"
        );
        drop(files);
    }
}
