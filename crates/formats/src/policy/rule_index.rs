//! The rules of a server for packages of one language, indexed by their limits and by package. A change of rules copies
//! only the indexes with the limits of these rules; copies of [`RuleIndexes`] share the other indexes. A rule that is not
//! in force can be added without a copy of any index.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::rule::Rule;
use crate::language;
use base::model::ids::{RepoId, SourceId};
use base::model::kind::Language;
use base::model::rule_effect::RuleEffect;

/// The repository of a [`RuleSet`](super::RuleSet).
#[derive(Clone, Copy, Debug)]
pub struct RuleScope<'a> {
    pub repo: RepoId,
    /// All sources to which it ever subscribed, because dated snapshots still contain them.
    pub sources: &'a [SourceId],
    /// Those of them that select their packages from another source, with that source. A rule about a source applies to
    /// packages that come from it in this way, too.
    pub origins: &'a [(SourceId, SourceId)],
}

/// All rules that can match packages of a language.
#[derive(Clone, Debug)]
pub struct RuleIndexes {
    language: Language,
    by_limits: HashMap<VersionLimits, Arc<RuleIndex>>,
    /// The rules of [`RuleIndexes::with`], each in an index of its own.
    single_rules: Vec<(VersionLimits, Arc<RuleIndex>)>,
}

/// The repository and the source to which a rule is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct VersionLimits {
    repo: Option<RepoId>,
    source: Option<SourceId>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleIndex {
    /// The rules with a package name, by name; the rules about a package are in the order of evaluation.
    by_package: imbl::HashMap<Arc<str>, Vec<Arc<Rule>>>,
    /// The other rules, in the order of evaluation.
    general: Vec<Arc<Rule>>,
    counts: RuleCounts,
}

/// Numbers of rules with properties on which decisions depend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleCounts {
    /// Rules that are no exceptions.
    pub(super) effective: usize,
    pub(super) with_advisories: usize,
    pub(super) with_license: usize,
    pub(super) with_age: usize,
    pub(super) not_dated: usize,
}

#[derive(Debug, Default)]
struct IndexChanges<'a> {
    removed: Vec<&'a Rule>,
    added: Vec<&'a Arc<Rule>>,
}

impl RuleIndexes {
    pub fn new(language: Language) -> RuleIndexes {
        RuleIndexes { language, by_limits: HashMap::new(), single_rules: Vec::new() }
    }

    pub fn of(language: Language, rules: &[Arc<Rule>]) -> RuleIndexes {
        let mut indexes = RuleIndexes::new(language);
        indexes.update(&[], rules);
        indexes
    }

    pub fn language(&self) -> Language {
        self.language
    }

    /// Returns these indexes and one more rule, which has an index of its own: no other index is copied. For a rule that
    /// is not stored, because [`RuleIndexes::update`] does not change it.
    pub fn with(&self, rule: &Arc<Rule>) -> RuleIndexes {
        let mut indexes = self.clone();
        if self.can_match(rule) {
            let changes = IndexChanges { removed: Vec::new(), added: vec![rule] };
            let index = RuleIndex::default().with(self.language, &changes);
            indexes.single_rules.push((VersionLimits::of(rule), Arc::new(index)));
        }
        indexes
    }

    /// Removes and adds rules. A changed rule is in both lists.
    pub fn update(&mut self, removed: &[Arc<Rule>], added: &[Arc<Rule>]) {
        let mut changes: HashMap<VersionLimits, IndexChanges<'_>> = HashMap::new();
        for rule in removed.iter().filter(|rule| self.can_match(rule)) {
            changes.entry(VersionLimits::of(rule)).or_default().removed.push(rule);
        }
        for rule in added.iter().filter(|rule| self.can_match(rule)) {
            changes.entry(VersionLimits::of(rule)).or_default().added.push(rule);
        }
        for (limits, changes) in changes {
            let index = self.by_limits.remove(&limits).unwrap_or_default().with(self.language, &changes);
            if !index.is_empty() {
                self.by_limits.insert(limits, Arc::new(index));
            }
        }
    }

    /// Returns the indexes whose rules can match in a repository, in an order that depends on the repository only.
    pub fn in_scope(&self, scope: RuleScope<'_>) -> Vec<Arc<RuleIndex>> {
        let origins = scope.origins.iter().map(|(_, origin)| *origin);
        let sources: BTreeSet<SourceId> = scope.sources.iter().copied().chain(origins).collect();
        let sources = std::iter::once(None).chain(sources.into_iter().map(Some));
        let limits =
            sources.flat_map(|source| [None, Some(scope.repo)].map(|repo| VersionLimits { repo, source }));
        let limits: Vec<VersionLimits> = limits.collect();
        let shared = limits.iter().filter_map(|limits| self.by_limits.get(limits));
        let single = self.single_rules.iter().filter(|(of_rule, _)| limits.contains(of_rule));
        shared.chain(single.map(|(_, index)| index)).cloned().collect()
    }

