//! The block rules and name guards of each repository, prepared for decisions when the repository is first requested after
//! a change of rules, guards, subscriptions or advisories, or after a backfill that added earlier releases: a publish does
//! not wait for all repositories. Repositories share the indexes of rules, and keep what a change does not concern.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::catalog::{BlockRules, Catalog, Guards, Repository, Source};
use base::model::ids::{PackageId, ReleaseId, RepoId, Seq, SourceId, TreeId};
use base::model::kind::{Language, SourceKind};
use base::model::point::{PointRules, PromotedList};
use base::model::time::{SECOND, Timestamp};
use formats::advisory::Index;
use formats::policy::{NameGuards, Rule, RuleIndexes, RuleScope, RuleSet, Withheld};
use store::db::{self, Conn, DbError};

/// Precision of the ages of releases at a point that may still change, in microseconds. Documents that depend
/// on ages are rendered again at most once in this time.
const AGE_PRECISION: i64 = 3600 * SECOND;
/// Number of trees of a repository whose blocked releases are in memory; those of all of CRAN take some megabytes.
const BLOCKED_TREES: usize = 24;
/// Number of promoted states of a repository whose withheld versions are in memory.
const WITHHELD_LISTS: usize = 4;
/// Maximum number of logged releases in memory; beyond it, all are logged again.
const MAX_LOGGED_RELEASES: usize = 10_000;
/// Number of lists of sources whose name guards are shared; with more of them, sharing begins again.
const MAX_SELECTED_GUARDS: usize = 1_000;

#[derive(Default)]
pub struct Policies {
    current: ArcSwap<PolicySet>,
    /// What was prepared last for each repository.
    by_repo: RwLock<HashMap<RepoId, PreparedRepo>>,
    /// Held while rules are prepared.
    preparation: Mutex<()>,
    last_number: AtomicU64,
    /// The logged releases: those that dated snapshots of a repository do not serve because of vulnerabilities.
    logged: Mutex<HashSet<(RepoId, String)>>,
}

#[derive(Default)]
struct PolicySet {
    rules: Arc<BlockRules>,
    /// The indexes of `rules`, for each language that has repositories.
    indexes: Vec<RuleIndexes>,
    guards: Arc<Guards>,
    has_automatic_guards: bool,
    /// The version of the catalog for which the rules were prepared: another version may have other subscriptions.
    catalog: i64,
    advisories: Option<Arc<Index>>,
    /// A number that changes with the rules, the guards and the advisories.
    generation: u64,
    /// The guards of repositories, shared by those with the same sources.
    selected_guards: Arc<Mutex<SelectedGuards>>,
}

/// The guards that [`NameGuards::select`] returned for a language and sources.
type SelectedGuards = HashMap<(Language, Vec<(SourceId, bool)>), Arc<NameGuards>>;

/// The rules of a repository, and the version of the catalog and the generation for which they were prepared.
struct PreparedRepo {
    catalog: i64,
    generation: u64,
    policy: Option<Arc<RepoPolicy>>,
}

pub struct RepoPolicy {
    /// The repository; 0 for a single source.
    pub repo: RepoId,
    /// A number that identifies the rules and the advisories within a process.
    pub number: u64,
    pub set: Arc<RuleSet>,
    /// The name guards that hide packages of its sources.
    pub guards: Arc<NameGuards>,
    /// The advisories, if a rule depends on them.
    pub advisories: Option<Arc<Index>>,
    /// Time at which the rules were prepared, and at which an advisory must be in force to have an effect.
    pub prepared_at: Timestamp,
    /// The blocked releases of the states used last: by source, tree, state, and what the decisions depend on besides.
    pub blocked: quick_cache::sync::Cache<BlockedKey, Arc<BlockedReleases>>,
    pub language: Language,
    /// The versions that rules withheld from the promoted states used last, by repository and number of the list.
    withheld: quick_cache::sync::Cache<(RepoId, Seq), Arc<Withheld>>,
    sources: Vec<SourceId>,
    first_steps: FirstSteps,
}

