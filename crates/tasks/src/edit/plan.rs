//! Plans the changes of adding to or removing from one package of a local source. Pure.
//!
//! The rule: the highest version of a package in a local source is listed, all others are in `Archive/`. Versions are
//! compared as in R; of two equal ones, the one added later is the higher. So an older version is archived when added,
//! and when the listed one is removed, the next lower one is listed again. No package has only archived versions.

use base::model::change::{Change, Counts, LifeState, NewRelease};
use base::model::ids::{PackageId, ReleaseId};
use formats::r::version;
use store::db::life::CurrentLife;

/// A release that an edit adds to a package.
#[derive(Clone, Debug)]
pub(super) enum IncomingRelease {
    /// A release with bytes that its version never had.
    New(Box<NewRelease>),
    /// A release that was removed and is added again with the same bytes.
    Existing { package: PackageId, release: ReleaseId, version: String },
}

impl IncomingRelease {
    pub(super) fn version(&self) -> &str {
        match self {
            IncomingRelease::New(release) => &release.version,
            IncomingRelease::Existing { version, .. } => version,
        }
    }

    fn change(self, state: LifeState) -> Change {
        let path = String::new();
        match self {
            IncomingRelease::New(release) => Change::Introduce { release: *release, state, path },
            IncomingRelease::Existing { package, release, .. } => {
                Change::BeginLife { state, package, release, variant: 0, path }
            }
        }
    }
}

