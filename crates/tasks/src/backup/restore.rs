//! Restores a backup into a blank database and storage, or tests it in a temporary directory. Everything is
//! checked before the first write. The database is committed last: after an interruption it is blank.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::error::BackupError;
use super::folder::Folder;
use super::import::{check_schema, fill};
use super::manifest::Manifest;
use super::migrate::{OnProgress, Progress};
use super::objects::StoredObject;
use super::revocations::{self, LaterRevocations};
use super::stored_again::store;
use super::verify::{Depth, OnStep, Verification, verify};
use super::{objects, verify};
use ::store::db::identity::begin_history;
use ::store::db::schema::Schema;
use ::store::db::transfer::destination::ExistingFiles;
use ::store::db::transfer::occupancy;
use ::store::db::{self, Conn, DbError, identity, storage_class};
use ::store::storage::{Marker, MarkerContent, Storage, StorageError};
use base::config::{ClassLocation, Config, Provider};
use base::model::ids::Identity;
use base::model::kind::StorageClass;
use base::model::text::count_of;
use rand::seq::IndexedRandom;

const THREADS: usize = 4;

pub struct RestoreOptions {
    /// Whether to restore a backup that lacks files, or whose files are damaged. Such files are not restored.
    pub allow_missing: bool,
    /// Whether to move the files of an existing SQLite database aside.
    pub force: bool,
}

#[derive(Clone, Debug)]
pub struct RestoreResult {
    pub rows: u64,
    pub copied: u64,
    pub copied_bytes: u64,
    /// Number of files that storage had already.
    pub present: u64,
    /// The first files of the backup that are missing or damaged in its folder, with the reasons.
    pub bad: Vec<String>,
    /// Number of all files that are missing or damaged in the folder.
    pub bad_count: u64,
    /// Documents that are equal to those of the server that was backed up.
    pub documents: usize,
    pub previous_database: Option<PathBuf>,
    pub revocations: LaterRevocations,
    pub elapsed: Duration,
}

/// Restores a backup into the database and the storage of a configuration. Blocks; must not run on an async
/// thread of `runtime`. After [`BackupError::Refused`] and [`BackupError::Damaged`] nothing was changed.
pub fn restore(
    config: &Config,
    folder: &Folder,
    manifest: &Manifest,
    options: &RestoreOptions,
    runtime: &Handle,
    step: OnStep<'_>,
) -> Result<RestoreResult, BackupError> {
    let start = Instant::now();
    check_schema(manifest)?;
    check_key(config, manifest)?;
    if !manifest.missing.is_empty() && !options.allow_missing {
        return Err(BackupError::Refused(format!(
            "{} missing when this backup was made, the first: {}; restore another one, or this one with \
             --allow-missing",
            count_of(manifest.missing.len(), "file was", "files were"),
            manifest.missing.first().map_or("", String::as_str)
        )));
    }
    check_occupancy(config, options)?;
    let mut verification = verify(folder, manifest, Depth::Full, step);
    if verification.problem_count > 0 && !(options.allow_missing && verification.is_restorable()) {
        let remedy = match verification.is_restorable() {
            true => "; to restore it without these files: --allow-missing",
            false => "",
        };
        return Err(BackupError::Refused(format!(
            "the backup is damaged, and nothing was changed; problems: {}{remedy}\n{}",
            verification.problem_count,
            verification.problems.join("\n")
        )));
    }
    let bad_count = verification.dispensable_count();
    let bad_objects = std::mem::take(&mut verification.bad_objects);
    verification.objects.retain(|object| !bad_objects.contains(&object.key));
    let storage = runtime.block_on(Storage::open_read_only(&config.storage))?;
    let absent_objects = absent_objects(&storage, &verification, runtime)?;
    check_space(config, &verification, &absent_objects)?;
    let recorded = revocations::recorded(config, options.force);
    let existing = if options.force { ExistingFiles::Replaced } else { ExistingFiles::Refused };
    let storage = runtime.block_on(Storage::open(&config.storage))?;
    let progress = |progress: Progress| step(&progress.to_string());
    let mut destination = fill(config, folder, manifest, existing, &progress)?;
    let revocations = recorded.newer_than(destination.conn()?, manifest.created)?;
    begin_history(destination.conn()?, Identity(rand::random()))?;
    let (copied, copied_bytes) = store_files(&storage, folder, &verification.objects, runtime, step)?;
    let empty_classes = empty_classes(&storage, runtime)?;
    let markers = prepare_markers(destination.conn()?, &storage, &empty_classes)?;
    let previous_database = destination.commit()?;
    write_markers(&storage, markers, runtime)?;
    Ok(RestoreResult {
        rows: verification.tables.iter().map(|table| table.digest.rows).sum(),
        copied,
        copied_bytes,
        present: verification.files() - copied,
        bad: verification.problems,
        bad_count,
        documents: manifest.probes.len(),
        previous_database,
        revocations,
        elapsed: start.elapsed(),
    })
}

