//! The changes of one package: which of its known releases the mirror still lists or archives, and which are new.

use std::collections::{BTreeMap, BTreeSet};

use super::declaration::{DeclaredLife, PackageDeclaration};
use super::existing_source::{ExistingPackage, ExistingRelease, OpenLife};
use base::model::change::{Change, Counts, LifeState, NewFile, NewRelease};
use base::model::time::Timestamp;
use formats::r::dcf;

pub(super) struct PackageComparison<'a> {
    pub(super) declaration: PackageDeclaration<'a>,
    pub(super) package: &'a ExistingPackage,
    /// Whether the mirror has a `Meta/archive.rds`.
    pub(super) has_archive: bool,
    pub(super) ignores_times: bool,
}

#[derive(Default)]
pub(super) struct PackageCounts {
    pub(super) counts: Counts,
    /// Number of known versions with another time and the same size.
    pub(super) other_time_count: usize,
    /// Whether the index lists the package more than once.
    pub(super) has_duplicates: bool,
}

/// Whether a declared file is a known release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Same,
    /// Only the time differs.
    OtherTime,
    Other,
}

/// The preference among the known releases that a declaration matches; the greatest one is chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Whether the release has the declared life.
    has_life: bool,
    is_listed: bool,
    revision: i64,
}

impl<'a> PackageComparison<'a> {
    /// Appends the changes of the package.
    pub(super) fn compare(&self, changes: &mut Vec<Change>) -> PackageCounts {
        let mut result = PackageCounts::default();
        let (declared_lives, has_duplicates) = self.declaration.declared_lives();
        result.has_duplicates = has_duplicates;

        let first_change = changes.len();
        let mut claims = ClaimedReleases::new(self.package);
        let mut revisions: BTreeMap<&str, i64> = BTreeMap::new();
        for state in [LifeState::Listed, LifeState::Archived] {
            for life in declared_lives.iter().filter(|life| life.state == state) {
                self.match_release(life, &mut claims, &mut revisions, &mut result.other_time_count, changes);
            }
        }
        self.continue_superseded(&declared_lives, &mut claims, changes);
        let ended_listing_count = self.end_other_lives(&claims, changes);
        result.counts = self.count(&changes[first_change..], ended_listing_count);
        result
    }

    /// Finds the known release of a declaration and continues or begins its life, or introduces a new release.
    fn match_release(
        &self,
        life: &DeclaredLife<'a>,
        claims: &mut ClaimedReleases,
        revisions: &mut BTreeMap<&'a str, i64>,
        other_time_count: &mut usize,
        changes: &mut Vec<Change>,
    ) {
        let mut best_match: Option<(usize, Rank)> = None;
        let mut has_other_time = false;
        for (index, release) in self.package.releases.iter().enumerate() {
            if claims.is_claimed[index] || &*release.version != life.version {
                continue;
            }
            match self.matches(life, release) {
                Match::Other => {}
                Match::OtherTime => has_other_time = true,
                Match::Same => {
                    let has_life = match life.state {
                        LifeState::Listed => release.listed_life(life.path).is_some(),
                        LifeState::Archived => release.archived_life().is_some(),
                    };
                    let is_listed = release.listed_life("").is_some();
                    let rank = Rank { has_life, is_listed, revision: release.revision };
                    if best_match.is_none_or(|(_, other)| rank > other) {
                        best_match = Some((index, rank));
                    }
                }
            }
        }
        match best_match {
            Some((index, _)) => {
                claims.is_claimed[index] = true;
                self.begin_life(life, index, claims, changes);
            }
            None if self.is_stale(life) => {
                let life_without_stat = DeclaredLife { size: None, mtime: None, ..life.clone() };
                changes.push(self.introduce(&life_without_stat, revisions));
            }
            None => {
                *other_time_count += usize::from(has_other_time);
                changes.push(self.introduce(life, revisions));
            }
        }
    }

