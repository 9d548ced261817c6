//! The block rules and name guards of each repository, prepared for decisions. They are prepared again when rules,
//! guards, subscriptions or advisories change, and when a backfill has added earlier releases.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::advisory::Index;
use crate::catalog::{BlockRules, Catalog, Guards, Repository};
use crate::model::ids::{PackageId, ReleaseId, RepoId, Seq, SourceId, TreeId};
use crate::model::language::Language;
use crate::model::source::SourceKind;
use crate::model::time::{SECOND, Timestamp};
use crate::policy::{NameGuards, Rule, RuleSet, Scope};

/// Precision of the ages of releases at a point that may still change, in microseconds. Documents that depend
/// on ages are rendered again at most once in this time.
const AGE_PRECISION: i64 = 3600 * SECOND;
/// Number of trees of a repository whose blocked releases are in memory; those of all of CRAN take some megabytes.
const BLOCKED_TREES: usize = 24;
/// Maximum number of logged releases in memory; beyond it, all are logged again.
const MAX_LOGGED_RELEASES: usize = 10_000;

/// The prepared rules of all repositories.
#[derive(Default)]
pub struct Policies {
    current: ArcSwap<PolicySet>,
    /// Held while rules are prepared.
    preparation: Mutex<()>,
    last_number: AtomicU64,
    /// The logged releases: those that dated snapshots of a repository do not serve because of vulnerabilities.
    logged: Mutex<HashSet<(RepoId, String)>>,
}

#[derive(Default)]
struct PolicySet {
    rules: Arc<BlockRules>,
    guards: Arc<Guards>,
    has_automatic_guards: bool,
    /// The version of the catalog for which the rules were prepared: another version may have other subscriptions.
    catalog: i64,
    advisories: Option<Arc<Index>>,
    /// A number that changes whenever the rules of any repository change.
    generation: u64,
    by_repo: HashMap<RepoId, Arc<RepoPolicy>>,
}

/// The rules of a repository.
pub struct RepoPolicy {
    /// A number that identifies the rules and the advisories within a process.
    pub number: u64,
    /// The rules.
    pub set: Arc<RuleSet>,
    /// The name guards that hide packages of its sources.
    pub guards: Arc<NameGuards>,
    /// The advisories, if a rule depends on them.
    pub advisories: Option<Arc<Index>>,
    /// Time at which the rules were prepared, and at which an advisory must be in force to have an effect.
    pub prepared_at: Timestamp,
    /// The blocked releases of the states used last: by source, tree, state, the instant at which the age is
    /// measured, and whether the snapshot is dated.
    pub blocked: quick_cache::sync::Cache<BlockedKey, Arc<BlockedReleases>>,
    /// The language of the packages.
    pub language: Language,
    sources: Vec<SourceId>,
    first_steps: FirstSteps,
}

/// The first step of each tree in which the rules select. A backfill adds earlier steps, with releases that
/// can be listed in place of blocked ones.
type FirstSteps = Vec<(TreeId, Option<Seq>)>;

/// The key of [`RepoPolicy::blocked`].
type BlockedKey = (SourceId, TreeId, Seq, Timestamp, bool);

/// The releases of a state that are blocked, and those that replace them.
#[derive(Debug, Default)]
pub struct BlockedReleases {
    /// The blocked releases.
    pub releases: HashSet<ReleaseId>,
    /// The blocked releases as in file names: `{name}_{version}`.
    pub stems: HashSet<String>,
    /// The names of packages whose listed releases are all blocked, without another release that is listed
    /// instead.
    pub names: HashSet<String>,
    /// For packages whose listed release is blocked, the release that is listed instead.
    pub substitutes: HashMap<PackageId, Substitute>,
}

/// An archived release that replaces a blocked one in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitute {
    /// The package's name.
    pub name: String,
    /// The name in lower case.
    pub normalized_name: String,
    /// The release.
    pub release: ReleaseId,
    /// The version of the release.
    pub version: String,
    /// Time at which it was published upstream, if known.
    pub published_at: Option<Timestamp>,
}

