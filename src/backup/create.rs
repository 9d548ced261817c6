//! Makes a backup while the server works: a hold, the database from one snapshot, the files that its rows refer to, and
//! last the manifest.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sha2::Digest;

use super::copy::{self, CopyResult};
use super::error::BackupError;
use super::folder::Folder;
use super::hold_renewal::RenewedHold;
use super::manifest::{FORMAT, Manifest, Previous};
use super::migrate::Progress;
use super::part::Part;
use super::snapshot::{self, Snapshot};
use super::{destination, objects};
use crate::db;
use crate::jobs::{Reporter, Started};
use crate::metrics;
use crate::model::digest::Sha256;
use crate::model::fingerprint::Fingerprint;
use crate::model::time::Timestamp;
use crate::state::State;

/// What to back up, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// The folder; otherwise the first of `Server.BackupPaths`.
    pub to: Option<PathBuf>,
    /// Also files that a mirror has.
    pub with_cache: bool,
}

/// Starts a backup, or attaches to the running one of the same folder.
///
/// # Errors
/// The folder cannot be used for backups.
pub fn start(state: &Arc<State>, options: &CreateOptions) -> Result<Started, BackupError> {
    let root = destination::choose(&state.config.load(), options.to.as_deref())?;
    let (job_state, with_cache) = (Arc::clone(state), options.with_cache);
    let key = format!("backup:{}", root.display());
    Ok(state.jobs.start(&key, (state.clock)(), move |reporter| async move {
        let result = make(&job_state, root, with_cache, &reporter).await;
        if let Err(error) = &result {
            tracing::error!(%error, "the backup failed");
        }
        result.map_err(|error| error.to_string())
    }))
}

async fn make(
    state: &Arc<State>,
    root: PathBuf,
    with_cache: bool,
    reporter: &Reporter,
) -> Result<String, BackupError> {
    let (start_time, created) = (Instant::now(), (state.clock)());
    let hold = RenewedHold::take(state).await?;
    let result = write(state, root.clone(), with_cache, reporter, &hold, created).await;
    hold.release().await;
    let (manifest, copied) = result?;
    let place = root.display().to_string();
    if !manifest.missing.is_empty() {
        return Err(BackupError::Refused(format!(
            "the backup {} in {place} is incomplete: {} files are missing or damaged in storage:\n{}",
            manifest.created,
            manifest.missing.len(),
            manifest.missing.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
        )));
    }
    let folder = place.clone();
    state.db.write(move |c| db::backup::record(c, &folder, created)).await?;
    metrics::set_last_backup(created);
    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
    tracing::info!(place, rows, files = manifest.object_count, new = copied.new_count, "made a backup");
    let mut text = format!(
        "Backup {} in {place}: transaction {}, {rows} rows, {} files ({} MB), of which {} were copied ({} MB). {:.1} s",
        manifest.created,
        manifest.transaction,
        manifest.object_count,
        manifest.object_bytes / 1_000_000,
        copied.new_count,
        copied.new_bytes / 1_000_000,
        start_time.elapsed().as_secs_f64(),
    );
    if manifest.encryption_key.is_some() {
        let key = state.config.load().server.encryption_key_path.display().to_string();
        text += &format!("\nThe encryption key is not in the backup: keep {key} in another place.");
    }
    Ok(text)
}

/// Writes all parts of the backup.
async fn write(
    state: &Arc<State>,
    root: PathBuf,
    with_cache: bool,
    reporter: &Reporter,
    hold: &RenewedHold,
    created: Timestamp,
) -> Result<(Manifest, CopyResult), BackupError> {
    let (config, storage, job_reporter) = (state.config.load_full(), state.storage.clone(), reporter.clone());
    let copy_task = tokio::task::spawn_blocking(move || {
        let (folder, lock) = Folder::create(&root)?;
        let on_progress = |step: Progress| {
            if let Progress::Copying { table, rows } = step {
                job_reporter.progress(format!("copying {table}"), rows, None);
            }
        };
        let snapshot = snapshot::take(&config, &folder, with_cache, &on_progress)?;
        let copied = copy::copy(&storage, &folder, &snapshot.objects, &job_reporter)?;
        Ok::<_, BackupError>((folder, lock, snapshot, copied))
    });
    let (folder, lock, snapshot, copied) = task_result(copy_task.await)?;
    if !hold.is_held().await? {
        return Err(BackupError::Refused(
            "the database did not answer for ten minutes, so files may have been removed meanwhile; back up again"
                .to_owned(),
        ));
    }
    let finish_task = tokio::task::spawn_blocking(move || {
        let manifest = finish(&folder, &snapshot, &copied, with_cache, created)?;
        drop(lock);
        Ok::<_, BackupError>((manifest, copied))
    });
    task_result(finish_task.await)
}

/// The result of a blocking task. A panic of the task continues in the caller.
fn task_result<T>(result: Result<Result<T, BackupError>, tokio::task::JoinError>) -> Result<T, BackupError> {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Writes the list of files and the manifest.
fn finish(
    folder: &Folder,
    snapshot: &Snapshot,
    copied: &CopyResult,
    with_cache: bool,
    created: Timestamp,
) -> Result<Manifest, BackupError> {
    let list = objects::format(&copied.objects);
    let list_part = Part { sha256: Sha256(sha2::Sha256::digest(&list).into()), size: list.len() as u64 };
    write_file(folder, list.as_bytes(), &folder.objects(list_part.sha256), true)?;
    let previous = previous(folder)?;
    let manifest = Manifest {
        format: FORMAT,
        created,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: snapshot.database.to_string(),
        history: snapshot.clock.history.clone(),
        transaction: snapshot.clock.tx.0,
        published: snapshot.clock.at,
        levels: snapshot.levels.iter().map(|(schema, level)| (schema.as_str().to_owned(), *level)).collect(),
        encryption_key: snapshot.encryption_key.map(Fingerprint::digits),
        dump: snapshot.dump,
        tables: snapshot.table_entries(),
        objects: list_part,
        object_count: copied.objects.len() as u64,
        object_bytes: copied.objects.iter().map(|object| object.size).sum(),
        with_cache,
        missing: copied.missing.clone(),
        probes: snapshot.probe_entries(),
        previous,
    };
    write_file(folder, &manifest.to_file(), &folder.manifest(&manifest.name()), false)?;
    Ok(manifest)
}

/// The newest backup of the folder. One that was damaged does not prevent others.
fn previous(folder: &Folder) -> Result<Option<Previous>, BackupError> {
    for name in folder.manifests()?.into_iter().rev() {
        match Manifest::read(folder, &name) {
            Ok(manifest) => return Ok(Some(Previous { name, sha256: manifest.sha256() })),
            Err(error) => tracing::warn!(%error, "an earlier backup is damaged"),
        }
    }
    Ok(None)
}

fn write_file(folder: &Folder, bytes: &[u8], path: &Path, replaces: bool) -> Result<(), BackupError> {
    let mut file = folder.unfinished()?;
    file.write_all(bytes).map_err(BackupError::io("write", path))?;
    folder.install(file, path, replaces)
}
