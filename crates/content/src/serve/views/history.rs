//! The days on which a repository listed the versions of an R package, according to the subscriptions on these days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::serve::selection::allowed::over_time::{PackageLives, Span, listed_spans, within};
use crate::serve::selection::{name_guards, point, policies};
use crate::serve::{RepoError, Repositories};
use base::model::ids::{SourceId, TreeId};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::r::bioconductor::Part;
use runtime::catalog::resolve::{self, Period};
use runtime::catalog::{Catalog, Repository};
use runtime::state::policies::RepoPolicy;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingPeriod {
    pub version: String,
    /// The source: the first one of the subscriptions that listed the package.
    pub source: SourceId,
    pub from: Timestamp,
    /// Time from which it was no longer listed; `None` if the snapshot lists it.
    pub until: Option<Timestamp>,
    /// Whether it ends at undated URLs: `latest` lists another version or none, by a rule for undated snapshots.
    pub is_only_dated: bool,
}

/// A version that the repository does not list at some time because of a block rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenVersion {
    pub version: String,
    pub reason: String,
    /// The last time from which the rule hid the version.
    pub from: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentVersion {
    pub version: String,
    pub source: SourceId,
}

/// What a repository listed of a package. Block rules apply as they are now, also to earlier times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listings {
    /// The listed versions, the newest first.
    pub listed: Vec<ListingPeriod>,
    /// The versions that rules hide at some time, the newest first.
    pub hidden: Vec<HiddenVersion>,
    /// What `latest` lists if the current day lists another, because of a rule for undated snapshots only.
    pub only_latest: Option<CurrentVersion>,
}

/// The snapshot of a repository up to which listings are read.
#[derive(Clone, Copy, Debug)]
pub struct ListingScope<'a> {
    pub catalog: &'a Arc<Catalog>,
    pub repo: &'a Repository,
    pub part: Option<Part>,
    pub snapshot: Snapshot,
    pub point: &'a Point,
}

/// The subscriptions and the block rules of a repository, with which the listings of any number of packages are read.
pub struct Subscriptions<'a> {
    catalog: &'a Arc<Catalog>,
    periods: Vec<Period>,
    snapshot: Snapshot,
    policy: Option<Arc<RepoPolicy>>,
    now: Timestamp,
}

enum TreeVersions {
    /// No rule can match the package.
    WithoutRules(Vec<Span>),
    WithRules(Box<PackageLives>),
}

impl TreeVersions {
    /// Returns the versions as a period lists them.
    fn spans(&self, period: &Period, is_dated: bool, now: Timestamp) -> Vec<Span> {
        match self {
            TreeVersions::WithoutRules(spans) => {
                let span = |span: &Span| {
                    let (from, until) = within(period, span.from, span.until)?;
                    Some(Span { from, until, ..span.clone() })
                };
                spans.iter().filter_map(span).collect()
            }
            TreeVersions::WithRules(lives) => lives.spans(period, is_dated, now),
        }
    }
}

