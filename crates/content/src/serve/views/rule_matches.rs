//! The packages that a new or changed block rule concerns, for its author: the listed versions that it
//! matches, and what is listed instead.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::listing;
use crate::serve::selection::allowed::{DecidedRelease, View, substitute};
use crate::serve::selection::{allowed, point, policies};
use crate::serve::{RepoError, Repositories};
use base::model::change::LifeState;
use base::model::ids::{ReleaseId, SourceId};
use base::model::kind::{Language, Layout, SourceKind};
use base::model::point::Point;
use base::model::rule_effect::RuleEffect;
use base::model::snapshot::Snapshot;
use formats::policy::{NameGuards, Rule, RuleIndexes};
use formats::r::bioconductor::{BioconductorVersion, Part};
use formats::r::version;
use runtime::catalog::{Catalog, Repository};
use runtime::state::State;
use runtime::state::policies::{BlockedReleases, RepoPolicy};
use store::db::release_facts::TreeRelease;
use store::db::{Conn, DbError, life, package};

const MAX_EXAMPLES: usize = 3;

/// The id of a rule that has none yet: it comes after all rules of its priority and effect.
const NEW_RULE: i64 = i64::MAX;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatches {
    pub repo: String,
    /// The version of Bioconductor, each of which has packages of its own; `None` for other repositories.
    pub bioconductor: Option<BioconductorVersion>,
    /// Number of packages whose listed version the rule decides: if it blocks, the one listed without it.
    pub packages: usize,
    /// Number of packages listed now, and of other packages about whose listed version the rule decides.
    pub total: usize,
    /// Some of the packages, by name.
    pub examples: Vec<RuleMatch>,
    /// Number of versions about which the rule decides and that only the archive has.
    pub archived: usize,
    /// Some of the archived versions, by name and version: `name version`.
    pub archived_examples: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    pub name: String,
    /// The version that the index lists without the rule; `None` if it lists none.
    pub before: Option<String>,
    /// The version that the index lists with the rule; `None` if it lists none.
    pub after: Option<String>,
}

/// A rule, and the rules and name guards that apply without and with it.
struct Preview {
    /// The rule, with the id that it has in `after`.
    rule: Arc<Rule>,
    /// Without the stored rule that it replaces. Shared with those in force: cost independent of the number of rules.
    before: RuleIndexes,
    after: RuleIndexes,
    guards: NameGuards,
}

/// A rule, and the trees of a repository without and with it.
struct Comparison {
    /// The rule, with the id that it has in the policy of `after`.
    rule: Arc<Rule>,
    before: Vec<View>,
    after: Vec<View>,
}

#[derive(Default)]
struct Decisions {
    packages: Vec<RuleMatch>,
    /// Names and versions, in their order.
    archived: Vec<(String, String)>,
}

/// Returns the packages that a rule concerns, for each repository with lists of packages, and each published version
/// of Bioconductor in it, with any. Other rules and guards are those in force. A rule with the id of a stored
/// one takes its place; the id 0 is a new rule.
pub async fn of_rule(repositories: &Repositories, rule: &Rule) -> Result<Vec<RuleMatches>, RepoError> {
    let state = &repositories.state;
    // Another server may just have changed the rules.
    state.catalog.refresh(&state.db).await?;
    let catalog = state.catalog.get();
    let mut previews: HashMap<Language, Preview> = HashMap::new();
    let is_limited = |repo: &&Repository| rule.criteria.repo.is_none_or(|id| id == repo.id);
    let mut matches = Vec::new();
    let origins = origins(state, rule).await?;
    let has_package = |source: SourceId| {
        let origin = catalog.source_kind(source).and_then(SourceKind::origin);
        origins
            .as_ref()
            .is_none_or(|origins| [Some(source), origin].iter().flatten().any(|it| origins.contains(it)))
    };
    let may_match = |repo: &&Repository| repo.subscriptions().iter().any(|entry| has_package(entry.source));
    let repos = catalog.repos.iter().filter(|repo| repo.kind.layout() == Layout::Lists);
    let repos = repos.filter(is_limited).filter(may_match);
    let repos: Vec<_> = repos.flat_map(|repo| versions(&catalog, repo)).collect();
    for (repo, bioconductor) in repos {
        let language = repo.kind.language();
        let preview =
            previews.entry(language).or_insert_with(|| Preview::new(state, &catalog, language, rule));
        let part = bioconductor.map(Part::whole);
        let resolved = point::resolve_part(repositories, repo.name.as_str(), part, Snapshot::Latest).await;
        let Ok(point) = resolved else { continue };
        let Some(comparison) = preview.comparison(state, repo, &point).await else { continue };
        let Decisions { packages, archived } = state.db.read(move |c| decisions(c, &comparison)).await?;
        if packages.is_empty() && archived.is_empty() {
            continue;
        }
        let listed = listing::package_count(repositories, &point).await?;
        let hidden = hidden_count(repositories, &point, &packages).await?;
        let archived_example = |(name, version): &(String, String)| format!("{name} {version}");
        matches.push(RuleMatches {
            repo: repo.name.to_string(),
            bioconductor,
            packages: packages.len(),
            total: listed + hidden,
            archived: archived.len(),
            archived_examples: archived.iter().take(MAX_EXAMPLES).map(archived_example).collect(),
            examples: packages.into_iter().take(MAX_EXAMPLES).collect(),
        });
    }
    Ok(matches)
}

