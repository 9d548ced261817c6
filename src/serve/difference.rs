//! The packages that differ between two points.

use std::collections::HashMap;
use std::str::FromStr;

use tokio::sync::Semaphore;

use super::allowed::View;
use super::listing::{self, ListedVersion};
use super::{RepoError, Repositories, policies, python};
use crate::catalog::Repository;
use crate::model::ids::{ReleaseId, SourceId};
use crate::model::language::Language;
use crate::model::point::Point;
use crate::model::time::Timestamp;
use crate::python::version::Version;
use crate::r::version;
use crate::storage::StorageError;

/// Limits concurrent comparisons: a comparison of all of CRAN takes several megabytes and a tenth of a second
/// of CPU time.
static COMPARISONS: Semaphore = Semaphore::const_new(2);

/// A package as one of the points lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPackage {
    /// The listed version.
    pub version: String,
    /// The source that owns the package.
    pub source: SourceId,
    /// Publication time of the version, if known.
    pub published_at: Option<Timestamp>,
}

/// The kind of difference of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// No longer listed.
    Removed,
    /// A lower version.
    Downgraded,
    /// The same version from another source.
    Moved,
    /// The same version of the same source with different bytes.
    Replaced,
    /// Listed only by the second point.
    Added,
    /// A higher version.
    Updated,
}

/// The error for a text that is not the name of a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a kind of change; use added, removed, updated, downgraded, replaced or moved")]
pub struct UnknownKind(String);

impl ChangeKind {
    /// All kinds; those that need attention first.
    pub const ALL: [ChangeKind; 6] = [
        ChangeKind::Removed,
        ChangeKind::Downgraded,
        ChangeKind::Moved,
        ChangeKind::Replaced,
        ChangeKind::Added,
        ChangeKind::Updated,
    ];

    /// Returns the name of the kind in responses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Removed => "removed",
            ChangeKind::Downgraded => "downgraded",
            ChangeKind::Moved => "moved",
            ChangeKind::Replaced => "replaced",
            ChangeKind::Added => "added",
            ChangeKind::Updated => "updated",
        }
    }
}

impl FromStr for ChangeKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<ChangeKind, UnknownKind> {
        ChangeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.chars().take(40).collect()))
    }
}

/// A package that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub name: String,
    /// The kind of difference.
    pub kind: ChangeKind,
    /// The package in the first point; `None` if that point does not list it.
    pub from: Option<ListedPackage>,
    /// The package in the second point; `None` if that point does not list it.
    pub to: Option<ListedPackage>,
}

/// Returns the packages that differ between two points of a repository, by name. Projects of an index of Python
/// packages and of curated sources are left out: their versions are known only for projects that were requested.
///
/// # Errors
/// Database errors.
pub async fn between(
    repositories: &Repositories,
    from: &Point,
    to: &Point,
) -> Result<Vec<Change>, RepoError> {
    if from.trees == to.trees {
        return Ok(Vec::new());
    }
    let _permit = COMPARISONS.acquire().await.ok();
    let before = listing::listed_versions(repositories, from).await?;
    let after = listing::listed_versions(repositories, to).await?;
    compare_lists(before, after, python::language(&repositories.state, to)).await
}

/// The packages that differ between two states of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDifference {
    /// The packages, by name.
    pub changes: Vec<Change>,
    /// Whether block rules or name guards can hide packages in the repository.
    pub has_rules: bool,
}

/// Like [`between`], for two points as `latest` of a repository under the current block rules and name guards. Points of a
/// state that is not published yet have no rules. `repo` has the subscriptions of both points, now or earlier, because
/// rules and guards depend on them.
///
/// # Errors
/// Database errors.
pub async fn in_repository(
    repositories: &Repositories,
    repo: &Repository,
    from: &Point,
    to: &Point,
) -> Result<StateDifference, RepoError> {
    let (state, language) = (&repositories.state, repo.kind.language());
    let catalog = state.catalog.get();
    let (indexes, guards) = (policies::indexes(state, &catalog, language), policies::guards(state, &catalog));
    let policy = policies::of_indexes(state, repo, (&indexes, &guards)).await;
    let has_rules = policy.is_some();
    if from.trees == to.trees {
        return Ok(StateDifference { changes: Vec::new(), has_rules });
    }
    let _permit = COMPARISONS.acquire().await.ok();
    let names = |point: &Point| {
        listing::versions_of(repositories, View::under(state, point, policy.as_ref()), language)
    };
    let (before, after) = (names(from).await?, names(to).await?);
    Ok(StateDifference { changes: compare_lists(before, after, language).await?, has_rules })
}

