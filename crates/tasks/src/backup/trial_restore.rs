//! Tests a backup: restores its database into a temporary directory, renders the same documents as the server that was
//! backed up, and reads some of the files.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;

use super::error::BackupError;
use super::folder::Folder;
use super::import::{check_schema, fill};
use super::manifest::Manifest;
use super::migrate::OnProgress;
use super::{objects, verify};
use base::config::{Config, Provider};
use store::db::transfer::destination::ExistingFiles;

/// Prefix of the name of the temporary directory.
const PREFIX: &str = "rstudio-pm-backup-";
/// Minimum age of a directory to remove: a younger one may belong to a test that has not locked it yet.
const MIN_AGE: Duration = Duration::from_secs(60);
/// Number of files that are read.
const SAMPLE_SIZE: usize = 50;

/// The result of a test.
#[derive(Clone, Debug)]
pub struct TrialResult {
    /// Number of documents that are equal to those of the server.
    pub documents: usize,
    /// Number of files that were read.
    pub files: usize,
    pub elapsed: Duration,
}

/// Restores the database of a backup into SQLite below `temporary`, compares it, and removes it. Blocks.
///
/// # Errors
/// The backup is damaged, or the documents of the restored database differ.
pub fn trial_restore(
    config: &Config,
    folder: &Folder,
    manifest: &Manifest,
    temporary: &Path,
    progress: OnProgress<'_>,
) -> Result<TrialResult, BackupError> {
    let start = Instant::now();
    check_schema(manifest)?;
    remove_leftovers(temporary);
    let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(temporary);
    let directory = directory.map_err(BackupError::io("create a directory in", temporary))?;
    // The lock is held until the end of the test, so that `remove_leftovers` of another test does not remove the
    // directory.
    let lock = File::open(directory.path()).map_err(BackupError::io("open", directory.path()))?;
    lock.lock_shared().map_err(BackupError::io("lock", directory.path()))?;
    let mut config = config.clone();
    config.database.provider = Provider::Sqlite;
    config.sqlite.dir = directory.path().join("db");
    fill(&config, folder, manifest, ExistingFiles::Refused, progress)?.commit()?;
    let all_objects = objects::read(folder, manifest)?;
    let sample: Vec<_> = all_objects.sample(&mut rand::rng(), SAMPLE_SIZE).collect();
    for object in &sample {
        verify::read_file(folder, object)?;
    }
    Ok(TrialResult { documents: manifest.probes.len(), files: sample.len(), elapsed: start.elapsed() })
}

/// Removes the directories of killed tests, which are not locked. Errors are ignored, because they do not prevent a
/// test.
fn remove_leftovers(temporary: &Path) {
    let entries = std::fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
        let is_old = matches!(age, Ok(Ok(age)) if age > MIN_AGE);
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_old && is_directory && File::open(entry.path()).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn directories_of_killed_tests_are_removed_and_others_stay() {
        let temporary = tempfile::tempdir().unwrap();
        let create = |name: &str, age: u64| {
            let path = temporary.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("file"), "x").unwrap();
            let directory = File::open(&path).unwrap();
            directory.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            directory
        };
        create("rstudio-pm-backup-old", 7200);
        create("rstudio-pm-backup-new", 0);
        create("other", 7200);
        let running_test = create("rstudio-pm-backup-running", 7200);
        running_test.lock_shared().unwrap();
        remove_leftovers(temporary.path());
        let mut names: Vec<String> = std::fs::read_dir(temporary.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["other", "rstudio-pm-backup-new", "rstudio-pm-backup-running"]);
    }
}