/// Returns the sources with releases of the package that a rule names; `None` if it names none.
async fn origins(state: &State, rule: &Rule) -> Result<Option<HashSet<SourceId>>, RepoError> {
    let Some(name) = rule.criteria.package.clone() else { return Ok(None) };
    let find = move |c: &mut dyn Conn| {
        let mut origins = HashSet::new();
        for language in Language::ALL.into_iter().filter(|language| language.layout() == Layout::Lists) {
            origins.extend(package::origins(c, language, &name)?);
        }
        Ok(origins)
    };
    Ok(Some(state.db.read(find).await?))
}

/// Returns a repository with each version of Bioconductor that it has; with `None` if it is of another type.
pub(in crate::serve) fn versions<'a>(
    catalog: &Catalog,
    repo: &'a Repository,
) -> Vec<(&'a Repository, Option<BioconductorVersion>)> {
    match repo.kind.has_parts() {
        true => catalog.bioconductor_versions().into_iter().map(|version| (repo, Some(version))).collect(),
        false => vec![(repo, None)],
    }
}

/// Returns the number of packages that the point does not list under the rules in force.
async fn hidden_count(
    repositories: &Repositories,
    point: &Point,
    packages: &[RuleMatch],
) -> Result<usize, RepoError> {
    let names: HashSet<&str> = packages.iter().map(|found| found.name.as_str()).collect();
    let listed = listing::owned_names(repositories, point, |name, _| names.contains(name)).await?;
    Ok(packages.len().saturating_sub(listed.len()))
}

impl Preview {
    fn new(state: &State, catalog: &Catalog, language: Language, rule: &Rule) -> Preview {
        let id = if rule.id == 0 { NEW_RULE } else { rule.id };
        let rule = Arc::new(Rule { id, ..rule.clone() });
        let mut before = policies::indexes(state, catalog, language);
        if let Some(stored) = catalog.rules.get(id) {
            before.update(std::slice::from_ref(&stored.rule), &[]);
        }
        let after = before.with(&rule);
        Preview { rule, before, after, guards: policies::guards(state, catalog) }
    }

    /// Prepares the rules of a repository without and with the rule; `None` if the rule cannot match there.
    async fn comparison(&self, state: &State, repo: &Repository, point: &Point) -> Option<Comparison> {
        let Preview { rule, guards, .. } = self;
        let with_effect = |policy: &Arc<RepoPolicy>| !policy.set.is_empty();
        let mut policy = policies::of_indexes(state, repo, &self.after, guards).await.filter(with_effect);
        if policy.is_none() && rule.effect == RuleEffect::Allow {
            // A set that consists of exceptions is empty. A warning matches the same versions, and blocks none either.
            let warning = Arc::new(Rule { effect: RuleEffect::Warn, ..(**rule).clone() });
            let warning = RuleIndexes::of(repo.kind.language(), &[warning]);
            policy = policies::of_indexes(state, repo, &warning, guards).await.filter(with_effect);
        }
        let after = policy?;
        let before = policies::of_indexes(state, repo, &self.before, guards).await;
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &after)) {
            return None;
        }
        let [before, after] = [before.as_ref(), Some(&after)].map(|policy| View::under(state, point, policy));
        Some(Comparison { rule: Arc::clone(rule), before, after })
    }
}

