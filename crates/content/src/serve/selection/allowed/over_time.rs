//! Decisions of block rules about the releases of one package at all states of a tree.

use std::collections::HashMap;
use std::sync::Arc;

use super::decisions::{DecidedRelease, PackageHistory, RuleDecision, TreePolicy, add_license, substitute};
use super::promoted_at;
use base::model::change::LifeState;
use base::model::ids::{ReleaseId, Seq};
use base::model::point::{PointRules, PointTree, PromotedList};
use base::model::time::Timestamp;
use formats::policy::{Withheld, effective_time};
use runtime::catalog::resolve::Period;
use runtime::catalog::{Catalog, Tree};
use runtime::state::policies::{RepoPolicy, age_instant};
use store::db::release_facts::{self, TreeRelease};
use store::db::{Conn, DbError, life, package};

/// A period during which a tree lists a version, or would list it without block rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct Span {
    pub(in crate::serve) version: String,
    pub(in crate::serve) from: Timestamp,
    pub(in crate::serve) until: Timestamp,
    /// The rule that blocks the version, with the reason; `None` if the version is listed.
    pub(in crate::serve) blocked: Option<String>,
}

/// The releases of a package that a tree listed or archived, with the rules of a repository about them.
pub(in crate::serve) struct PackageLives {
    policy: TreePolicy,
    /// In the order in which decisions expect the releases of a package.
    lives: Vec<ReleasePeriod>,
    first_steps: HashMap<ReleaseId, Seq>,
    licenses: HashMap<ReleaseId, String>,
    /// The versions that rules withheld when states of the repository were promoted, by list.
    withheld: HashMap<Seq, Arc<Withheld>>,
}

struct ReleasePeriod {
    release: TreeRelease,
    from: Timestamp,
    until: Timestamp,
}

/// Returns the periods of the releases of a package in a tree, in the order of decisions. States of a
/// snapshot of CRAN have the releases of its base.
fn release_periods(
    c: &mut dyn Conn,
    tree: &Tree,
    newest: Seq,
    package: &str,
) -> Result<Vec<ReleasePeriod>, DbError> {
    let mut periods = Vec::new();
    if tree.is_snapshot() {
        for (index, (seq, base)) in tree.bases.iter().enumerate() {
            let Some(id) = package::by_name(c, base.source, package)? else { continue };
            let next = tree.bases.get(index + 1).and_then(|(seq, _)| instant(tree, *seq));
            let Some(from) = instant(tree, *seq) else { continue };
            let until = next.unwrap_or(Timestamp(i64::MAX));
            let releases = release_facts::at_step(c, base.tree, base.seq, Some(id))?.into_iter();
            periods.extend(releases.map(|release| ReleasePeriod { release, from, until }));
        }
    } else {
        for life in release_facts::lives(c, tree.id, newest, package)? {
            let bounds = instant(tree, life.from).zip(end(tree, life.to, newest));
            let Some((from, until)) = bounds else { continue };
            periods.push(ReleasePeriod { release: life.release, from, until });
        }
    }
    periods.sort_by(|a, b| {
        let key = |period: &ReleasePeriod| {
            (period.release.state, period.release.path.clone(), period.release.release)
        };
        key(a).cmp(&key(b))
    });
    Ok(periods)
}

/// Returns the periods during which a tree lists the versions of a package, without regard to block rules.
pub(in crate::serve) fn listed_spans(
    c: &mut dyn Conn,
    tree: &Tree,
    package: &str,
) -> Result<Vec<Span>, DbError> {
    let Some(newest) = tree.newest() else { return Ok(Vec::new()) };
    if tree.is_snapshot() {
        let periods = release_periods(c, tree, newest, package)?.into_iter();
        let listed = periods.filter(|period| period.release.state == LifeState::Listed);
        let span = |ReleasePeriod { release, from, until }| Span {
            version: release.version,
            from,
            until,
            blocked: None,
        };
        return Ok(listed.map(span).collect());
    }
    let rows = life::listed_spans(c, tree.id, newest, package)?.into_iter();
    let spans = rows.filter_map(|row| {
        let (from, until) = instant(tree, row.from).zip(end(tree, row.to, newest))?;
        Some(Span { version: row.version, from, until, blocked: None })
    });
    Ok(spans.collect())
}

