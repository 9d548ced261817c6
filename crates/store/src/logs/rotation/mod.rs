//! Rotates the log files that logrotate does not rotate: daily, keeping 30 files, named like logrotate's (`.2.gz`).

mod disk;
pub mod glob;
pub mod logrotate;
pub mod owner;
pub mod plan;
pub mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan, Zoned};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use owner::{LogFileState, Owner, RotationReason};
use plan::{Plan, Scheme};

const MAX_ROTATED_FILES: u32 = 30;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// The rotated files that are compressed.
    pub scheme: Scheme,
}

#[derive(Debug)]
pub struct Rotation {
    root: PathBuf,
    owners: BTreeMap<PathBuf, Owner>,
    /// Start times of files on file systems without creation times.
    start_times: BTreeMap<PathBuf, Timestamp>,
    rotated_at: BTreeMap<PathBuf, Instant>,
}

/// A log file that this server rotates, and the plan of its rotation.
struct RotationTask {
    folder: PathBuf,
    canonical_path: PathBuf,
    plan: Plan,
}

impl Rotation {
    /// Creates the state. `root` is the directory in which logrotate's configuration is looked up: `/` except in tests.
    pub fn new(root: &Path) -> Rotation {
        let root = root.to_owned();
        Rotation { root, owners: BTreeMap::new(), start_times: BTreeMap::new(), rotated_at: BTreeMap::new() }
    }

    /// Determines the owner of each file (the program that rotates it), logs changes of owners, and rotates the files
    /// of this server that are due. `reopen` is called after the renames and returns when no process writes to the old
    /// files any more. Blocks.
    pub fn run(&mut self, files: &[LogFile], now: &Zoned, reopen: &dyn Fn() -> Result<(), String>) {
        let logrotate = probe::probe(&self.root);
        let mut tasks: BTreeMap<PathBuf, RotationTask> = BTreeMap::new();
        let mut is_file_missing = false;
        let log_paths: Vec<PathBuf> = files.iter().filter_map(|file| file.path.canonicalize().ok()).collect();
        for file in files {
            let Ok(canonical_path) = file.path.canonicalize() else {
                // An earlier rotation renamed the file and could not create it, perhaps on a full disk. Reopening does.
                is_file_missing = true;
                continue;
            };
            let owner = owner(&file.path, &canonical_path, &logrotate, &log_paths);
            self.log_owner(&file.path, &owner);
            if !matches!(owner, Owner::Server(_)) || tasks.contains_key(&canonical_path) {
                continue;
            }
            match self.plan(&canonical_path, file.scheme, now) {
                Ok(task) => drop(tasks.insert(canonical_path, task)),
                Err(error) => log_error(&file.path, "rotate", &error),
            }
        }
        tasks.retain(|_, task| self.execute_renames(task, now));
        let tasks: Vec<RotationTask> =
            tasks.into_values().filter(|task| task.plan != Plan::default()).collect();
        if tasks.is_empty() && !is_file_missing {
            return;
        }
        if let Err(error) = reopen() {
            tracing::error!(target: "logs", "could not reopen the log files after a rotation: {error}");
            return;
        }
        for RotationTask { folder, canonical_path, plan } in tasks {
            for step in &plan.compressions {
                if let Err(error) = disk::execute(&folder, step) {
                    log_error(&canonical_path, "compress the rotated file of", &error);
                    break;
                }
            }
        }
    }

