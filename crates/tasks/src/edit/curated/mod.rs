//! Changes the definition of a curated source of R packages, or the state of a snapshot of CRAN. Each change is a step
//! of the source, so that older snapshots do not change.

mod definition;
pub mod snapshot;

use super::curation::{
    Input, PlannedStep, SelectedState, curated_source, require_all_versions, require_snapshot, snapshot_name,
};
use super::last_plan::Selected;
use super::{Actor, RemoveScope, removal};
use ::base::model::change::Counts;
use ::base::model::digest::Sha256;
use ::base::model::ids::{ReleaseId, TxId};
use ::base::model::kind::Layout;
use ::base::model::snapshot::Snapshot;
use ::base::model::time::Timestamp;
use content::serve::error::run_blocking;
use content::serve::r::base::{self, BaseIndex, BaseRelease, BaseState, Obstacle};
use content::serve::{RepoError, Repositories, find, vulnerabilities};
use definition::{CurrentRDefinition, NewDefinition};
use formats::r::closure::Kinds;
use formats::r::curated::plan::{Change, PackagePlanRow, rows};
use formats::r::curated::selection::{Selection, SelectionRequest, SelectionStep, select};
use formats::r::curated::{RDefinition, include_text, parse_include};
use runtime::catalog::resolve::today;
use runtime::state::State;
use store::db::curation::Curation;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RUpdateRequest {
    pub source: String,
    pub input: Input,
    /// The state of CRAN from which to select; the newest one if `None`.
    pub snapshot: Option<Snapshot>,
    /// The kinds of dependencies to include; those of the current definition if `None`.
    pub include: Option<Kinds>,
    /// Whether packages that are suggested by the named ones are also included.
    pub suggests: bool,
    /// Whether dependencies that CRAN does not have are omitted.
    pub allow_missing: bool,
    /// Whether to publish the update; otherwise it is only planned.
    pub commit: bool,
    pub comment: String,
}

/// A planned or published update.
#[derive(Clone, Debug)]
pub struct RUpdate {
    pub rows: Vec<UpdateRow>,
    /// Problems; with any of them, nothing is published.
    pub problems: Vec<String>,
    pub notices: Vec<String>,
    /// The snapshot to pass in the request that publishes this plan.
    pub snapshot: String,
    /// The time of the state from which it selects.
    pub base_at: Timestamp,
    /// The digest of the definition.
    pub sha256: Sha256,
    /// The transaction; `None` for a plan, and if nothing changed.
    pub transaction: Option<TxId>,
}

/// A package of an update.
#[derive(Clone, Debug)]
pub struct UpdateRow {
    pub plan: PackagePlanRow,
    /// The selected release; `None` for a package that is removed.
    pub release: Option<BaseRelease>,
    /// Number of known advisories about the selected version.
    pub advisories: usize,
    /// Why clients cannot download it from a repository that subscribes to the source.
    pub blocked: Option<Obstacle>,
}

/// Plans an update of a curated source and, if requested and the plan has no problems, publishes it as one transaction.
/// Packages that no client could download are problems.
///
/// # Errors
/// [`RepoError::Invalid`] for another kind of source, a commit without a snapshot or a definition with a defect, which
/// names file and line; [`RepoError::Conflict`] when CRAN was not synced, when the source was changed meanwhile, or
/// when a commit selects other releases than the last plan, because the day was not over then.
pub async fn update(
    repositories: &Repositories,
    state: &State,
    request: RUpdateRequest,
    actor: &Actor,
) -> Result<RUpdate, RepoError> {
    let source = curated_source(state, &request.source, Layout::Lists)?;
    require_snapshot(request.commit, request.snapshot)?;
    let current = definition::current(state, source).await?;
    let new = definition::new_definition(&current, request.input, request.suggests).await?;
    let default = current_snapshot(&current);
    let snapshot = request.snapshot.or(default).unwrap_or(Snapshot::Latest);
    let base = base::base_state(repositories, snapshot).await?;
    let allow_missing = request.allow_missing;
    let include = include(&current, request.include)?;
    let target = UpdateTarget { new, base, snapshot, include, allow_missing };
    let (mut update, step) = plan(repositories, state, &current, target).await?;
    update.problems.extend(update.rows.iter().filter_map(blocked_problem));
    if !update.problems.is_empty() {
        return Ok(update);
    }
    let selected = |row: &UpdateRow| {
        let files = row.plan.release?.0.to_string();
        Some(Selected { name: row.plan.name.clone(), version: row.plan.version.clone(), files })
    };
    let selected = SelectedState {
        packages: update.rows.iter().filter_map(selected).collect(),
        flags: format!("{} {allow_missing}", include_text(include)),
        transaction: state_transaction(state, &base),
    };
    let end = step.end_update(state, selected, request.commit, request.comment, actor).await?;
    update.transaction = end.transaction;
    update.notices.extend(end.notice);
    Ok(update)
}