impl<'a> Subscriptions<'a> {
    /// Returns the subscriptions up to a snapshot. Fails for a repository of projects.
    pub fn new(
        repositories: &Repositories,
        scope: &ListingScope<'a>,
    ) -> Result<Subscriptions<'a>, RepoError> {
        let ListingScope { catalog, repo, part, snapshot, point } = *scope;
        let state = &repositories.state;
        point::require_lists(point)?;
        let now = (state.clock)();
        let periods = resolve::periods(catalog, repo, part, snapshot, now);
        Ok(Subscriptions { catalog, periods, snapshot, policy: policies::of_repo(state, repo.id), now })
    }

    /// Returns what dated URLs list of a package. Empty for an unknown package.
    pub async fn listings(&self, repositories: &Repositories, package: &str) -> Result<Listings, RepoError> {
        let trees = self.trees(repositories, package).await?;
        let mut dated = self.listings_of(&trees, &self.periods, true);
        let has_undated_rules = self.policy.as_ref().is_some_and(|policy| policy.set.needs_snapshot());
        if self.snapshot == Snapshot::Latest && has_undated_rules {
            let present = self.periods.iter().filter(|period| period.until > self.now);
            let present = present.map(|period| Period { from: period.from.max(self.now), ..period.clone() });
            let newest = self.listings_of(&trees, &present.collect::<Vec<_>>(), false);
            let current = |listings: &Listings| {
                let first = listings.listed.first().filter(|version| version.until.is_none());
                let ListingPeriod { version, source, .. } = first?.clone();
                Some(CurrentVersion { version, source })
            };
            let only_latest = current(&newest);
            if current(&dated) != only_latest {
                if let Some(first) = dated.listed.first_mut() {
                    first.is_only_dated = first.until.is_none();
                }
                dated.only_latest = only_latest;
            }
            let unknown =
                |hidden: &HiddenVersion| dated.hidden.iter().all(|other| other.version != hidden.version);
            let mut hidden: Vec<HiddenVersion> = newest.hidden.into_iter().filter(unknown).collect();
            hidden.append(&mut dated.hidden);
            dated.hidden = hidden;
        }
        Ok(dated)
    }

    /// Returns what `latest` listed, if the current rules had always been in force. Empty for an unknown package.
    pub async fn newest_listings(
        &self,
        repositories: &Repositories,
        package: &str,
    ) -> Result<Listings, RepoError> {
        Ok(self.listings_of(&self.trees(repositories, package).await?, &self.periods, false))
    }

    fn listings_of(
        &self,
        trees: &BTreeMap<TreeId, TreeVersions>,
        periods: &[Period],
        is_dated: bool,
    ) -> Listings {
        listings(periods, |period, tree| {
            trees.get(&tree).map_or_else(Vec::new, |versions| versions.spans(period, is_dated, self.now))
        })
    }

    /// Reads the versions of a package in each tree that a list of subscriptions contains and no name guard excludes.
    async fn trees(
        &self,
        repositories: &Repositories,
        package: &str,
    ) -> Result<BTreeMap<TreeId, TreeVersions>, RepoError> {
        let state = &repositories.state;
        let is_excluded = |source: SourceId| name_guards::hides(state, package, source);
        let listed_trees = self.periods.iter().flat_map(|period| &period.trees);
        let ids = listed_trees.filter(|(source, _)| !is_excluded(*source)).map(|(_, tree)| *tree);
        let trees: BTreeSet<TreeId> = ids.collect();
        let (catalog, policy, name) = (Arc::clone(self.catalog), self.policy.clone(), package.to_owned());
        let versions = state.db.read(move |c| {
            let mut versions: BTreeMap<TreeId, TreeVersions> = BTreeMap::new();
            for id in &trees {
                let Some(tree) = catalog.tree(*id) else { continue };
                let lives = match &policy {
                    Some(policy) => PackageLives::read(c, policy, &catalog, tree, &name)?,
                    None => None,
                };
                let of_tree = match lives {
                    Some(lives) => TreeVersions::WithRules(Box::new(lives)),
                    None => TreeVersions::WithoutRules(listed_spans(c, tree, &name)?),
                };
                versions.insert(*id, of_tree);
            }
            Ok(versions)
        });
        Ok(versions.await?)
    }
}