    fn plan(&mut self, canonical_path: &Path, scheme: Scheme, now: &Zoned) -> io::Result<RotationTask> {
        let (Some(folder), Some(name)) =
            (canonical_path.parent(), canonical_path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        let metadata = canonical_path.metadata()?;
        let time = |time: io::Result<std::time::SystemTime>| Timestamp::try_from(time.ok()?).ok();
        let start = time(metadata.created()).unwrap_or_else(|| {
            let modified = time(metadata.modified()).unwrap_or(now.timestamp());
            *self.start_times.entry(canonical_path.to_owned()).or_insert(modified)
        });
        let since_rotation = self.rotated_at.get(canonical_path).map(Instant::elapsed);
        let rotate = metadata.len() > 0 && is_due(start, now, since_rotation);
        let plan = plan::plan(name, &names, scheme, MAX_ROTATED_FILES, rotate);
        Ok(RotationTask { folder: folder.to_owned(), canonical_path: canonical_path.to_owned(), plan })
    }

    /// Executes the steps before the reopening. Returns false on an error, after which the file is skipped.
    fn execute_renames(&mut self, task: &RotationTask, now: &Zoned) -> bool {
        for step in &task.plan.renames {
            if let Err(error) = disk::execute(&task.folder, step) {
                log_error(&task.canonical_path, "rotate", &error);
                // Prevents a retry at each check.
                self.rotated_at.insert(task.canonical_path.clone(), Instant::now());
                return false;
            }
        }
        let log = task.canonical_path.file_name().and_then(|name| name.to_str());
        let is_rotated = task.plan.renames.iter().any(|step| match step {
            plan::RotationStep::Rename { from, .. } => Some(from.as_str()) == log,
            plan::RotationStep::Compress { .. } | plan::RotationStep::Remove(_) => false,
        });
        if is_rotated {
            self.rotated_at.insert(task.canonical_path.clone(), Instant::now());
            self.start_times.insert(task.canonical_path.clone(), now.timestamp());
            tracing::info!("rotated the log file {}", task.canonical_path.display());
        }
        true
    }

    fn log_owner(&mut self, path: &Path, owner: &Owner) {
        if self.owners.get(path) == Some(owner) {
            return;
        }
        self.owners.insert(path.to_owned(), owner.clone());
        let path = path.display();
        match owner {
            Owner::Logrotate { file, runner } => {
                tracing::info!(
                    "{path} is rotated by logrotate: configured in {}, run by {runner}",
                    file.display()
                );
            }
            Owner::Server(RotationReason::NotConfigured) => {
                tracing::info!("{path} is rotated by this server: no logrotate configuration names it");
            }
            Owner::Server(RotationReason::NotScheduled) => {
                tracing::info!("{path} is rotated by this server: nothing runs logrotate");
            }
            Owner::Device => {}
            Owner::Unowned(reason) => tracing::warn!("{path} is not rotated: {reason}"),
        }
    }
}

fn log_error(path: &Path, operation: &str, error: &io::Error) {
    tracing::error!(target: "logs", "could not {operation} the log file {}: {error}", path.display());
}

/// Determines which program rotates a log file. `log_paths` are the canonical paths of all log files.
fn owner(
    path: &Path,
    canonical_path: &Path,
    logrotate: &owner::LogrotateState,
    log_paths: &[PathBuf],
) -> Owner {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let is_file = canonical_path.metadata().is_ok_and(|metadata| metadata.is_file());
    let owner = owner::decide(LogFileState { path, canonical_path, is_link, is_file }, logrotate);
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut siblings = log_paths.iter().filter(|other| other.parent() == canonical_path.parent());
    match siblings.find(|other| plan::is_rotation_of(&name(canonical_path), &name(other), MAX_ROTATED_FILES))
    {
        Some(other) if matches!(owner, Owner::Server(_)) => {
            Owner::Unowned(format!("{} has the name of one of its rotated files", other.display()))
        }
        _ => require_writable(canonical_path, owner),
    }
}

/// Returns `owner`; [`Owner::Unowned`] if the owner is this server and it cannot create files in the directory.
fn require_writable(canonical_path: &Path, owner: Owner) -> Owner {
    let Owner::Server(reason) = owner else { return owner };
    let folder = canonical_path.parent().unwrap_or(canonical_path);
    let mode = AccessFlags::W_OK | AccessFlags::X_OK;
    match faccessat(AT_FDCWD, folder, mode, AtFlags::AT_EACCESS) {
        Ok(()) => owner,
        Err(error) => {
            let reason = match reason {
                RotationReason::NotConfigured => "no logrotate configuration names it",
                RotationReason::NotScheduled => "nothing runs logrotate",
            };
            let folder = folder.display();
            Owner::Unowned(format!(
                "{reason}, and this server cannot create files in {folder}: {}",
                error.desc()
            ))
        }
    }
}

/// Maximum interval between checks, because the clock may be set.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(3600);
/// Minimum interval between rotations of a file, regardless of changes of the clock.
const MIN_ROTATION_INTERVAL: Duration = Duration::from_secs(12 * 3600);

/// Returns whether a file is to be rotated: `start`, the time of its first line, is on an earlier day.
/// `since_rotation` is the time since this process last rotated it, by the monotonic clock.
pub fn is_due(start: Timestamp, now: &Zoned, since_rotation: Option<Duration>) -> bool {
    if since_rotation.is_some_and(|interval| interval < MIN_ROTATION_INTERVAL) {
        return false;
    }
    let midnight = now.start_of_day().map_or(now.timestamp(), |midnight| midnight.timestamp());
    // A file that was created while the clock was wrong, with a time in the future, is due now.
    let is_in_future = now.timestamp().checked_add(24.hours()).is_ok_and(|tomorrow| start > tomorrow);
    start < midnight || is_in_future
}

/// Returns the time until logs are rotated: once a day at local midnight, or later if the server was not running.
pub fn time_until_check(now: &Zoned) -> Duration {
    let next = now.date().tomorrow().and_then(|date| date.to_zoned(now.time_zone().clone()));
    let remaining = next.map_or(MAX_CHECK_INTERVAL, |next| now.duration_until(&next).unsigned_abs());
    remaining.clamp(Duration::from_secs(1), MAX_CHECK_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Zoned {
        format!("{text}[Europe/Berlin]").parse().expect("a time")
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_file_of_yesterday_is_due_from_midnight() {
        let start = time("2026-11-19T23:59:59").timestamp();
        assert!(!is_due(start, &time("2026-11-19T23:59:59"), None));
        assert!(is_due(start, &time("2026-11-20T00:00:00"), None));
        assert!(is_due(start, &time("2026-12-24T18:00:00"), None));
        assert!(!is_due(time("2026-11-20T00:00:00").timestamp(), &time("2026-11-20T23:00:00"), None));
    }

    #[test]
    fn days_without_midnight_and_with_25_hours_are_handled() {
        let cairo = |text: &str| format!("{text}[Africa/Cairo]").parse::<Zoned>().expect("a time");
        assert!(is_due(cairo("2026-04-23T23:59:00").timestamp(), &cairo("2026-04-24T01:00:00"), None));
        assert!(!is_due(cairo("2026-04-24T01:00:00").timestamp(), &cairo("2026-04-24T01:30:00"), None));
        assert!(!is_due(time("2026-10-25T00:30:00").timestamp(), &time("2026-10-25T23:30:00"), None));
    }

    #[test]
    fn a_clock_jump_causes_only_one_rotation() {
        let start = time("2026-11-20T10:00:00").timestamp();
        // The clock is set forward by years: the file is rotated once.
        assert!(is_due(start, &time("2030-01-01T10:00:00"), None));
        // The clock is set back: the file is from 2030.
        let start = time("2030-01-01T10:00:00").timestamp();
        assert!(!is_due(start, &time("2026-11-20T10:00:00"), Some(HOUR)));
        assert!(is_due(start, &time("2026-11-20T22:00:00"), Some(12 * HOUR)));
        // The clock is set back over midnight: the file is not rotated again.
        let start = time("2026-11-20T00:00:00").timestamp();
        assert!(!is_due(start, &time("2026-11-19T23:59:00"), None));
    }

    #[test]
    fn the_wait_ends_at_midnight_or_after_an_hour() {
        assert_eq!(time_until_check(&time("2026-11-20T10:00:00")), HOUR);
        assert_eq!(time_until_check(&time("2026-11-20T23:30:00")), HOUR / 2);
        assert_eq!(time_until_check(&time("2026-11-20T23:59:59.9")), Duration::from_secs(1));
        assert_eq!(time_until_check(&Zoned::new(Timestamp::MAX, jiff::tz::TimeZone::UTC)), HOUR);
    }
}
