//! The rules of one repository, indexed for decisions.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decide::{Case, Clock, PackageFacts, ReleaseFacts, Verdict};
use super::rule::Rule;
use super::rule_index::{RuleCounts, RuleIndex};
use base::model::ids::SourceId;
use base::model::rule_effect::RuleEffect;

/// The rules that can match releases of a repository; empty if all are exceptions, which have no effect alone.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    indexes: Vec<Arc<RuleIndex>>,
    /// The rules of all indexes without a package name, in the order of evaluation.
    general: Vec<Arc<Rule>>,
    /// The sources that select their packages from another source, with that source.
    origins: Vec<(SourceId, SourceId)>,
    counts: RuleCounts,
}

impl RuleSet {
    /// Creates the set of the rules of indexes that [`RuleIndexes::in_scope`](super::RuleIndexes::in_scope) returned for a
    /// repository. `origins` are those of the scope.
    pub fn new(indexes: Vec<Arc<RuleIndex>>, origins: &[(SourceId, SourceId)]) -> RuleSet {
        let counts = indexes.iter().map(|index| index.counts()).fold(RuleCounts::default(), RuleCounts::plus);
        let mut set = RuleSet { indexes, origins: origins.to_vec(), ..RuleSet::default() };
        if counts.effective > 0 {
            set.general = set.indexes.iter().flat_map(|index| index.general()).cloned().collect();
            set.general.sort_by_key(|rule| rule.order());
            set.counts = counts;
        }
        set
    }

    /// Returns whether there are no rules with an effect.
    pub fn is_empty(&self) -> bool {
        self.counts.effective == 0
    }

    /// Returns whether the set consists of the rules of these indexes, and they apply to the packages of the same sources.
    pub fn consists_of(&self, indexes: &[Arc<RuleIndex>], origins: &[(SourceId, SourceId)]) -> bool {
        self.origins == origins
            && self.indexes.len() == indexes.len()
            && self.indexes.iter().zip(indexes).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Returns the packages that can be blocked; `None` if a blocking rule names none, or for more than `limit` names.
    pub fn only_packages(&self, limit: usize) -> Option<BTreeSet<&str>> {
        let blocks_any = self.general.iter().any(|rule| rule.effect == RuleEffect::Block);
        let count: usize = self.indexes_with_effect().iter().map(|index| index.names().len()).sum();
        let names = || self.indexes_with_effect().iter().flat_map(|index| index.names()).collect();
        (!blocks_any && count <= limit).then(names)
    }

    /// Returns whether a rule may match releases of a package.
    pub fn may_match(&self, package: &str) -> bool {
        !self.general.is_empty()
            || self.indexes_with_effect().iter().any(|index| !index.of_package(package).is_empty())
    }

    fn indexes_with_effect(&self) -> &[Arc<RuleIndex>] {
        if self.is_empty() { &[] } else { &self.indexes }
    }

    /// Returns the rules that may match releases of a package, in their order.
    fn of_package(&self, package: &str) -> impl Iterator<Item = &Arc<Rule>> {
        let indexes = self.indexes_with_effect().iter();
        let mut named: Vec<&Arc<Rule>> = indexes.flat_map(|index| index.of_package(package)).collect();
        named.sort_by_key(|rule| rule.order());
        let (mut named, mut general) = (named.into_iter().peekable(), self.general.iter().peekable());
        std::iter::from_fn(move || match (named.peek(), general.peek()) {
            (Some(a), Some(b)) if a.order() < b.order() => named.next(),
            (_, Some(_)) => general.next(),
            (_, None) => named.next(),
        })
    }

    /// Returns the ids of the rules evaluated for releases of a package, in order, up to and including `decisive`.
    pub fn compared(&self, package: &str, decisive: Option<i64>) -> Vec<i64> {
        let mut ids = Vec::new();
        for rule in self.of_package(package) {
            ids.push(rule.id);
            if Some(rule.id) == decisive {
                break;
            }
        }
        ids
    }

    /// Returns the minimum ages of the rules that may match releases of a package, in microseconds.
    pub fn min_ages(&self, package: &str) -> impl Iterator<Item = i64> {
        self.of_package(package).filter_map(|rule| rule.criteria.min_age)
    }

    pub fn needs_advisories(&self) -> bool {
        self.counts.with_advisories > 0
    }

    pub fn needs_license(&self) -> bool {
        self.counts.with_license > 0
    }

    pub fn needs_age(&self) -> bool {
        self.counts.with_age > 0
    }

    /// Returns whether a decision depends on whether the snapshot is dated.
    pub fn needs_snapshot(&self) -> bool {
        self.counts.not_dated > 0
    }

    /// Decides about a release of a package: the first rule that matches.
    pub fn decide(&self, package: &PackageFacts<'_>, release: &ReleaseFacts, clock: Clock) -> Verdict<'_> {
        let mut rules =
            self.of_package(package.name).filter(|rule| self.applies_to_source(rule, package.source));
        let case = Case { package, release, clock };
        match rules.find(|rule| case.matches(&rule.criteria)) {
            None => Verdict::NoRule,
            Some(rule) => match rule.effect {
                RuleEffect::Allow => Verdict::Exception(rule),
                RuleEffect::Block => Verdict::Blocked(rule),
                RuleEffect::Warn => Verdict::Warned(rule),
            },
        }
    }

    /// Explains why a release is allowed although it is too young for a rule: it fixes vulnerabilities. `None` if there
    /// is no such rule. Call this only for a release that no rule matches.
    pub fn early_admission(
        &self,
        package: &PackageFacts<'_>,
        release: &ReleaseFacts,
        clock: Clock,
    ) -> Option<String> {
        let rules = self.of_package(package.name).filter(|rule| self.applies_to_source(rule, package.source));
        rules.filter(|rule| rule.effect != RuleEffect::Allow).find_map(|rule| {
            let fixes = Case { package, release, clock }.fixes(&rule.criteria);
            (!fixes.is_empty()).then(|| {
                let name = label_with_facts(rule, Vec::new());
                format!("{name} admits it early, because it fixes {}", fixes.join(", "))
            })
        })
    }

    /// Returns whether a rule applies to packages that a source provides.
    fn applies_to_source(&self, rule: &Rule, source: SourceId) -> bool {
        rule.criteria
            .source
            .is_none_or(|criterion| criterion == source || self.origins.contains(&(source, criterion)))
    }

    /// Explains why a rule matches a release: returns the rule's number and description, and facts about the release.
    pub fn reason(rule: &Rule, package: &PackageFacts<'_>, release: &ReleaseFacts, clock: Clock) -> String {
        label_with_facts(rule, Case { package, release, clock }.evidence(&rule.criteria))
    }
}

/// Returns the number of a rule, with its description and facts.
fn label_with_facts(rule: &Rule, facts: Vec<String>) -> String {
    if rule.id == 0 {
        // Stands for rules of an earlier time; see `Withheld`.
        return rule.description.clone();
    }
    let description = (!rule.description.is_empty()).then(|| rule.description.clone());
    let parts: Vec<String> = description.into_iter().chain(facts).collect();
    match parts.is_empty() {
        true => format!("rule {}", rule.id),
        false => format!("rule {} ({})", rule.id, parts.join("; ")),
    }
}

#[cfg(test)]
mod tests;