/// Returns the publication time of a step; if the step is not in memory, that of the next one.
pub(in crate::serve) fn instant(tree: &Tree, seq: Seq) -> Option<Timestamp> {
    tree.steps.get(tree.steps.partition_point(|step| step.seq < seq)).map(|step| step.at)
}

/// Returns the time of the step at which a life ends; the maximum if it continues after the newest step.
fn end(tree: &Tree, to: Seq, newest: Seq) -> Option<Timestamp> {
    if to <= newest { instant(tree, to) } else { Some(Timestamp(i64::MAX)) }
}

/// Returns the period during which a list of subscriptions lists what its tree lists from `from` up to
/// `until`, if any. States that the list fixes do not change.
pub(in crate::serve) fn within(
    period: &Period,
    from: Timestamp,
    until: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let until = match period.states_at {
        Some(at) if at <= from => return None,
        Some(at) if at <= until => period.until,
        Some(_) | None => until,
    };
    (from < period.until && period.from < until).then_some((from, until))
}

fn is_listed(decided: &&DecidedRelease) -> bool {
    decided.release.state == LifeState::Listed
}

impl PackageLives {
    /// Reads the releases of a package; `None` if no rule can match the package.
    pub(in crate::serve) fn read(
        c: &mut dyn Conn,
        repo: &Arc<RepoPolicy>,
        catalog: &Arc<Catalog>,
        tree: &Tree,
        package: &str,
    ) -> Result<Option<PackageLives>, DbError> {
        let repository = catalog.repo_by_id(repo.repo);
        let lists = repository.into_iter().flat_map(|repository| &repository.steps);
        let promotions: Vec<PromotedList> = lists.filter_map(|list| list.promotion()).collect();
        let has_withheld = promotions.iter().any(|promotion| promotion.seq.is_some());
        let may_match = repo.set.may_match(package) || has_withheld;
        let Some(newest) = tree.newest().filter(|_| may_match) else { return Ok(None) };
        let mut withheld = HashMap::new();
        for promotion in promotions {
            let of_list = promotion.seq.zip(repo.withheld(c, Some(promotion))?);
            withheld.extend(of_list);
        }
        let base = tree.bases.last().map(|(_, base)| *base);
        let rules = PointRules { number: repo.number, aged_at: None, is_dated: true, promotion: None };
        let point_tree =
            PointTree { source: tree.source, tree: tree.id, seq: newest, base, rules: Some(rules) };
        let policy = TreePolicy {
            repo: Arc::clone(repo),
            catalog: Arc::clone(catalog),
            tree: point_tree,
            rules,
            // Of R packages.
            list_delay: None,
        };
        let lives = release_periods(c, tree, newest, package)?;
        let (mut first_steps, mut licenses) = (HashMap::new(), HashMap::new());
        if let Some(package) = lives.first().map(|period| period.release.package) {
            first_steps = release_facts::first_steps(c, point_tree.listing().tree, Some(package))?;
            if repo.set.needs_license() {
                let recorded = if tree.is_snapshot() { point_tree.listing().tree } else { tree.id };
                release_facts::metadata_of_all_steps(c, recorded, package, &mut |release, text| {
                    add_license(&mut licenses, release, &text);
                })?;
            }
        }
        Ok(Some(PackageLives { policy, lives, first_steps, licenses, withheld }))
    }

