//! The packages of a lock file, compared with a point: what it lists, and when it listed exactly these versions.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::history::{ListingScope, Subscriptions};
use super::info;
use super::vulnerabilities::Vulnerabilities;
use crate::serve::project::detail::releases_within;
use crate::serve::project::file::RequestBudget;
use crate::serve::selection::name_guards;
use crate::serve::{RepoError, Repositories};
use base::model::kind::{Language, Layout};
use base::model::locked_version::{Interval, LockedState, LockedVersion};
use base::model::point::Point;
use base::model::time::Timestamp;
use formats::r;
use runtime::catalog::resolve::today;

pub const MAX_PACKAGES: usize = 2000;
/// Maximum number of requests to indexes for one file.
const MAX_REQUESTS: usize = 16;

/// Limits the files with packages of lists that are compared concurrently: a file may cause thousands of queries.
static LIST_COMPARISONS: Semaphore = Semaphore::const_new(2);
/// As [`LIST_COMPARISONS`], of projects: separate, because they may wait for a slow index.
static PROJECT_COMPARISONS: Semaphore = Semaphore::const_new(2);
pub const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct ComparisonPermit {
    _permit: SemaphorePermit<'static>,
}

impl ComparisonPermit {
    /// Waits until fewer than two other files of languages with this layout are compared; `None` if that takes longer than `wait`.
    pub async fn acquire(language: Language, wait: Duration) -> Option<ComparisonPermit> {
        let comparisons = match language.layout() {
            Layout::Lists => &LIST_COMPARISONS,
            Layout::Projects => &PROJECT_COMPARISONS,
        };
        let permit = tokio::time::timeout(wait, comparisons.acquire()).await.ok()?.ok()?;
        Some(ComparisonPermit { _permit: permit })
    }
}

fn of_guard(reason: String) -> LockedState {
    LockedState::Blocked { reason, has_details: false }
}

/// Compares the versions of R packages with a snapshot, and with each day by its subscriptions.
pub async fn r_packages(
    repositories: &Repositories,
    _permit: &ComparisonPermit,
    scope: &ListingScope<'_>,
    packages: Vec<(String, String)>,
    advisories: &Vulnerabilities,
) -> Result<Vec<LockedVersion>, RepoError> {
    let point = scope.point;
    let subscriptions = Subscriptions::new(repositories, scope)?;
    let tomorrow = today(scope.catalog, (repositories.state.clock)()).end().day();
    let requested = packages.iter().map(|(name, _)| (name.clone(), None)).collect();
    let details = info::packages(&repositories.state, point, requested).await?;
    let mut rows = Vec::with_capacity(packages.len());
    for ((name, version), detail) in packages.into_iter().zip(details) {
        let is_version = |other: &str| r::version::compare(other, &version).is_eq();
        let (state, spelling) = r_state(repositories, point, detail.as_ref(), &name, &version);
        let vulnerabilities = detail.as_ref().map_or_else(Vec::new, |detail| {
            let found = advisories.of(detail.source, &name, &version);
            found.iter().map(|finding| finding.id.to_owned()).collect()
        });
        let listings = subscriptions.listings(repositories, &name).await?;
        let is_hidden = listings.hidden.iter().any(|hidden| is_version(&hidden.version));
        let spans = listings.listed.into_iter().filter(|span| is_version(&span.version));
        let days: Vec<Interval> = spans
            .map(|span| {
                // A version that only dated URLs list is listed up to today.
                let until = span.until.map(Timestamp::day).or_else(|| span.is_only_dated.then_some(tomorrow));
                (span.from.day(), until)
            })
            .collect();
        let newest = days.first().map(|(from, _)| *from);
        let listed = union(days);
        let listed_within = newest.filter(|_| listed.is_empty());
        let listed = Some(listed);
        rows.push(LockedVersion {
            name,
            version,
            state,
            spelling,
            vulnerabilities,
            listed,
            listed_within,
            is_hidden,
        });
    }
    Ok(rows)
}

