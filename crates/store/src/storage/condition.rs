//! The condition of each class: its owner, whether objects may be stored in it, a sweep that awaits confirmation,
//! damaged and lost objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Key, Storage, StorageError};
use base::model::ids::Identity;
use base::model::kind::StorageClass;

/// Time for which a store operation waits for a comparison with the database.
pub(super) const COMPARISON_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a class belongs to the database of this server. Objects are removed only from its own classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The class has not been compared with the database yet.
    #[default]
    Unchecked,
    /// The marker of the class names this database.
    Own,
    /// The marker names another database.
    Foreign(Identity),
    /// The marker has the identity of this database and a generation that a different one wrote: a copy of this
    /// database, or this database before it was restored from a backup.
    Contested,
    /// The marker names no database.
    Unreadable,
    /// The class has neither the marker that was written there nor the objects that rows refer to.
    Missing {
        /// The location that has the marker, if another one is configured now.
        former_location: Option<String>,
    },
    /// The class has objects and no marker, and rows of this database refer to too few of the objects.
    Unclaimed {
        objects: usize,
        /// Number of checked objects that rows refer to.
        referenced: usize,
    },
    /// The marker could not be read or written; the reason.
    Unknown(String),
}

impl Ownership {
    /// Returns whether the class may not be mounted.
    pub fn is_missing(&self) -> bool {
        matches!(self, Ownership::Missing { .. })
    }

    /// Returns the reason why nothing may be stored in such a class, `None` if objects may be stored. A stored object
    /// would be removed by the server of another database, or be hidden as soon as the class is mounted again. In a
    /// contested class no server removes anything, so objects may be stored.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Ownership::Foreign(_) => Some("belongs to another database"),
            Ownership::Missing { .. } => {
                Some("has lost its owner marker and its objects; it may not be mounted")
            }
            Ownership::Unclaimed { .. } => Some("has no owner, and objects that this database does not name"),
            Ownership::Unchecked
            | Ownership::Own
            | Ownership::Contested
            | Ownership::Unreadable
            | Ownership::Unknown(_) => None,
        }
    }
}

/// Returns, as a clause, what an administrator does about a class whose objects are in another location.
pub fn move_remedy(class: &str, former_location: &str) -> String {
    let section = if former_location.starts_with("s3://") { "S3Storage" } else { "FileStorage" };
    format!("its objects are in {former_location}: move them, or set [{section} \"{class}\"]")
}

/// A sweep that would remove more than a small share of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingSweep {
    /// Number of objects that it would remove.
    pub objects: u64,
    /// Number of objects in the class.
    pub total: u64,
}

impl PendingSweep {
    /// Returns the number of objects that may be removed per day without confirmation: ten, or a twentieth of all.
    pub fn daily_limit(total: u64) -> u64 {
        (total / 20).max(10)
    }
}

const ADOPT: &str = "rspm storage adopt";
const LIST: &str = "rspm list storage";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The ownership of each class; a missing entry means [`Ownership::Unchecked`].
    pub(super) ownerships: BTreeMap<StorageClass, Ownership>,
    pub(super) pending_sweeps: BTreeMap<StorageClass, PendingSweep>,
    /// Objects that were moved to the directory `damaged` and have not been stored again.
    pub(super) damaged_objects: BTreeSet<Key>,
    /// Objects that rows refer to and that are neither in storage nor on a mirror.
    pub(super) lost_objects: BTreeSet<Key>,
    /// Classes in directories in which the last probe object could not be written: the disk or the quota is full.
    pub(super) full_classes: BTreeSet<StorageClass>,
    /// Changes of `damaged_objects` and `lost_objects` while scans run.
    changes: RecentChanges,
}

/// A scan of storage for damaged or lost objects, which ends when this value is dropped. For objects that are stored,
/// lost or damaged during the scan, that condition takes precedence over the result of the scan.
pub struct ConditionScan<'a> {
    storage: &'a Storage,
    /// The number of the last change before the scan.
    last_change: u64,
}