/// Returns the snapshot that was named when the source was created without a definition.
fn current_snapshot(current: &CurrentRDefinition) -> Option<Snapshot> {
    let curation = current.step.curation.as_ref().filter(|_| current.roots.is_empty())?;
    curation.snapshot.parse().ok()
}

/// A definition, and from where and how its releases are selected.
struct UpdateTarget {
    new: NewDefinition,
    base: BaseState,
    snapshot: Snapshot,
    include: Kinds,
    allow_missing: bool,
}

/// Selects the releases of a definition at a state of CRAN. The problems do not include blocked packages.
async fn plan<'a>(
    repositories: &Repositories,
    state: &State,
    current: &'a CurrentRDefinition,
    target: UpdateTarget,
) -> Result<(RUpdate, PlannedStep<'a>), RepoError> {
    let UpdateTarget { new, base, snapshot, include, allow_missing } = target;
    let label = match snapshot {
        Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => snapshot.to_string(),
        Snapshot::Latest => today(&state.catalog.get(), (state.clock)()).to_string(),
    };
    let sha256 = new.sha256;
    let (curation, definition) = new.at(base.base, label.clone(), Some(include_text(include)));
    let rules = definition::rule_rows(&definition.roots);
    let mut notices = definition.notices.clone();
    if base.is_open {
        notices.push(open_notice(state, &base, &label));
    }
    let name = snapshot_name(snapshot, &label);
    let input = SelectionInput { definition, include, name, allow_missing };
    let (selection, index) = selection(state, base, input).await?;
    notices.extend(selection.notices.iter().cloned());
    let rows = update_rows(repositories, state, current, base, &selection, &index).await?;
    let releases: Vec<BaseRelease> = rows.iter().filter_map(|row| row.release.clone()).collect();
    let step = PlannedStep {
        current: &current.step,
        curation,
        rules,
        changes: current.changes(&releases),
        counts: counts(&rows),
    };
    let update = RUpdate {
        rows,
        problems: selection.problems,
        notices,
        snapshot: label,
        base_at: base.at,
        sha256,
        transaction: None,
    };
    Ok((update, step))
}

/// Removes a package from the definition of a curated source, with the dependencies that no other package needs,
/// and selects from the same state of CRAN again. Returns the removed version, and names and versions of the
/// removed dependencies; empty if other packages need the package.
///
/// # Errors
/// [`RepoError::Invalid`] for a scope but all versions; [`RepoError::NotFound`] for a package not in the definition.
pub async fn remove(
    repositories: &Repositories,
    state: &State,
    source: &str,
    package: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let source = curated_source(state, source, Layout::Lists)?;
    require_all_versions(&source, package, &scope, "selects")?;
    let current = definition::current(state, source).await?;
    let mut roots = current.roots.clone();
    let (Some(_), Some(curation)) = (roots.remove(package), current.step.curation.as_ref()) else {
        return Err(not_named(&current, package));
    };
    let base = current.step.base(curation);
    let at = base::state_time(&state.catalog.get(), base).unwrap_or(Timestamp(0));
    let snapshot = curation.snapshot.parse().unwrap_or(Snapshot::Latest);
    let definition = RDefinition { roots, notices: Vec::new() };
    let target = UpdateTarget {
        new: definition::generated(definition),
        base: BaseState { base, at, is_open: false },
        snapshot,
        include: include(&current, None)?,
        // Packages whose dependencies are missing already can remain.
        allow_missing: true,
    };
    let (mut update, step) = plan(repositories, state, &current, target).await?;
    // A package that was blocked after its selection does not prevent the removal of another one.
    let changed = update.rows.iter().filter(|row| row.plan.change != Change::Kept);
    update.problems.extend(changed.filter_map(blocked_problem));
    if let Some(problem) = update.problems.first() {
        return Err(RepoError::Invalid(problem.clone()));
    }
    step.commit(state, removal(state, package, &scope, comment, actor)).await?;
    let removed = update.rows.iter().filter(|row| row.plan.change == Change::Removed);
    let text = |row: &UpdateRow| {
        if row.plan.name == package {
            row.plan.version.clone()
        } else {
            format!("{} {}", row.plan.name, row.plan.version)
        }
    };
    // The package itself comes first; its dependencies are listed with their names.
    let (own, others): (Vec<&UpdateRow>, Vec<&UpdateRow>) = removed.partition(|row| row.plan.name == package);
    Ok(own.into_iter().chain(others).map(text).collect())
}

/// Returns the error for a package that the definition of a source does not name.
fn not_named(current: &CurrentRDefinition, package: &str) -> RepoError {
    let source = &current.step.source.name;
    let excerpt: String = package.chars().take(128).collect();
    RepoError::NotFound(if current.listed.contains_key(package) {
        format!(
            "the definition of the source '{source}' does not name '{excerpt}': other packages need it; rspm info \
             --source={source} shows the definition"
        )
    } else {
        format!(
            "the source '{source}' has no package '{excerpt}'; rspm list packages --source={source} shows all"
        )
    })
}

