//! The rules of one repository, indexed for decisions.

use std::collections::HashMap;
use std::sync::Arc;

use super::decide::{Clock, PackageFacts, ReleaseFacts, Verdict, evidence, fixes, matches};
use super::rule::Rule;
use crate::model::ids::{RepoId, SourceId};
use crate::model::language::Language;
use crate::model::rule_effect::RuleEffect;
use crate::python::name::normalize;

/// The rules that can match releases of a repository, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    /// Indexes of the rules with a package name, by name.
    by_package: HashMap<String, Vec<usize>>,
    /// Indexes of the other rules.
    general: Vec<usize>,
    /// The sources that select their packages from another source, with that source.
    origins: Vec<(SourceId, SourceId)>,
}

/// The repository of a [`RuleSet`].
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The repository.
    pub repo: RepoId,
    /// The language of its packages.
    pub language: Language,
    /// All sources to which it ever subscribed, because dated snapshots still contain them.
    pub sources: &'a [SourceId],
    /// Those of them that select their packages from another source, with that source. A rule about a source applies to
    /// packages that come from it in this way, too.
    pub origins: &'a [(SourceId, SourceId)],
}

impl RuleSet {
    /// Returns the rules that can match in a repository, in their order; empty if all of them are exceptions.
    #[must_use]
    pub fn select(rules: &[Arc<Rule>], scope: Scope<'_>) -> Vec<Arc<Rule>> {
        let is_in_scope = |rule: &&Arc<Rule>| {
            rule.criteria.repo.is_none_or(|repo| repo == scope.repo)
                && rule.criteria.source.is_none_or(|source| {
                    scope.sources.contains(&source) || scope.origins.iter().any(|(_, origin)| *origin == source)
                })
                // Rules about licenses do not apply to Python projects, whose pages do not state licenses.
                && !(scope.language == Language::Python && rule.criteria.needs_license())
        };
        let mut rules: Vec<Arc<Rule>> = rules.iter().filter(is_in_scope).cloned().collect();
        rules.sort_by_key(|rule| rule.order());
        // Exceptions without other rules have no effect.
        if rules.iter().all(|rule| rule.effect == RuleEffect::Allow) { Vec::new() } else { rules }
    }

    /// Creates a set of rules that [`RuleSet::select`] returned for the same repository.
    #[must_use]
    pub fn new(rules: Vec<Arc<Rule>>, scope: Scope<'_>) -> RuleSet {
        let mut set = RuleSet { rules, origins: scope.origins.to_vec(), ..RuleSet::default() };
        for (index, rule) in set.rules.iter().enumerate() {
            match &rule.criteria.package {
                Some(name) => {
                    let name = match scope.language {
                        Language::R => name.clone(),
                        Language::Python => normalize(name),
                    };
                    set.by_package.entry(name).or_default().push(index);
                }
                None => set.general.push(index),
            }
        }
        set
    }

    /// Returns whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns whether the set consists of these rules, and they apply to the packages of the same sources.
    #[must_use]
    pub fn has_rules(&self, rules: &[Arc<Rule>], origins: &[(SourceId, SourceId)]) -> bool {
        self.origins == origins
            && self.rules.len() == rules.len()
            && self.rules.iter().zip(rules).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }

    /// Returns the rules in their order.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// Returns the names of all packages that can be blocked; `None` if a blocking rule names no package.
    #[must_use]
    pub fn only_packages(&self) -> Option<Vec<&str>> {
        let blocks_any = self.general.iter().any(|index| self.rules[*index].effect == RuleEffect::Block);
        (!blocks_any).then(|| self.by_package.keys().map(String::as_str).collect())
    }

    /// Returns whether a rule may match releases of a package.
    #[must_use]
    pub fn may_match(&self, package: &str) -> bool {
        !self.general.is_empty() || self.by_package.contains_key(package)
    }

    /// Returns the rules that may match releases of a package, in their order.
    fn of_package(&self, package: &str) -> impl Iterator<Item = &Arc<Rule>> {
        let for_package = self.by_package.get(package).map(Vec::as_slice).unwrap_or_default();
        let (mut for_package, mut general) = (for_package.iter().peekable(), self.general.iter().peekable());
        std::iter::from_fn(move || {
            let index = match (for_package.peek(), general.peek()) {
                (Some(a), Some(b)) if a < b => for_package.next(),
                (_, Some(_)) => general.next(),
                (_, None) => for_package.next(),
            };
            index.map(|index| &self.rules[*index])
        })
    }

    /// Returns the ids of the rules that are evaluated for releases of a package, in order, up to and including the
    /// rule `decisive`.
    #[must_use]
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

    /// Returns whether a decision depends on advisories.
    #[must_use]
    pub fn needs_advisories(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.criteria.needs_advisories() || (rule.criteria.min_age.is_some() && rule.criteria.fixes_pass)
        })
    }

    /// Returns whether a decision depends on licenses.
    #[must_use]
    pub fn needs_license(&self) -> bool {
        self.rules.iter().any(|rule| rule.criteria.needs_license())
    }

    /// Returns whether a decision depends on the age of releases.
    #[must_use]
    pub fn needs_age(&self) -> bool {
        self.rules.iter().any(|rule| rule.criteria.min_age.is_some())
    }

    /// Returns true if a decision depends on whether the snapshot is dated.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        self.rules.iter().any(|rule| rule.criteria.not_dated)
    }

    /// Decides about a release of a package: the first rule that matches.
    #[must_use]
    pub fn decide(&self, package: &PackageFacts<'_>, release: &ReleaseFacts, clock: Clock) -> Verdict<'_> {
        let mut rules =
            self.of_package(package.name).filter(|rule| self.applies_to_source(rule, package.source));
        let found = rules.find(|rule| matches(&rule.criteria, package, release, clock));
        match found {
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
    #[must_use]
    pub fn early_admission(
        &self,
        package: &PackageFacts<'_>,
        release: &ReleaseFacts,
        clock: Clock,
    ) -> Option<String> {
        let rules = self.of_package(package.name).filter(|rule| self.applies_to_source(rule, package.source));
        rules.filter(|rule| rule.effect != RuleEffect::Allow).find_map(|rule| {
            let fixes = fixes(&rule.criteria, package, release, clock);
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
    #[must_use]
    pub fn reason(rule: &Rule, package: &PackageFacts<'_>, release: &ReleaseFacts, clock: Clock) -> String {
        label_with_facts(rule, evidence(&rule.criteria, package, release, clock))
    }
}

/// Returns the number of a rule, with its description and facts.
fn label_with_facts(rule: &Rule, facts: Vec<String>) -> String {
    let description = (!rule.description.is_empty()).then(|| rule.description.clone());
    let parts: Vec<String> = description.into_iter().chain(facts).collect();
    match parts.is_empty() {
        true => format!("rule {}", rule.id),
        false => format!("rule {} ({})", rule.id, parts.join("; ")),
    }
}

#[cfg(test)]
mod tests;