impl ConditionScan<'_> {
    /// Records the objects of a class that rows refer to and that are not in storage; returns true if that changed the
    /// set of lost objects. Does nothing if the whole class is missing.
    pub fn set_lost(self, class: StorageClass, keys: BTreeSet<Key>) -> bool {
        let mut condition = self.storage.0.condition.lock();
        if condition.ownership(class).is_missing() {
            return false;
        }
        let old_objects = condition.lost_objects.clone();
        let Condition { changes, lost_objects, .. } = &mut *condition;
        changes.merge(self.last_change, lost_objects, keys, |key| key.class() == class);
        *lost_objects != old_objects
    }

    /// Records the damaged objects that have not been stored again.
    pub fn set_damaged(self, keys: BTreeSet<Key>) {
        let mut condition = self.storage.0.condition.lock();
        let Condition { changes, damaged_objects, .. } = &mut *condition;
        changes.merge(self.last_change, damaged_objects, keys, |_| true);
    }
}

impl Drop for ConditionScan<'_> {
    fn drop(&mut self) {
        self.storage.0.condition.lock().changes.end_scan();
    }
}

impl Condition {
    pub fn ownership(&self, class: StorageClass) -> Ownership {
        self.ownerships.get(&class).cloned().unwrap_or_default()
    }

    pub fn pending_sweep(&self, class: StorageClass) -> Option<PendingSweep> {
        self.pending_sweeps.get(&class).copied()
    }

    /// Returns the damaged objects of a class that have not been stored again.
    pub fn damaged_objects(&self, class: StorageClass) -> impl Iterator<Item = &Key> {
        self.damaged_objects.iter().filter(move |key| key.class() == class)
    }

    /// Returns the objects of a class that rows refer to and that are not in storage.
    pub fn lost_objects(&self, class: StorageClass) -> impl Iterator<Item = &Key> {
        self.lost_objects.iter().filter(move |key| key.class() == class)
    }

    pub(super) fn record_stored(&mut self, key: &Key) {
        self.changes.record(key);
        self.damaged_objects.remove(key);
        self.lost_objects.remove(key);
        self.full_classes.remove(&key.class());
    }

    pub(super) fn record_damaged(&mut self, key: &Key) {
        self.changes.record(key);
        self.damaged_objects.insert(*key);
    }

    /// Returns a remark for administrators about the classes in which nothing may be stored, with the locations that have
    /// their objects; `None` if there is no such class.
    pub fn refusals(&self) -> Option<String> {
        let refused = self.ownerships.iter().filter(|(_, ownership)| ownership.refusal().is_some());
        let names: Vec<String> = refused
            .map(|(class, ownership)| match ownership {
                Ownership::Missing { former_location: Some(place) } => {
                    format!("{} (its objects are in {place})", class.as_str())
                }
                _ => class.as_str().to_owned(),
            })
            .collect();
        (!names.is_empty())
            .then(|| format!("nothing is stored in {}: see rspm storage list", names.join(", ")))
    }