/// Returns the kinds of dependencies of an update: those of the request, else those of the current definition.
fn include(current: &CurrentRDefinition, requested: Option<Kinds>) -> Result<Kinds, RepoError> {
    let present = current.step.curation.as_ref().and_then(|curation| curation.include.as_deref());
    match (requested, present) {
        (Some(include), _) => Ok(include),
        (None, Some(text)) => parse_include(text).map_err(|error| RepoError::Invalid(error.to_string())),
        (None, None) => Ok(Kinds::STRONG),
    }
}

/// The input of a selection, without the state of CRAN.
struct SelectionInput {
    definition: RDefinition,
    include: Kinds,
    /// The name of the snapshot in messages.
    name: String,
    allow_missing: bool,
}

/// Selects the releases. The releases of a package with a constraint are read only when they are needed.
async fn selection(
    state: &State,
    base: BaseState,
    mut input: SelectionInput,
) -> Result<(Selection, BaseIndex), RepoError> {
    let mut index = base::read_listed(state, base.base).await?;
    loop {
        let work = move || {
            let outcome = select(&SelectionRequest {
                roots: &input.definition.roots,
                include: input.include,
                listed: &index.index,
                known: &index.known,
                snapshot: &input.name,
                allow_missing: input.allow_missing,
            });
            (outcome, input, index)
        };
        let outcome;
        (outcome, input, index) = run_blocking(work).await?;
        match outcome {
            SelectionStep::Complete(selection) => return Ok((selection, index)),
            SelectionStep::NeedsReleases(names) => {
                base::read_releases(state, base.base, names, &mut index).await?;
            }
        }
    }
}

async fn update_rows(
    repositories: &Repositories,
    state: &State,
    current: &CurrentRDefinition,
    base: BaseState,
    selection: &Selection,
    index: &BaseIndex,
) -> Result<Vec<UpdateRow>, RepoError> {
    let plan = rows(&current.listed, selection, &index.listed);
    let selected: Vec<(String, ReleaseId)> =
        plan.iter().filter_map(|row| Some((row.name.clone(), row.release?))).collect();
    let blocked = base::blocked(repositories, current.step.source.id, base.base, selected).await?;
    let advisories = vulnerabilities::current(state).await;
    let row = |plan: PackagePlanRow| {
        let release = plan.release.and_then(|release| index.releases.get(&release)).cloned();
        let findings = advisories.of(base.base.source, &plan.name, &plan.version);
        UpdateRow {
            advisories: if release.is_some() { findings.len() } else { 0 },
            blocked: plan.release.and_then(|release| blocked.get(&release)).cloned(),
            release,
            plan,
        }
    };
    Ok(plan.into_iter().map(row).collect())
}

fn blocked_problem(row: &UpdateRow) -> Option<String> {
    let Obstacle { reason, remedy } = row.blocked.as_ref()?;
    let (name, version) = (&row.plan.name, &row.plan.version);
    Some(format!("{name} {version} is {reason}; no client could download it: {remedy}"))
}

/// Returns the notice that a later plan for the same snapshot may differ.
fn open_notice(state: &State, base: &BaseState, label: &str) -> String {
    let exact = state_transaction(state, base)
        .map(|id| format!("; --snapshot={id} names exactly the planned state"))
        .unwrap_or_default();
    format!("{label} is not over: a sync before the commit may change what is selected{exact}")
}

/// Returns the transaction that published a state of CRAN.
fn state_transaction(state: &State, base: &BaseState) -> Option<TxId> {
    let catalog = state.catalog.get();
    let steps = &catalog.tree(base.base.tree)?.steps;
    steps.iter().find(|step| step.seq == base.base.seq).map(|step| step.tx)
}

fn counts(rows: &[UpdateRow]) -> Counts {
    let count = |changes: &[Change]| {
        let number = rows.iter().filter(|row| changes.contains(&row.plan.change)).count();
        i64::try_from(number).unwrap_or(i64::MAX)
    };
    Counts {
        added: count(&[Change::Added]),
        updated: count(&[Change::Updated, Change::Downgraded]),
        archived: 0,
        removed: count(&[Change::Removed]),
    }
}

/// Returns the newest definition of a source, and the time of the state of CRAN from which it selects; `None` for a
/// source of another kind, and before the first definition.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown source.
pub async fn definition(
    state: &State,
    source: &str,
) -> Result<Option<(Curation, Option<Timestamp>)>, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, source)?.clone();
    if !source.kind.selects_from_lists() {
        return Ok(None);
    }
    let step = definition::current(state, source).await?.step;
    let Some(curation) = &step.curation else { return Ok(None) };
    let at = base::state_time(&catalog, step.base(curation));
    Ok(step.curation.map(|curation| (curation, at)))
}