async fn compare_lists(
    before: Vec<ListedVersion>,
    after: Vec<ListedVersion>,
    language: Language,
) -> Result<Vec<Change>, RepoError> {
    // The comparison must not block a thread that serves other requests.
    let changes = tokio::task::spawn_blocking(move || compare(before, after, language)).await;
    changes.map_err(|error| RepoError::Storage(StorageError::Other(error.to_string())))
}

fn compare(before: Vec<ListedVersion>, after: Vec<ListedVersion>, language: Language) -> Vec<Change> {
    let mut before: HashMap<String, ListedVersion> =
        before.into_iter().map(|listed| (listed.name.clone(), listed)).collect();
    let mut changes = Vec::new();
    for new in after {
        let old = before.remove(&new.name);
        let kind = match &old {
            None => Some(ChangeKind::Added),
            Some(old) => kind(old, &new, language),
        };
        if let Some(kind) = kind {
            changes.push(Change {
                name: new.name.clone(),
                kind,
                from: old.map(listed),
                to: Some(listed(new)),
            });
        }
    }
    changes.extend(before.into_values().map(|old| Change {
        name: old.name.clone(),
        kind: ChangeKind::Removed,
        from: Some(listed(old)),
        to: None,
    }));
    changes.sort_by_cached_key(|change| (change.name.to_lowercase(), change.name.clone()));
    changes
}

fn listed(row: ListedVersion) -> ListedPackage {
    ListedPackage { version: row.version, source: row.source, published_at: row.published_at }
}

/// Returns the kind of difference of a package that both points list; `None` if it does not differ.
fn kind(old: &ListedVersion, new: &ListedVersion, language: Language) -> Option<ChangeKind> {
    let order = match language {
        Language::R => version::compare(&old.version, &new.version),
        Language::Python => Version::lenient(&old.version).cmp(&Version::lenient(&new.version)),
    };
    if order.is_lt() {
        return Some(ChangeKind::Updated);
    }
    if order.is_gt() {
        return Some(ChangeKind::Downgraded);
    }
    let is_other = |old: Option<ReleaseId>, new: Option<ReleaseId>| old.is_some() && old != new;
    if old.source != new.source {
        return Some(ChangeKind::Moved);
    }
    is_other(old.release, new.release).then_some(ChangeKind::Replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, version: &str, source: i64, release: i64) -> ListedVersion {
        ListedVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            source: SourceId(source),
            release: Some(ReleaseId(release)),
            published_at: None,
        }
    }

    #[test]
    fn every_kind_of_change_is_named_and_equal_packages_are_left_out() {
        let before = vec![
            listed("same", "1.0", 1, 1),
            listed("gone", "1.0", 1, 2),
            listed("up", "1.9", 1, 3),
            listed("down", "1.10", 1, 4),
            listed("other", "1.0", 1, 5),
            listed("bytes", "1.0", 1, 6),
        ];
        let after = vec![
            listed("same", "1.0", 1, 1),
            listed("up", "1.10", 1, 7),
            listed("down", "1.9", 1, 8),
            listed("other", "1.0", 2, 9),
            listed("bytes", "1.0", 1, 10),
            listed("New", "0.1", 1, 11),
        ];
        let changes = compare(before, after, Language::R);
        let text: Vec<String> =
            changes.iter().map(|change| format!("{} {}", change.name, change.kind.as_str())).collect();
        assert_eq!(
            text,
            ["bytes replaced", "down downgraded", "gone removed", "New added", "other moved", "up updated"]
        );
        assert_eq!(changes[5].from.as_ref().map(|listed| listed.version.as_str()), Some("1.9"));
        assert_eq!(changes[5].to.as_ref().map(|listed| listed.version.as_str()), Some("1.10"));
    }

    #[test]
    fn versions_of_python_are_compared_as_pip_does() {
        let change = |old: &str, new: &str| {
            compare(vec![listed("a", old, 1, 1)], vec![listed("a", new, 1, 1)], Language::Python)
        };
        assert_eq!(change("1.0rc1", "1.0")[0].kind, ChangeKind::Updated);
        assert!(change("1.0", "1.0.0").is_empty());
    }

    #[test]
    fn every_kind_is_parsed_from_its_name() {
        for kind in ChangeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("other".parse::<ChangeKind>(), Err(UnknownKind("other".to_owned())));
    }
}
