//! An index of advisories by package, by which vulnerable versions are found. Finds the advisories that affect a
//! version and are not withdrawn, and merges duplicates.

use std::collections::{BTreeMap, HashMap};

use super::batch::Batch;
use super::range::{PreparedRange, Range};
use super::record::{Advisory, Affected, Severity};
use crate::language::{Ecosystem, Version};
use base::model::digest::Sha256;
use base::model::time::Timestamp;

/// All advisories, prepared for lookups. Fields that no lookup needs are left out.
#[derive(Debug, Default)]
pub struct Index {
    advisories: Vec<AdvisoryEntry>,
    /// The affected versions: for each ecosystem, by the normalized name of the package.
    packages: [HashMap<Box<str>, Vec<AffectedEntry>>; Ecosystem::ALL.len()],
    feeds: BTreeMap<String, FeedState>,
}

/// The digest and size of a feed in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedState {
    /// The digest of the stored document.
    pub digest: Sha256,
    pub count: usize,
}

#[derive(Debug)]
pub struct AdvisoryFeed {
    /// The URL or path of the feed, which identifies it.
    pub name: String,
    /// The digest of the stored document.
    pub digest: Sha256,
    pub batch: Batch,
}

/// The reported properties of an advisory.
#[derive(Debug)]
struct AdvisoryEntry {
    id: Box<str>,
    aliases: Box<[Box<str>]>,
    headline: Option<Box<str>>,
    modified: Option<Timestamp>,
    published: Option<Timestamp>,
    withdrawn: Option<Timestamp>,
    severity: Vec<Severity>,
}

#[derive(Debug)]
struct AffectedEntry {
    advisory: usize,
    ranges: Vec<Range>,
    prepared_ranges: Vec<PreparedRange>,
    /// The listed versions that are outside all ranges.
    versions: Vec<Version<'static>>,
    severity: Vec<Severity>,
}

/// A vulnerability that affects a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// The id of the advisory, preferably from the ecosystem's own database.
    pub id: &'a str,
    /// All other ids of the vulnerability, sorted.
    pub aliases: Vec<&'a str>,
    pub summary: Option<&'a str>,
    pub published: Option<Timestamp>,
    /// The last modification of the advisory `id`.
    pub modified: Option<Timestamp>,
    /// The distinct severities of all merged advisories.
    pub severity: Vec<&'a Severity>,
    /// The ranges of the advisory `id` for this package.
    pub ranges: Vec<&'a Range>,
}

#[derive(Clone, Copy, Debug)]
pub struct PackageAdvisories<'a> {
    index: &'a Index,
    ecosystem: Ecosystem,
    entries: &'a [AffectedEntry],
}

impl Index {
    /// Creates an index of several feeds. Of advisories with the same id, the one modified last is used.
    pub fn new(feeds: Vec<AdvisoryFeed>) -> Index {
        let mut index = Index::default();
        let mut newest_by_id: BTreeMap<&str, &Advisory> = BTreeMap::new();
        for feed in &feeds {
            for advisory in feed.batch.advisories() {
                let entry = newest_by_id.entry(&advisory.id).or_insert(advisory);
                if entry.modified < advisory.modified {
                    *entry = advisory;
                }
            }
        }
        for advisory in newest_by_id.into_values() {
            index.add(advisory);
        }
        let state =
            |feed: AdvisoryFeed| (feed.name, FeedState { digest: feed.digest, count: feed.batch.len() });
        index.feeds = feeds.into_iter().map(state).collect();
        index
    }

    fn add(&mut self, advisory: &Advisory) {
        let position = self.advisories.len();
        self.advisories.push(AdvisoryEntry {
            id: advisory.id.as_str().into(),
            aliases: advisory.aliases.iter().map(|alias| alias.as_str().into()).collect(),
            headline: advisory.headline().map(Into::into),
            modified: advisory.modified,
            published: advisory.published,
            withdrawn: advisory.withdrawn,
            severity: advisory.severity.clone(),
        });
        for affected in &advisory.affected {
            if let (Some(ecosystem), Some(package)) = (affected.ecosystem(), &affected.package) {
                let name = ecosystem.rules().fold(&package.name).into();
                let entries = self.packages[ecosystem as usize].entry(name).or_default();
                entries.push(AffectedEntry::new(ecosystem, position, affected));
            }
        }
    }

    pub fn len(&self) -> usize {
        self.advisories.len()
    }

    pub fn is_empty(&self) -> bool {
        self.advisories.is_empty()
    }

    /// Returns the number of packages of an ecosystem that have advisories.
    pub fn package_count(&self, ecosystem: Ecosystem) -> usize {
        self.packages[ecosystem as usize].len()
    }

