//! Monitors disk space: usage of the file systems and sizes of the storage directories.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::{Storage, probe};
use base::config::{ClassLocation, StorageConfig};
use base::metrics;
use base::model::kind::StorageClass;

/// Interval between checks of the file systems, which cost one system call each.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
const SCAN_INTERVAL: Duration = Duration::from_secs(3600);
/// Minimum ratio of the interval between scans to the duration of the last scan.
const SCAN_PAUSE_FACTOR: u32 = 20;
const SCAN_TIMEOUT: Duration = Duration::from_secs(300);
/// Percentage of used space above which a file system causes a warning.
pub const FULL_PERCENT: u128 = 90;

/// A directory, and the classes stored there.
type StorageDirectory = (PathBuf, Vec<StorageClass>);

/// A directory of storage classes, and the space on its file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySpace {
    pub path: PathBuf,
    pub classes: Vec<StorageClass>,
    /// The number of the device of its file system.
    pub device: u64,
    /// Size of the file system, in bytes.
    pub size: u64,
    /// Space that this server can still write, in bytes.
    pub free: u64,
    /// Size of the files in the directory at the last scan, in bytes.
    pub used: Option<u64>,
}

impl DirectorySpace {
    pub fn is_full(&self) -> bool {
        is_full(self.size, self.free)
    }
}

