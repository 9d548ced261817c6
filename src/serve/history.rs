//! The days on which a repository listed the versions of an R package, according to the subscriptions on
//! these days.

use std::collections::BTreeMap;

use super::{RepoError, Repositories, name_guards, python};
use crate::catalog::resolve::{self, Period};
use crate::catalog::{Catalog, Repository, Tree};
use crate::db;
use crate::model::ids::{Seq, SourceId, TreeId};
use crate::model::language::Language;
use crate::model::point::Point;
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::bioconductor::Part;

/// A period during which the repository listed a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The version.
    pub version: String,
    /// The source: the first one of the subscriptions that listed the package.
    pub source: SourceId,
    /// Time from which it was listed.
    pub from: Timestamp,
    /// Time from which it was no longer listed; `None` if the snapshot lists it.
    pub until: Option<Timestamp>,
}

/// The snapshot of a repository up to which listings are read.
#[derive(Clone, Copy, Debug)]
pub struct ListingScope<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The repository.
    pub repo: &'a Repository,
    /// The part of a Bioconductor repository.
    pub part: Option<Part>,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The point of the snapshot.
    pub point: &'a Point,
}

/// A period during which a tree lists a version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    version: String,
    from: Timestamp,
    until: Timestamp,
}

/// The subscriptions of a repository by period; the listings of any number of packages are read with them.
pub struct Subscriptions<'a> {
    catalog: &'a Catalog,
    periods: Vec<Period>,
}

impl<'a> Subscriptions<'a> {
    /// Returns the subscriptions up to a snapshot.
    ///
    /// # Errors
    /// [`RepoError::Invalid`] for a Python repository.
    pub fn new(
        repositories: &Repositories,
        scope: &ListingScope<'a>,
    ) -> Result<Subscriptions<'a>, RepoError> {
        let ListingScope { catalog, repo, part, snapshot, point } = *scope;
        python::require_r(&repositories.state, point)?;
        let now = (repositories.state.clock)();
        Ok(Subscriptions { catalog, periods: resolve::periods(catalog, repo, part, snapshot, now) })
    }

    /// Returns the listed versions of a package, the newest first. Empty for an unknown package.
    ///
    /// # Errors
    /// Database errors.
    pub async fn listings(
        &self,
        repositories: &Repositories,
        package: &str,
    ) -> Result<Vec<ListedVersion>, RepoError> {
        let state = &repositories.state;
        let is_hidden = |source: SourceId| {
            let kind = self.catalog.source_by_id(source).map(|source| source.kind);
            let language = kind.map_or(Language::R, |kind| kind.language());
            name_guards::hides(state, language, package, source)
        };
        let listed_trees = self.periods.iter().flat_map(|period| &period.trees);
        let ids = listed_trees.filter(|(source, _)| !is_hidden(*source)).map(|(_, tree)| *tree);
        let mut trees: BTreeMap<TreeId, Seq> = BTreeMap::new();
        for id in ids {
            if let Some(newest) = self.catalog.tree(id).and_then(Tree::newest) {
                trees.insert(id, newest);
            }
        }
        let name = package.to_owned();
        let rows = repositories.state.db.read(move |c| {
            let mut rows = Vec::new();
            for (id, newest) in &trees {
                rows.push((*id, *newest, db::life::listed_spans(c, *id, *newest, &name)?));
            }
            Ok(rows)
        });
        let mut spans: BTreeMap<TreeId, Vec<Span>> = BTreeMap::new();
        for (id, newest, rows) in rows.await? {
            let Some(tree) = self.catalog.tree(id) else { continue };
            let tree_spans = rows.into_iter().filter_map(|row| {
                let until = if row.to <= newest { instant(tree, row.to)? } else { Timestamp(i64::MAX) };
                Some(Span { version: row.version, from: instant(tree, row.from)?, until })
            });
            spans.insert(id, tree_spans.collect());
        }
        Ok(listings(&self.periods, &spans))
    }
}

/// Returns the publication time of a step; if the step is not in memory, that of the next one.
fn instant(tree: &Tree, seq: Seq) -> Option<Timestamp> {
    tree.steps.get(tree.steps.partition_point(|step| step.seq < seq)).map(|step| step.at)
}

/// Returns a span as a period lists it; `None` if the period does not list it. A period with fixed states
/// lists the versions of the fixed instant from the beginning to the end of the period.
fn span_in(span: &Span, period: &Period) -> Option<Span> {
    let (from, until) = match period.states_at {
        Some(at) if span.from < at && at <= span.until => (period.from, period.until),
        Some(_) => return None,
        None => (span.from, span.until),
    };
    let overlaps = from < period.until && period.from < until;
    overlaps.then(|| Span { version: span.version.clone(), from, until })
}

/// Returns the versions that the repository listed in each period: those of the first source that listed the
/// package. The newest come first.
fn listings(periods: &[Period], spans: &BTreeMap<TreeId, Vec<Span>>) -> Vec<ListedVersion> {
    let mut listed: Vec<ListedVersion> = Vec::new();
    for period in periods {
        let period_spans: Vec<(SourceId, Span)> = period
            .trees
            .iter()
            .flat_map(|(source, tree)| spans.get(tree).into_iter().flatten().map(move |span| (*source, span)))
            .filter_map(|(source, span)| Some((source, span_in(span, period)?)))
            .collect();
        let clip = |at: Timestamp| at.clamp(period.from, period.until);
        let mut bounds: Vec<Timestamp> =
            period_spans.iter().flat_map(|(_, span)| [clip(span.from), clip(span.until)]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        for (from, until) in bounds.iter().zip(bounds.iter().skip(1)) {
            let owner = period_spans.iter().find(|(_, span)| span.from <= *from && *from < span.until);
            let Some((source, span)) = owner else { continue };
            match listed.last_mut() {
                // The bound belongs to another span, or to a list that does not change the owner: the entry
                // continues.
                Some(last)
                    if last.until == Some(*from)
                        && last.version == span.version
                        && last.source == *source =>
                {
                    last.until = Some(*until);
                }
                _ => listed.push(ListedVersion {
                    version: span.version.clone(),
                    source: *source,
                    from: *from,
                    until: Some(*until),
                }),
            }
        }
    }
    let end = periods.last().map(|period| period.until);
    for version in listed.iter_mut().filter(|version| version.until == end) {
        version.until = None;
    }
    listed.reverse();
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: (SourceId, TreeId) = (SourceId(1), TreeId(10));
    const SECOND: (SourceId, TreeId) = (SourceId(2), TreeId(20));

    fn period(from: i64, until: i64, trees: &[(SourceId, TreeId)]) -> Period {
        Period { from: Timestamp(from), until: Timestamp(until), states_at: None, trees: trees.to_vec() }
    }

    fn spans(all: &[((SourceId, TreeId), &str, i64, i64)]) -> BTreeMap<TreeId, Vec<Span>> {
        let mut spans: BTreeMap<TreeId, Vec<Span>> = BTreeMap::new();
        for ((_, tree), version, from, until) in all {
            let span =
                Span { version: (*version).to_owned(), from: Timestamp(*from), until: Timestamp(*until) };
            spans.entry(*tree).or_default().push(span);
        }
        spans
    }

    fn listing_texts(periods: &[Period], spans: &BTreeMap<TreeId, Vec<Span>>) -> Vec<String> {
        let listed = listings(periods, spans).into_iter().map(|row| {
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
}
