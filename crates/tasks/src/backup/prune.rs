//! Removes backups by age, and the dumps, lists and files that no other backup refers to.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::civil::DateTime;

use super::error::BackupError;
use super::folder::{self, Folder, FolderLock};
use super::manifest::{ConfigurationFile, Manifest};
use super::objects;
use base::model::time::Timestamp;

/// The backups to keep: the newest of each of the last days, weeks and months that have one, and the newest of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Number of days.
    pub daily: usize,
    /// Number of weeks, from Monday.
    pub weekly: usize,
    pub monthly: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    pub retention: Retention,
    /// Whether to prune although files of retained backups are missing.
    pub allow_missing: bool,
    /// Whether to only return the result, without removing anything.
    pub dry_run: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneResult {
    pub removed: Vec<String>,
    pub retained: Vec<String>,
    /// Number of other files that were removed.
    pub files: u64,
    /// Size of these files, in bytes.
    pub bytes: u64,
    /// Number of missing files of the retained backups.
    pub missing: u64,
}

/// Returns the indexes of the times that are retained. `times` is sorted, the oldest first.
fn retained_indexes(times: &[DateTime], retention: Retention) -> BTreeSet<usize> {
    let mut indexes: BTreeSet<usize> = times.len().checked_sub(1).into_iter().collect();
    let mut periods = |count: usize, period: &dyn Fn(&DateTime) -> (i16, i16)| {
        let mut periods_with_backup = BTreeSet::new();
        for (index, time) in times.iter().enumerate().rev() {
            if periods_with_backup.len() < count && periods_with_backup.insert(period(time)) {
                indexes.insert(index);
            }
        }
    };
    periods(retention.daily, &|time| (time.year(), time.date().day_of_year()));
    periods(retention.weekly, &|time| {
        let week = time.date().iso_week_date();
        (week.year(), week.week().into())
    });
    periods(retention.monthly, &|time| (time.year(), time.month().into()));
    indexes
}

/// Returns identity and history of the database of a backup. A restored copy has the same identity and another history.
fn database_and_history(manifest: &Manifest) -> (&str, &str) {
    (&manifest.database, &manifest.history)
}

fn retained_manifests(manifests: &[Manifest], retention: Retention, now: Timestamp) -> BTreeSet<usize> {
    let (future_indexes, past_indexes): (Vec<usize>, Vec<usize>) =
        (0..manifests.len()).partition(|index| manifests[*index].is_in_future(now));
    let histories: BTreeSet<(&str, &str)> = manifests.iter().map(database_and_history).collect();
    let mut indexes_to_retain: BTreeSet<usize> = future_indexes.into_iter().collect();
    for history in histories {
        // An incomplete backup does not displace a complete one.
        for only_complete in [false, true] {
            let is_counted = |index: &&usize| {
                let manifest = &manifests[**index];
                database_and_history(manifest) == history && (!only_complete || manifest.missing.is_empty())
            };
            let indexes: Vec<usize> = past_indexes.iter().filter(is_counted).copied().collect();
            let times: Vec<DateTime> =
                indexes.iter().map(|index| manifests[*index].created.civil()).collect();
            indexes_to_retain
                .extend(retained_indexes(&times, retention).into_iter().map(|position| indexes[position]));
        }
    }
    indexes_to_retain
}

