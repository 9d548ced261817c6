//! Decisions of block rules about the releases of a tree.

use std::collections::HashMap;
use std::sync::Arc;

use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId, Seq};
use base::model::kind::SourceKind;
use base::model::point::{PointRules, PointTree};
use base::model::time::Timestamp;
use formats::advisory::PackageAdvisories;
use formats::language::ecosystem;
use formats::policy::{Clock, PackageFacts, ReleaseFacts, Rule, RuleSet, Verdict, Withheld, effective_time};
use formats::r::description::Description;
use formats::r::version;
use runtime::catalog::{Catalog, Tree};
use runtime::state::policies::{BlockedReleases, RepoPolicy, Substitute};
use store::db::release_facts::{self, TreeRelease};
use store::db::{self, Conn, DbError};

/// If all rules name packages, the maximum number that is read one by one; beyond it, the whole tree is read.
const MAX_SINGLE_PACKAGES: usize = 200;

#[derive(Clone)]
pub(super) struct TreePolicy {
    pub(super) repo: Arc<RepoPolicy>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) tree: PointTree,
    pub(super) rules: PointRules,
    /// Microseconds from the end of a state of the list of `pypi` to the sync that read it; `None` if it is incomplete.
    pub(super) list_delay: Option<i64>,
}

#[derive(Clone, Debug)]
pub(in crate::serve) struct DecidedRelease {
    pub(in crate::serve) release: TreeRelease,
    /// The time from which its age counts.
    pub(in crate::serve) since: Timestamp,
    /// The time at which a sync of the source first listed it.
    pub(in crate::serve) discovered_at: Timestamp,
    pub(in crate::serve) decision: RuleDecision,
}

#[derive(Clone, Debug)]
pub(in crate::serve) enum RuleDecision {
    NoRule,
    /// No rule matches, because the release fixes vulnerabilities, as the text states. For one package only.
    AdmittedEarly(String),
    /// An exception matches, with its text.
    Exception(Arc<Rule>, String),
    Blocked(Arc<Rule>, String),
    Warned(Arc<Rule>, String),
}

impl DecidedRelease {
    pub(in crate::serve) fn is_blocked(&self) -> bool {
        match self.decision {
            RuleDecision::Blocked(..) => true,
            RuleDecision::NoRule
            | RuleDecision::AdmittedEarly(_)
            | RuleDecision::Exception(..)
            | RuleDecision::Warned(..) => false,
        }
    }

    /// Returns the id of the rule that decides about it; `None` if no rule matches.
    pub(in crate::serve) fn rule_id(&self) -> Option<i64> {
        match &self.decision {
            RuleDecision::Exception(rule, _)
            | RuleDecision::Blocked(rule, _)
            | RuleDecision::Warned(rule, _) => Some(rule.id),
            RuleDecision::NoRule | RuleDecision::AdmittedEarly(_) => None,
        }
    }

    /// Returns the rule that warns about it, with the reason.
    pub(in crate::serve) fn warning(&self) -> Option<&str> {
        match &self.decision {
            RuleDecision::Warned(_, reason) => Some(reason),
            RuleDecision::NoRule
            | RuleDecision::AdmittedEarly(_)
            | RuleDecision::Exception(..)
            | RuleDecision::Blocked(..) => None,
        }
    }
}

impl TreePolicy {
    /// Returns the blocked releases of the whole tree; from memory if they were computed before.
    pub(super) fn of_tree(&self, c: &mut dyn Conn) -> Result<Arc<BlockedReleases>, DbError> {
        let rules = PointRules { number: self.repo.number, ..self.rules };
        let key = (self.tree.source, self.tree.tree, self.tree.seq, rules);
        let withheld = self.repo.withheld(c, self.rules.promotion)?;
        self.repo.blocked.get_or_insert_with(&key, || {
            let mut blocked = BlockedReleases::default();
            match self.repo.set.only_packages(MAX_SINGLE_PACKAGES).filter(|_| withheld.is_none()) {
                Some(names) => {
                    for name in names {
                        add(&mut blocked, &self.of_package(c, name)?);
                    }
                }
                None => {
                    for package in self.decide(c, None)? {
                        add(&mut blocked, &package);
                    }
                }
            }
            Ok(Arc::new(blocked))
        })
    }

