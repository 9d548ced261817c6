//! The state of a product after applying its records: the releases, and which of them are listed.

use std::collections::{BTreeMap, HashMap};

use super::record::{Record, RecordObject, ReleaseRecord, SnapshotRecord, check_names};
use super::self_digest::digest;
use base::model::digest::Sha256;
use base::model::time::{Day, Timestamp};

/// Folder (empty for the default one) and package.
pub type Key = (String, String);

/// The state after a sequence of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductState {
    /// A hash map, because there is a lookup for every record and index row, whereas sorted iteration is rare.
    packages: HashMap<Key, PackageState>,
    /// Listed releases without a record: the base of an incremental bundle is missing or is another bundle.
    missing_releases: Vec<String>,
    day: Option<Day>,
}

/// A package in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageState {
    /// The releases in the order of their records.
    pub releases: Vec<Release>,
    /// The index of the listed release in `releases`; `None` if no release is listed.
    pub listed_index: Option<usize>,
}

/// The part of a [`ReleaseRecord`] that is stored in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub version: String,
    pub published: Option<Timestamp>,
    /// The first day of the release.
    pub day: Day,
    pub object: RecordObject,
    /// The digest of its index record.
    pub index: Option<Sha256>,
}

impl PackageState {
    pub fn listed_release(&self) -> Option<&Release> {
        self.releases.get(self.listed_index?)
    }
}

/// Returns the line of a release in a listing, such as `R6 2.6.1` or `data/annotation:GenomeInfoDbData 1.2.13`.
pub fn listing_line(folder: &str, package: &str, version: &str) -> String {
    match folder {
        "" => format!("{package} {version}"),
        folder => format!("{folder}:{package} {version}"),
    }
}

fn key(folder: Option<&str>, name: &str) -> Key {
    (folder.unwrap_or_default().to_owned(), name.to_owned())
}

impl ProductState {
    /// Returns the packages, ordered by folder and name.
    pub fn packages(&self) -> impl Iterator<Item = (&Key, &PackageState)> {
        let mut packages: Vec<_> = self.packages.iter().collect();
        packages.sort_unstable_by_key(|(key, _)| *key);
        packages.into_iter()
    }

    /// Returns the packages by value, ordered by folder and name, so that each can be freed before the next.
    pub fn into_packages(self) -> impl Iterator<Item = (Key, PackageState)> {
        let mut packages: Vec<_> = self.packages.into_iter().collect();
        packages.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        packages.into_iter()
    }

    pub fn package(&self, folder: &str, name: &str) -> Option<&PackageState> {
        self.packages.get(&key(Some(folder), name))
    }

    /// Returns every release, in the order of the packages.
    pub fn releases(&self) -> impl Iterator<Item = (&Key, &Release)> {
        self.packages().flat_map(|(key, package)| package.releases.iter().map(move |release| (key, release)))
    }

    /// Returns the number of listed packages, including those without a record.
    pub fn listed_count(&self) -> usize {
        self.packages.values().filter(|package| package.listed_index.is_some()).count()
            + self.missing_releases.len()
    }

    /// Returns the lines of the listing, sorted by bytes.
    pub fn listing(&self) -> Vec<String> {
        let recorded_lines = self.packages.iter().filter_map(|((folder, name), package)| {
            Some(listing_line(folder, name, &package.listed_release()?.version))
        });
        let mut lines: Vec<String> = recorded_lines.chain(self.missing_releases.iter().cloned()).collect();
        lines.sort_unstable();
        lines
    }

    /// Returns the SHA-256 of the lines of the listing, each followed by LF.
    pub fn digest(&self) -> Sha256 {
        listing_digest(&self.listing())
    }

    /// Returns the listed releases without a record.
    pub fn missing_releases(&self) -> &[String] {
        &self.missing_releases
    }