    /// Returns the versions that the tree lists in a period, or would list without rules. Some rules do not apply if
    /// `is_dated`; releases age up to `now`. A listed version precedes the blocked ones of the same time.
    pub(in crate::serve) fn spans(&self, period: &Period, is_dated: bool, now: Timestamp) -> Vec<Span> {
        let within = |life: &ReleasePeriod| {
            within(period, life.from, life.until).map(|bounds| (bounds, life.release.clone()))
        };
        let lives: Vec<((Timestamp, Timestamp), TreeRelease)> =
            self.lives.iter().filter_map(within).collect();
        let mut bounds = vec![period.from, period.until];
        bounds.extend(lives.iter().flat_map(|((from, until), _)| [*from, *until]));
        bounds.extend(self.ends_of_ages().into_iter().filter(|at| *at < age_instant(now)));
        bounds.retain(|at| period.from <= *at && *at <= period.until);
        bounds.sort_unstable();
        bounds.dedup();
        let mut spans = Vec::new();
        for (from, until) in bounds.iter().zip(bounds.iter().skip(1)) {
            let present = lives.iter().filter(|(bounds, _)| bounds.0 <= *from && *from < bounds.1);
            let rows: Vec<TreeRelease> = present.map(|(_, release)| release.clone()).collect();
            if rows.iter().any(|row| row.state == LifeState::Listed) {
                let end = promoted_at(period.promotion).unwrap_or(Timestamp(i64::MAX));
                let age_at = Timestamp(from.0.saturating_add(1)).min(age_instant(now)).min(end);
                let span = |(version, blocked)| Span { version, from: *from, until: *until, blocked };
                let rules = PointRules {
                    aged_at: Some(age_at),
                    is_dated,
                    promotion: period.promotion,
                    ..self.policy.rules
                };
                spans.extend(self.listed(&rows, rules).into_iter().map(span));
            }
        }
        spans
    }

    /// Returns the instants just before the releases are old enough for the rules about their age.
    fn ends_of_ages(&self) -> Vec<Timestamp> {
        let history = self.history();
        let Some(first) = self.lives.first() else { return Vec::new() };
        let min_ages: Vec<i64> = self.policy.repo.set.min_ages(&first.release.name).collect();
        let of_life = |life: &ReleasePeriod| {
            let facts = history.facts(&life.release);
            let since = effective_time(facts.claimed_at, facts.discovered_at, facts.is_initial);
            let ends = min_ages.iter().map(|age| Timestamp(since.0.saturating_add(*age).saturating_sub(1)));
            ends.collect::<Vec<_>>()
        };
        self.lives.iter().flat_map(of_life).collect()
    }

    /// Returns the versions that a state lists or would list, listed ones first, with the reasons for blocks.
    fn listed(&self, rows: &[TreeRelease], rules: PointRules) -> Vec<(String, Option<String>)> {
        let policy = TreePolicy { rules, ..self.policy.clone() };
        let list = rules.promotion.and_then(|promotion| promotion.seq);
        let withheld = list.and_then(|list| self.withheld.get(&list)).map(Arc::as_ref);
        let history = PackageHistory { withheld, ..self.history() };
        let mut decided = policy.decide_package(rows, &history, false);
        if decided.iter().any(|decided| is_listed(&decided) && decided.is_blocked()) {
            decided = policy.decide_package(rows, &history, true);
        }
        let mut listed: Vec<(String, Option<String>)> = Vec::new();
        listed.extend(substitute(&decided).map(|substitute| (substitute.version, None)));
        let (blocked, allowed): (Vec<&DecidedRelease>, Vec<&DecidedRelease>) =
            decided.iter().filter(is_listed).partition(|decided| decided.is_blocked());
        listed.extend(allowed.into_iter().map(|decided| (decided.release.version.clone(), None)));
        listed.extend(blocked.into_iter().map(|decided| {
            let reason = match &decided.decision {
                RuleDecision::Blocked(_, reason) => reason.clone(),
                RuleDecision::NoRule
                | RuleDecision::AdmittedEarly(_)
                | RuleDecision::Exception(..)
                | RuleDecision::Warned(..) => String::new(),
            };
            (decided.release.version.clone(), Some(reason))
        }));
        listed
    }

    fn history(&self) -> PackageHistory<'_> {
        let tree = self.policy.catalog.tree(self.policy.tree.listing().tree);
        PackageHistory { first_steps: &self.first_steps, licenses: &self.licenses, tree, withheld: None }
    }
}