    /// Returns the releases of a package with the decisions about them; empty if no rule can match the package.
    pub(super) fn of_package(&self, c: &mut dyn Conn, name: &str) -> Result<Vec<DecidedRelease>, DbError> {
        let (may_match, withheld) =
            (self.repo.set.may_match(name), self.repo.withheld(c, self.rules.promotion)?);
        if !may_match && withheld.is_none() {
            return Ok(Vec::new());
        }
        let Some(id) = db::package::by_name(c, self.tree.source, name)? else { return Ok(Vec::new()) };
        if !may_match && withheld.is_none_or(|withheld| !withheld.has_package(id)) {
            return Ok(Vec::new());
        }
        Ok(self.decide(c, Some(id))?.pop().unwrap_or_default())
    }

    /// Decides about the releases of one package or all, grouped by package.
    pub(super) fn decide(
        &self,
        c: &mut dyn Conn,
        package: Option<PackageId>,
    ) -> Result<Vec<Vec<DecidedRelease>>, DbError> {
        let (tree, seq) = (self.tree.tree, self.tree.seq);
        // A release of a curated source is as old as in the source that it comes from.
        let origin = self.tree.listing().tree;
        let mut rows = release_facts::at_step(c, tree, seq, package)?;
        let withheld = self.repo.withheld(c, self.rules.promotion)?;
        let is_withheld = |package| withheld.as_ref().is_some_and(|withheld| withheld.has_package(package));
        rows.retain(|row| self.repo.set.may_match(&row.name) || is_withheld(row.package));
        rows.sort_unstable_by(|a, b| {
            (a.package, a.state, &a.path, a.release).cmp(&(b.package, b.state, &b.path, b.release))
        });
        let first_steps = if self.repo.set.needs_age() || package.is_some() {
            release_facts::first_steps(c, origin, package)?
        } else {
            HashMap::new()
        };
        let mut licenses: HashMap<ReleaseId, String> = HashMap::new();
        if self.repo.set.needs_license() {
            release_facts::metadata(c, tree, seq, package, &mut |release, text| {
                add_license(&mut licenses, release, &text);
            })?;
        }
        let history = PackageHistory {
            first_steps: &first_steps,
            licenses: &licenses,
            tree: self.catalog.tree(origin),
            withheld: withheld.as_deref(),
        };
        let groups = rows.chunk_by(|a, b| a.package == b.package);
        Ok(groups.map(|rows| self.decide_package(rows, &history, package.is_some())).collect())
    }

    pub(super) fn decide_package(
        &self,
        rows: &[TreeRelease],
        history: &PackageHistory<'_>,
        with_reasons: bool,
    ) -> Vec<DecidedRelease> {
        let Some(first) = rows.first() else { return Vec::new() };
        let releases: Vec<ReleaseFacts> = rows.iter().map(|row| history.facts(row)).collect();
        let kind = self.catalog.source_kind(self.tree.source);
        let facts = PackageFacts {
            name: &first.name,
            language: self.repo.language,
            source: self.tree.source,
            is_own: kind.is_some_and(SourceKind::is_own),
            advisories: self.advisories(kind, &first.name),
            is_listed: rows.iter().any(|row| row.state == LifeState::Listed),
            releases: &releases,
        };
        let clock = self.clock();
        let decided = |(row, release): (&TreeRelease, &ReleaseFacts)| {
            let reason = |rule: &Rule| match with_reasons {
                true => RuleSet::reason(rule, &facts, release, clock),
                false => String::new(),
            };
            let since = effective_time(release.claimed_at, release.discovered_at, release.is_initial);
            let withheld = history.withheld.and_then(|it| it.rule_of(row.package, row.release.0));
            let verdict = self.repo.set.decide(&facts, release, clock);
            let verdict = match withheld.filter(|_| verdict.blocking_rule().is_none()) {
                Some(rule) => Verdict::Blocked(rule),
                None => verdict,
            };
            DecidedRelease {
                decision: match verdict {
                    Verdict::NoRule => with_reasons
                        .then(|| self.repo.set.early_admission(&facts, release, clock))
                        .flatten()
                        .map_or(RuleDecision::NoRule, RuleDecision::AdmittedEarly),
                    Verdict::Exception(rule) => RuleDecision::Exception(Arc::clone(rule), reason(rule)),
                    Verdict::Blocked(rule) => RuleDecision::Blocked(Arc::clone(rule), reason(rule)),
                    Verdict::Warned(rule) => RuleDecision::Warned(Arc::clone(rule), reason(rule)),
                },
                since,
                discovered_at: release.discovered_at,
                release: row.clone(),
            }
        };
        rows.iter().zip(&releases).map(decided).collect()
    }