    /// Returns whether the MD5 is new but size and time are those of the known file: `Meta/current.rds` is
    /// older than the index, and its size would make the new file look damaged.
    fn is_stale(&self, life: &DeclaredLife<'a>) -> bool {
        life.md5.is_some()
            && life.mtime.is_some()
            && self.package.releases.iter().any(|release| {
                &*release.version == life.version
                    && release.md5.is_some()
                    && release.md5 != life.md5
                    && release.size == life.size
                    && release.published_at == life.mtime
            })
    }

    fn matches(&self, life: &DeclaredLife<'a>, release: &ExistingRelease) -> Match {
        if release.has_unusual_file {
            return Match::Other;
        }
        let differ = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a != b);
        if let (Some(declared_md5), Some(stored_md5)) = (life.md5, release.md5) {
            return if declared_md5 == stored_md5 { Match::Same } else { Match::Other };
        }
        // Equal digests do not decide: the digest of the known release may be from the bundle by name and size.
        if life.sha256.zip(release.sha256).is_some_and(|(declared, stored)| declared != stored) {
            return Match::Other;
        }
        if differ(life.size, release.size) {
            return Match::Other;
        }
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::seconds);
        if differ(seconds(life.mtime), seconds(release.published_at)) {
            return if self.ignores_times { Match::Same } else { Match::OtherTime };
        }
        Match::Same
    }

    fn begin_life(
        &self,
        life: &DeclaredLife<'a>,
        index: usize,
        claims: &mut ClaimedReleases,
        changes: &mut Vec<Change>,
    ) {
        let release = &self.package.releases[index];
        let begin = |variant| Change::BeginLife {
            state: life.state,
            package: self.package.id,
            release: release.id,
            variant,
            path: life.path.to_owned(),
        };
        let Some(stanza) = life.stanza.as_deref() else {
            match release.archived_life() {
                Some(_) => claims.keep(index, LifeState::Archived, ""),
                None => changes.push(begin(release.variant)),
            }
            return;
        };
        let record = release.listed_life(life.path).and_then(|life| life.stanza.as_deref());
        if record.is_some_and(|record| same_record(record, stanza)) {
            claims.keep(index, LifeState::Listed, life.path);
            return;
        }
        let variant = release.variant - 1;
        let stanza = stanza.to_vec();
        changes.push(Change::Record { release: release.id, variant, stanza, md5: life.md5, size: life.size });
        changes.push(begin(variant));
    }

    fn introduce(&self, life: &DeclaredLife<'a>, revisions: &mut BTreeMap<&'a str, i64>) -> Change {
        let next_revision = revisions.entry(life.version).or_insert_with(|| {
            let releases = self.package.releases.iter().filter(|release| &*release.version == life.version);
            releases.map(|release| release.revision + 1).max().unwrap_or(0)
        });
        let revision = *next_revision;
        *next_revision += 1;
        let release = NewRelease {
            package: self.declaration.name.to_owned(),
            version: life.version.to_owned(),
            revision,
            published_at: life.mtime,
            stanza: life.stanza.as_deref().map(<[u8]>::to_vec),
            description: None,
            readme: None,
            files: vec![NewFile {
                name: life.file.clone(),
                locator: life.locator.clone(),
                size: life.size,
                md5: life.md5,
                sha256: None,
                stored: false,
            }],
        };
        Change::Introduce { release, state: life.state, path: life.path.to_owned() }
    }

    /// Continues or begins the archived life of each release that the mirror no longer declares, unless the mirror has
    /// withdrawn the release. A superseded release counts as archived if the mirror has no `Meta/archive.rds`, or if
    /// `Meta/` is older than the index. Only the newest revision remains: a file in `Archive/` has one name.
    fn continue_superseded(
        &self,
        lives: &[DeclaredLife<'a>],
        claims: &mut ClaimedReleases,
        changes: &mut Vec<Change>,
    ) {
        let newest_version = self.declaration.newest_listed_version();
        let mut archived_versions: BTreeSet<&str> =
            lives.iter().filter(|life| life.state == LifeState::Archived).map(|life| life.version).collect();
        let mut indexes: Vec<usize> =
            (0..self.package.releases.len()).filter(|index| !claims.is_claimed[*index]).collect();
        indexes.sort_by_key(|index| std::cmp::Reverse(self.package.releases[*index].revision));
        for index in indexes {
            let release = &self.package.releases[index];
            let is_replaced = newest_version.is_none_or(|newest| *newest == *release.version);
            if (self.has_archive && (is_replaced || !self.declaration.has_current(&release.version)))
                || archived_versions.contains(&*release.version)
            {
                continue;
            }
            if release.archived_life().is_some() {
                claims.keep(index, LifeState::Archived, "");
                archived_versions.insert(&release.version);
            } else if !is_replaced && release.listed_life("").is_some() {
                archived_versions.insert(&release.version);
                changes.push(Change::BeginLife {
                    state: LifeState::Archived,
                    package: self.package.id,
                    release: release.id,
                    variant: release.variant,
                    path: String::new(),
                });
            }
        }
    }

    /// Ends every life that does not continue; returns the number of listed lives among them.
    fn end_other_lives(&self, claims: &ClaimedReleases, changes: &mut Vec<Change>) -> usize {
        let mut ended_listing_count = 0;
        for (index, release) in self.package.releases.iter().enumerate() {
            for life in &release.lives {
                if !claims.stays_open(index, life) {
                    ended_listing_count += usize::from(life.state == LifeState::Listed);
                    changes.push(Change::EndLife(release.key(self.package.id, life)));
                }
            }
        }
        ended_listing_count
    }

    fn count(&self, changes: &[Change], ended_listing_count: usize) -> Counts {
        let begins_in = |change: &Change, expected: LifeState| match change {
            Change::Introduce { state, .. } | Change::BeginLife { state, .. } => *state == expected,
            Change::Record { .. } | Change::EndLife(_) => false,
        };
        let has_new_listing = changes.iter().any(|change| begins_in(change, LifeState::Listed));
        let archived = changes.iter().filter(|change| match change {
            Change::BeginLife { state: LifeState::Archived, release, .. } => {
                let known_release = self.package.releases.iter().find(|known| known.id == *release);
                known_release.is_some_and(|known| known.listed_life("").is_some())
            }
            Change::BeginLife { .. }
            | Change::Introduce { .. }
            | Change::Record { .. }
            | Change::EndLife(_) => false,
        });
        let (was_listed, is_listed) = (self.package.is_listed(), !self.declaration.records.is_empty());
        Counts {
            added: i64::from(!was_listed && is_listed),
            updated: i64::from(was_listed && is_listed && (has_new_listing || ended_listing_count > 0)),
            archived: i64::try_from(archived.count()).unwrap_or(i64::MAX),
            removed: i64::from(was_listed && !is_listed),
        }
    }
}