    /// Returns warnings for the administrator, with remedies. They are public, so they contain no paths or host names.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut add_warning = |is_affected: &dyn Fn(&Ownership) -> bool, command: &str, text: &str| {
            let classes = StorageClass::ALL.into_iter().filter(|class| is_affected(&self.ownership(*class)));
            let classes: Vec<&str> = classes.map(StorageClass::as_str).collect();
            if !classes.is_empty() {
                let names = classes.join(", ");
                let message = format!("storage of {names} {text}");
                warnings.push(Warning {
                    kind: "storage-owner",
                    name: names,
                    message,
                    command: command.to_owned(),
                });
            }
        };
        add_warning(
            &|ownership| matches!(ownership, Ownership::Foreign(_)),
            ADOPT,
            "belongs to another database, or to a copy of this one that adopted it: nothing is swept or stored there; \
             restore the database, or make this one the owner",
        );
        add_warning(
            &|ownership| *ownership == Ownership::Contested,
            ADOPT,
            "was used by another copy of this database, or by this one before it was restored from a backup: nothing is \
             swept there by either; stop the other server if there is one, then make this database the owner",
        );
        add_warning(
            &Ownership::is_missing,
            ADOPT,
            "has neither its owner marker nor the objects that this database names; it may not be mounted: nothing is stored \
             there; mount or restore it, or start with an empty class",
        );
        add_warning(
            &|ownership| matches!(ownership, Ownership::Unclaimed { .. }),
            ADOPT,
            "has objects that this database does not name, and no owner: nothing is swept or stored there; restore the \
             database, or make this one the owner",
        );
        add_warning(
            &|ownership| *ownership == Ownership::Unreadable,
            ADOPT,
            "has an owner marker that names no database: nothing is swept there; if this database is the right one, make it \
             the owner",
        );
        add_warning(
            &|ownership| matches!(ownership, Ownership::Unknown(_)),
            LIST,
            "could not be compared with the database: nothing is swept there; the server log has the reason",
        );
        if !self.full_classes.is_empty() {
            let classes: Vec<&str> = self.full_classes.iter().map(|class| class.as_str()).collect();
            let name = classes.join(", ");
            let message = format!(
                "storage of {name} has no space left: nothing is stored there, existing objects are served; free some \
                 space, or raise the quota"
            );
            warnings.push(Warning { kind: "storage", name, message, command: LIST.to_owned() });
        }
        for (class, PendingSweep { objects, total }) in &self.pending_sweeps {
            let class = class.as_str();
            warnings.push(Warning {
                kind: "storage-sweep",
                name: class.to_owned(),
                message: format!(
                    "the sweep of storage class {class} would remove {objects} of {total} objects and awaits confirmation: \
                     check that the database is the right one, then confirm it"
                ),
                command: format!("rspm storage sweep --confirm={class}"),
            });
        }
        for class in StorageClass::ALL {
            let is_binary = class == StorageClass::Binaries;
            let command = if is_binary { "rspm add binary --replace" } else { "rspm add --replace" };
            let count = self.lost_objects(class).count();
            if count > 0 {
                let class = class.as_str();
                warnings.push(Warning {
                    kind: "storage-lost",
                    name: class.to_owned(),
                    message: format!(
                        "objects of storage class {class} that this database names and that are not in storage: {count}; \
                         restore them from a backup, or store them again; the server's log names them"
                    ),
                    command: command.to_owned(),
                });
            }
            let count = self.damaged_objects(class).count();
            if count > 0 {
                let class = class.as_str();
                warnings.push(Warning {
                    kind: "storage-damage",
                    name: class.to_owned(),
                    message: format!(
                        "damaged objects of storage class {class} that have not been stored again: \
                         {count}; files of a mirror are fetched again on request, others must be stored again; the \
                         server's log names them"
                    ),
                    command: command.to_owned(),
                });
            }
        }
        warnings
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `storage`, `storage-owner`, `storage-sweep`, `storage-lost` or `storage-damage`.
    pub kind: &'static str,
    pub name: String,
    /// The problem and its remedy.
    pub message: String,
    /// The command that an administrator then runs.
    pub command: String,
}

impl Storage {
    pub fn condition(&self) -> Condition {
        self.0.condition.lock().clone()
    }

    /// Records whether a class belongs to the database; returns true if that changed. If the comparison failed
    /// ([`Ownership::Unknown`]), a previous ownership that refuses new objects is not replaced.
    pub fn set_ownership(&self, class: StorageClass, ownership: Ownership) -> bool {
        let is_compared = !matches!(ownership, Ownership::Unchecked | Ownership::Unknown(_));
        if is_compared && ownership.refusal().is_none() {
            self.accept(class);
        }
        let mut condition = self.0.condition.lock();
        let old_ownership = condition.ownership(class);
        if matches!(ownership, Ownership::Unknown(_)) && old_ownership.refusal().is_some() {
            return false;
        }
        if ownership.is_missing() {
            // The class is reported instead of each of its objects.
            condition.lost_objects.retain(|key| key.class() != class);
        }
        condition.ownerships.insert(class, ownership.clone());
        drop(condition);
        self.0.comparison_end.notify_waiters();
        old_ownership != ownership
    }

    /// Makes store operations wait until their class was compared with the database, at the start and whenever
    /// [`Storage::wait_for_comparison_request`] returns.
    pub fn require_comparison(&self) {
        self.0.is_comparison_required.store(true, Ordering::Relaxed);
    }