impl RepoPolicy {
    /// Returns the versions that rules withheld when a state was promoted; `None` if there are none.
    pub fn withheld(
        &self,
        c: &mut dyn Conn,
        promotion: Option<PromotedList>,
    ) -> Result<Option<Arc<Withheld>>, DbError> {
        let Some(PromotedList { seq: Some(seq), repo, at }) = promotion else { return Ok(None) };
        let repo = repo.unwrap_or(self.repo);
        let read = || {
            let text = db::repo::withheld(c, repo, seq)?;
            let withheld = Withheld::decode(&text, at).map_err(|error| {
                tracing::error!("list {seq} of repository {repo}: {error}");
                DbError::Shape {
                    column: 0,
                    found: "other bytes",
                    expected: "the withheld versions of a promotion",
                }
            });
            withheld.map(Arc::new)
        };
        self.withheld.get_or_insert_with(&(repo, seq), read).map(Some)
    }
}

/// The first step of each tree in which the rules select. A backfill adds earlier steps, with releases that
/// can be listed in place of blocked ones.
type FirstSteps = Vec<(TreeId, Option<Seq>)>;

/// The key of [`RepoPolicy::blocked`].
type BlockedKey = (SourceId, TreeId, Seq, PointRules);

/// The releases of a state that are blocked, and those that replace them.
#[derive(Debug, Default)]
pub struct BlockedReleases {
    pub releases: HashSet<ReleaseId>,
    /// The blocked releases as in file names: `{name}_{version}`.
    pub stems: HashSet<String>,
    /// The names of packages whose listed releases are all blocked, without another release that is listed instead.
    pub names: HashSet<String>,
    /// For packages whose listed release is blocked, the release that is listed instead.
    pub substitutes: HashMap<PackageId, Substitute>,
}

/// An archived release that replaces a blocked one in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitute {
    pub name: String,
    /// The name in lower case.
    pub normalized_name: String,
    pub release: ReleaseId,
    pub version: String,
    /// Time at which it was published upstream, if known.
    pub published_at: Option<Timestamp>,
}

impl Substitute {
    /// Returns `{name}_{version}`.
    pub fn stem(&self) -> String {
        format!("{}_{}", self.name, self.version)
    }
}

#[derive(Clone, Copy)]
pub struct PolicyInputs<'a> {
    pub catalog: &'a Catalog,
    pub advisories: Option<&'a Arc<Index>>,
    /// Whether uploaded names are guarded automatically.
    pub has_automatic_guards: bool,
    pub now: Timestamp,
}

impl PolicySet {
    /// Returns whether the set was prepared from these inputs.
    fn is_of(&self, inputs: &PolicyInputs<'_>) -> bool {
        self.catalog == inputs.catalog.version
            && Arc::ptr_eq(&self.rules, &inputs.catalog.rules)
            && self.has_guards_of(inputs)
            && is_same(self.advisories.as_ref(), inputs.advisories)
    }

    fn has_guards_of(&self, inputs: &PolicyInputs<'_>) -> bool {
        Arc::ptr_eq(&self.guards, &inputs.catalog.guards)
            && self.has_automatic_guards == inputs.has_automatic_guards
    }

    fn guards_of(&self, language: Language, sources: &[(SourceId, bool)]) -> Arc<NameGuards> {
        let mut selected = self.selected_guards.lock();
        if selected.len() >= MAX_SELECTED_GUARDS {
            selected.clear();
        }
        let guards = selected.entry((language, sources.to_vec())).or_insert_with(|| {
            let guards = self.guards.in_force(self.has_automatic_guards);
            Arc::new(guards.select(language, sources, true))
        });
        Arc::clone(guards)
    }

    /// Returns indexes of rules for a language; those whose rules did not change are shared with this set.
    fn indexes_of(&self, rules: &BlockRules, language: Language) -> RuleIndexes {
        match self.indexes.iter().find(|indexes| indexes.language() == language) {
            Some(indexes) => {
                let mut indexes = indexes.clone();
                let changes = rules.changes_since(&self.rules);
                indexes.update(&changes.removed, &changes.added);
                indexes
            }
            None => {
                let all: Vec<Arc<Rule>> =
                    rules.in_order().into_iter().map(|it| Arc::clone(&it.rule)).collect();
                RuleIndexes::of(language, &all)
            }
        }
    }
}

impl Policies {
    /// Returns the rules of a repository; `None` if nothing is blocked there.
    pub fn of_repo(&self, inputs: &PolicyInputs<'_>, repo: RepoId) -> Option<Arc<RepoPolicy>> {
        if !has_policies(inputs.catalog) {
            return None;
        }
        self.with_current(inputs, |current| self.of_repo_in(current, inputs, repo))
    }