    /// Returns whether a rule can match packages of the language.
    fn can_match(&self, rule: &Rule) -> bool {
        language::of(self.language).states_licenses() || !rule.criteria.needs_license()
    }
}

impl VersionLimits {
    fn of(rule: &Rule) -> VersionLimits {
        VersionLimits { repo: rule.criteria.repo, source: rule.criteria.source }
    }
}

impl RuleIndex {
    /// Returns the rules with this package name (normalized for Python), in the order of evaluation.
    pub(super) fn of_package(&self, name: &str) -> &[Arc<Rule>] {
        self.by_package.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the rules without a package name, in the order of evaluation.
    pub(super) fn general(&self) -> &[Arc<Rule>] {
        &self.general
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.by_package.keys().map(|name| &**name)
    }

    pub(super) fn counts(&self) -> RuleCounts {
        self.counts
    }

    fn is_empty(&self) -> bool {
        self.by_package.is_empty() && self.general.is_empty()
    }

    fn with(&self, language: Language, changes: &IndexChanges<'_>) -> RuleIndex {
        let mut index = self.clone();
        let removed: HashSet<i64> = changes.removed.iter().map(|rule| rule.id).collect();
        // The rules with each of the changed names, and those without a name.
        let mut by_name: HashMap<Arc<str>, Vec<Arc<Rule>>> = HashMap::new();
        let mut unnamed: Option<Vec<Arc<Rule>>> = None;
        for rule in &changes.removed {
            index.counts = index.counts.combine(RuleCounts::of(rule), usize::saturating_sub);
            match package_name(language, rule) {
                Some(name) => {
                    by_name.entry(name).or_default();
                }
                None => {
                    unnamed.get_or_insert_default();
                }
            }
        }
        for rule in &changes.added {
            index.counts = index.counts.combine(RuleCounts::of(rule), usize::saturating_add);
            let rules = match package_name(language, rule) {
                Some(name) => by_name.entry(name).or_default(),
                None => unnamed.get_or_insert_default(),
            };
            rules.push(Arc::clone(rule));
        }
        let merge = |present: Vec<Arc<Rule>>, mut rules: Vec<Arc<Rule>>| {
            rules.extend(present.into_iter().filter(|rule| !removed.contains(&rule.id)));
            rules.sort_by_key(|rule| rule.order());
            rules
        };
        for (name, rules) in by_name {
            let rules = merge(index.by_package.remove(&name).unwrap_or_default(), rules);
            if !rules.is_empty() {
                index.by_package.insert(name, rules);
            }
        }
        if let Some(rules) = unnamed {
            index.general = merge(index.general, rules);
        }
        index
    }
}

/// Returns the name in the criteria of a rule, in the form in which packages of the language are looked up.
fn package_name(language: Language, rule: &Rule) -> Option<Arc<str>> {
    let name = rule.criteria.package.as_deref()?;
    Some(language::of(language).fold(name).into())
}

impl RuleCounts {
    fn of(rule: &Rule) -> RuleCounts {
        let criteria = &rule.criteria;
        let reads_fixes = criteria.min_age.is_some() && criteria.fixes_pass;
        RuleCounts {
            effective: usize::from(rule.effect != RuleEffect::Allow),
            with_advisories: usize::from(criteria.needs_advisories() || reads_fixes),
            with_license: usize::from(criteria.needs_license()),
            with_age: usize::from(criteria.min_age.is_some()),
            not_dated: usize::from(criteria.not_dated),
        }
    }

    pub(super) fn plus(self, other: RuleCounts) -> RuleCounts {
        self.combine(other, usize::saturating_add)
    }

