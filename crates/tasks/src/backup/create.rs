//! Makes a backup while the server runs: takes a hold, writes the dump of one snapshot of the database,
//! copies files, and writes the manifest last.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::copy::{self, CopyResult};
use super::error::BackupError;
use super::folder::{Folder, FolderLock, LockWait, Part, list_path, manifest_path};
use super::manifest::{FORMAT, Manifest, PreviousBackup};
use super::migrate::Progress;
use super::snapshot::{self, Snapshot};
use super::{destination, manifest, objects, results};
use base::config::{BackupPlace, Config};
use base::model::digest::{Fingerprint, Sha256};
use base::model::ids::Identity;
use base::model::text::count_of;
use base::model::time::Timestamp;
use runtime::jobs::{AfterHalt, JobStart, Reporter};
use runtime::state::State;
use store::db;
use store::db::{DbError, backup};
use store::storage::Pace;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// The folder; otherwise the first of `Server.BackupPaths`.
    pub to: Option<BackupPlace>,
    /// Whether files that a mirror has are included.
    pub with_cache: bool,
    /// Maximum rate at which files are copied, in bytes per second; `None` for no limit.
    pub rate: Option<u64>,
    /// Whether the backup succeeds although storage lacks files, which its manifest lists.
    pub allow_missing: bool,
    /// Whether the folder may contain no backups, although the server has made backups in it.
    pub init: bool,
    /// Whether to continue in a folder whose newest backup is of another copy of the database.
    pub adopt: bool,
    /// Time to wait for another program that uses the folder.
    pub lock_timeout: Duration,
}

/// Starts a backup, or attaches to a running one of the same folder with the same options.
pub fn start(state: &Arc<State>, options: &CreateOptions) -> Result<JobStart, BackupError> {
    let place = destination::choose(&state.config.load(), options.to.as_ref())?;
    let (job_state, options) = (Arc::clone(state), options.clone());
    // The key contains the place. The lock timeout does not change the backup, so it is not compared.
    let CreateOptions { with_cache, rate, allow_missing, init, adopt, .. } = options;
    let text = format!("{:?}", (with_cache, rate, allow_missing, init, adopt));
    let key = format!("backup:{place}");
    Ok(state.jobs.start_with(AfterHalt::Restarts, &key, &text, (state.clock)(), move |reporter| async move {
        let (folder, requested_at) = (place.to_string(), (job_state.clock)());
        let result = make(&job_state, place, &options, &reporter, requested_at).await;
        if let Err(error) = &result {
            tracing::error!(%error, "the backup failed");
        }
        let recorded = match &result {
            Ok((_, missing)) => Ok(*missing),
            Err(error) => Err(error.to_string()),
        };
        if !matches!(result, Err(BackupError::InUse(_)))
            && let Err(error) = results::record_backup(&job_state, &folder, requested_at, recorded).await
        {
            tracing::warn!(%error, "could not record the result of the backup");
        }
        result.map(|(text, _)| text).map_err(|error| error.to_string())
    }))
}

/// Makes a backup. Returns the result as text, and the number of files that are missing in storage.
async fn make(
    state: &Arc<State>,
    place: BackupPlace,
    options: &CreateOptions,
    reporter: &Reporter,
    requested_at: Timestamp,
) -> Result<(String, u64), BackupError> {
    let start_time = Instant::now();
    let (folder, lock) = open(state, &place, options, reporter, requested_at).await?;
    // The backup begins after the wait for the folder, which may have been long.
    let created_at = (state.clock)();
    let hold = RenewedHold::take(state).await?;
    let result = write(state, folder, lock, options, reporter, &hold, created_at).await;
    hold.release().await;
    let (manifest, copied) = result?;
    let missing_count = manifest.missing.len() as u64;
    let mut incomplete = String::new();
    if missing_count > 0 {
        incomplete = format!(
            "the backup {} in {place} is incomplete: {} missing or damaged in storage; repair them: \
             rspm scrub --repair; if they are lost, add their packages again or remove them, or accept it with \
             --allow-missing:\n{}",
            manifest.created,
            count_of(missing_count, "file is", "files are"),
            manifest.missing.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
        );
        if !options.allow_missing {
            return Err(BackupError::Refused(incomplete));
        }
        tracing::warn!("{incomplete}");
    }
    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
    tracing::info!(%place, rows, files = manifest.object_count, new = copied.new_count, "made a backup");
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
    if missing_count > 0 {
        text += &format!("\nWarning: {incomplete}");
    }
    if manifest.configuration.is_none() {
        text += "\nWarning: the configuration file is not in the backup, because it could not be read; the server log \
                 has the reason. Keep a copy of it in another place.";
    }
    if manifest.encryption_key.is_some() {
        let config = state.config.load();
        let key = match &config.encryption_key {
            Some(key) => key.source.to_string(),
            None => config.server.encryption_key_path.display().to_string(),
        };
        text += &format!("\nThe encryption key is not in the backup: keep {key} in another place.");
    }
    Ok((text, missing_count))
}

