//! Digests of the rules in force, which decide what a repository serves of its sources.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use base::model::digest::Sha256;
use base::model::ids::RepoId;
use base::model::kind::Language;
use formats::policy::{NameGuard, Rule};
use runtime::catalog::{BlockRules, Catalog, Guards, Repository};

/// No repository has this number, so that the rules of one without rules of its own are those of all repositories.
const NO_REPOSITORY: RepoId = RepoId(0);

/// The digests that were computed of the rules and guards in force last.
#[derive(Default)]
pub(super) struct KnownRules(Mutex<Option<Digests>>);

struct Digests {
    rules: Arc<BlockRules>,
    guards: Arc<Guards>,
    digests: HashMap<(bool, Option<Language>, Option<RepoId>), String>,
}

impl KnownRules {
    /// Returns the digest of all block rules, and of all name guards that hide something; `automatic` states whether uploaded
    /// names are guarded automatically.
    pub(super) fn of_all(&self, catalog: &Catalog, automatic: bool) -> String {
        self.digest(catalog, automatic, None, None)
    }

    /// Returns the digest of the block rules of a repository, and of the name guards of its language. Repositories without
    /// rules of their own share theirs.
    pub(super) fn of_repository(&self, catalog: &Catalog, automatic: bool, repo: &Repository) -> String {
        let has_own = catalog.rules.iter().any(|stored| stored.rule.criteria.repo == Some(repo.id));
        let of = if has_own { repo.id } else { NO_REPOSITORY };
        self.digest(catalog, automatic, Some(repo.kind.language()), Some(of))
    }

    fn digest(
        &self,
        catalog: &Catalog,
        automatic: bool,
        language: Option<Language>,
        repo: Option<RepoId>,
    ) -> String {
        let mut known = self.0.lock();
        let is_current = |known: &Digests| {
            Arc::ptr_eq(&known.rules, &catalog.rules) && Arc::ptr_eq(&known.guards, &catalog.guards)
        };
        if !known.as_ref().is_some_and(is_current) {
            *known = None;
        }
        let known = known.get_or_insert_with(|| Digests {
            rules: Arc::clone(&catalog.rules),
            guards: Arc::clone(&catalog.guards),
            digests: HashMap::new(),
        });
        let digest = || digest(&(lines(catalog, repo) + &guard_lines(catalog, automatic, language)));
        known.digests.entry((automatic, language, repo)).or_insert_with(digest).clone()
    }

    /// Returns whether a rule of a repository depends on advisories, which change what past days serve without a change of
    /// the rules.
    pub(super) fn need_advisories(&self, catalog: &Catalog, repo: RepoId) -> bool {
        let mut rules = catalog.rules.iter().map(|stored| &stored.rule.criteria);
        rules
            .any(|rule| rule.repo.is_none_or(|of| of == repo) && (rule.needs_advisories() || rule.fixes_pass))
    }
}

/// Returns a line for each name guard of a language, or of all, that hides something.
fn guard_lines(catalog: &Catalog, automatic: bool, language: Option<Language>) -> String {
    let guards = catalog.guards.in_force(automatic).active();
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