    /// Returns the rules of a repository in this set, which was prepared from the inputs.
    fn of_repo_in(
        &self,
        current: &PolicySet,
        inputs: &PolicyInputs<'_>,
        repo: RepoId,
    ) -> Option<Arc<RepoPolicy>> {
        let is_current = |prepared: &PreparedRepo| {
            prepared.catalog == current.catalog && prepared.generation == current.generation
        };
        if let Some(prepared) = self.by_repo.read().get(&repo).filter(|prepared| is_current(prepared)) {
            return prepared.policy.clone();
        }
        let repo = inputs.catalog.repo_by_id(repo)?;
        let _guard = self.preparation.lock();
        let before = match self.by_repo.read().get(&repo.id) {
            // Another thread has just prepared it.
            Some(prepared) if is_current(prepared) => return prepared.policy.clone(),
            before => before.and_then(|prepared| prepared.policy.clone()),
        };
        let indexes = current.indexes_of(&inputs.catalog.rules, repo.kind.language());
        let guards = |language, sources: &[_]| current.guards_of(language, sources);
        let policy = self.prepare(inputs, repo, &indexes, &guards, before.as_ref());
        let (catalog, generation) = (current.catalog, current.generation);
        self.by_repo.write().insert(repo.id, PreparedRepo { catalog, generation, policy: policy.clone() });
        policy
    }

    /// Returns indexes of the rules in force for packages of a language. They share memory with those that repositories
    /// use; a change copies only what it changes, and has no effect on the rules in force.
    pub fn indexes(&self, inputs: &PolicyInputs<'_>, language: Language) -> RuleIndexes {
        self.with_current(inputs, |current| current.indexes_of(&inputs.catalog.rules, language))
    }

    /// Returns rules and name guards, which need not be in force, prepared for a repository; `None` if they hide nothing
    /// there. If they are those in force, returns the prepared ones, whose blocked releases are in memory.
    pub fn of_indexes(
        &self,
        inputs: &PolicyInputs<'_>,
        repo: &Repository,
        indexes: &RuleIndexes,
        guards: &NameGuards,
    ) -> Option<Arc<RepoPolicy>> {
        let in_force = self.with_current(inputs, |current| self.of_repo_in(current, inputs, repo.id));
        let guards = |language, sources: &[_]| Arc::new(guards.select(language, sources, true));
        self.prepare(inputs, repo, indexes, &guards, in_force.as_ref())
    }

    /// Returns the rules in force that name no repository, prepared for a source; `None` if they block nothing there.
    pub fn of_source(&self, inputs: &PolicyInputs<'_>, source: &Source) -> Option<Arc<RepoPolicy>> {
        let language = source.kind.language();
        let indexes = self.indexes(inputs, language);
        let scope = PolicyScope { repo: RepoId(0), language, sources: vec![source.id], has_withheld: false };
        self.prepare_scope(inputs, scope, &indexes, &|_, _| Arc::default(), None)
    }

    /// Returns numbers that change whenever a decision may change without a change of subscriptions, which changes the
    /// version of the catalog: with rules, guards and advisories, and each hour if rules depend on the age of releases.
    pub fn generation(&self, inputs: &PolicyInputs<'_>) -> (u64, i64) {
        let hour = if inputs.catalog.rules.has_age() { inputs.now.0.div_euclid(AGE_PRECISION) } else { 0 };
        (self.with_current(inputs, |current| current.generation), hour)
    }

    /// Records the log line of a release that dated snapshots do not serve; returns true if it is the first one.
    pub fn logs_frozen(&self, repo: RepoId, release: String) -> bool {
        let mut logged = self.logged.lock();
        if logged.len() >= MAX_LOGGED_RELEASES {
            logged.clear();
        }
        logged.insert((repo, release))
    }

    /// Calls a function with the rules prepared from `inputs`. Every request calls this: without a change it does not
    /// write to memory that all threads share.
    fn with_current<T>(&self, inputs: &PolicyInputs<'_>, read: impl FnOnce(&PolicySet) -> T) -> T {
        let current = self.current.load();
        if current.is_of(inputs) { read(&current) } else { read(&self.prepare_set(inputs)) }
    }