/// Opens the folder and takes its lock. Checks that it has the backups made in it, the newest of this database.
async fn open(
    state: &Arc<State>,
    place: &BackupPlace,
    options: &CreateOptions,
    reporter: &Reporter,
    now: Timestamp,
) -> Result<(Folder, FolderLock), BackupError> {
    let name = place.to_string();
    let (database_and_history, last_success) = state
        .db
        .read(move |c| {
            let database_and_history = (db::identity::get(c)?.to_string(), db::clock::get(c)?.history);
            Ok((database_and_history, db::backup::last_success(c, &name)?))
        })
        .await?;
    let last_success = last_success.filter(|_| !options.init);
    let adopt = options.adopt;
    let (config, place, reporter) = (state.config.load_full(), place.clone(), reporter.clone());
    let lock_timeout = options.lock_timeout;
    let task = tokio::task::spawn_blocking(move || {
        let runtime = Handle::current();
        let newest = Manifest::newest(&place, &config, &runtime)?;
        if let (None, Some(at)) = (&newest, last_success) {
            return Err(BackupError::Refused(format!(
                "{place} contains no backup, and this server made one there at {at}: is the disk of the backups mounted? To start \
                 a new series of backups: rspm backup create --init"
            )));
        }
        if let Some(future) = newest.as_ref().filter(|newest| newest.is_in_future(now)) {
            tracing::warn!(
                "{place} contains a backup from {}, which is later than the clock; until that time it is the newest one: remove \
                 its manifest if the clock was wrong",
                future.created
            );
        }
        check_database(&place, newest.as_ref(), &database_and_history, adopt)?;
        reporter.progress("waiting for another program that uses the folder", 0, None);
        let wait = LockWait::of(&place, lock_timeout);
        let open_folder =
            wait.until(|| reporter.is_halted(), || Folder::create(&place, &config, &runtime))?;
        // Another server may have made a backup before this one had the lock.
        check_database(
            &place,
            Manifest::newest(&place, &config, &runtime)?.as_ref(),
            &database_and_history,
            adopt,
        )?;
        Ok(open_folder)
    });
    task_result(task.await)
}

/// Refuses a folder whose newest backup is of another database, or of another copy of this one: a restored database has
/// the same identity and another history. With `adopt`, another copy is accepted, whose next backups are refused.
fn check_database(
    place: &BackupPlace,
    newest: Option<&Manifest>,
    (database, history): &(String, String),
    adopt: bool,
) -> Result<(), BackupError> {
    match newest {
        Some(newest) if newest.database != *database => Err(BackupError::Refused(format!(
            "{place} contains backups of another database, the newest from {}: choose another folder with --to or \
             Server.BackupPaths",
            newest.created
        ))),
        Some(newest) if newest.history != *history && !adopt => Err(BackupError::Refused(format!(
            "the newest backup in {place}, from {}, is not of this database but of another copy of it: one of them was restored \
             from a backup. If the other copy is no longer in use, continue in this folder: rspm backup create --adopt; \
             otherwise choose another folder with --to or Server.BackupPaths",
            newest.created
        ))),
        Some(_) | None => Ok(()),
    }
}