/// The known releases that a declaration claimed, and the lives that stay open.
struct ClaimedReleases {
    is_claimed: Vec<bool>,
    open_lives: Vec<KeptLife>,
}

/// A life that stays open.
struct KeptLife {
    /// The index of its release.
    release: usize,
    state: LifeState,
    path: String,
}

impl ClaimedReleases {
    fn new(package: &ExistingPackage) -> ClaimedReleases {
        ClaimedReleases { is_claimed: vec![false; package.releases.len()], open_lives: Vec::new() }
    }

    fn keep(&mut self, index: usize, state: LifeState, path: &str) {
        self.open_lives.push(KeptLife { release: index, state, path: path.to_owned() });
    }

    /// Returns whether this life of the release at `index` stays open.
    fn stays_open(&self, index: usize, life: &OpenLife) -> bool {
        self.open_lives
            .iter()
            .any(|kept| kept.release == index && kept.state == life.state && *kept.path == *life.path)
    }
}

/// Returns whether two records are equal field by field, ignoring order and line breaks, so that an index
/// written by another version of R, or read in another of its three forms, changes nothing.
pub(super) fn same_record(a: &[u8], b: &[u8]) -> bool {
    a == b || normalized_fields(a) == normalized_fields(b)
}

fn normalized_fields(stanza: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let Some(Ok(record)) = dcf::records(stanza).next() else { return BTreeMap::new() };
    let words = |value: &[u8]| {
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(&b' ')
    };
    let fields = record.fields.iter().map(|field| (field.tag.to_vec(), words(&field.value.fold())));
    fields.filter(|(_, value)| !value.is_empty()).collect()
}
