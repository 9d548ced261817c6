//! Removes backups by age, and the dumps, lists and files that only they had.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;

use super::error::BackupError;
use super::folder::{Folder, sync_directory};
use super::manifest::Manifest;
use super::objects;

/// Which backups are kept: the newest of each of the last days, weeks and months that have one; and the newest of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Number of days.
    pub daily: usize,
    /// Number of weeks, from Monday.
    pub weekly: usize,
    /// Number of months.
    pub monthly: usize,
}

/// The result of pruning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Manifests that were removed.
    pub removed: Vec<String>,
    /// Manifests that were kept.
    pub kept: Vec<String>,
    /// Number of other files that were removed.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Returns which of the times, the oldest first, are kept.
fn kept(times: &[DateTime], keep: Keep) -> BTreeSet<usize> {
    let mut kept: BTreeSet<usize> = times.len().checked_sub(1).into_iter().collect();
    let mut periods = |count: usize, period: &dyn Fn(&DateTime) -> (i16, i16)| {
        let mut seen = BTreeSet::new();
        for (index, time) in times.iter().enumerate().rev() {
            if seen.len() < count && seen.insert(period(time)) {
                kept.insert(index);
            }
        }
    };
    periods(keep.daily, &|time| (time.year(), time.date().day_of_year()));
    periods(keep.weekly, &|time| {
        let week = time.date().iso_week_date();
        (week.year(), week.week().into())
    });
    periods(keep.monthly, &|time| (time.year(), time.month().into()));
    kept
}

/// Removes all backups that are not kept.
///
/// # Errors
/// A manifest or a list of files is damaged: nothing was removed then.
pub fn prune(folder: &Folder, keep: Keep, dry_run: bool) -> Result<Pruned, BackupError> {
    let read = |name: &String| Manifest::read(folder, name);
    let manifests = folder.manifests()?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let times: Vec<DateTime> = manifests.iter().map(|manifest| manifest.created.civil()).collect();
    let kept = kept(&times, keep);
    let mut pruned = Pruned::default();
    let mut needed: HashSet<PathBuf> = HashSet::new();
    for (index, manifest) in manifests.iter().enumerate() {
        if !kept.contains(&index) {
            pruned.removed.push(manifest.name());
            continue;
        }
        pruned.kept.push(manifest.name());
        needed.insert(folder.dump(manifest.dump.sha256));
        needed.insert(folder.objects(manifest.objects.sha256));
        let objects = objects::read(folder, manifest)?;
        needed.extend(objects.iter().map(|object| folder.blob(object.key.digest())));
    }
    let mut unneeded = Vec::new();
    list(&folder.databases(), &needed, &mut unneeded)?;
    list(&folder.blobs(), &needed, &mut unneeded)?;
    pruned.files = unneeded.len() as u64;
    pruned.bytes = unneeded.iter().map(|(_, size)| size).sum();
    if dry_run {
        return Ok(pruned);
    }
    // A backup without its manifest does not exist, so the parts of a backup that exists are never missing.
    for name in &pruned.removed {
        remove(&folder.manifest(name))?;
    }
    if let Some(directory) = folder.manifest("").parent() {
        sync_directory(directory)?;
    }
    unneeded.iter().try_for_each(|(path, _)| remove(path))?;
    Ok(pruned)
}

fn remove(path: &Path) -> Result<(), BackupError> {
    std::fs::remove_file(path).map_err(BackupError::io("remove", path))
}

/// Adds the files below a directory that are not needed, with their sizes. Links are not followed.
fn list(
    directory: &Path,
    needed: &HashSet<PathBuf>,
    unneeded: &mut Vec<(PathBuf, u64)>,
) -> Result<(), BackupError> {
    for entry in std::fs::read_dir(directory).map_err(BackupError::io("list", directory))? {
        let path = entry.map_err(BackupError::io("list", directory))?.path();
        let found = path.symlink_metadata().map_err(BackupError::io("read", &path))?;
        if found.is_dir() {
            list(&path, needed, unneeded)?;
        } else if !needed.contains(&path) {
            unneeded.push((path, found.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: &[i8]) -> Vec<DateTime> {
        days.iter().map(|day| jiff::civil::date(2026, 11, *day).at(3, 0, 0, 0)).collect()
    }

    #[test]
    fn the_newest_of_each_period_is_kept_and_always_the_newest_of_all() {
        let daily = |daily| Keep { daily, ..Keep::default() };
        let all = days(&[1, 2, 2, 9, 21]);
        assert_eq!(kept(&all, Keep::default()), [4].into());
        assert_eq!(kept(&all, daily(2)), [3, 4].into());
        assert_eq!(kept(&all, daily(4)), [0, 2, 3, 4].into(), "the newest of a day with two");
        // 2026-11-01 is a Sunday.
        assert_eq!(kept(&all, Keep { weekly: 3, ..Keep::default() }), [2, 3, 4].into());
        assert_eq!(kept(&all, Keep { monthly: 5, ..Keep::default() }), [4].into());
        assert_eq!(kept(&[], daily(3)), BTreeSet::new());
    }
}