    pub fn day(&self) -> Option<Day> {
        self.day
    }

    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Release(release) => {
                release.check()?;
                self.add_release(release);
            }
            Record::Index(update) => {
                let package = self.packages.get_mut(&key(update.folder.as_deref(), &update.name));
                let releases = package.into_iter().flat_map(|package| &mut package.releases);
                for release in releases.filter(|release| release.object.sha256 == update.sha256) {
                    release.index = Some(digest(update.index.as_bytes()));
                }
            }
            Record::Archive(event) => {
                check_names(event.folder.as_deref(), &event.name, None)?;
                self.remove_missing_release(event.folder.as_deref(), &event.name);
                if let Some(package) = self.packages.get_mut(&key(event.folder.as_deref(), &event.name)) {
                    package.listed_index = None;
                }
                self.day = self.day.max(Some(event.day));
            }
            Record::Restore(event) => {
                let package = self.packages.get_mut(&key(event.folder.as_deref(), &event.name));
                let index = package.as_ref().and_then(|package| {
                    package.releases.iter().rposition(|release| {
                        event.version.as_ref().is_none_or(|version| *version == release.version)
                            && event.sha256.is_none_or(|sha256| sha256 == release.object.sha256)
                    })
                });
                let (Some(package), Some(index)) = (package, index) else {
                    return Err(format!("{} is restored, but was never recorded", event.name.escape_debug()));
                };
                package.listed_index = Some(index);
                self.remove_missing_release(event.folder.as_deref(), &event.name);
                self.day = self.day.max(Some(event.day));
            }
            Record::Remove(event) => {
                check_names(event.folder.as_deref(), &event.name, event.version.as_deref())?;
                self.remove(
                    &key(event.folder.as_deref(), &event.name),
                    event.version.as_deref(),
                    event.sha256,
                );
                self.day = self.day.max(Some(event.day));
            }
            Record::Snapshot(snapshot) => self.check_snapshot(snapshot)?,
            Record::Unknown => {}
        }
        Ok(())
    }

    fn remove_missing_release(&mut self, folder: Option<&str>, name: &str) {
        let prefix = listing_line(folder.unwrap_or_default(), name, "");
        self.missing_releases.retain(|line| !line.starts_with(&prefix));
    }

    fn add_release(&mut self, record: &ReleaseRecord) {
        if !record.archived {
            self.remove_missing_release(record.folder.as_deref(), &record.name);
        }
        let package = self.packages.entry(key(record.folder.as_deref(), &record.name)).or_default();
        let release = Release {
            version: record.version.clone(),
            published: record.published,
            day: record.day,
            object: record.obj.clone(),
            index: record.index.as_ref().map(|index| digest(index.as_bytes())),
        };
        let is_same =
            |other: &Release| other.version == record.version && other.object.sha256 == record.obj.sha256;
        // An incremental bundle may record a release of its base again. The first record, with its day, is kept.
        let index = package.releases.iter().position(is_same).unwrap_or_else(|| {
            package.releases.push(release);
            package.releases.len() - 1
        });
        if !record.archived {
            package.listed_index = Some(index);
        }
        self.day = self.day.max(Some(record.day));
    }

    fn remove(&mut self, key: &Key, version: Option<&str>, sha256: Option<Sha256>) {
        let Some(package) = self.packages.get_mut(key) else { return };
        let is_removed = |release: &Release| {
            version.is_none_or(|version| version == release.version)
                && sha256.is_none_or(|sha256| sha256 == release.object.sha256)
        };
        let listed_release = package.listed_release().filter(|release| !is_removed(release)).cloned();
        package.releases.retain(|release| !is_removed(release));
        package.listed_index =
            listed_release.and_then(|listed| package.releases.iter().position(|release| *release == listed));
        if package.releases.is_empty() {
            self.packages.remove(key);
        }
    }

    fn check_snapshot(&mut self, snapshot: &SnapshotRecord) -> Result<(), String> {
        if let Some(listing) = &snapshot.listing {
            self.set_listing(listing);
        }
        let (packages, state) = (self.listed_count(), self.digest());
        self.day = self.day.max(Some(snapshot.day));
        if (packages, state) == (snapshot.packages, snapshot.state) {
            return Ok(());
        }
        let difference = if packages == snapshot.packages {
            format!("the same number of listed packages ({packages}), but other packages or versions")
        } else {
            format!("{packages} listed packages, {} in the snapshot", snapshot.packages)
        };
        Err(format!(
            "the listing after the records up to {} does not match the snapshot: {difference}",
            snapshot.day
        ))
    }

    /// Sets the listing to these lines. Lines without a record become `missing_releases`.
    fn set_listing(&mut self, listing: &[String]) {
        let mut versions_by_package: BTreeMap<Key, Vec<&str>> = BTreeMap::new();
        for line in listing {
            let (path, version) = line.rsplit_once(' ').unwrap_or((line, ""));
            let (folder, name) = path.rsplit_once(':').unwrap_or(("", path));
            versions_by_package.entry((folder.to_owned(), name.to_owned())).or_default().push(version);
        }
        self.missing_releases.clear();
        for (key, package) in &mut self.packages {
            let versions = versions_by_package.remove(key).unwrap_or_default();
            package.listed_index = versions
                .first()
                .and_then(|version| package.releases.iter().rposition(|release| release.version == *version));
            if package.listed_index.is_none() {
                self.missing_releases
                    .extend(versions.iter().map(|version| listing_line(&key.0, &key.1, version)));
            }
        }
        let releases_of_unknown_packages = versions_by_package
            .iter()
            .flat_map(|(key, versions)| versions.iter().map(|v| listing_line(&key.0, &key.1, v)));
        self.missing_releases.extend(releases_of_unknown_packages);
        self.missing_releases.sort_unstable();
    }
}

