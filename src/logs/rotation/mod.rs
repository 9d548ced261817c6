//! Rotates the log files that logrotate does not rotate: daily, with 30 kept files, named like logrotate's (`.2.gz`).

mod disk;
pub mod due;
pub mod glob;
pub mod logrotate;
pub mod owner;
pub mod plan;
pub mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::{Timestamp, Zoned};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use owner::{LogFileState, Owner, RotationReason};
use plan::{Plan, Scheme};

/// Number of rotated files that are kept of each log.
const MAX_ROTATED: u32 = 30;

/// A log file of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The configured path.
    pub path: PathBuf,
    /// Which rotated files are compressed.
    pub scheme: Scheme,
}

/// The state of rotation between checks.
#[derive(Debug)]
pub struct Rotation {
    root: PathBuf,
    owners: BTreeMap<PathBuf, Owner>,
    /// Start times of files on file systems without creation times.
    start_times: BTreeMap<PathBuf, Timestamp>,
    rotated_at: BTreeMap<PathBuf, Instant>,
}

/// A log file that this server rotates, and the steps to do so.
struct RotationTask {
    folder: PathBuf,
    real: PathBuf,
    plan: Plan,
}

impl Rotation {
    /// `root` is where logrotate's configuration is searched: `/` except in tests.
    #[must_use]
    pub fn new(root: &Path) -> Rotation {
        let root = root.to_owned();
        Rotation { root, owners: BTreeMap::new(), start_times: BTreeMap::new(), rotated_at: BTreeMap::new() }
    }

    /// Determines who rotates each file, logs changes of that, and rotates the server's files that are due. `reopen` is
    /// called after the renames and returns when no process writes to the old files any more. Blocks.
    pub fn run(&mut self, files: &[LogFile], now: &Zoned, reopen: &dyn Fn() -> Result<(), String>) {
        let claims = probe::probe(&self.root);
        let mut works: BTreeMap<PathBuf, RotationTask> = BTreeMap::new();
        let mut missing = false;
        let names: Vec<PathBuf> = files.iter().filter_map(|file| file.path.canonicalize().ok()).collect();
        for file in files {
            let Ok(real) = file.path.canonicalize() else {
                // Renamed but not created again, for example because the disk was full.
                missing = true;
                continue;
            };
            let owner = owner(&file.path, &real, &claims, &names);
            self.log_owner(&file.path, &owner);
            if !matches!(owner, Owner::Server(_)) || works.contains_key(&real) {
                continue;
            }
            match self.plan(&real, file.scheme, now) {
                Ok(work) => drop(works.insert(real, work)),
                Err(error) => log_error(&file.path, "cannot be rotated", &error),
            }
        }
        works.retain(|_, work| self.execute_before(work, now));
        let works: Vec<RotationTask> =
            works.into_values().filter(|work| work.plan != Plan::default()).collect();
        if works.is_empty() && !missing {
            return;
        }
        if let Err(error) = reopen() {
            tracing::error!(target: "logs", "after a rotation: {error}");
            return;
        }
        for RotationTask { folder, real, plan } in works {
            for step in &plan.after {
                if let Err(error) = disk::execute(&folder, step) {
                    log_error(&real, "cannot be compressed", &error);
                    break;
                }
            }
        }
    }

    fn plan(&mut self, real: &Path, scheme: Scheme, now: &Zoned) -> io::Result<RotationTask> {
        let (Some(folder), Some(name)) = (real.parent(), real.file_name().and_then(|name| name.to_str()))
        else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        let about = real.metadata()?;
        let time = |time: io::Result<std::time::SystemTime>| Timestamp::try_from(time.ok()?).ok();
        let start = time(about.created()).unwrap_or_else(|| {
            let written = time(about.modified()).unwrap_or(now.timestamp());
            *self.start_times.entry(real.to_owned()).or_insert(written)
        });
        let rotated = self.rotated_at.get(real).map(Instant::elapsed);
        let rotate = about.len() > 0 && due::is_due(start, now, rotated);
        let plan = plan::plan(name, &names, scheme, MAX_ROTATED, rotate);
        Ok(RotationTask { folder: folder.to_owned(), real: real.to_owned(), plan })
    }

    /// Executes the steps before the reopening. Returns false on an error, after which the file is skipped.
    fn execute_before(&mut self, work: &RotationTask, now: &Zoned) -> bool {
        for step in &work.plan.before {
            if let Err(error) = disk::execute(&work.folder, step) {
                log_error(&work.real, "cannot be rotated", &error);
                // Prevents a retry at each check.
                self.rotated_at.insert(work.real.clone(), Instant::now());
                return false;
            }
        }
        let log = work.real.file_name().and_then(|name| name.to_str());
        let rotated = work.plan.before.iter().any(|step| match step {
            plan::Step::Rename { from, .. } => Some(from.as_str()) == log,
            plan::Step::Compress { .. } | plan::Step::Remove(_) => false,
        });
        if rotated {
            self.rotated_at.insert(work.real.clone(), Instant::now());
            self.start_times.insert(work.real.clone(), now.timestamp());
            tracing::info!("rotated the log file {}", work.real.display());
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
            Owner::Logrotate { file, run_by } => {
                tracing::info!(
                    "{path} is rotated by logrotate: configured in {}, run by {run_by}",
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
            Owner::Unowned(why) => tracing::warn!("{path} is not rotated: {why}"),
        }
    }
}

fn log_error(path: &Path, what: &str, error: &io::Error) {
    tracing::error!(target: "logs", "the log file {} {what}: {error}", path.display());
}

fn owner(path: &Path, real: &Path, claims: &owner::LogrotateState, all: &[PathBuf]) -> Owner {
    let link = path.symlink_metadata().is_ok_and(|about| about.is_symlink());
    let file = real.metadata().is_ok_and(|about| about.is_file());
    let owner = owner::decide(LogFileState { path, real, is_link: link, is_file: file }, claims);
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut siblings = all.iter().filter(|other| other.parent() == real.parent());
    match siblings.find(|other| plan::is_rotation_of(&name(real), &name(other), MAX_ROTATED)) {
        Some(other) if matches!(owner, Owner::Server(_)) => {
            Owner::Unowned(format!("{} has the name of one of its rotated files", other.display()))
        }
        _ => require_writable(real, owner),
    }
}

/// Downgrades the decision if the server cannot create files in the directory.
fn require_writable(real: &Path, owner: Owner) -> Owner {
    let Owner::Server(why) = owner else { return owner };
    let folder = real.parent().unwrap_or(real);
    let mode = AccessFlags::W_OK | AccessFlags::X_OK;
    match faccessat(AT_FDCWD, folder, mode, AtFlags::AT_EACCESS) {
        Ok(()) => owner,
        Err(error) => {
            let reason = match why {
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
