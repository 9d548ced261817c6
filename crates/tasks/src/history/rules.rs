//! Digests of the rules in force, which decide what a repository serves of its sources.

use std::sync::Arc;

use parking_lot::Mutex;

use base::model::digest::Sha256;
use base::model::ids::RepoId;
use base::model::kind::Language;
use formats::policy::{NameGuard, Rule};
use runtime::catalog::{BlockRules, Catalog, Guards};

/// The rules and guards whose digest was computed last, and the digest.
#[derive(Default)]
pub(super) struct KnownRules(Mutex<Option<(Arc<BlockRules>, Arc<Guards>, String)>>);

impl KnownRules {
    /// Returns the digest of all block rules, and of all name guards that an administrator created.
    pub(super) fn of_all(&self, catalog: &Catalog) -> String {
        let mut known = self.0.lock();
        if let Some((rules, guards, digest)) = known.as_ref()
            && Arc::ptr_eq(rules, &catalog.rules)
            && Arc::ptr_eq(guards, &catalog.guards)
        {
            return digest.clone();
        }
        let digest = digest(&(lines(catalog, None) + &guard_lines(catalog, None)));
        *known = Some((Arc::clone(&catalog.rules), Arc::clone(&catalog.guards), digest.clone()));
        digest
    }

    /// Returns the digest of the block rules of a repository, and of the guards of names of its language.
    pub(super) fn of_repository(&self, catalog: &Catalog, repo: RepoId) -> String {
        let language = catalog.repo_by_id(repo).map(|repo| repo.kind.language());
        digest(&(lines(catalog, Some(repo)) + &guard_lines(catalog, language)))
    }

    /// Returns whether a rule of a repository depends on advisories, which change what past days serve without a change of
    /// the rules.
    pub(super) fn need_advisories(&self, catalog: &Catalog, repo: RepoId) -> bool {
        let mut rules = catalog.rules.iter().map(|stored| &stored.rule.criteria);
        rules.any(|rule| rule.repo.is_none_or(|of| of == repo) && rule.needs_advisories())
    }
}

/// Returns a line for each name guard that an administrator created, of a language or of all.
fn guard_lines(catalog: &Catalog, language: Option<Language>) -> String {
    let guards = catalog.guards.created.active();
    let guards = guards.filter(|guard| language.is_none_or(|language| guard.language == language));
    let line = |guard: &Arc<NameGuard>| {
        let (language, source) = (guard.language.as_str(), guard.source.0);
        format!("guard {} {language} {} {source}\n", guard.id, guard.pattern)
    };
    let mut lines: Vec<String> = guards.map(line).collect();
    lines.sort_unstable();
    lines.concat()
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
