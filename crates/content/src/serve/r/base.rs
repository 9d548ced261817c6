//! The state of CRAN from which a curated source selects.

use std::collections::{BTreeMap, HashMap};

use crate::serve::selection::allowed::{self, RuleDecision};
use crate::serve::selection::{name_guards, point};
use crate::serve::{RepoError, Repositories};
use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId, SourceId};
use base::model::point::Base;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::r::closure::DependencyIndex;
use formats::r::curated::selection::{KnownRelease, KnownReleases};
use formats::r::description::Description;
use runtime::catalog::resolve::today;
use runtime::catalog::{Catalog, Tree};
use runtime::state::State;
use store::db::selectable::{self, SelectableRelease};
use store::db::tree::Step;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseState {
    pub base: Base,
    pub at: Timestamp,
    /// Whether the same snapshot may name a later state: the day is not over.
    pub is_open: bool,
}

#[derive(Clone, Debug)]
pub struct BaseRelease {
    pub package: PackageId,
    pub release: ReleaseId,
    /// The number of its record.
    pub variant: i64,
    /// Publication time upstream, if known.
    pub published_at: Option<Timestamp>,
    pub size: Option<i64>,
    pub license: Option<String>,
    /// Whether it contains code that must be compiled.
    pub needs_compilation: Option<bool>,
}

/// The listed releases of a base, and the other releases that were read.
#[derive(Debug, Default)]
pub struct BaseIndex {
    /// The listed packages with their dependencies.
    pub index: DependencyIndex,
    pub listed: BTreeMap<String, ReleaseId>,
    pub releases: HashMap<ReleaseId, BaseRelease>,
    pub known: KnownReleases,
}

/// Returns the time of a state, if the tree still has it.
pub fn state_time(catalog: &Catalog, base: Base) -> Option<Timestamp> {
    let steps = &catalog.tree(base.tree)?.steps;
    let index = steps.binary_search_by_key(&base.seq, |step| step.seq).ok()?;
    steps.get(index).map(|step| step.at)
}

/// Returns the state of CRAN in a snapshot: the end of a day, which is closed, or the newest one.
/// [`RepoError::Conflict`] before the first sync, [`RepoError::Invalid`] for a future day or one before all states.
pub async fn base_state(repositories: &Repositories, snapshot: Snapshot) -> Result<BaseState, RepoError> {
    let state = &repositories.state;
    let now = (state.clock)();
    if let Snapshot::Date(day) = snapshot
        && day < today(&state.catalog.get(), now)
        && !state.catalog.get().is_closed(day.end())
    {
        point::close_day(repositories, day.end()).await;
    }
    let catalog = state.catalog.get();
    let tree = catalog.source_package_trees(SourceId::CRAN).find(|tree| !tree.steps.is_empty());
    let tree = tree.ok_or_else(|| {
        RepoError::Conflict(
            "CRAN, from which the source selects, was not synced yet; run: rspm sync --type=cran --wait"
                .to_owned(),
        )
    })?;
    let today = today(&catalog, now);
    let (end, is_open) = match snapshot {
        Snapshot::Latest => (Timestamp(i64::MAX), true),
        Snapshot::Date(day) if day > today => {
            return Err(RepoError::Invalid(format!(
                "--snapshot={day} is in the future; the newest snapshot is {today}"
            )));
        }
        Snapshot::Date(day) if day == today => (Timestamp(i64::MAX), true),
        Snapshot::Date(day) => (day.end(), !catalog.is_closed(day.end())),
        Snapshot::Alias(alias) => {
            return Err(RepoError::Invalid(format!(
                "--snapshot={alias} is the fixed URL of a repository; choose a day or a transaction"
            )));
        }
        Snapshot::Transaction(id) => match catalog.instant(id) {
            Some(at) => (Timestamp(at.0.saturating_add(1)), false),
            None => {
                return Err(RepoError::NotFound(format!(
                    "there is no transaction {id}; choose a day, such as --snapshot={today}"
                )));
            }
        },
    };
    let step = last_step(tree, end).ok_or_else(|| first_state(tree, snapshot))?;
    let base = Base { source: SourceId::CRAN, tree: tree.id, seq: step.seq, is_whole: false };
    Ok(BaseState { base, at: step.at, is_open })
}