/// Returns the SHA-256 of lines, each followed by LF.
pub fn listing_digest(lines: &[String]) -> Sha256 {
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    digest(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::record::PackageEvent;
    use super::*;
    use base::model::digest::Md5;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn release(name: &str, version: &str, date: &str, byte: u8) -> Record {
        Record::Release(Box::new(ReleaseRecord {
            folder: None,
            name: name.to_owned(),
            version: version.to_owned(),
            day: day(date),
            published: None,
            archived: false,
            obj: RecordObject {
                sha256: Sha256([byte; 32]),
                size: 1,
                md5: Md5([byte; 16]),
                ext: "tar.gz".to_owned(),
            },
            index: None,
            desc: None,
            compiled: None,
            readme: None,
        }))
    }

    fn event(name: &str, version: Option<&str>, date: &str) -> PackageEvent {
        PackageEvent {
            folder: None,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            sha256: None,
            day: day(date),
        }
    }

    fn state_after(records: &[Record]) -> ProductState {
        let mut state = ProductState::default();
        records.iter().for_each(|record| state.apply(record).expect("a consistent record"));
        state
    }

    #[test]
    fn the_newest_is_listed_until_it_is_archived_and_again_when_it_is_restored() {
        let mut state =
            state_after(&[release("a1", "1.0", "2020-01-01", 1), release("a1", "1.1", "2020-02-01", 2)]);
        assert_eq!(state.listing(), ["a1 1.1"]);
        state.apply(&Record::Archive(event("a1", None, "2020-03-01"))).expect("a consistent record");
        assert_eq!((state.listing().len(), state.releases().count()), (0, 2));
        state.apply(&Record::Restore(event("a1", Some("1.0"), "2020-04-01"))).expect("a consistent record");
        assert_eq!((state.listing(), state.day()), (vec!["a1 1.0".to_owned()], Some(day("2020-04-01"))));
        state.apply(&Record::Remove(event("a1", Some("1.1"), "2020-05-01"))).expect("a consistent record");
        assert_eq!((state.listing(), state.releases().count()), (vec!["a1 1.0".to_owned()], 1));
        assert!(state.apply(&Record::Restore(event("zz", None, "2020-05-01"))).is_err());
    }

    #[test]
    fn applying_a_record_again_changes_nothing() {
        let records = [
            release("a1", "1.0", "2020-01-01", 1),
            release("a1", "1.0", "2020-02-01", 9),
            release("b2", "1", "2020-02-01", 3),
        ];
        let state = state_after(&records);
        let mut repeated_state = state.clone();
        records.iter().for_each(|record| repeated_state.apply(record).expect("a consistent record"));
        assert_eq!(state, repeated_state);
        assert_eq!(state.releases().count(), 3, "a revision is a release of its own");
    }

    #[test]
    fn a_snapshot_that_does_not_match_is_an_error() {
        let mut state = state_after(&[release("a1", "1.0", "2020-01-01", 1)]);
        let valid =
            SnapshotRecord { day: day("2020-01-02"), packages: 1, state: state.digest(), listing: None };
        assert_eq!(state.apply(&Record::Snapshot(valid.clone())), Ok(()));
        let invalid = SnapshotRecord { packages: 2, ..valid.clone() };
        let error = state.apply(&Record::Snapshot(invalid)).expect_err("another number");
        assert!(error.ends_with("1 listed packages, 2 in the snapshot"), "{error}");
        let invalid = SnapshotRecord { state: listing_digest(&["a1 1.1".to_owned()]), ..valid };
        let error = state.apply(&Record::Snapshot(invalid)).expect_err("another version");
        assert!(error.contains("the same number of listed packages (1), but other"), "{error}");
    }

    #[test]
    fn an_incremental_bundle_may_list_releases_of_its_base() {
        let listing: Vec<String> = ["a1 1.0", "b2 2.0", "x/y:c3 3"].map(str::to_owned).into();
        let snapshot = Record::Snapshot(SnapshotRecord {
            day: day("2026-01-02"),
            packages: 3,
            state: listing_digest(&listing),
            listing: Some(listing.clone()),
        });
        let mut state = state_after(&[release("b2", "2.0", "2026-01-01", 2), snapshot.clone()]);
        assert_eq!(state.missing_releases(), ["a1 1.0", "x/y:c3 3"]);
        assert_eq!((state.listing(), state.listed_count()), (listing, 3));
        state.apply(&release("a1", "1.0", "2020-01-01", 1)).expect("a consistent record");
        state.apply(&snapshot).expect("a consistent record");
        assert_eq!(state.missing_releases(), ["x/y:c3 3"]);
        let state = state_after(&[
            release("d4", "1", "2020-01-01", 1),
            release("b2", "2.0", "2026-01-01", 2),
            snapshot,
        ]);
        assert!(!state.listing().iter().any(|line| line.starts_with("d4")), "it is no longer listed");
    }
}
