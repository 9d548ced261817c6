//! Changes the definition of a curated source of R packages, or the state of a snapshot of CRAN. Each change is a step
//! of the source, so that older snapshots do not change.

mod commit;
mod definition;
pub mod snapshot;

use crate::edit::last_plan::{self, Selected};
use crate::edit::python::curated::{Input, require_snapshot, snapshot_name};
use crate::edit::{Actor, RemoveScope, publish};
use ::base::model::change::Counts;
use ::base::model::digest::Sha256;
use ::base::model::ids::{ReleaseId, SourceId, TxId};
use ::base::model::point::Base;
use ::base::model::snapshot::Snapshot;
use ::base::model::source::SourceKind;
use ::base::model::time::Timestamp;
use commit::NewStep;
use content::serve::r::base::{self, BaseIndex, BaseRelease, BaseState, Obstacle};
use content::serve::task::run_blocking;
use content::serve::{RepoError, Repositories, find, vulnerabilities};
use definition::{CurrentDefinition, NewDefinition};
use formats::r::closure::Kinds;
use formats::r::curated::plan::{Change, PlanRow, rows};
use formats::r::curated::selection::{Request, Selection, SelectionStep, select};
use formats::r::curated::{Definition, include_text, parse_include};
use runtime::catalog::Source;
use runtime::catalog::resolve::today;
use runtime::state::State;
use store::db::curation::{Curation, RuleRow};
use store::db::tx::{Publish, TxKind};

/// An update of a curated source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRequest {
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
pub struct Update {
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
    pub plan: PlanRow,
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
    request: UpdateRequest,
    actor: &Actor,
) -> Result<Update, RepoError> {
    let source = curated_source(state, &request.source)?;
    require_snapshot(request.commit, request.snapshot)?;
    let current = definition::current(state, &source).await?;
    let new = definition::new_definition(&source, &current, request.input.clone(), request.suggests).await?;
    let default = current_snapshot(&current);
    let snapshot = request.snapshot.or(default).unwrap_or(Snapshot::Latest);
    let base = base::base_state(repositories, snapshot).await?;
    apply(
        repositories,
        state,
        (&source, &current),
        (new, base, snapshot),
        &request,
        (TxKind::Add, None, actor),
    )
    .await
}

/// Returns the snapshot that was named when the source was created without a definition.
fn current_snapshot(current: &CurrentDefinition) -> Option<Snapshot> {
    let curation = current.curation.as_ref().filter(|_| current.roots.is_empty())?;
    curation.snapshot.parse().ok()
}

/// Selects the releases of a definition at a state of CRAN, and publishes them if requested.
async fn apply(
    repositories: &Repositories,
    state: &State,
    (source, current): (&Source, &CurrentDefinition),
    (new, base, snapshot): (NewDefinition, BaseState, Snapshot),
    request: &UpdateRequest,
    (kind, subject, actor): (TxKind, Option<String>, &Actor),
) -> Result<Update, RepoError> {
    let include = include(current, request)?;
    let label = match snapshot {
        Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => snapshot.to_string(),
        Snapshot::Latest => today(&state.catalog.get(), (state.clock)()).to_string(),
    };
    let NewDefinition { definition, files, sha256 } = new;
    let rules: Vec<RuleRow> =
        definition.roots.iter().map(|(name, root)| (name.clone(), root.rule_text())).collect();
    let mut notices = definition.notices.clone();
    if base.is_open {
        notices.push(open_notice(state, &base, &label));
    }
    let name = snapshot_name(snapshot, &label);
    let input = SelectionInput { definition, include, name, allow_missing: request.allow_missing };
    let (selection, index) = selection(state, base, input).await?;
    notices.extend(selection.notices.iter().cloned());
    let rows = update_rows(repositories, state, source, current, base, &selection, &index).await?;
    let mut update = Update {
        rows,
        problems: selection.problems,
        notices,
        snapshot: label,
        base_at: base.at,
        sha256,
        transaction: None,
    };
    // A package that was blocked after its selection does not prevent the removal of another one.
    let is_new = |row: &&UpdateRow| kind != TxKind::Remove || row.plan.change != Change::Kept;
    update.problems.extend(update.rows.iter().filter(is_new).filter_map(blocked_problem));
    if !update.problems.is_empty() {
        return Ok(update);
    }
    let selected = |row: &UpdateRow| {
        let files = row.plan.release?.0.to_string();
        Some(Selected { name: row.plan.name.clone(), version: row.plan.version.clone(), files })
    };
    let selected: Vec<Selected> = update.rows.iter().filter_map(selected).collect();
    let flags = format!("{} {}", include_text(include), request.allow_missing);
    let key = last_plan::request_digest(sha256, &update.snapshot, &flags);
    if !request.commit {
        let transaction = state_transaction(state, &base);
        last_plan::store(state, current.tree, key, &selected, transaction).await?;
        return Ok(update);
    }
    // A removal has no plan.
    if kind != TxKind::Remove {
        let notice = last_plan::compare(state, current.tree, "CRAN", key, &selected).await?;
        update.notices.extend(notice);
    }
    let step = NewStep {
        curation: Curation {
            base_tree: base.base.tree,
            base_seq: base.base.seq,
            snapshot: update.snapshot.clone(),
            sha256,
            include: Some(include_text(include)),
            files,
            dependencies: Vec::new(),
        },
        rules,
        releases: update.rows.iter().filter_map(|row| row.release.clone()).collect(),
    };
    let publish = Publish {
        comment: request.comment.clone(),
        subject: subject.unwrap_or_else(|| format!("definition {sha256}, snapshot {}", update.snapshot)),
        counts: counts(&update.rows),
        ..publish(kind, (state.clock)(), actor)
    };
    update.transaction = commit::commit(state, source, current, step, publish).await?;
    Ok(update)
}