impl Substitute {
    /// Returns `{name}_{version}`.
    #[must_use]
    pub fn stem(&self) -> String {
        format!("{}_{}", self.name, self.version)
    }
}

/// The inputs from which rules are prepared.
#[derive(Clone)]
pub struct PolicyInputs {
    /// Repositories and rules.
    pub catalog: Arc<Catalog>,
    /// The advisories in force.
    pub advisories: Option<Arc<Index>>,
    /// Whether uploaded names are guarded automatically.
    pub has_automatic_guards: bool,
    /// The current time.
    pub now: Timestamp,
}

impl Policies {
    /// Returns the rules of a repository; `None` if nothing is blocked there.
    #[must_use]
    pub fn of_repo(&self, inputs: &PolicyInputs, repo: RepoId) -> Option<Arc<RepoPolicy>> {
        if !has_policies(&inputs.catalog) {
            return None;
        }
        self.current(inputs).by_repo.get(&repo).cloned()
    }

    /// Returns these rules and name guards, which need not be in force, prepared for a repository; `None` if they hide
    /// nothing there.
    #[must_use]
    pub fn of_rules(
        &self,
        inputs: &PolicyInputs,
        repo: &Repository,
        (rules, guards): (&[Arc<Rule>], &NameGuards),
    ) -> Option<Arc<RepoPolicy>> {
        let rules = BlockRules { revision: 0, rules: rules.to_vec(), has_age: false };
        self.prepare(inputs, repo, (&rules, guards), (None, &HashMap::new()))
    }

    /// Returns numbers that change whenever a decision may change: with rules, subscriptions and advisories,
    /// and each hour if rules depend on the age of releases.
    #[must_use]
    pub fn generation(&self, inputs: &PolicyInputs) -> (u64, i64) {
        let hour = if inputs.catalog.rules.has_age { inputs.now.0.div_euclid(AGE_PRECISION) } else { 0 };
        (self.current(inputs).generation, hour)
    }