async fn write(
    state: &Arc<State>,
    folder: Folder,
    lock: FolderLock,
    options: &CreateOptions,
    reporter: &Reporter,
    hold: &RenewedHold,
    created: Timestamp,
) -> Result<(Manifest, CopyResult), BackupError> {
    let (config, storage, job_reporter) = (state.config.load_full(), state.storage.clone(), reporter.clone());
    let (with_cache, pace) = (options.with_cache, options.rate.map(Pace::new));
    let copy_task = tokio::task::spawn_blocking(move || {
        let on_progress = |step: Progress| {
            if let Progress::Copying { table, rows } = step {
                job_reporter.progress(format!("copying {table}"), rows, None);
            }
        };
        let snapshot = snapshot::take(&config, &folder, with_cache, &on_progress)?;
        let copy_result = copy::copy(&storage, &folder, &snapshot.objects, pace.as_ref(), &job_reporter)?;
        Ok::<_, BackupError>((folder, lock, snapshot, copy_result))
    });
    let (folder, lock, snapshot, copied) = task_result(copy_task.await)?;
    if !hold.is_held().await? {
        return Err(BackupError::Refused(
            "files may have been removed while they were copied, because the database did not answer for ten minutes, or \
             its clock was changed by more than ten minutes; back up again"
                .to_owned(),
        ));
    }
    let config = state.config.load_full();
    let finish_task = tokio::task::spawn_blocking(move || {
        let manifest = finish(&config, &folder, &lock, &snapshot, &copied, with_cache, created)?;
        drop(lock);
        Ok::<_, BackupError>((manifest, copied))
    });
    task_result(finish_task.await)
}

fn task_result<T>(result: Result<Result<T, BackupError>, tokio::task::JoinError>) -> Result<T, BackupError> {
    result.unwrap_or_else(BackupError::of_task)
}

fn finish(
    config: &Config,
    folder: &Folder,
    lock: &FolderLock,
    snapshot: &Snapshot,
    copied: &CopyResult,
    with_cache: bool,
    created: Timestamp,
) -> Result<Manifest, BackupError> {
    let list = objects::format(&copied.objects);
    let list_part = Part { sha256: Sha256::of(&list), size: list.len() as u64 };
    folder.write(list.as_bytes(), &list_path(list_part.sha256), true)?;
    let configuration = manifest::copy(folder, config)?;
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
        configuration,
        previous,
    };
    lock.check()?;
    folder.write(&manifest.to_file(), &manifest_path(&manifest.name()), false)?;
    Ok(manifest)
}

fn previous(folder: &Folder) -> Result<Option<PreviousBackup>, BackupError> {
    for name in folder.manifests()?.into_iter().rev() {
        match Manifest::read(folder, &name) {
            Ok(manifest) => return Ok(Some(PreviousBackup { name, sha256: manifest.sha256() })),
            Err(error) => tracing::warn!(%error, "an earlier backup is damaged"),
        }
    }
    Ok(None)
}

const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);

/// A hold. Dropping it without a release lets it expire.
pub(super) struct RenewedHold {
    state: Arc<State>,
    id: Identity,
    renewal: JoinHandle<()>,
}

impl RenewedHold {
    /// Takes a hold, during which no object is removed.
    pub(super) async fn take(state: &Arc<State>) -> Result<RenewedHold, DbError> {
        let (id, now) = (Identity(rand::random()), (state.clock)());
        state.db.write(move |c| backup::take_hold(c, id, now)).await?;
        let renewal_state = Arc::clone(state);
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL_INTERVAL).await;
                // If the database does not answer, the next interval is another attempt; an expired hold stays expired.
                let _ = renew(&renewal_state, id).await;
            }
        });
        Ok(RenewedHold { state: Arc::clone(state), id, renewal })
    }

    /// Renews the hold, and returns whether it is still valid. If it has expired, objects may have been removed.
    pub(super) async fn is_held(&self) -> Result<bool, DbError> {
        renew(&self.state, self.id).await
    }

    pub(super) async fn release(self) {
        self.renewal.abort();
        let id = self.id;
        if let Err(error) = self.state.db.write(move |c| backup::release_hold(c, id)).await {
            tracing::warn!(%error, "could not end the hold of a backup; it expires in ten minutes");
        }
    }
}

impl Drop for RenewedHold {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(state: &State, id: Identity) -> Result<bool, DbError> {
    let now = (state.clock)();
    state.db.write(move |c| backup::renew_hold(c, id, now)).await
}