/// Removes a package from the definition of a curated source, with the dependencies that no other package needs,
/// and selects from the same state of CRAN again. Returns the removed version, and names and versions of the
/// removed dependencies; empty if other packages need the package.
///
/// # Errors
/// [`RepoError::Invalid`] for a scope other than all versions; [`RepoError::NotFound`] if the definition does not name
/// the package.
pub async fn remove(
    repositories: &Repositories,
    state: &State,
    source: &str,
    package: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let source = curated_source(state, source)?;
    if scope != RemoveScope::All {
        return Err(RepoError::Invalid(format!(
            "the source '{}' is curated: its definition selects versions; write {package}@all to remove the package, or \
             change its line and run: rspm update --source={} --file-in=FILE",
            source.name, source.name
        )));
    }
    let current = definition::current(state, &source).await?;
    let mut roots = current.roots.clone();
    let (Some(_), Some(curation)) = (roots.remove(package), current.curation.as_ref()) else {
        return Err(not_named(&source, &current, package));
    };
    let base =
        Base { source: SourceId::CRAN, tree: curation.base_tree, seq: curation.base_seq, is_whole: false };
    let at = base::state_time(&state.catalog.get(), base).unwrap_or(Timestamp(0));
    let snapshot = curation.snapshot.parse().unwrap_or(Snapshot::Latest);
    let definition = Definition { roots, notices: Vec::new() };
    let request = UpdateRequest {
        source: source.name.to_string(),
        input: Input::Keep,
        snapshot: None,
        include: None,
        suggests: false,
        // Packages whose dependencies are missing already can remain.
        allow_missing: true,
        commit: true,
        comment: comment.to_owned(),
    };
    let base = BaseState { base, at, is_open: false };
    let new = (definition::generated(definition), base, snapshot);
    let subject = Some(scope.of(package));
    let update =
        apply(repositories, state, (&source, &current), new, &request, (TxKind::Remove, subject, actor))
            .await?;
    if let Some(problem) = update.problems.first() {
        return Err(RepoError::Invalid(problem.clone()));
    }
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
fn not_named(source: &Source, current: &CurrentDefinition, package: &str) -> RepoError {
    let excerpt: String = package.chars().take(128).collect();
    RepoError::NotFound(if current.listed.contains_key(package) {
        format!(
            "the definition of the source '{}' does not name '{excerpt}': other packages need it; rspm info --source={} shows \
             the definition",
            source.name, source.name
        )
    } else {
        format!(
            "the source '{}' has no package '{excerpt}'; rspm list packages --source={} shows all",
            source.name, source.name
        )
    })
}

/// Returns the kinds of dependencies of an update: those of the request, else those of the current definition.
fn include(current: &CurrentDefinition, request: &UpdateRequest) -> Result<Kinds, RepoError> {
    let present = current.curation.as_ref().and_then(|curation| curation.include.as_deref());
    match (request.include, present) {
        (Some(include), _) => Ok(include),
        (None, Some(text)) => parse_include(text).map_err(|error| RepoError::Invalid(error.to_string())),
        (None, None) => Ok(Kinds::STRONG),
    }
}

/// The input of a selection, without the state of CRAN.
struct SelectionInput {
    definition: Definition,
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
            let outcome = select(&Request {
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
    source: &Source,
    current: &CurrentDefinition,
    base: BaseState,
    selection: &Selection,
    index: &BaseIndex,
) -> Result<Vec<UpdateRow>, RepoError> {
    let plan = rows(&current.listed, selection, &index.listed);
    let selected: Vec<(String, ReleaseId)> =
        plan.iter().filter_map(|row| Some((row.name.clone(), row.release?))).collect();
    let blocked = base::blocked(repositories, source.id, base.base, selected).await?;
    let advisories = vulnerabilities::current(state).await;
    let row = |plan: PlanRow| {
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
/// [`RepoError::NotFound`] for an unknown source; database errors.
pub async fn definition(
    state: &State,
    source: &str,
) -> Result<Option<(Curation, Option<Timestamp>)>, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, source)?;
    if !matches!(source.kind, SourceKind::CuratedCran | SourceKind::CranSnapshot) {
        return Ok(None);
    }
    let Some(curation) = definition::current(state, source).await?.curation else { return Ok(None) };
    let base = Base {
        source: SourceId::CRAN,
        tree: curation.base_tree,
        seq: curation.base_seq,
        is_whole: source.kind == SourceKind::CranSnapshot,
    };
    let at = base::state_time(&catalog, base);
    Ok(Some((curation, at)))
}

fn curated_source(state: &State, name: &str) -> Result<Source, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, name)?;
    if source.kind == SourceKind::CuratedCran {
        return Ok(source.clone());
    }
    let curated = SourceKind::CuratedCran;
    Err(RepoError::Invalid(format!(
        "the source '{name}' is of type {}, and only sources of type {curated} and {} have a definition; create one with: \
         rspm create source --name=NAME --type={curated}",
        source.kind,
        SourceKind::CuratedPypi
    )))
}
