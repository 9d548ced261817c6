//! Monitors disk space: usage of the file systems and sizes of the storage directories.

use std::collections::{BTreeMap, HashSet};
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

/// Full file systems by device, with the classes on each.
type FullFileSystems = BTreeMap<u64, Vec<StorageClass>>;

/// Updates the metrics and [`Storage::full_file_systems`], logs file systems that become full, and probes again
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
    let mut full_file_systems = FullFileSystems::new();
    let mut last_scan: Option<(Instant, Duration)> = None;
    loop {
        let is_due = last_scan
            .is_none_or(|(at, duration)| at.elapsed() >= SCAN_INTERVAL.max(duration * SCAN_PAUSE_FACTOR));
        let (directories, stopped, old_full_file_systems) =
            (directories.clone(), Arc::clone(&stop.0), full_file_systems.clone());
        let probed_storage = storage.clone();
        let result = tokio::task::spawn_blocking(move || {
            probe_again(&probed_storage, &directories);
            let full_file_systems = check_file_systems(&directories, &old_full_file_systems);
            if scan && is_due {
                let start = Instant::now();
                scan_directories(&directories, &stopped);
                return (full_file_systems, Some(start.elapsed()));
            }
            (full_file_systems, None)
        });
        // A panic has been logged; the next check may succeed.
        if let Ok((new_full_file_systems, duration)) = result.await {
            *storage.0.full_file_systems.lock() = new_full_file_systems.values().cloned().collect();
            full_file_systems = new_full_file_systems;
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

/// Updates the metrics, logs file systems that became full or are no longer full, and returns the full ones.
fn check_file_systems(
    directories: &[StorageDirectory],
    old_full_file_systems: &FullFileSystems,
) -> FullFileSystems {
    let mut new_full_directories = Vec::new();
    let (mut full, mut devices) = (FullFileSystems::new(), HashSet::new());
    for (path, classes) in directories {
        let Ok(stat) = statvfs(path.as_path()) else { continue };
        let unit = stat.fragment_size();
        let (size, free) = (stat.blocks() * unit, stat.blocks_available() * unit);
        metrics::set_storage_space(&path.to_string_lossy(), size, free);
        let Ok(device) = path.metadata().map(|metadata| metadata.dev()) else { continue };
        devices.insert(device);
        if is_full(size, free) {
            if !full.contains_key(&device) && !old_full_file_systems.contains_key(&device) {
                new_full_directories.push((path, size, free));
            }
            full.entry(device).or_default().extend(classes);
        }
    }
    for (path, size, free) in new_full_directories {
        tracing::warn!(
            "the file system of {} is over {FULL_PERCENT} % full: {} MB free of {} MB; free some space, or move its \
             storage classes",
            path.display(),
            free >> 20,
            size >> 20
        );
    }
    for _ in
        old_full_file_systems.keys().filter(|device| devices.contains(*device) && !full.contains_key(device))
    {
        tracing::info!("a file system of the storage is no longer over {FULL_PERCENT} % full");
    }
    full
}

/// Returns whether over [`FULL_PERCENT`] percent of the space are used; space that is reserved for root counts as used.
fn is_full(size: u64, free: u64) -> bool {
    u128::from(size.saturating_sub(free)) * 100 > u128::from(size) * FULL_PERCENT
}

fn scan_directories(directories: &[StorageDirectory], stop: &AtomicBool) {
    for (path, _) in directories {
        let start = Instant::now();
        match disk_usage(path, start + SCAN_TIMEOUT, stop) {
            Some(used_bytes) => {
                metrics::set_storage_used(&path.to_string_lossy(), used_bytes, start.elapsed())
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
        let full_file_systems = check_file_systems(&directories, &FullFileSystems::new());
        assert!(full_file_systems.len() <= 1, "both are on one: {full_file_systems:?}");
        assert!(full_file_systems.values().all(|classes| classes.len() == 3), "{full_file_systems:?}");
        let text = String::from_utf8(metrics::text()).expect("text");
        for (path, _) in &directories {
            for name in ["size", "free"] {
                let series = format!("ppm_storage_{name}{{path=\"{}\"}}", path.display());
                assert!(text.contains(&series), "{series}");
            }
        }
    }
}