/// Returns the states of versions of R packages at a point, in their order.
pub async fn r_states(
    repositories: &Repositories,
    _permit: &ComparisonPermit,
    point: &Point,
    packages: &[(String, String)],
) -> Result<Vec<LockedState>, RepoError> {
    let requested = packages.iter().map(|(name, _)| (name.clone(), None)).collect();
    let details = info::packages(&repositories.state, point, requested).await?;
    let of_package = packages.iter().zip(details);
    let state = |((name, version), detail): (&(String, String), Option<info::PackageDetail>)| {
        r_state(repositories, point, detail.as_ref(), name, version).0
    };
    Ok(of_package.map(state).collect())
}

/// Returns the state of a version, and its text at the point if that is another text of the same value.
fn r_state(
    repositories: &Repositories,
    point: &Point,
    detail: Option<&info::PackageDetail>,
    name: &str,
    version: &str,
) -> (LockedState, Option<String>) {
    let Some(detail) = detail else {
        let guarded = name_guards::guarded(&repositories.state, point, name);
        return (guarded.map_or(LockedState::Missing, |guarded| of_guard(guarded.reason)), None);
    };
    let releases = || std::iter::once(&detail.release).chain(&detail.others);
    let has_value = |release: &&info::Release| r::version::compare(&release.version, version).is_eq();
    let requested = releases().find(|release| release.version == version);
    let requested = requested.or_else(|| releases().find(has_value));
    let listed = releases().find(|release| !release.archived && release.blocked.is_none());
    let listed = listed.map(|release| release.version.clone());
    let blocked = |reason: &String| LockedState::Blocked { reason: reason.clone(), has_details: true };
    let state = match (requested, listed) {
        (Some(info::Release { blocked: Some(reason), .. }), _) => blocked(reason),
        (Some(info::Release { archived: false, .. }), _) => LockedState::Listed,
        (Some(_), listed) => LockedState::Archived(listed),
        (None, Some(listed)) => LockedState::Other(listed),
        // Rules hide the version that the point would list.
        (None, None) => {
            let reason =
                releases().filter(|release| !release.archived).find_map(|release| release.blocked.as_ref());
            reason.map_or(LockedState::Missing, blocked)
        }
    };
    let spelling = requested.map(|release| release.version.clone()).filter(|text| text != version);
    (state, spelling)
}