    /// Checks that this server may store objects in a class. A class in which nothing may be stored is compared again
    /// if its directory has been replaced since the last comparison.
    ///
    /// # Errors
    /// [`StorageError::Refused`], with the reason and the remedy.
    pub async fn may_store(&self, class: StorageClass) -> Result<(), StorageError> {
        let ownership = || self.0.condition.lock().ownership(class);
        if self.0.is_comparison_required.load(Ordering::Relaxed) {
            let comparison = async {
                loop {
                    let notification = self.0.comparison_end.notified();
                    tokio::pin!(notification);
                    notification.as_mut().enable();
                    if ownership() != Ownership::Unchecked {
                        return;
                    }
                    notification.await;
                }
            };
            // After a timeout, the check below refuses with the current reason.
            let _ = tokio::time::timeout(COMPARISON_TIMEOUT, comparison).await;
        }
        let result = self.may_store_now(class);
        if result.is_err() && self.needs_comparison(class).await {
            self.compare_again().await;
            return self.may_store_now(class);
        }
        result
    }

    /// Like [`Storage::may_store`], without waiting: a class that was not compared yet is refused.
    pub fn may_store_now(&self, class: StorageClass) -> Result<(), StorageError> {
        let refusal =
            |reason: &str| StorageError::Refused { class: class.as_str(), reason: reason.to_owned() };
        let ownership = self.0.condition.lock().ownership(class);
        if self.0.is_comparison_required.load(Ordering::Relaxed) && ownership == Ownership::Unchecked {
            return Err(refusal("has not been compared with the database yet"));
        }
        ownership.refusal().map_or(Ok(()), |reason| Err(refusal(reason)))
    }

    /// Returns whether the class belongs to the database: only then may objects be removed from it.
    pub fn is_own(&self, class: StorageClass) -> bool {
        self.0.condition.lock().ownerships.get(&class) == Some(&Ownership::Own)
    }

    /// Records the sweep that awaits confirmation, if any; returns true if that changed.
    pub fn set_pending_sweep(&self, class: StorageClass, pending: Option<PendingSweep>) -> bool {
        let mut condition = self.0.condition.lock();
        let old_sweep = match pending {
            Some(sweep) => condition.pending_sweeps.insert(class, sweep),
            None => condition.pending_sweeps.remove(&class),
        };
        old_sweep != pending
    }

    /// Returns whether the object is damaged and has not been stored again.
    pub fn is_damaged(&self, key: &Key) -> bool {
        self.0.condition.lock().damaged_objects.contains(key)
    }

    /// Returns the number of damaged and lost objects that were not stored again.
    pub fn bad_object_count(&self) -> usize {
        let condition = self.0.condition.lock();
        condition.damaged_objects.len() + condition.lost_objects.len()
    }

    pub fn begin_scan(&self) -> ConditionScan<'_> {
        ConditionScan { storage: self, last_change: self.0.condition.lock().changes.begin_scan() }
    }

    /// Records a lost object: a row refers to it, and it is neither in storage nor on a mirror. Returns false if it was
    /// recorded before, if its whole class is missing, or if the object is damaged.
    pub fn add_lost(&self, key: &Key) -> bool {
        let mut condition = self.0.condition.lock();
        if condition.damaged_objects.contains(key) || condition.ownership(key.class()).is_missing() {
            return false;
        }
        condition.changes.record(key);
        condition.lost_objects.insert(*key)
    }

    pub fn is_lost(&self, key: &Key) -> bool {
        self.0.condition.lock().lost_objects.contains(key)
    }

    pub fn remove_lost(&self, key: &Key) {
        let mut condition = self.0.condition.lock();
        if condition.lost_objects.remove(key) {
            condition.changes.record(key);
        }
    }

    /// Records whether the directory of classes has no space left.
    pub(super) fn set_full(&self, classes: &[StorageClass], is_full: bool) {
        let mut condition = self.0.condition.lock();
        for class in classes {
            if is_full {
                condition.full_classes.insert(*class);
            } else {
                condition.full_classes.remove(class);
            }
        }
    }

    /// Returns whether one of the classes has no space left.
    pub(super) fn is_any_full(&self, classes: &[StorageClass]) -> bool {
        let condition = self.0.condition.lock();
        classes.iter().any(|class| condition.full_classes.contains(class))
    }
}

/// The changes since the first of the running scans began, which the result of a scan must not overwrite; empty without
/// scans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecentChanges {
    scans: usize,
    last_number: u64,
    /// The number of the last change of each object.
    changes: BTreeMap<Key, u64>,
}

impl RecentChanges {
    /// Begins a scan; returns the number of the last change before it.
    pub(super) fn begin_scan(&mut self) -> u64 {
        self.scans += 1;
        self.last_number
    }