/// Removes all backups that are not retained. The retention applies separately to each database and to each restored
/// copy of it, and twice, to all backups and to the complete ones only, so that an incomplete backup does not displace
/// a complete one. Backups later than the clock `now` are kept, not counted: a backup made with a wrong clock would
/// otherwise be the newest for a long time. Fails, before anything is removed, if there is no backup, if a manifest or
/// a list of files is damaged, or if a retained backup lacks its dump or, unless `allow_missing` is set, other files.
pub fn prune(
    folder: &Folder,
    lock: &FolderLock,
    PruneOptions { retention, allow_missing, dry_run }: PruneOptions,
    now: Timestamp,
) -> Result<PruneResult, BackupError> {
    let remedy = "nothing was removed; move the damaged manifest away and repeat the command";
    let read_manifest =
        |name: &String| Manifest::read(folder, name).map_err(|error| error.with_remedy(remedy));
    let manifests = folder.manifests()?.iter().map(read_manifest).collect::<Result<Vec<_>, _>>()?;
    if manifests.is_empty() {
        let text = format!("{folder} contains no backup; nothing was removed: is its disk mounted?");
        return Err(BackupError::Refused(text));
    }
    let indexes_to_retain = retained_manifests(&manifests, retention, now);
    let mut result = PruneResult::default();
    let mut referenced_paths: HashMap<String, &Manifest> = HashMap::new();
    for (index, manifest) in manifests.iter().enumerate() {
        if !indexes_to_retain.contains(&index) {
            result.removed.push(manifest.name());
            continue;
        }
        result.retained.push(manifest.name());
        let objects = objects::read(folder, manifest)
            .map_err(|error| error.with_remedy(&remedy_for_unusable(folder, manifest)))?;
        let paths = objects.iter().map(|object| folder::blob_path(object.key.digest()));
        let paths = paths.chain(manifest.configuration.iter().map(ConfigurationFile::copy));
        let parts = [folder::dump_path(manifest.dump.sha256), folder::list_path(manifest.objects.sha256)];
        referenced_paths.extend(paths.chain(parts).map(|path| (path, manifest)));
    }
    let mut files = Vec::new();
    for directory in [folder::DATABASES, folder::BLOBS, folder::CONFIGURATIONS] {
        files.extend(folder.list(directory)?);
    }
    let existing_paths: HashSet<&String> = files.iter().map(|(path, _)| path).collect();
    for (path, manifest) in referenced_paths.iter().filter(|(path, _)| !existing_paths.contains(path)) {
        let is_dump = *path == folder::dump_path(manifest.dump.sha256);
        if allow_missing && !is_dump {
            result.missing += 1;
            continue;
        }
        let remedy = match is_dump {
            true => remedy_for_unusable(folder, manifest),
            false => "if the server has it, rspm backup create copies it again; if it is lost, remove old backups nevertheless: \
                      rspm backup prune --allow-missing"
                .to_owned(),
        };
        let created = manifest.created;
        let reason = format!("is missing, and the backup {created}, which is kept, needs it; {remedy}");
        return Err(folder.damaged(path, reason));
    }
    let is_unreferenced =
        |(path, _): &(String, u64)| !referenced_paths.contains_key(path) && folder::is_part_path(path);
    let unreferenced_files: Vec<(String, u64)> = files.into_iter().filter(is_unreferenced).collect();
    result.files = unreferenced_files.len() as u64;
    result.bytes = unreferenced_files.iter().map(|(_, size)| size).sum();
    if dry_run {
        return Ok(result);
    }
    // Manifests are removed first: a backup with a manifest has all its parts.
    lock.check()?;
    let manifests: Vec<String> = result.removed.iter().map(|name| folder::manifest_path(name)).collect();
    folder.remove(&manifests)?;
    let files: Vec<String> = unreferenced_files.into_iter().map(|(path, _)| path).collect();
    folder.remove(&files)?;
    Ok(result)
}

/// Returns the remedy for a backup that can no longer be restored.
fn remedy_for_unusable(folder: &Folder, manifest: &Manifest) -> String {
    let path = folder.location(&folder::manifest_path(&manifest.name()));
    format!("the backup {} cannot be restored without it: move {} away", manifest.created, path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: &[i8]) -> Vec<DateTime> {
        days.iter().map(|day| jiff::civil::date(2026, 11, *day).at(3, 0, 0, 0)).collect()
    }

    #[test]
    fn the_newest_of_each_period_is_kept_and_always_the_newest_of_all() {
        let daily = |daily| Retention { daily, ..Retention::default() };
        let all = days(&[1, 2, 2, 9, 21]);
        assert_eq!(retained_indexes(&all, Retention::default()), [4].into());
        assert_eq!(retained_indexes(&all, daily(2)), [3, 4].into());
        assert_eq!(retained_indexes(&all, daily(4)), [0, 2, 3, 4].into(), "the newest of a day with two");
        // 2026-11-01 is a Sunday.
        assert_eq!(retained_indexes(&all, Retention { weekly: 3, ..Retention::default() }), [2, 3, 4].into());
        assert_eq!(retained_indexes(&all, Retention { monthly: 5, ..Retention::default() }), [4].into());
        assert_eq!(retained_indexes(&[], daily(3)), BTreeSet::new());
    }
}