    /// Returns the time of the last change of an advisory of an ecosystem, withdrawn or not; `None` if it is not known.
    pub fn last_change(&self, ecosystem: Ecosystem) -> Option<Timestamp> {
        let entries = self.packages[ecosystem as usize].values().flatten();
        entries.filter_map(|entry| self.advisories[entry.advisory].modified).max()
    }

    /// Returns the feeds of the index, by name.
    pub fn feeds(&self) -> &BTreeMap<String, FeedState> {
        &self.feeds
    }

    /// Returns the advisories about a package; `None` if there are none.
    pub fn package(&self, ecosystem: Ecosystem, name: &str) -> Option<PackageAdvisories<'_>> {
        let entries = self.packages[ecosystem as usize].get(&*ecosystem.rules().fold(name))?;
        Some(PackageAdvisories { index: self, ecosystem, entries })
    }
}

impl AffectedEntry {
    fn new(ecosystem: Ecosystem, advisory: usize, affected: &Affected) -> AffectedEntry {
        let prepared_ranges: Vec<PreparedRange> =
            affected.ranges.iter().filter_map(|r| PreparedRange::new(ecosystem, r)).collect();
        let versions = affected.versions.iter().map(|text| ecosystem.rules().version(text).into_owned());
        let versions =
            versions.filter(|version| !prepared_ranges.iter().any(|range| range.contains(version))).collect();
        let severity = affected.severity.clone();
        AffectedEntry { advisory, ranges: affected.ranges.clone(), prepared_ranges, versions, severity }
    }

    fn contains(&self, version: &Version<'_>) -> bool {
        self.versions.iter().any(|listed_version| listed_version.is_same(version))
            || self.prepared_ranges.iter().any(|range| range.contains(version))
    }
}

impl<'a> PackageAdvisories<'a> {
    /// Returns the vulnerabilities of a version whose advisories are not withdrawn at `now`, newest first.
    pub fn vulnerabilities(&self, version: &str, now: Timestamp) -> Vec<Finding<'a>> {
        let version = self.ecosystem.rules().version(version);
        let index = self.index;
        let in_force = |entry: &&AffectedEntry| {
            index.advisories[entry.advisory].withdrawn.is_none_or(|since| since > now)
        };
        let hits: Vec<&AffectedEntry> =
            self.entries.iter().filter(in_force).filter(|entry| entry.contains(&version)).collect();
        let names = hits.iter().map(|hit| {
            let advisory = &index.advisories[hit.advisory];
            std::iter::once(&*advisory.id).chain(advisory.aliases.iter().map(|alias| &**alias))
        });
        let groups = group_by_shared_name(names);
        let finding =
            |group: Vec<usize>| self.finding(group.into_iter().map(|position| hits[position]).collect());
        let mut findings: Vec<Finding<'_>> = groups.into_iter().map(finding).collect();
        findings.sort_by(|a, b| b.published.cmp(&a.published).then_with(|| a.id.cmp(b.id)));
        findings
    }

    /// Merges the advisories about one vulnerability. `hits` must not be empty.
    fn finding(&self, mut hits: Vec<&'a AffectedEntry>) -> Finding<'a> {
        let advisory = |hit: &AffectedEntry| &self.index.advisories[hit.advisory];
        hits.sort_by_key(|hit| (id_rank(self.ecosystem, &advisory(hit).id), advisory(hit).id.clone()));
        let main_advisory = advisory(hits[0]);
        let mut aliases: Vec<&str> = Vec::new();
        let mut severity: Vec<&Severity> = Vec::new();
        for hit in &hits {
            let advisory = advisory(hit);
            aliases.push(&advisory.id);
            aliases.extend(advisory.aliases.iter().map(|alias| &**alias));
            for rating in advisory.severity.iter().chain(&hit.severity) {
                if !severity.contains(&rating) {
                    severity.push(rating);
                }
            }
        }
        aliases.sort_unstable();
        aliases.dedup();
        aliases.retain(|alias| **alias != *main_advisory.id);
        let main_hits = hits.iter().filter(|hit| hit.advisory == hits[0].advisory);
        Finding {
            id: &main_advisory.id,
            aliases,
            summary: hits.iter().find_map(|hit| advisory(hit).headline.as_deref()),
            published: main_advisory
                .published
                .or_else(|| hits.iter().find_map(|hit| advisory(hit).published)),
            modified: main_advisory.modified,
            severity,
            ranges: main_hits.flat_map(|hit| &hit.ranges).collect(),
        }
    }
}

/// Returns the rank of the database to which an id belongs; the lowest rank is preferred.
fn id_rank(ecosystem: Ecosystem, id: &str) -> usize {
    let databases = [ecosystem.id_prefix(), "GHSA-", "CVE-"];
    databases.iter().position(|prefix| id.starts_with(prefix)).unwrap_or(databases.len())
}