    fn combine(self, other: RuleCounts, f: impl Fn(usize, usize) -> usize) -> RuleCounts {
        RuleCounts {
            effective: f(self.effective, other.effective),
            with_advisories: f(self.with_advisories, other.with_advisories),
            with_license: f(self.with_license, other.with_license),
            with_age: f(self.with_age, other.with_age),
            not_dated: f(self.not_dated, other.not_dated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Criteria, RuleSet};

    /// Returns a rule whose priority, effect and criteria depend on `kind`.
    fn rule(id: i64, kind: u64) -> Arc<Rule> {
        let names = [None, Some("one"), Some("two"), Some("Two"), Some("a_b")];
        let criteria = Criteria {
            package: names[(kind % 5) as usize].map(str::to_owned),
            repo: [None, None, Some(RepoId(3))][(kind / 5 % 3) as usize],
            source: [None, Some(SourceId(1))][(kind / 15 % 2) as usize],
            license: [None, None, Some("AGPL".to_owned())][(kind / 30 % 3) as usize].clone(),
            vulns: (kind / 90).is_multiple_of(4),
            min_age: (kind / 360).is_multiple_of(5).then_some(9),
            not_dated: kind.is_multiple_of(7),
            ..Criteria::default()
        };
        let effect = [RuleEffect::Block, RuleEffect::Allow, RuleEffect::Warn][(kind % 3) as usize];
        let priority = (kind % 4) as i64;
        Arc::new(Rule { id, priority, effect, criteria, description: String::new() })
    }

    #[test]
    fn indexes_after_changes_equal_those_of_all_rules() {
        for language in Language::ALL {
            let mut seed: u64 = 20_261_126;
            let mut random = |limit: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % limit
            };
            let (mut rules, mut indexes) = (Vec::<Arc<Rule>>::new(), RuleIndexes::new(language));
            for round in 0..200 {
                let (mut removed, mut added) = (Vec::new(), Vec::new());
                for _ in 0..random(5) {
                    if random(3) > 0 || rules.is_empty() {
                        added.push(rule(round * 100 + added.len() as i64, random(10_000)));
                        continue;
                    }
                    let old = rules.swap_remove(random(rules.len() as u64) as usize);
                    if random(2) == 0 {
                        added.push(rule(old.id, random(10_000)));
                    }
                    removed.push(old);
                }
                rules.extend(added.iter().cloned());
                indexes.update(&removed, &added);
                let all = RuleIndexes::of(language, &rules);
                assert_eq!(indexes.by_limits, all.by_limits, "{language:?}, round {round}");
            }
            assert!(rules.len() > 50 && indexes.by_limits.len() == 4, "{language:?}: {}", rules.len());
            indexes.update(&rules, &[]);
            assert!(indexes.by_limits.is_empty(), "{language:?}");
        }
    }

    #[test]
    fn a_rule_in_an_index_of_its_own_is_evaluated_in_its_order() {
        let origins = [(SourceId(2), SourceId(1))];
        let scope = RuleScope { repo: RepoId(3), sources: &[SourceId(2)], origins: &origins };
        for language in Language::ALL {
            let mut rules: Vec<Arc<Rule>> = (0..300).map(|id| rule(id, id.unsigned_abs() * 31)).collect();
            let indexes = RuleIndexes::of(language, &rules);
            for kind in (0..10_000).step_by(37) {
                let new = rule(1000, kind);
                let with = indexes.with(&new);
                for (limits, index) in &indexes.by_limits {
                    assert!(Arc::ptr_eq(index, &with.by_limits[limits]), "{limits:?} is copied");
                }
                rules.push(new);
                let (set, expected) = (with, RuleIndexes::of(language, &rules));
                rules.pop();
                let [set, expected] =
                    [set, expected].map(|indexes| RuleSet::new(indexes.in_scope(scope), &origins));
                for name in ["one", "two", "Two", "a-b", "other"] {
                    let compared = set.compared(name, None);
                    assert_eq!(compared, expected.compared(name, None), "{language:?}, {kind}, {name}");
                }
                assert_eq!(set.needs_license(), expected.needs_license());
                assert_eq!(set.needs_age(), expected.needs_age());
            }
            let other = RuleScope { repo: RepoId(4), sources: &[], origins: &[] };
            let criteria = Criteria { repo: Some(RepoId(3)), ..Criteria::default() };
            let elsewhere = Arc::new(Rule { criteria, ..(*rule(1000, 1)).clone() });
            let ids = RuleSet::new(indexes.with(&elsewhere).in_scope(other), &[]).compared("one", None);
            assert!(!ids.is_empty() && !ids.contains(&1000), "{ids:?}");
        }
    }

    #[test]
    fn a_change_copies_only_the_index_with_the_limits_of_the_rule() {
        let rules: Vec<Arc<Rule>> = (0..300).map(|id| rule(id, id.unsigned_abs() * 31)).collect();
        let mut indexes = RuleIndexes::of(Language::R, &rules);
        let before = indexes.clone();
        let new = Arc::new(Rule {
            criteria: Criteria { repo: Some(RepoId(3)), ..Criteria::default() },
            ..(*rule(1000, 1)).clone()
        });
        indexes.update(&[], std::slice::from_ref(&new));
        assert_eq!(before.by_limits.len(), 4);
        for (limits, index) in &before.by_limits {
            let is_shared = Arc::ptr_eq(index, &indexes.by_limits[limits]);
            assert_eq!(is_shared, *limits != VersionLimits::of(&new), "{limits:?}");
        }
        let count = |repo, sources: &[SourceId]| {
            indexes.in_scope(RuleScope { repo: RepoId(repo), sources, origins: &[] }).len()
        };
        assert_eq!((count(3, &[SourceId(1)]), count(3, &[])), (4, 2));
        assert_eq!((count(4, &[SourceId(1)]), count(4, &[SourceId(2)])), (2, 1));
        let origins = [(SourceId(2), SourceId(1))];
        let curated = RuleScope { repo: RepoId(4), sources: &[SourceId(2)], origins: &origins };
        assert_eq!(indexes.in_scope(curated).len(), 2, "rules about the origin");
    }
}