    pub(super) fn clock(&self) -> Clock {
        let PointRules { aged_at, is_dated, promotion, .. } = self.rules;
        let age_at = aged_at.unwrap_or(Timestamp(0));
        Clock { age_at, now: self.repo.prepared_at, is_dated, is_promoted: promotion.is_some() }
    }

    fn advisories(&self, kind: Option<SourceKind>, name: &str) -> Option<PackageAdvisories<'_>> {
        self.repo.advisories.as_ref()?.package(ecosystem(kind?)?, name)
    }
}

pub(super) struct PackageHistory<'a> {
    pub(super) first_steps: &'a HashMap<ReleaseId, Seq>,
    pub(super) licenses: &'a HashMap<ReleaseId, String>,
    pub(super) tree: Option<&'a Tree>,
    /// The versions that rules withheld when the state was promoted.
    pub(super) withheld: Option<&'a Withheld>,
}

impl PackageHistory<'_> {
    pub(super) fn facts(&self, row: &TreeRelease) -> ReleaseFacts {
        let first_step = self.first_steps.get(&row.release).copied();
        let step = |seq: Seq| {
            let steps = &self.tree?.steps;
            steps.get(steps.partition_point(|step| step.seq < seq)).map(|step| step.at)
        };
        ReleaseFacts {
            version: row.version.clone(),
            license: self.licenses.get(&row.release).cloned(),
            claimed_at: row.published_at,
            discovered_at: first_step.and_then(step).or(row.published_at).unwrap_or(Timestamp(0)),
            // The first step that a sync publishes has the number 1; back-filled ones have lower numbers.
            is_initial: first_step.is_none_or(|seq| seq.0 <= 1),
        }
    }
}

/// Adds the license that the DESCRIPTION or the index record `text` of a release states, unless one is known.
pub(super) fn add_license(licenses: &mut HashMap<ReleaseId, String>, release: ReleaseId, text: &[u8]) {
    let description = Description::from_bytes(text).ok();
    if let Some(license) = description.as_ref().and_then(|description| description.non_empty("License")) {
        licenses.entry(release).or_insert_with(|| license.to_owned());
    }
}

pub(super) fn blocked_releases(package: &[DecidedRelease]) -> BlockedReleases {
    let mut blocked = BlockedReleases::default();
    add(&mut blocked, package);
    blocked
}

/// Adds the blocked releases of a package, and the highest allowed archived version below a blocked listed one.
fn add(blocked: &mut BlockedReleases, package: &[DecidedRelease]) {
    for decided in package.iter().filter(|decided| decided.is_blocked()) {
        blocked.releases.insert(decided.release.release);
        blocked.stems.insert(format!("{}_{}", decided.release.name, decided.release.version));
    }
    let Some(first) = package.first() else { return };
    if let Some(substitute) = substitute(package) {
        blocked.substitutes.insert(first.release.package, substitute);
        return;
    }
    let mut listed = package.iter().filter(|decided| decided.release.state == LifeState::Listed).peekable();
    if listed.peek().is_some() && listed.all(DecidedRelease::is_blocked) {
        blocked.names.insert(first.release.name.clone());
    }
}

/// Returns the archived release that replaces a blocked listed one.
pub(in crate::serve) fn substitute(package: &[DecidedRelease]) -> Option<Substitute> {
    let listed = package
        .iter()
        .find(|decided| decided.release.state == LifeState::Listed && decided.release.path.is_empty())
        .filter(|decided| decided.is_blocked())?;
    let is_candidate = |decided: &&DecidedRelease| {
        decided.release.state == LifeState::Archived
            && decided.release.has_record
            && !decided.is_blocked()
            && version::compare(&decided.release.version, &listed.release.version).is_lt()
    };
    let highest = package.iter().filter(is_candidate).max_by(|a, b| {
        version::compare(&a.release.version, &b.release.version)
            .then_with(|| a.release.release.cmp(&b.release.release))
    })?;
    let TreeRelease { name, normalized_name, release, version, published_at, .. } = highest.release.clone();
    Some(Substitute { name, normalized_name, release, version, published_at })
}