/// Groups items, such as advisories under the ids of several databases, that share a name, directly or through other items. An item is given by its names. Returns the sorted
/// item indexes of each group.
pub(super) fn group_by_shared_name<'a, N: IntoIterator<Item = &'a str>>(
    items: impl IntoIterator<Item = N>,
) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (index, names) in items.into_iter().enumerate() {
        let names: Vec<&str> = names.into_iter().collect();
        let mut existing_groups: Vec<usize> =
            names.iter().filter_map(|name| group_of.get(name).copied()).collect();
        existing_groups.sort_unstable();
        existing_groups.dedup();
        let target = existing_groups.first().copied().unwrap_or_else(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[target].push(index);
        // An item with names from several groups joins these groups.
        for other in existing_groups.into_iter().skip(1) {
            let members = std::mem::take(&mut groups[other]);
            groups[target].extend(members);
            group_of.values_mut().filter(|group| **group == other).for_each(|group| *group = target);
        }
        group_of.extend(names.into_iter().map(|name| (name, target)));
    }
    groups.retain(|group| !group.is_empty());
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisory::Format;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn index(records: &[Value]) -> Index {
        let mut batch = Batch::default();
        for record in records {
            batch.add_file("A-1.json", Format::Json, record.to_string().as_bytes());
        }
        assert_eq!(batch.skipped_files().0, 0, "{:?}", batch.skipped_files());
        Index::new(vec![AdvisoryFeed { name: "test".to_owned(), digest: Sha256([0; 32]), batch }])
    }

    fn ids<'a>(index: &'a Index, ecosystem: Ecosystem, name: &str, version: &str) -> Vec<&'a str> {
        let findings = index
            .package(ecosystem, name)
            .map(|package| package.vulnerabilities(version, NOW))
            .unwrap_or_default();
        findings.iter().map(|finding| finding.id).collect()
    }

    fn advisory(id: &str, ecosystem: &str, name: &str, fields: Value) -> Value {
        let mut record = json!({ "id": id, "published": "2024-01-01T00:00:00Z", "affected":
            [{ "package": { "ecosystem": ecosystem, "name": name }, "versions": ["1.0"] }] });
        record.as_object_mut().expect("a map").extend(fields.as_object().expect("a map").clone());
        record
    }

    #[test]
    fn packages_are_distinguished_by_ecosystem_and_name() {
        let index = index(&[
            advisory("RSEC-1", "CRAN", "readxl", json!({})),
            advisory("RSEC-2", "Bioconductor", "readxl", json!({})),
            advisory("PYSEC-1", "PyPI", "zope-interface", json!({})),
        ]);
        assert_eq!(ids(&index, Ecosystem::Cran, "readxl", "1.0"), ["RSEC-1"]);
        assert_eq!(ids(&index, Ecosystem::Bioconductor, "readxl", "1-0"), ["RSEC-2"]);
        assert_eq!(ids(&index, Ecosystem::Pypi, "Zope.Interface", "1.0.0"), ["PYSEC-1"]);
        assert!(ids(&index, Ecosystem::Cran, "Readxl", "1.0").is_empty());
        assert!(ids(&index, Ecosystem::Cran, "readxl", "1.1").is_empty());
    }

    #[test]
    fn withdrawn_advisories_are_not_reported() {
        let index = index(&[
            advisory("A-1", "CRAN", "a", json!({ "withdrawn": "2024-05-01T00:00:00Z" })),
            advisory("A-2", "CRAN", "a", json!({ "withdrawn": "2099-01-01T00:00:00Z" })),
            advisory("A-3", "CRAN", "a", json!({ "withdrawn": null })),
        ]);
        assert_eq!(ids(&index, Ecosystem::Cran, "a", "1.0"), ["A-2", "A-3"]);
    }

    #[test]
    fn advisories_of_one_vulnerability_are_merged_with_all_severities() {
        let v3 = json!({ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" });
        let v4 = json!({ "type": "CVSS_V4", "score": "CVSS:4.0/AV:N" });
        let index = index(&[
            advisory(
                "GHSA-1",
                "PyPI",
                "a",
                json!({ "aliases": ["CVE-1"], "summary": "From GHSA", "severity": [v3, v4] }),
            ),
            advisory("PYSEC-1", "PyPI", "A", json!({ "aliases": ["CVE-1", "GHSA-1"], "severity": [v3] })),
            advisory(
                "PYSEC-2",
                "PyPI",
                "a",
                json!({ "aliases": ["CVE-2"], "published": "2025-01-01T00:00:00Z" }),
            ),
        ]);
        let findings = index.package(Ecosystem::Pypi, "a").expect("known").vulnerabilities("1.0", NOW);
        assert_eq!(findings.iter().map(|f| f.id).collect::<Vec<_>>(), ["PYSEC-2", "PYSEC-1"], "newest first");
        assert_eq!(findings[1].aliases, ["CVE-1", "GHSA-1"]);
        assert_eq!(findings[1].summary, Some("From GHSA"));
        assert_eq!(
            findings[1].severity.iter().map(|s| s.kind.as_str()).collect::<Vec<_>>(),
            ["CVSS_V3", "CVSS_V4"]
        );
    }

    #[test]
    fn of_two_advisories_the_last_modified_one_applies() {
        let feed = |name: &str, modified: &str, version: &str| {
            let mut batch = Batch::default();
            let record = advisory(
                "A-1",
                "CRAN",
                "a",
                json!({ "modified": modified, "affected":
                [{ "package": { "ecosystem": "CRAN", "name": "a" }, "versions": [version] }] }),
            );
            batch.add_file("A-1.json", Format::Json, record.to_string().as_bytes());
            AdvisoryFeed { name: name.to_owned(), digest: Sha256([0; 32]), batch }
        };
        let (old, new) = (("old", "2024-01-01T00:00:00Z", "1.0"), ("new", "2025-01-01T00:00:00Z", "2.0"));
        for order in [[old, new], [new, old]] {
            let index =
                Index::new(order.map(|(name, modified, version)| feed(name, modified, version)).into());
            assert_eq!(index.len(), 1);
            assert_eq!(
                (
                    ids(&index, Ecosystem::Cran, "a", "1.0").len(),
                    ids(&index, Ecosystem::Cran, "a", "2.0").len()
                ),
                (0, 1)
            );
            assert_eq!(index.feeds().keys().collect::<Vec<_>>(), ["new", "old"]);
        }
    }

    proptest! {
        #[test]
        fn a_version_is_affected_if_it_is_listed_or_in_a_range(
            listed in proptest::collection::btree_set(0_u8..9, 0..4), from in 0_u8..9, to in 0_u8..9, v in 0_u8..9,
        ) {
            let text = |n: &u8| format!("1.{n}");
            let versions: Vec<String> = listed.iter().map(text).collect();
            let record = json!({ "id": "A-1", "affected": [
                { "package": { "ecosystem": "CRAN", "name": "other" }, "versions": ["1.0", "1.1", "1.2"] },
                { "package": { "ecosystem": "CRAN", "name": "a" }, "versions": versions, "ranges": [
                    { "type": "GIT", "repo": "x", "events": [{ "introduced": "0" }] },
                    { "type": "ECOSYSTEM", "events": [{ "introduced": text(&from) }, { "fixed": text(&to) }] }] }] });
            let index = index(&[record]);
            let is_in_range = if from <= to { (from..to).contains(&v) } else { v >= from };
            let expected = listed.contains(&v) || is_in_range;
            prop_assert_eq!(!ids(&index, Ecosystem::Cran, "a", &text(&v)).is_empty(), expected);
        }
    }

    #[test]
    fn items_that_share_a_name_are_one_group() {
        let group =
            |items: &[&[&'static str]]| group_by_shared_name(items.iter().map(|names| names.iter().copied()));
        assert_eq!(group(&[&["A", "CVE-1"], &["B"], &["G", "CVE-1"]]), [vec![0, 2], vec![1]]);
        assert_eq!(
            group(&[&["A"], &["B"], &["C", "A", "B"]]),
            [vec![0, 1, 2]],
            "a third item joins two groups"
        );
        assert_eq!(group(&[&["A", "B"], &["B", "A"]]), [vec![0, 1]]);
        assert_eq!(group(&[]), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn groups_are_the_connected_components(items in proptest::collection::vec(proptest::collection::vec(0_usize..8, 0..4), 0..8)) {
            const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let groups = group_by_shared_name(items.iter().map(|names| names.iter().map(|n| NAMES[*n])));
            let mut members: Vec<usize> = groups.concat();
            members.sort_unstable();
            prop_assert_eq!(members, (0..items.len()).collect::<Vec<_>>(), "each once");
            // Propagates the lowest number until nothing changes.
            let mut label: Vec<usize> = (0..items.len()).collect();
            for _ in 0..items.len() {
                for a in 0..items.len() {
                    for b in 0..items.len() {
                        if items[a].iter().any(|name| items[b].contains(name)) {
                            let smallest = label[a].min(label[b]);
                            (label[a], label[b]) = (smallest, smallest);
                        }
                    }
                }
            }
            for group in &groups {
                prop_assert!(group.iter().all(|index| label[*index] == label[group[0]]));
            }
            let mut firsts: Vec<usize> = groups.iter().map(|group| label[group[0]]).collect();
            let count = firsts.len();
            firsts.sort_unstable();
            firsts.dedup();
            prop_assert_eq!(firsts.len(), count, "no two groups belong together");
        }
    }
}
