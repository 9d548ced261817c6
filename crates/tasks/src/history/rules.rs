//! Digests of the rules in force, which decide what a repository serves of its sources.

use std::sync::Arc;

use parking_lot::Mutex;

use base::model::digest::Sha256;
use base::model::ids::RepoId;
use formats::policy::Rule;
use runtime::catalog::{BlockRules, Catalog, Guards};

#[derive(Default)]
pub(super) struct KnownRules {
    /// The rules and guards whose digest was computed last.
    all: Mutex<Option<(Arc<BlockRules>, Arc<Guards>)>>,
    /// The digest of the rules that are not of one repository.
    common: Mutex<Option<(Arc<BlockRules>, String)>>,
}

impl KnownRules {
    /// Returns the digest of all block rules, and of all name guards that an administrator created, if they are not those of
    /// the last call.
    pub(super) fn changed(&self, catalog: &Catalog) -> Option<String> {
        let mut known = self.all.lock();
        let is_known = known.as_ref().is_some_and(|(rules, guards)| {
            Arc::ptr_eq(rules, &catalog.rules) && Arc::ptr_eq(guards, &catalog.guards)
        });
        if is_known {
            return None;
        }
        *known = Some((Arc::clone(&catalog.rules), Arc::clone(&catalog.guards)));
        let guards = catalog.guards.created.active().map(|guard| {
            let (language, source) = (guard.language.as_str(), guard.source.0);
            format!("guard {} {language} {} {source}\n", guard.id, guard.pattern)
        });
        let mut guards: Vec<String> = guards.collect();
        guards.sort_unstable();
        Some(digest(&(lines(catalog, None) + &guards.concat())))
    }

    /// Returns the digest of the block rules of a repository. Those of repositories without rules of their own are computed
    /// once.
    pub(super) fn of_repository(&self, catalog: &Catalog, repo: RepoId) -> String {
        if catalog.rules.iter().any(|stored| stored.rule.criteria.repo == Some(repo)) {
            return digest(&lines(catalog, Some(repo)));
        }
        let mut common = self.common.lock();
        match common.as_ref().filter(|(rules, _)| Arc::ptr_eq(rules, &catalog.rules)) {
            Some((_, digest)) => digest.clone(),
            None => {
                let digest = digest(&lines(catalog, Some(repo)));
                *common = Some((Arc::clone(&catalog.rules), digest.clone()));
                digest
            }
        }
    }
}

fn digest(text: &str) -> String {
    Sha256::of(text.as_bytes()).to_string()
}

/// Returns a line for each block rule, in order of execution: id, priority, effect, source, criteria.
fn lines(catalog: &Catalog, repo: Option<RepoId>) -> String {
    let mut rules: Vec<&Rule> = catalog.rules.iter().map(|stored| &*stored.rule).collect();
    rules.retain(|rule| repo.is_none() || rule.criteria.repo.is_none_or(|of| Some(of) == repo));
    rules.sort_by_key(|rule| rule.order());
    let lines = rules.iter().map(|rule| {
        let source = rule.criteria.source.map_or_else(|| "-".to_owned(), |source| source.0.to_string());
        let criteria = serde_json::to_string(&rule.criteria).unwrap_or_default();
        format!("{} {} {} {source} {criteria}\n", rule.id, rule.priority, rule.effect.as_str())
    });
    lines.collect()
}