/// Plans the state in which a package has the releases of `current` for which `is_retained` is true, followed by
/// the releases of `incoming`. Returns the changes and the counts of the transaction.
pub(super) fn plan_changes(
    current: &[CurrentLife],
    is_retained: impl Fn(&CurrentLife) -> bool,
    incoming: Vec<IncomingRelease>,
) -> (Vec<Change>, Counts) {
    let mut versions: Vec<&str> =
        current.iter().filter(|life| is_retained(life)).map(|life| life.version.as_str()).collect();
    versions.extend(incoming.iter().map(IncomingRelease::version));
    // Of equal versions `max_by` returns the last one.
    let listed_index = (0..versions.len()).max_by(|a, b| version::compare(versions[*a], versions[*b]));
    let old_listed_life = current.iter().find(|life| life.key.state == LifeState::Listed);
    let new_version = listed_index.map(|index| versions[index].to_owned());

    let (mut changes, mut archived_count) = (Vec::new(), 0);
    let mut index = 0;
    let mut state = || {
        index += 1;
        if Some(index - 1) == listed_index { LifeState::Listed } else { LifeState::Archived }
    };
    for life in current {
        if !is_retained(life) {
            changes.push(Change::EndLife(life.key.clone()));
            continue;
        }
        let state = state();
        if state != life.key.state {
            changes.push(Change::EndLife(life.key.clone()));
            let (package, release) = (life.key.package, life.key.release);
            changes.push(Change::BeginLife {
                state,
                package,
                release,
                variant: life.variant,
                path: String::new(),
            });
            archived_count += i64::from(state == LifeState::Archived);
        }
    }
    let is_listed_new = incoming.iter().any(|release| new_version.as_deref() == Some(release.version()));
    for release in incoming {
        let state = state();
        archived_count += i64::from(state == LifeState::Archived);
        changes.push(release.change(state));
    }
    let counts = match (old_listed_life, &new_version) {
        (None, Some(_)) => Counts { added: 1, ..Counts::default() },
        (Some(_), None) => Counts { removed: 1, ..Counts::default() },
        (Some(old_listed_life), Some(new_version))
            if old_listed_life.version != *new_version || is_listed_new =>
        {
            Counts { updated: 1, ..Counts::default() }
        }
        (Some(_), Some(_)) | (None, None) => Counts::default(),
    };
    (changes, Counts { archived: archived_count, ..counts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use base::model::change::{LifeKey, NewFile};
    use base::model::ids::FileId;
    use store::db::file::FileState;

    fn life(release: i64, version: &str, state: LifeState) -> CurrentLife {
        let (package, release) = (PackageId(1), ReleaseId(release));
        CurrentLife {
            key: LifeKey { state, package, path: String::new(), release, file: FileId(0), from_seq: 1 },
            name: "pkg".to_owned(),
            version: version.to_owned(),
            revision: 0,
            variant: 0,
            published_at: None,
            file: FileId(0),
            file_name: String::new(),
            locator: String::new(),
            size: None,
            md5: None,
            sha256: None,
            file_state: FileState::Stored,
            stanza: None,
        }
    }

    fn new(version: &str) -> IncomingRelease {
        let file = NewFile {
            name: String::new(),
            locator: String::new(),
            size: None,
            md5: None,
            sha256: None,
            stored: true,
        };
        IncomingRelease::New(Box::new(NewRelease {
            package: "pkg".to_owned(),
            version: version.to_owned(),
            revision: 0,
            published_at: None,
            stanza: None,
            description: None,
            readme: None,
            files: vec![file],
        }))
    }

    /// Applies the changes; returns the versions with their states.
    fn apply(current: &[CurrentLife], changes: &[Change]) -> Vec<(String, LifeState)> {
        let mut lives: Vec<(ReleaseId, String, LifeState)> =
            current.iter().map(|l| (l.key.release, l.version.clone(), l.key.state)).collect();
        for change in changes {
            match change {
                Change::EndLife(key) => lives.retain(|life| life.0 != key.release || life.2 != key.state),
                Change::BeginLife { state, release, .. } => {
                    let life = current.iter().find(|l| l.key.release == *release);
                    lives.push((*release, life.expect("a known release").version.clone(), *state));
                }
                Change::Introduce { release, state, .. } => {
                    lives.push((ReleaseId(-1), release.version.clone(), *state));
                }
                Change::Record { .. } => unreachable!("no records of known releases"),
            }
        }
        lives.into_iter().map(|(_, version, state)| (version, state)).collect()
    }

    #[test]
    fn counts_match_the_listing() {
        let counts = |current: &[CurrentLife], removed: i64, incoming: Vec<IncomingRelease>| {
            let (_, c) = plan_changes(current, |life| life.key.release.0 != removed, incoming);
            (c.added, c.updated, c.archived, c.removed)
        };
        let listed_life = life(1, "1.0", LifeState::Listed);
        assert_eq!(counts(&[], 0, vec![new("1.0")]), (1, 0, 0, 0));
        assert_eq!(counts(std::slice::from_ref(&listed_life), 0, vec![new("1.1")]), (0, 1, 1, 0));
        assert_eq!(counts(std::slice::from_ref(&listed_life), 0, vec![new("0.9")]), (0, 0, 1, 0));
        assert_eq!(counts(std::slice::from_ref(&listed_life), 1, vec![new("1.0")]), (0, 1, 0, 0), "replaced");
        assert_eq!(counts(&[listed_life], 1, vec![]), (0, 0, 0, 1));
    }

    #[test]
    fn of_equal_versions_the_later_is_listed() {
        let (changes, _) = plan_changes(&[life(1, "1.0-1", LifeState::Listed)], |_| true, vec![new("1.0.1")]);
        let lives = apply(&[life(1, "1.0-1", LifeState::Listed)], &changes);
        assert!(lives.contains(&("1.0.1".to_owned(), LifeState::Listed)), "{lives:?}");
    }

    proptest! {
        #[test]
        fn the_highest_version_is_listed_and_all_others_archived(
            versions in prop::collection::btree_set("[0-9]{1,2}\\.[0-9]{1,2}", 0..8),
            removed in prop::collection::vec(any::<bool>(), 8),
            incoming in prop::collection::btree_set("[0-9]{1,2}\\.[0-9]{1,2}-[0-9]", 0..5),
        ) {
            let versions: Vec<String> = versions.into_iter().collect();
            let highest = (0..versions.len()).max_by(|a, b| version::compare(&versions[*a], &versions[*b]));
            let state = |i| if Some(i) == highest { LifeState::Listed } else { LifeState::Archived };
            let current_lives: Vec<CurrentLife> =
                versions.iter().enumerate().map(|(i, v)| life(i as i64, v, state(i))).collect();
            let is_retained = |life: &CurrentLife| !removed[life.key.release.0 as usize];
            let incoming: Vec<IncomingRelease> = incoming.iter().map(|version| new(version)).collect();
            let is_unchanged = incoming.is_empty() && current_lives.iter().all(is_retained);
            let expected = current_lives.iter().filter(|life| is_retained(life)).count() + incoming.len();
            let (changes, _) = plan_changes(&current_lives, is_retained, incoming);
            prop_assert!(!is_unchanged || changes.is_empty());
            let lives = apply(&current_lives, &changes);
            prop_assert_eq!(lives.len(), expected);
            let listed_lives: Vec<_> = lives.iter().filter(|life| life.1 == LifeState::Listed).collect();
            prop_assert_eq!(listed_lives.len(), usize::from(expected > 0));
            for (version, _) in &lives {
                prop_assert!(version::compare(version, &listed_lives[0].0).is_le());
            }
        }
    }
}