    /// Prepares what all repositories share, unless another thread has just done so.
    fn prepare_set(&self, inputs: &PolicyInputs<'_>) -> Arc<PolicySet> {
        let _guard = self.preparation.lock();
        let previous = self.current.load_full();
        if previous.is_of(inputs) {
            return previous;
        }
        let catalog = inputs.catalog;
        let languages = Language::ALL
            .into_iter()
            .filter(|language| catalog.repos.iter().any(|repo| repo.kind.language() == *language));
        let has_same_guards = previous.has_guards_of(inputs);
        let is_unchanged = has_same_guards
            && catalog.rules.changes_since(&previous.rules).is_empty()
            && is_same(previous.advisories.as_ref(), inputs.advisories);
        let selected_guards = has_same_guards.then(|| Arc::clone(&previous.selected_guards));
        let prepared = Arc::new(PolicySet {
            rules: Arc::clone(&catalog.rules),
            indexes: languages.map(|language| previous.indexes_of(&catalog.rules, language)).collect(),
            guards: Arc::clone(&catalog.guards),
            has_automatic_guards: inputs.has_automatic_guards,
            catalog: catalog.version,
            advisories: inputs.advisories.cloned(),
            generation: (previous.generation + u64::from(!is_unchanged)).max(1),
            selected_guards: selected_guards.unwrap_or_default(),
        });
        self.current.store(Arc::clone(&prepared));
        let mut by_repo = self.by_repo.write();
        if by_repo.len() > catalog.repos.len() {
            by_repo.retain(|repo, _| catalog.repo_by_id(*repo).is_some());
        }
        prepared
    }

    /// Prepares the rules of a repository; `None` if nothing is blocked there. Returns the previous ones if they did not
    /// change. `guards` returns the name guards for a language and sources.
    fn prepare(
        &self,
        inputs: &PolicyInputs<'_>,
        repo: &Repository,
        indexes: &RuleIndexes,
        guards: &GuardsOf<'_>,
        before: Option<&Arc<RepoPolicy>>,
    ) -> Option<Arc<RepoPolicy>> {
        let sources: BTreeSet<SourceId> =
            repo.steps.iter().flat_map(|step| step.list.iter()).map(|entry| entry.source).collect();
        let sources: Vec<SourceId> = sources.into_iter().collect();
        let (language, has_withheld) = (repo.kind.language(), repo.has_withheld());
        let scope = PolicyScope { repo: repo.id, language, sources, has_withheld };
        self.prepare_scope(inputs, scope, indexes, guards, before)
    }

    fn prepare_scope(
        &self,
        inputs: &PolicyInputs<'_>,
        PolicyScope { repo, language, sources, has_withheld }: PolicyScope,
        indexes: &RuleIndexes,
        guards: &GuardsOf<'_>,
        before: Option<&Arc<RepoPolicy>>,
    ) -> Option<Arc<RepoPolicy>> {
        let origins: Vec<(SourceId, SourceId)> =
            sources.iter().filter_map(|source| Some((*source, origin(inputs.catalog, *source)?))).collect();
        let indexes = indexes.in_scope(RuleScope { repo, sources: &sources, origins: &origins });
        let set = match before.map(|before| &before.set) {
            Some(set) if set.consists_of(&indexes, &origins) => Arc::clone(set),
            previous => {
                let set = RuleSet::new(indexes, &origins);
                let both_empty = previous.filter(|previous| previous.is_empty() && set.is_empty());
                both_empty.map_or_else(|| Arc::new(set), Arc::clone)
            }
        };
        let kind = |source: &SourceId| (*source, inputs.catalog.is_own(*source));
        let kinds: Vec<(SourceId, bool)> = sources.iter().map(kind).collect();
        let guards = guards(language, &kinds);
        if set.is_empty() && guards.is_empty() && !has_withheld {
            return None;
        }
        let unchanged_guards = before.map(|before| &before.guards).filter(|before| **before == guards);
        let guards = unchanged_guards.map_or(guards, Arc::clone);
        let advisories = inputs.advisories.cloned().filter(|_| set.needs_advisories());
        let first_steps = first_steps(inputs.catalog, &sources);
        if let Some(before) = before
            && Arc::ptr_eq(&before.set, &set)
            && Arc::ptr_eq(&before.guards, &guards)
            && is_same(before.advisories.as_ref(), advisories.as_ref())
            && before.sources == sources
            && before.first_steps == first_steps
        {
            return Some(Arc::clone(before));
        }
        Some(Arc::new(RepoPolicy {
            repo,
            withheld: quick_cache::sync::Cache::new(WITHHELD_LISTS),
            number: self.last_number.fetch_add(1, Ordering::Relaxed) + 1,
            set,
            guards,
            advisories,
            prepared_at: inputs.now,
            blocked: quick_cache::sync::Cache::new(BLOCKED_TREES),
            language,
            sources,
            first_steps,
        }))
    }
}