    /// Records that a release that dated snapshots of a repository do not serve is logged; returns true if it
    /// was not logged before.
    pub fn logs_frozen(&self, repo: RepoId, release: String) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= MAX_LOGGED_RELEASES {
            logged.clear();
        }
        logged.insert((repo, release))
    }

    fn current(&self, inputs: &PolicyInputs) -> Arc<PolicySet> {
        let catalog = &inputs.catalog;
        let is_current = |prepared: &PolicySet| {
            prepared.catalog == catalog.version
                && Arc::ptr_eq(&prepared.rules, &catalog.rules)
                && Arc::ptr_eq(&prepared.guards, &catalog.guards)
                && prepared.has_automatic_guards == inputs.has_automatic_guards
                && is_same(prepared.advisories.as_ref(), inputs.advisories.as_ref())
        };
        let prepared = self.current.load_full();
        if is_current(&prepared) {
            return prepared;
        }
        let _guard = self.preparation.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.current.load_full();
        if is_current(&previous) {
            return previous;
        }
        let guards = catalog.guards.in_force(inputs.has_automatic_guards);
        let mut by_repo: HashMap<RepoId, Arc<RepoPolicy>> = HashMap::new();
        let mut has_changed = false;
        for repo in &catalog.repos {
            let before = previous.by_repo.get(&repo.id);
            let policy = self.prepare(inputs, repo, (&catalog.rules, guards), (before, &by_repo));
            let is_unchanged = match (before, &policy) {
                (Some(before), Some(policy)) => Arc::ptr_eq(before, policy),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            has_changed |= !is_unchanged;
            by_repo.extend(policy.map(|policy| (repo.id, policy)));
        }
        let prepared = Arc::new(PolicySet {
            rules: Arc::clone(&catalog.rules),
            guards: Arc::clone(&catalog.guards),
            has_automatic_guards: inputs.has_automatic_guards,
            catalog: catalog.version,
            advisories: inputs.advisories.clone(),
            generation: (previous.generation + u64::from(has_changed)).max(1),
            by_repo,
        });
        self.current.store(Arc::clone(&prepared));
        prepared
    }

    /// Prepares the rules of a repository; `None` if nothing is blocked there. Equal rules share memory with the
    /// previous ones and with those of other repositories.
    fn prepare(
        &self,
        inputs: &PolicyInputs,
        repo: &Repository,
        (rules, guards): (&BlockRules, &NameGuards),
        (before, others): (Option<&Arc<RepoPolicy>>, &HashMap<RepoId, Arc<RepoPolicy>>),
    ) -> Option<Arc<RepoPolicy>> {
        let sources: BTreeSet<SourceId> =
            repo.steps.iter().flat_map(|step| &step.list).map(|entry| entry.source).collect();
        let sources: Vec<SourceId> = sources.into_iter().collect();
        let language = repo.kind.language();
        let origins: Vec<(SourceId, SourceId)> =
            sources.iter().filter_map(|source| Some((*source, origin(&inputs.catalog, *source)?))).collect();
        let scope = Scope { repo: repo.id, language, sources: &sources, origins: &origins };
        let selected = RuleSet::select(&rules.rules, scope);
        let own =
            |source: SourceId| inputs.catalog.source_by_id(source).is_some_and(|source| source.kind.is_own());
        let kinds: Vec<(SourceId, bool)> = sources.iter().map(|source| (*source, own(*source))).collect();
        let guards = guards.select(language, &kinds, true);
        if selected.is_empty() && guards.is_empty() {
            return None;
        }
        let shared_guards = before.into_iter().chain(others.values()).find(|policy| *policy.guards == guards);
        let guards = shared_guards.map_or_else(|| Arc::new(guards), |policy| Arc::clone(&policy.guards));
        let is_shared = |policy: &&Arc<RepoPolicy>| {
            policy.language == language && policy.set.has_rules(&selected, &origins)
        };
        let shared = before.into_iter().chain(others.values()).find(is_shared);
        let set = match shared {
            Some(policy) => Arc::clone(&policy.set),
            None => Arc::new(RuleSet::new(selected, scope)),
        };
        let advisories = inputs.advisories.clone().filter(|_| set.needs_advisories());
        let first_steps = first_steps(&inputs.catalog, &sources);
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

/// Returns the source from which a source selects its packages, also if it was deleted: old snapshots still contain it.
fn origin(catalog: &Catalog, source: SourceId) -> Option<SourceId> {
    match catalog.source_by_id(source) {
        Some(source) => source.kind.origin(),
        None => {
            let mut trees = catalog.trees.iter().filter(|tree| tree.source == source);
            trees.find_map(|tree| tree.bases.first()).map(|(_, base)| base.source)
        }
    }
}

/// Returns the first steps of the trees of sources, and of those from which curated sources select.
fn first_steps(catalog: &Catalog, sources: &[SourceId]) -> FirstSteps {
    let has_base = |source: &SourceId| {
        let kind = catalog.source_by_id(*source).map(|source| source.kind);
        matches!(kind, Some(SourceKind::CuratedCran | SourceKind::CranSnapshot))
    };
    let base = sources.iter().any(has_base).then_some(SourceId::CRAN);
    let trees = sources.iter().copied().chain(base).flat_map(|source| catalog.source_package_trees(source));
    trees.map(|tree| (tree.id, tree.steps.first().map(|step| step.seq))).collect()
}

/// Returns true if a catalog has block rules or name guards. Without them, no package is hidden.
#[must_use]
pub fn has_policies(catalog: &Catalog) -> bool {
    !catalog.rules.rules.is_empty() || !catalog.guards.all.is_empty()
}

/// Returns the instant at which the age of releases is measured at the time `now`.
#[must_use]
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