    pub(super) fn end_scan(&mut self) {
        self.scans -= 1;
        if self.scans == 0 {
            self.changes.clear();
        }
    }

    pub(super) fn record(&mut self, key: &Key) {
        if self.scans > 0 {
            self.last_number += 1;
            self.changes.insert(*key, self.last_number);
        }
    }

    /// Replaces those of `keys` that are in the scope of a scan by the keys that the scan found (`found_keys`). Objects
    /// that changed after the last change before the scan (`scan_start`) are left as they are.
    pub(super) fn merge(
        &self,
        scan_start: u64,
        keys: &mut BTreeSet<Key>,
        found_keys: BTreeSet<Key>,
        is_in_scope: impl Fn(&Key) -> bool,
    ) {
        let is_newer = |key: &Key| self.changes.get(key).is_some_and(|change| *change > scan_start);
        keys.retain(|key| !is_in_scope(key) || is_newer(key));
        keys.extend(found_keys.into_iter().filter(|key| !is_newer(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::digest::Sha256;
    use base::model::kind::StorageClass;

    #[test]
    fn warnings_name_classes_and_remedies() {
        let mut condition = Condition::default();
        condition.ownerships.insert(StorageClass::Cran, Ownership::Own);
        assert_eq!(condition.warnings(), []);
        for class in [StorageClass::Packages, StorageClass::Binaries] {
            condition.ownerships.insert(class, Ownership::Foreign(Identity([1; 16])));
        }
        condition.pending_sweeps.insert(StorageClass::Cran, PendingSweep { objects: 600, total: 1000 });
        let damaged_key = Key::Package(StorageClass::Cran, Sha256([1; 32]));
        condition.damaged_objects.insert(damaged_key);
        let warnings = condition.warnings();
        let names: Vec<(&str, &str)> = warnings.iter().map(|w| (w.kind, w.name.as_str())).collect();
        let expected =
            [("storage-owner", "packages, binaries"), ("storage-sweep", "cran"), ("storage-damage", "cran")];
        assert_eq!(names, expected);
        assert_eq!(warnings[0].command, "rspm storage adopt");
        assert!(
            warnings[1].message.contains("600 of 1000") && warnings[1].command.ends_with("--confirm=cran")
        );
        condition.record_stored(&damaged_key);
        assert_eq!(condition.warnings().len(), 2);
    }

    #[tokio::test]
    async fn a_missing_class_has_no_lost_objects_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let config = base::config::Config::example(folder.path(), "").unwrap().config;
        let storage = Storage::open_read_only(&config.storage).await.unwrap();
        let class = StorageClass::Packages;
        let lost_keys = || BTreeSet::from([Key::Package(class, Sha256([1; 32]))]);
        assert!(storage.begin_scan().set_lost(class, lost_keys()));
        storage.set_ownership(class, Ownership::Missing { former_location: None });
        let kinds = || storage.condition().warnings().iter().map(|w| w.kind).collect::<Vec<_>>();
        assert_eq!(kinds(), ["storage-owner"]);
        assert!(!storage.begin_scan().set_lost(class, lost_keys()));
        assert_eq!(kinds(), ["storage-owner"]);
        storage.set_ownership(class, Ownership::Own);
        assert!(storage.begin_scan().set_lost(class, lost_keys()));
    }

    #[test]
    fn a_scan_keeps_what_changed_after_it_began() {
        let [stored, lost, removed, found] =
            [1, 2, 3, 4].map(|n| Key::Package(StorageClass::Packages, Sha256([n; 32])));
        let mut changes = RecentChanges::default();
        changes.record(&found);
        let scan_start = changes.begin_scan();
        let other_scan_start = changes.begin_scan();
        let mut keys = BTreeSet::from([removed]);
        // After the scan read them, one missing object is stored, and one existing object is lost.
        changes.record(&stored);
        keys.insert(lost);
        changes.record(&lost);
        changes.merge(scan_start, &mut keys, BTreeSet::from([stored, found]), |_| true);
        assert_eq!(keys, BTreeSet::from([lost, found]));
        changes.end_scan();
        changes.merge(other_scan_start, &mut keys, BTreeSet::new(), |_| true);
        assert_eq!(keys, BTreeSet::from([lost]), "the other scan began before the changes too");
        changes.end_scan();
        assert_eq!(changes.changes.len(), 0);
    }
}