/// Compares versions of Python projects with a point. Days are not computed: an index lists all versions.
pub async fn python_projects(
    repositories: &Repositories,
    _permit: &ComparisonPermit,
    point: &Point,
    packages: Vec<(String, String)>,
    advisories: &Vulnerabilities,
) -> Result<Vec<LockedVersion>, RepoError> {
    let budget = RequestBudget::new(MAX_REQUESTS);
    let mut rows = Vec::with_capacity(packages.len());
    for (name, version) in packages {
        let mut row = LockedVersion {
            name,
            version,
            state: LockedState::Missing,
            spelling: None,
            vulnerabilities: Vec::new(),
            listed: None,
            listed_within: None,
            is_hidden: false,
        };
        match releases_within(repositories, point, &row.name, Some(&budget)).await {
            Ok(project) => match (project.release(&row.version), project.blocked(&row.version)) {
                (Some(release), _) => {
                    row.state = LockedState::Listed;
                    let (source, name) = (project.source(), project.project.as_str());
                    let found = source.map(|source| advisories.of(source, name, &release.version));
                    row.vulnerabilities =
                        found.iter().flatten().map(|finding| finding.id.to_owned()).collect();
                }
                (None, Some(blocked)) => {
                    let has_details = !project.releases.is_empty();
                    row.state = LockedState::Blocked { reason: blocked.reason.clone(), has_details };
                }
                (None, None) => {
                    row.state = match project.preferred() {
                        Some(release) => LockedState::Other(release.version.clone()),
                        None if budget.is_left() => LockedState::Missing,
                        None => LockedState::Unknown,
                    };
                }
            },
            Err(RepoError::Upstream { .. }) => row.state = LockedState::Unknown,
            Err(RepoError::NotFound(_)) if !budget.is_left() => row.state = LockedState::Unknown,
            Err(RepoError::NotFound(_)) => {}
            Err(RepoError::Guarded(guarded)) => row.state = of_guard(guarded.reason),
            Err(error) => return Err(error),
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Merges intervals: sorted and without overlaps. Empty intervals, which contain no end of a day, are left out.
fn union(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|(from, until)| until.is_none_or(|until| *from < until));
    intervals.sort_by_key(|(from, _)| *from);
    let mut merged: Vec<Interval> = Vec::new();
    for (from, until) in intervals {
        match merged.last_mut() {
            Some((_, None)) => {}
            Some((_, Some(end))) if from <= *end => {
                let longer = until.map(|until| until.max(*end));
                merged.last_mut().expect("it is the last one").1 = longer;
            }
            _ => merged.push((from, until)),
        }
    }
    merged
}

/// Returns the days that all lists of intervals contain. Each list is sorted and without overlaps.
pub fn intersection<'a>(lists: impl IntoIterator<Item = &'a [Interval]>) -> Vec<Interval> {
    let mut lists = lists.into_iter();
    let Some(first) = lists.next() else { return Vec::new() };
    lists.fold(first.to_vec(), |common, list| {
        let overlap = |(a, b): &Interval| {
            let of_pair = |(c, d): &Interval| {
                let from = (*a).max(*c);
                let until = match (*b, *d) {
                    (Some(b), Some(d)) => Some(b.min(d)),
                    (end, None) | (None, end) => end,
                };
                until.is_none_or(|until| from < until).then_some((from, until))
            };
            list.iter().filter_map(of_pair).collect::<Vec<_>>()
        };
        common.iter().flat_map(overlap).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::time::Day;

    fn day(number: u8) -> Day {
        format!("2026-11-{number:02}").parse().expect("a day")
    }

    fn intervals(all: &[(u8, u8)]) -> Vec<Interval> {
        all.iter().map(|(from, until)| (day(*from), (*until > 0).then(|| day(*until)))).collect()
    }

    #[test]
    fn intervals_that_touch_are_merged_and_empty_ones_are_left_out() {
        assert_eq!(union(intervals(&[(5, 9), (1, 3), (3, 4), (7, 7)])), intervals(&[(1, 4), (5, 9)]));
        assert_eq!(union(intervals(&[(1, 9), (2, 3), (4, 0), (6, 8)])), intervals(&[(1, 0)]));
        assert_eq!(union(Vec::new()), Vec::new());
    }

    #[test]
    fn common_days_are_those_of_every_list() {
        let lists = [intervals(&[(1, 5), (8, 0)]), intervals(&[(3, 9), (11, 20)]), intervals(&[(2, 15)])];
        let common = intersection(lists.iter().map(Vec::as_slice));
        assert_eq!(common, intervals(&[(3, 5), (8, 9), (11, 15)]));
        assert_eq!(intersection([intervals(&[(1, 0)]).as_slice(), &[]]), []);
        assert_eq!(intersection([]), []);
    }

    #[tokio::test]
    async fn two_files_of_each_language_are_compared_at_the_same_time() {
        let acquire = |language| ComparisonPermit::acquire(language, Duration::ZERO);
        let (first, second) = (acquire(Language::R).await, acquire(Language::R).await);
        assert!(first.is_some() && second.is_some());
        assert!(acquire(Language::R).await.is_none(), "the third file is refused after its wait");
        assert!(
            acquire(Language::Python).await.is_some(),
            "files of the other language do not wait for them"
        );
        drop(first);
        assert!(acquire(Language::R).await.is_some());
    }
}