/// Returns the versions that the repository listed in each period: of the first source that listed the
/// package, or would list it without block rules, because no other source provides a blocked package. `spans`
/// returns those of a tree. The newest come first.
fn listings(periods: &[Period], spans: impl Fn(&Period, TreeId) -> Vec<Span>) -> Listings {
    let mut listed: Vec<ListingPeriod> = Vec::new();
    let mut hidden: Vec<HiddenVersion> = Vec::new();
    for period in periods {
        let period_spans: Vec<(SourceId, Span)> = period
            .trees
            .iter()
            .flat_map(|(source, tree)| spans(period, *tree).into_iter().map(move |span| (*source, span)))
            .collect();
        let clip = |at: Timestamp| at.clamp(period.from, period.until);
        let mut bounds: Vec<Timestamp> =
            period_spans.iter().flat_map(|(_, span)| [clip(span.from), clip(span.until)]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        for (from, until) in bounds.iter().zip(bounds.iter().skip(1)) {
            let is_present = |span: &Span| span.from <= *from && *from < span.until;
            let Some((source, span)) = period_spans.iter().find(|(_, span)| is_present(span)) else {
                continue;
            };
            let of_owner = period_spans.iter().filter(|(owner, span)| owner == source && is_present(span));
            for (_, span) in of_owner {
                let Some(reason) = &span.blocked else { continue };
                hidden.retain(|other| other.version != span.version);
                let (version, reason) = (span.version.clone(), reason.clone());
                hidden.push(HiddenVersion { version, reason, from: *from });
            }
            if span.blocked.is_some() {
                continue;
            }
            match listed.last_mut() {
                // The bound belongs to another span, or to a list that does not change the owner: the entry continues.
                Some(last)
                    if last.until == Some(*from)
                        && last.version == span.version
                        && last.source == *source =>
                {
                    last.until = Some(*until);
                }
                _ => listed.push(ListingPeriod {
                    version: span.version.clone(),
                    source: *source,
                    from: *from,
                    until: Some(*until),
                    is_only_dated: false,
                }),
            }
        }
    }
    let end = periods.last().map(|period| period.until);
    for version in listed.iter_mut().filter(|version| version.until == end) {
        version.until = None;
    }
    listed.reverse();
    hidden.reverse();
    Listings { listed, hidden, only_latest: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: (SourceId, TreeId) = (SourceId(1), TreeId(10));
    const SECOND: (SourceId, TreeId) = (SourceId(2), TreeId(20));

    fn period(from: i64, until: i64, trees: &[(SourceId, TreeId)]) -> Period {
        Period {
            from: Timestamp(from),
            until: Timestamp(until),
            states_at: None,
            promotion: None,
            trees: trees.to_vec(),
        }
    }

    /// An exclamation mark at the end of a version means that a rule blocks it.
    fn spans(all: &[((SourceId, TreeId), &str, i64, i64)]) -> BTreeMap<TreeId, Vec<Span>> {
        let mut spans: BTreeMap<TreeId, Vec<Span>> = BTreeMap::new();
        for ((_, tree), version, from, until) in all {
            let (version, blocked) = match version.strip_suffix('!') {
                Some(version) => (version.to_owned(), Some("rule 1".to_owned())),
                None => ((*version).to_owned(), None),
            };
            let span = Span { version, from: Timestamp(*from), until: Timestamp(*until), blocked };
            spans.entry(*tree).or_default().push(span);
        }
        spans
    }

    fn listing_texts(periods: &[Period], spans: &BTreeMap<TreeId, Vec<Span>>) -> Vec<String> {
        let tree_spans = |period: &Period, tree: TreeId| {
            let versions = TreeVersions::WithoutRules(spans.get(&tree).cloned().unwrap_or_default());
            versions.spans(period, true, Timestamp(0))
        };
        let listed = listings(periods, tree_spans).listed.into_iter().map(|row| {
            let until = row.until.map(|until| until.0.to_string()).unwrap_or_default();
            format!("{} of {} {}-{until}", row.version, row.source.0, row.from.0)
        });
        listed.collect()
    }

    #[test]
    fn the_first_source_of_the_list_of_that_time_is_the_owner() {
        let spans =
            spans(&[(FIRST, "1.0", 10, 30), (FIRST, "1.1", 30, i64::MAX), (SECOND, "9.0", 20, i64::MAX)]);
        let max = i64::MAX;
        assert_eq!(
            listing_texts(&[period(i64::MIN, max, &[FIRST, SECOND])], &spans),
            ["1.1 of 1 30-", "1.0 of 1 10-30"]
        );
        assert_eq!(
            listing_texts(&[period(i64::MIN, max, &[SECOND, FIRST])], &spans),
            ["9.0 of 2 20-", "1.0 of 1 10-20"]
        );
        // The order changes, then the second source is unsubscribed.
        let periods =
            [period(i64::MIN, 25, &[FIRST]), period(25, 40, &[SECOND, FIRST]), period(40, max, &[FIRST])];
        assert_eq!(listing_texts(&periods, &spans), ["1.1 of 1 40-", "9.0 of 2 25-40", "1.0 of 1 10-25"]);
        // A list that changes nothing for the package, and a snapshot that ends earlier.
        let periods = [period(i64::MIN, 15, &[FIRST]), period(15, 28, &[FIRST, SECOND])];
        assert_eq!(listing_texts(&periods, &spans), ["1.0 of 1 10-"]);
        assert_eq!(listing_texts(&[period(i64::MIN, 5, &[FIRST])], &spans), [] as [&str; 0]);
        assert_eq!(listing_texts(&[], &spans), [] as [&str; 0]);
    }

    #[test]
    fn a_list_with_fixed_states_lists_the_versions_of_their_instant() {
        let spans = spans(&[(FIRST, "1.0", 10, 30), (FIRST, "1.1", 30, 50), (FIRST, "1.2", 50, i64::MAX)]);
        let fixed_period = |at: i64, from: i64, until: i64| Period {
            states_at: Some(Timestamp(at)),
            ..period(from, until, &[FIRST])
        };
        let periods =
            [period(i64::MIN, 20, &[FIRST]), fixed_period(40, 60, 80), fixed_period(60, 80, i64::MAX)];
        assert_eq!(listing_texts(&periods, &spans), ["1.2 of 1 80-", "1.1 of 1 60-80", "1.0 of 1 10-20"]);
        assert_eq!(
            listing_texts(&[fixed_period(10, 60, 80)], &spans),
            [] as [&str; 0],
            "nothing was published before"
        );
    }

    #[test]
    fn a_package_that_was_removed_and_added_again_is_listed_twice() {
        let spans = spans(&[(FIRST, "1.0", 10, 20), (FIRST, "1.0", 30, 40)]);
        let periods = [period(i64::MIN, 100, &[FIRST])];
        assert_eq!(listing_texts(&periods, &spans), ["1.0 of 1 30-40", "1.0 of 1 10-20"]);
    }

    #[test]
    fn a_blocked_version_is_neither_listed_nor_replaced_by_another_source() {
        let spans = spans(&[
            (FIRST, "1.0", 10, 30),
            (FIRST, "1.1!", 30, 50),
            (FIRST, "1.0", 50, 60),
            (FIRST, "1.2!", 50, 60),
            (SECOND, "9.0", 5, i64::MAX),
        ]);
        let periods = [period(i64::MIN, 100, &[FIRST, SECOND])];
        assert_eq!(
            listing_texts(&periods, &spans),
            ["9.0 of 2 60-", "1.0 of 1 50-60", "1.0 of 1 10-30", "9.0 of 2 5-10"]
        );
        let all = |_: &Period, tree: TreeId| spans.get(&tree).cloned().unwrap_or_default();
        let hidden: Vec<String> = listings(&periods, all).hidden.into_iter().map(|row| row.version).collect();
        assert_eq!(hidden, ["1.2", "1.1"]);
    }

    #[test]
    fn a_first_list_with_fixed_states_serves_earlier_days_as_they_were() {
        let spans = spans(&[(FIRST, "1.0", 10, 30), (FIRST, "1.1", 30, 50), (FIRST, "1.2", 50, i64::MAX)]);
        let fixed = Period { states_at: Some(Timestamp(40)), ..period(i64::MIN, i64::MAX, &[FIRST]) };
        assert_eq!(listing_texts(&[fixed], &spans), ["1.1 of 1 30-", "1.0 of 1 10-30"]);
    }
}