/// Returns the name guards for a language and sources, each with whether its packages are uploaded or built here.
type GuardsOf<'a> = dyn Fn(Language, &[(SourceId, bool)]) -> Arc<NameGuards> + 'a;

/// A repository, or a single source, in which rules are prepared.
struct PolicyScope {
    /// The repository; no repository has the number 0.
    repo: RepoId,
    language: Language,
    /// All sources to which the repository ever subscribed.
    sources: Vec<SourceId>,
    /// Whether rules withheld versions when a state of the repository was promoted.
    has_withheld: bool,
}

/// Returns the source from which a source selects its packages, also if it was deleted: old snapshots still contain it.
fn origin(catalog: &Catalog, source: SourceId) -> Option<SourceId> {
    catalog.source_kind(source).and_then(SourceKind::origin)
}

/// Returns the first steps of the trees of sources, and of those from which curated sources select.
fn first_steps(catalog: &Catalog, sources: &[SourceId]) -> FirstSteps {
    let origins: BTreeSet<SourceId> = sources.iter().filter_map(|source| origin(catalog, *source)).collect();
    let trees =
        sources.iter().copied().chain(origins).flat_map(|source| catalog.source_package_trees(source));
    trees.map(|tree| (tree.id, tree.steps.first().map(|step| step.seq))).collect()
}

/// Returns whether a catalog has what hides packages: block rules, name guards, versions withheld at a promotion.
pub fn has_policies(catalog: &Catalog) -> bool {
    !catalog.rules.is_empty() || !catalog.guards.all.is_empty() || catalog.has_withheld
}

/// Returns the instant at which the age of releases is measured at the time `now`.
pub fn age_instant(now: Timestamp) -> Timestamp {
    Timestamp(now.0.div_euclid(AGE_PRECISION).saturating_mul(AGE_PRECISION))
}

