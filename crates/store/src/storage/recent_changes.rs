//! Objects whose condition changed while scans run: the result of a scan, which takes time, must not overwrite these
//! changes.

use std::collections::{BTreeMap, BTreeSet};

use super::Key;

/// The changes since the first of the running scans began; empty without scans.
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
    use base::model::storage_class::StorageClass;

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