fn last_step(tree: &Tree, end: Timestamp) -> Option<Step> {
    let index = tree.steps.partition_point(|step| step.at < end);
    index.checked_sub(1).and_then(|last| tree.steps.get(last)).copied()
}

fn first_state(tree: &Tree, snapshot: Snapshot) -> RepoError {
    let first = tree.steps.first().map(|step| step.at.day().to_string()).unwrap_or_default();
    RepoError::Invalid(format!(
        "this server has no state of CRAN at --snapshot={snapshot}; the first one is {first} (rspm backfill reads earlier \
         states)"
    ))
}

pub async fn read_listed(state: &State, base: Base) -> Result<BaseIndex, RepoError> {
    let read = state.db.read(move |c| {
        let mut result = BaseIndex::default();
        selectable::each_listed(c, base.tree, base.seq, &mut |row| {
            let Some(description) = description(&row) else { return };
            result.index.insert(&row.name, &row.version, &description);
            result.listed.insert(row.name.clone(), row.release);
            result.releases.insert(row.release, base_release(&row, &description));
        })?;
        Ok(result)
    });
    Ok(read.await?)
}

pub async fn read_releases(
    state: &State,
    base: Base,
    names: Vec<String>,
    index: &mut BaseIndex,
) -> Result<(), RepoError> {
    let requested = names.clone();
    let rows = state.db.read(move |c| selectable::of_packages(c, base.tree, base.seq, &requested)).await?;
    index.known.extend(names.into_iter().map(|name| (name, Vec::new())));
    for row in rows {
        let record = description(&row);
        if let Some(record) = &record {
            index.releases.insert(row.release, base_release(&row, record));
        }
        index.known.entry(row.name).or_default().push(KnownRelease {
            release: row.release,
            version: row.version,
            is_listed: row.state == LifeState::Listed,
            record,
        });
    }
    Ok(())
}

fn description(row: &SelectableRelease) -> Option<Description> {
    Description::from_bytes(row.stanza.as_deref()?).ok()
}

fn base_release(row: &SelectableRelease, description: &Description) -> BaseRelease {
    BaseRelease {
        package: row.package,
        release: row.release,
        variant: row.variant,
        published_at: row.published_at,
        size: row.size,
        license: description.non_empty("License").map(str::to_owned),
        needs_compilation: description.needs_compilation(),
    }
}

/// Why clients cannot use a package that a curated source selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The rule with its repository, or the name guard: `blocked in 'prod' by rule 7 (…)`.
    pub reason: String,
    pub remedy: &'static str,
}

/// Returns, by release, the first reason why rules of subscribed repositories block it, or a guard hides its name.
pub async fn blocked(
    repositories: &Repositories,
    source: SourceId,
    base: Base,
    selected: Vec<(String, ReleaseId)>,
) -> Result<HashMap<ReleaseId, Obstacle>, RepoError> {
    let state = &repositories.state;
    let mut blocked = HashMap::new();
    for (name, release) in &selected {
        if let Some(reason) = name_guards::hiding_reason(state, name, source) {
            blocked.insert(*release, Obstacle { reason, remedy: name_guards::REMEDY });
        }
    }
    for (repo, view) in allowed::base_views(state, source, base).await {
        let names = selected.clone();
        let found = state.db.read(move |c| {
            let mut found = Vec::new();
            for (name, release) in &names {
                for decided in view.decided(c, name)? {
                    if let RuleDecision::Blocked(_, reason) = &decided.decision
                        && decided.release.release == *release
                    {
                        found.push((*release, format!("blocked in '{repo}' by {reason}")));
                    }
                }
            }
            Ok(found)
        });
        for (release, reason) in found.await? {
            let remedy = "select another version, or create an exception";
            blocked.entry(release).or_insert(Obstacle { reason, remedy });
        }
    }
    Ok(blocked)
}