fn is_same(a: Option<&Arc<Index>>, b: Option<&Arc<Index>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::catalog::{RepoStep, StoredRule, Subscription};
    use base::model::ids::TxId;
    use base::model::kind::{ChangePolicy, RepoKind};
    use base::model::rule_effect::RuleEffect;
    use formats::policy::Criteria;

    fn repo(id: i64, kind: RepoKind) -> Repository {
        let list = Arc::new([Subscription::to(SourceId::CRAN)]);
        let step = RepoStep {
            seq: Seq(1),
            at: Timestamp(0),
            tx: TxId(1),
            list,
            pinned_at: None,
            has_withheld: false,
        };
        Repository {
            id: RepoId(id),
            name: format!("repo{id}").parse().expect("a name"),
            kind,
            description: String::new(),
            hidden: false,
            authenticated: false,
            created_at: Timestamp(0),
            changes: ChangePolicy::Any,
            steps: vec![step],
        }
    }

    fn rule(id: i64, effect: RuleEffect, criteria: Criteria) -> StoredRule {
        let rule = Arc::new(Rule { id, priority: 100, effect, criteria, description: String::new() });
        StoredRule { rule, created_by: "a".into(), created_at: Timestamp(0) }
    }

    /// The guards that all catalogs share.
    static GUARDS: LazyLock<Arc<Guards>> = LazyLock::new(Arc::default);

    fn catalog(version: i64, rules: &[&StoredRule]) -> Catalog {
        Catalog {
            version,
            repos: [repo(1, RepoKind::R), repo(2, RepoKind::R), repo(3, RepoKind::Python)]
                .into_iter()
                .collect(),
            rules: Arc::new(rules.iter().copied().cloned().collect()),
            guards: Arc::clone(&GUARDS),
            ..Catalog::default()
        }
    }

    /// Returns the numbers of the rules of the three repositories, 0 for none, and the generation.
    fn numbers(policies: &Policies, catalog: &Catalog) -> ([u64; 3], u64) {
        let now = Timestamp(0);
        let inputs = PolicyInputs { catalog, advisories: None, has_automatic_guards: false, now };
        let number = |id| policies.of_repo(&inputs, RepoId(id)).map_or(0, |policy| policy.number);
        ([1, 2, 3].map(number), policies.generation(&inputs).0)
    }

    #[test]
    fn a_rule_changes_only_the_repositories_in_its_scope() {
        let named = || Criteria { package: Some("one".to_owned()), ..Criteria::default() };
        let everywhere = rule(1, RuleEffect::Block, named());
        let in_two = rule(2, RuleEffect::Block, Criteria { repo: Some(RepoId(2)), ..named() });
        let license = Criteria { license: Some("AGPL".to_owned()), ..Criteria::default() };
        let of_licenses = rule(3, RuleEffect::Block, license);
        let elsewhere = rule(4, RuleEffect::Block, Criteria { source: Some(SourceId(77)), ..named() });
        let policies = Policies::default();
        let (first, generation) = numbers(&policies, &catalog(1, &[&everywhere]));
        assert!(first.iter().all(|number| *number > 0), "{first:?}");
        let unchanged = catalog(2, &[&everywhere]);
        assert_eq!(numbers(&policies, &unchanged), (first, generation), "only the catalog changed");
        let (second, generation) = numbers(&policies, &catalog(3, &[&everywhere, &in_two]));
        assert_eq!([second[0], second[2]], [first[0], first[2]]);
        assert!(second[1] > first[1] && generation == 2, "{second:?} {generation}");
        let (third, _) = numbers(&policies, &catalog(4, &[&everywhere, &in_two, &of_licenses]));
        assert!(third[0] > second[1] && third[1] > second[1], "{third:?}");
        assert_eq!(third[2], first[2], "rules about licenses do not apply to Python");
        let rules = [&everywhere, &in_two, &of_licenses, &elsewhere];
        assert_eq!(numbers(&policies, &catalog(5, &rules)), (third, 4), "no repository has the source");
        let (last, _) = numbers(&policies, &catalog(6, &[&in_two]));
        assert!(last[0] == 0 && last[1] > third[1] && last[2] == 0, "{last:?}");
        let catalog = catalog(7, &[&in_two, &everywhere]);
        let inputs = PolicyInputs {
            catalog: &catalog,
            advisories: None,
            has_automatic_guards: false,
            now: Timestamp(0),
        };
        let set = &policies.of_repo(&inputs, RepoId(2)).expect("rules").set;
        assert_eq!(set.compared("one", None), [1, 2]);
    }

    #[test]
    fn exceptions_have_no_effect_without_other_rules() {
        let policies = Policies::default();
        let exception = rule(1, RuleEffect::Allow, Criteria::default());
        assert_eq!(numbers(&policies, &catalog(1, &[&exception])).0, [0, 0, 0]);
        let block = rule(2, RuleEffect::Block, Criteria { repo: Some(RepoId(1)), ..Criteria::default() });
        let with_block = catalog(2, &[&exception, &block]);
        let (numbers, _) = numbers(&policies, &with_block);
        assert!(numbers[0] > 0 && numbers[1..] == [0, 0], "{numbers:?}");
    }

    #[test]
    fn prepared_rules_that_are_not_in_force_share_what_is_equal() {
        let criteria = |package: &str| Criteria { package: Some(package.to_owned()), ..Criteria::default() };
        let stored = rule(1, RuleEffect::Block, criteria("one"));
        let (policies, catalog, guards) =
            (Policies::default(), catalog(1, &[&stored]), NameGuards::default());
        let inputs = PolicyInputs {
            catalog: &catalog,
            advisories: None,
            has_automatic_guards: false,
            now: Timestamp(0),
        };
        let repo = &catalog.repos[0];
        let in_force = || policies.of_repo(&inputs, repo.id).expect("rules");
        let indexes = policies.indexes(&inputs, Language::R);
        let prepared =
            |indexes: &RuleIndexes| policies.of_indexes(&inputs, repo, indexes, &guards).expect("rules");
        assert!(Arc::ptr_eq(&prepared(&indexes), &in_force()));
        let before = in_force();
        let new = rule(9, RuleEffect::Block, criteria("two"));
        let with = prepared(&indexes.with(&new.rule));
        assert_eq!((with.set.compared("two", None), with.set.compared("one", None)), (vec![9], vec![1]));
        assert!(before.set.compared("two", None).is_empty() && with.number != before.number);
        let mut without = indexes.clone();
        without.update(std::slice::from_ref(&stored.rule), &[]);
        assert!(policies.of_indexes(&inputs, repo, &without, &guards).is_none());
        assert!(Arc::ptr_eq(&before, &in_force()), "the rules in force are the same");
    }
}