/// Refuses an encryption key that differs from that of the backup: the server would refuse it.
fn check_key(config: &Config, manifest: &Manifest) -> Result<(), BackupError> {
    let (Some(recorded), Some(key)) = (&manifest.encryption_key, &config.encryption_key) else {
        return Ok(());
    };
    if key.key.fingerprint().digits() == *recorded {
        return Ok(());
    }
    Err(BackupError::Refused(format!(
        "the encryption key {key} is not that of the backup, {}…; put that key in its place, or, if it is lost, remove \
         this one, restore, and replace it: rspm encrypt rotate --key-lost --new-key=FILE",
        recorded.get(..8).unwrap_or(recorded)
    )))
}

fn check_occupancy(config: &Config, options: &RestoreOptions) -> Result<(), BackupError> {
    let provider = config.database.provider;
    if provider == Provider::Sqlite && options.force {
        // All files of the SQLite database are moved aside, even if they are not a database.
        return Ok(());
    }
    let mut existing_objects = Vec::new();
    for schema in [Schema::Core, Schema::Usage] {
        match occupancy(config, provider, schema) {
            Err(DbError::NotADatabase { path, .. }) => {
                existing_objects.push(format!("{} is damaged or not a database", path.display()));
            }
            found => existing_objects.extend(found?),
        }
    }
    let Some(contents) = existing_objects.first() else { return Ok(()) };
    let place = db::transfer::source::place(config, provider);
    let remedy = match provider {
        Provider::Sqlite => "restore with --force, which moves its files aside",
        Provider::Postgres => "remove its tables, or set Postgres.URL to a blank database or schema",
    };
    Err(BackupError::Refused(format!("the database is not blank: {place}: {contents}; {remedy}")))
}

/// Returns the classes without objects and owner; the restored database becomes their owner, to store files of mirrors.
fn empty_classes(storage: &Storage, runtime: &Handle) -> Result<Vec<StorageClass>, BackupError> {
    let mut classes = Vec::new();
    for class in StorageClass::ALL {
        if runtime.block_on(storage.marker(class))? == Marker::None
            && runtime.block_on(storage.list(class, None, 1))?.is_empty()
        {
            classes.push(class);
        }
    }
    Ok(classes)
}

fn absent_objects<'a>(
    storage: &Storage,
    verification: &'a Verification,
    runtime: &Handle,
) -> Result<Vec<&'a StoredObject>, BackupError> {
    let mut absent_objects = Vec::new();
    for object in &verification.objects {
        if runtime.block_on(storage.size(&object.key))? != Some(object.size) {
            absent_objects.push(object);
        }
    }
    Ok(absent_objects)
}

/// Size of the two SQLite databases without rows, and of the log with which they are created, in bytes.
const BLANK_DATABASES: u64 = 2 << 20;

/// Checks that the file systems have space for the database and the files.
fn check_space(
    config: &Config,
    verification: &Verification,
    absent_objects: &[&StoredObject],
) -> Result<(), BackupError> {
    let mut needed_bytes: BTreeMap<PathBuf, u64> = BTreeMap::new();
    if config.database.provider == Provider::Sqlite {
        // The indexes need about as much space as the rows.
        let rows: u64 = verification.tables.iter().map(|table| table.digest.bytes).sum();
        *needed_bytes.entry(nearest_existing(&config.sqlite.dir)).or_default() +=
            rows.saturating_mul(2).saturating_add(BLANK_DATABASES);
    }
    for object in absent_objects {
        if let ClassLocation::File(location) = config.storage.location(object.key.class()) {
            *needed_bytes.entry(nearest_existing(&location.location)).or_default() += object.size;
        }
    }
    let mut file_systems: BTreeMap<u64, (u64, u64, PathBuf)> = BTreeMap::new();
    for (path, bytes) in needed_bytes {
        let device = path.metadata().map_err(BackupError::io("read", &path))?.dev();
        let statistics =
            nix::sys::statvfs::statvfs(&path).map_err(|e| BackupError::io("read", &path)(e.into()))?;
        let free = statistics.blocks_available().saturating_mul(statistics.fragment_size());
        file_systems.entry(device).or_insert((0, free, path)).0 += bytes;
    }
    match file_systems.values().find(|(needed_bytes, free, _)| needed_bytes > free) {
        None => Ok(()),
        Some((needed_bytes, free, path)) => Err(BackupError::Refused(format!(
            "the file system of {} has {} MB free, and the backup needs {} MB there",
            path.display(),
            free / 1_000_000,
            needed_bytes / 1_000_000 + 1
        ))),
    }
}

fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Stores the files, or compares existing ones with their digest. Returns number and size in bytes of those stored.
fn store_files(
    storage: &Storage,
    folder: &Folder,
    objects: &[StoredObject],
    runtime: &Handle,
    step: OnStep<'_>,
) -> Result<(u64, u64), BackupError> {
    let done_count = &AtomicUsize::new(0);
    let chunk = objects.len().div_ceil(THREADS).max(1);
    let results: Vec<Result<(u64, u64), BackupError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = objects
            .chunks(chunk)
            .map(|part| {
                scope.spawn(move || {
                    let (mut count, mut bytes) = (0, 0);
                    for object in part {
                        let number = done_count.fetch_add(1, Ordering::Relaxed);
                        step(&format!("file {number} of {}", objects.len()));
                        if store_file(storage, folder, object, runtime)? {
                            count += 1;
                            bytes += object.size;
                        }
                    }
                    Ok((count, bytes))
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    results.into_iter().try_fold((0, 0), |(count, bytes), result| {
        let (result_count, result_bytes) = result?;
        Ok((count + result_count, bytes + result_bytes))
    })
}

/// Stores a file; returns false if storage has it already.
fn store_file(
    storage: &Storage,
    folder: &Folder,
    object: &StoredObject,
    runtime: &Handle,
) -> Result<bool, BackupError> {
    let StoredObject { key, size } = object;
    if runtime.block_on(storage.size(key))? == Some(*size) && is_intact(storage, object, runtime)? {
        return Ok(false);
    }
    store(storage, folder, object, runtime)?;
    Ok(true)
}

fn is_intact(storage: &Storage, object: &StoredObject, runtime: &Handle) -> Result<bool, BackupError> {
    let content = runtime.block_on(storage.get(&object.key, None))?.content;
    let digest = runtime.block_on(content.digest(|_| Ok::<_, StorageError>(())))?;
    Ok(digest.sha256 == *object.key.digest())
}

pub(super) type NewMarker = (StorageClass, MarkerContent);

/// Records new generations of the markers of these classes, of which the restored database becomes the owner.
/// The caller commits, then writes the markers: after an interruption, a class has none.
fn prepare_markers(
    c: &mut dyn Conn,
    storage: &Storage,
    classes: &[StorageClass],
) -> Result<Vec<NewMarker>, BackupError> {
    let identity = identity::get(c)?;
    let mut markers = Vec::new();
    for class in classes {
        let generation = Identity(rand::random());
        let row = storage_class::begin(c, class.as_str(), &storage.location_name(*class), generation)?;
        if row.newest() != Some(generation) {
            storage_class::renew(c, &row, generation)?;
        }
        let (adoption, generation) = (row.adoption, Some(generation));
        markers.push((*class, MarkerContent { identity, adoption, generation, contested: false }));
    }
    Ok(markers)
}

fn write_markers(storage: &Storage, markers: Vec<NewMarker>, runtime: &Handle) -> Result<(), BackupError> {
    for (class, content) in markers {
        runtime.block_on(storage.write_marker(class, &content, false))?;
    }
    Ok(())
}

/// Prefix of the name of the temporary directory.
const PREFIX: &str = "rstudio-pm-backup-";
/// Minimum age of a directory to remove: a younger one may belong to a test that has not locked it yet.
const MIN_AGE: Duration = Duration::from_secs(60);
const SAMPLE_SIZE: usize = 50;

#[derive(Clone, Debug)]
pub struct TrialResult {
    /// Number of documents that are equal to those of the server.
    pub documents: usize,
    pub files: usize,
    pub elapsed: Duration,
}

/// Restores the database of a backup into SQLite below `temporary`, compares it, and removes it. Blocks.
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
    // Held until the end, so that `remove_leftovers` of another test leaves the directory.
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

/// Removes the directories of killed tests, which are not locked. Errors are ignored: they do not prevent a test.
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