fn decisions(c: &mut dyn Conn, comparison: &Comparison) -> Result<Decisions, DbError> {
    let Comparison { rule, before, after } = comparison;
    let package = rule.criteria.package.as_deref();
    let mut owners = listing_owners(c, after, package)?;
    let mut decisions = Decisions::default();
    for (position, (before, after)) in before.iter().zip(after).enumerate() {
        let blocked = before.blocked_releases(c, package)?;
        for decided in after.decisions(c, package)? {
            let Some(name) = decided.first().map(|first| first.release.name.as_str()) else { continue };
            if after.hides(name) {
                continue;
            }
            // A package that no tree lists belongs to the first one whose archive has it.
            let owner = match owners.entry(name.to_owned()) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => *entry.insert(position),
            };
            if owner == position {
                decisions.add(&decided, &blocked, rule);
            }
        }
    }
    decisions.sort();
    Ok(decisions)
}

/// Returns the names that trees list, also fully blocked ones, with the position of their [`owner`].
/// `package` limits them to one name.
fn listing_owners(
    c: &mut dyn Conn,
    views: &[View],
    package: Option<&str>,
) -> Result<HashMap<String, usize>, DbError> {
    let mut owners = HashMap::new();
    if let Some(name) = package {
        let owner = allowed::owner(c, views, name)?;
        let position = owner.and_then(|owner| views.iter().position(|view| view.tree() == owner.tree()));
        owners.extend(position.map(|position| (name.to_owned(), position)));
        return Ok(owners);
    }
    for (position, view) in views.iter().enumerate() {
        for listed in life::names(c, view.tree, view.seq)? {
            if !view.hides(&listed.name) {
                owners.entry(listed.name).or_insert(position);
            }
        }
    }
    Ok(owners)
}

impl Decisions {
    fn sort(&mut self) {
        let key = |name: &str| (name.to_lowercase(), name.to_owned());
        self.packages.sort_by_cached_key(|found| key(&found.name));
        self.archived.sort_by(|(_, a), (_, b)| version::compare(a, b));
        self.archived.sort_by_cached_key(|(name, _)| key(name));
    }

    /// Adds a package if the rule decides about one of its versions; the other rules block the releases `blocked`.
    fn add(&mut self, package: &[DecidedRelease], blocked: &BlockedReleases, rule: &Rule) {
        let is_decided = |decided: &&DecidedRelease| decided.rule_id() == Some(rule.id);
        let Some(first) = package.iter().find(is_decided) else { return };
        let name = &first.release.name;
        let is_listed = |decided: &&DecidedRelease| decided.release.state == LifeState::Listed;
        let listed = package.iter().filter(is_listed).min_by_key(|decided| !decided.release.path.is_empty());
        let of_listed = |decided: &DecidedRelease| (decided.release.version.clone(), decided.release.release);
        let before: Option<(String, ReleaseId)> = listed.and_then(|listed| {
            if !blocked.releases.contains(&listed.release.release) {
                return Some(of_listed(listed));
            }
            let substitute = blocked.substitutes.get(&listed.release.package)?;
            Some((substitute.version.clone(), substitute.release))
        });
        let after: Option<(String, ReleaseId)> = listed.and_then(|listed| {
            if !listed.is_blocked() {
                return Some(of_listed(listed));
            }
            substitute(package).map(|substitute| (substitute.version, substitute.release))
        });
        let concerned = if rule.effect == RuleEffect::Block { &before } else { &after };
        let concerned = concerned.as_ref().map(|(_, release)| *release);
        if package.iter().filter(is_decided).any(|decided| Some(decided.release.release) == concerned) {
            let version = |listed: Option<(String, ReleaseId)>| listed.map(|(version, _)| version);
            let found = RuleMatch { name: name.clone(), before: version(before), after: version(after) };
            self.packages.push(found);
        }
        // Further records of the package have `Path`, and no version takes their place.
        for decided in package.iter().filter(is_decided).filter(is_listed) {
            let TreeRelease { release, version, path, .. } = &decided.release;
            let (was_blocked, is_blocked) = (blocked.releases.contains(release), decided.is_blocked());
            if !path.is_empty() && Some(*release) != concerned && was_blocked != is_blocked {
                let version = |is_hidden: bool| (!is_hidden).then(|| version.clone());
                let (before, after) = (version(was_blocked), version(is_blocked));
                self.packages.push(RuleMatch { name: name.clone(), before, after });
            }
        }
        for decided in package.iter().filter(is_decided) {
            let TreeRelease { release, version, state, .. } = &decided.release;
            // A version that another rule blocks is not blocked by this one.
            let is_blocked_already = decided.is_blocked() && blocked.releases.contains(release);
            if *state == LifeState::Archived && Some(*release) != concerned && !is_blocked_already {
                self.archived.push((name.clone(), version.clone()));
            }
        }
    }
}