/// Updates the metrics and [`Storage::directories`], logs file systems that become full, and probes again
/// directories that had no space when the storage was opened, until the task is dropped. With `scan`, also adds up the
/// sizes of the files of each directory, for the metrics.
pub async fn watch(storage: Storage, config: StorageConfig, scan: bool) {
    let directories: Vec<StorageDirectory> = probe::distinct_locations(&config)
        .into_iter()
        .filter_map(|(location, classes)| match location {
            ClassLocation::File(location) => Some((location.location.clone(), classes)),
            ClassLocation::S3(_) => None,
        })
        .collect();
    let stop = StopGuard::default();
    let mut last_scan: Option<(Instant, Duration)> = None;
    loop {
        let is_due = last_scan
            .is_none_or(|(at, duration)| at.elapsed() >= SCAN_INTERVAL.max(duration * SCAN_PAUSE_FACTOR));
        let (directories, stopped, storage) = (directories.clone(), Arc::clone(&stop.0), storage.clone());
        let result = tokio::task::spawn_blocking(move || {
            probe_again(&storage, &directories);
            let mut checked = check_file_systems(&directories, &storage.directories());
            storage.0.directories.lock().clone_from(&checked);
            (scan && is_due).then(|| {
                let start = Instant::now();
                scan_directories(&mut checked, &stopped);
                *storage.0.directories.lock() = checked;
                start.elapsed()
            })
        });
        // A panic has been logged; the next check may succeed.
        if let Ok(duration) = result.await {
            last_scan = duration.map(|duration| (Instant::now(), duration)).or(last_scan);
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// Probes the directories that had no space. Blocking.
fn probe_again(storage: &Storage, directories: &[StorageDirectory]) {
    for (path, classes) in directories {
        if storage.is_any_full(classes) && probe::has_space(path, classes[0]) {
            tracing::info!("the storage directory {} has space again", path.display());
            storage.set_full(classes, false);
        }
    }
}

/// Stops a running scan when the task that started it is dropped.
#[derive(Default)]
struct StopGuard(Arc<AtomicBool>);

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Updates the metrics, logs file systems that became full or are no longer full, and returns the space of each directory.
fn check_file_systems(directories: &[StorageDirectory], last: &[DirectorySpace]) -> Vec<DirectorySpace> {
    let mut checked: Vec<DirectorySpace> = Vec::new();
    for (path, classes) in directories {
        let Ok(stat) = statvfs(path.as_path()) else { continue };
        let unit = stat.fragment_size();
        let (size, free) = (stat.blocks() * unit, stat.blocks_available() * unit);
        metrics::set_storage_space(&path.to_string_lossy(), size, free);
        let Ok(device) = path.metadata().map(|metadata| metadata.dev()) else { continue };
        let used = last.iter().find(|other| other.path == *path).and_then(|other| other.used);
        checked.push(DirectorySpace {
            path: path.clone(),
            classes: classes.clone(),
            device,
            size,
            free,
            used,
        });
    }
    let full = |directories: &[DirectorySpace]| -> BTreeSet<u64> {
        directories.iter().filter(|directory| directory.is_full()).map(|directory| directory.device).collect()
    };
    let (now_full, was_full) = (full(&checked), full(last));
    for device in now_full.difference(&was_full) {
        let Some(DirectorySpace { path, size, free, .. }) =
            checked.iter().find(|directory| directory.device == *device && directory.is_full())
        else {
            continue;
        };
        tracing::warn!(
            "the file system of {} is over {FULL_PERCENT} % full: {} MB free of {} MB; free some space, or move its \
             storage classes",
            path.display(),
            free >> 20,
            size >> 20
        );
    }
    let is_checked = |device: &&u64| checked.iter().any(|directory| directory.device == **device);
    for _ in was_full.difference(&now_full).filter(is_checked) {
        tracing::info!("a file system of the storage is no longer over {FULL_PERCENT} % full");
    }
    checked
}

/// Returns whether over [`FULL_PERCENT`] percent of the space are used; space that is reserved for root counts as used.
fn is_full(size: u64, free: u64) -> bool {
    u128::from(size.saturating_sub(free)) * 100 > u128::from(size) * FULL_PERCENT
}

fn scan_directories(directories: &mut [DirectorySpace], stop: &AtomicBool) {
    for DirectorySpace { path, used, .. } in directories {
        let start = Instant::now();
        match disk_usage(path, start + SCAN_TIMEOUT, stop) {
            Some(used_bytes) => {
                metrics::set_storage_used(&path.to_string_lossy(), used_bytes, start.elapsed());
                *used = Some(used_bytes);
            }
            None if stop.load(Ordering::Relaxed) => return,
            None => tracing::warn!(
                "disk usage scan of {} timed out after {} s; ppm_storage_used keeps its value",
                path.display(),
                SCAN_TIMEOUT.as_secs()
            ),
        }
    }
}

/// Returns the bytes of all files below a directory; `None` on a timeout or stop. Links are not followed, and
/// unreadable directories are skipped.
fn disk_usage(root: &Path, deadline: Instant, stop: &AtomicBool) -> Option<u64> {
    let mut bytes = 0_u64;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // The metadata of the entry itself, not of a link's target.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                bytes += metadata.len();
            }
        }
        if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn files_are_added_up_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("a/b")).expect("made");
        std::fs::write(dir.path().join("a/one"), [0; 1000]).expect("written");
        std::fs::write(dir.path().join("a/b/two"), [0; 234]).expect("written");
        std::os::unix::fs::symlink("/usr", dir.path().join("elsewhere")).expect("linked");
        std::os::unix::fs::symlink("..", dir.path().join("a/up")).expect("linked");
        let stop = AtomicBool::new(false);
        assert_eq!(disk_usage(dir.path(), deadline(), &stop), Some(1234));
        assert_eq!(disk_usage(&dir.path().join("missing"), deadline(), &stop), Some(0));
    }

    #[test]
    fn a_scan_ends_at_its_deadline_and_when_it_is_stopped() {
        let dir = tempfile::tempdir().expect("a directory");
        let past = Instant::now().checked_sub(Duration::from_millis(1)).expect("later than the boot");
        assert_eq!(disk_usage(dir.path(), past, &AtomicBool::new(false)), None);
        assert_eq!(disk_usage(dir.path(), deadline(), &AtomicBool::new(true)), None);
    }

    #[test]
    fn a_file_system_is_full_over_90_percent() {
        assert!(!is_full(1000, 100) && is_full(1000, 99) && is_full(1000, 0));
        assert!(!is_full(0, 0) && !is_full(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_file_system_is_reported_once_and_the_metrics_have_each_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let classes = [vec![StorageClass::Cran], vec![StorageClass::Packages, StorageClass::Pypi]];
        let directories: Vec<StorageDirectory> =
            ["a", "b"].map(|name| dir.path().join(name)).into_iter().zip(classes).collect();
        directories.iter().for_each(|(path, _)| std::fs::create_dir(path).expect("made"));
        let mut checked = check_file_systems(&directories, &[]);
        assert_eq!((checked.len(), checked[0].device), (2, checked[1].device), "both are on one file system");
        std::fs::write(directories[1].0.join("file"), [0; 77]).expect("written");
        scan_directories(&mut checked, &AtomicBool::new(false));
        let again = check_file_systems(&directories, &checked);
        assert_eq!((again[0].used, again[1].used), (Some(0), Some(77)), "the last scan is kept");
        let text = String::from_utf8(metrics::text()).expect("text");
        for (path, _) in &directories {
            for name in ["size", "free"] {
                let series = format!("ppm_storage_{name}{{path=\"{}\"}}", path.display());
                assert!(text.contains(&series), "{series}");
            }
        }
    }
}
