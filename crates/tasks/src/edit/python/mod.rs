//! Changes the definition of a curated source of Python packages. Each change is a step of the source, so that older
//! snapshots do not change. The plan is a pure function of the current rules, the new definition and the files at the
//! base; plan and commit both call it.

mod definition;

use std::collections::BTreeMap;

use crate::edit::curation::{
    Input, PlannedStep, SelectedState, curated_source, is_curated, require_all_versions, require_snapshot,
    snapshot_name,
};
use crate::edit::last_plan::Selected;
use crate::edit::project::remove::parse_project;
use crate::edit::{Actor, RemoveScope, removal};
use base::model::change::Counts;
use base::model::digest::Sha256;
use base::model::ids::TxId;
use base::model::kind::Layout;
use base::model::project_name::ProjectName;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::project::curated::{ProjectBaseState, base_state};
use content::serve::python::curated::{
    BlockedFiles, base_projects, blocked_files, find_dependencies, leave_out_names_of_others,
};
use content::serve::{RepoError, Repositories, find};
use definition::CurrentPythonDefinition;
use formats::python::curated::PythonDefinition;
use formats::python::curated::dependencies::{Dependencies, Search};
use formats::python::curated::plan::{Plan, ProjectPlanRow, RowState, plan};
use formats::python::curated::rule::ProjectRule;
use runtime::state::State;
use store::db::curation::{Curation, DEPENDENCIES, Dependency};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonUpdateRequest {
    pub source: String,
    pub input: Input,
    /// The state of PyPI from which to select; the newest one if `None`.
    pub snapshot: Option<Snapshot>,
    /// For lock files, allows only the files whose digests they list.
    pub strict: bool,
    /// Whether the packages that others require are included; as in the current definition if `None`.
    pub dependencies: Option<bool>,
    /// Whether dependencies that the source cannot offer are left out; otherwise they are problems.
    pub allow_missing: bool,
    /// Whether to publish the update; otherwise it is only planned.
    pub commit: bool,
    pub comment: String,
}

/// A planned or published update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonUpdate {
    /// The plan. With problems, nothing is published.
    pub plan: Plan,
    /// For each project, the shortest chain of projects from one that the definition names; empty without dependencies.
    pub chains: BTreeMap<ProjectName, Vec<ProjectName>>,
    /// The files that block rules and name guards hide, by project.
    pub blocked: BTreeMap<ProjectName, BlockedFiles>,
    /// Notices about omitted and ignored parts.
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

/// Plans an update of a curated source and, if requested and the plan has no problems, publishes it as one transaction. A
/// package that no client could download is a problem. The pages of packages with a version or a digest are read from PyPI,
/// if they are not known at that time; with dependencies, the pages of all packages, and the metadata of the newest allowed
/// versions.
///
/// # Errors
/// [`RepoError::Invalid`] for another kind of source, a commit without a snapshot or a definition with a defect, which
/// names file and line; [`RepoError::Conflict`] when PyPI was not synced, when the source was changed meanwhile, or when a
/// commit allows other files than the last plan, because the day was not over then.
pub async fn update(
    repositories: &Repositories,
    state: &State,
    request: PythonUpdateRequest,
    actor: &Actor,
) -> Result<PythonUpdate, RepoError> {
    let source = curated_source(state, &request.source, Layout::Projects)?;
    require_snapshot(request.commit, request.snapshot)?;
    let (source_id, index) = (source.id, source.kind.language().index());
    let current = definition::current(state, source).await?;
    let includes_dependencies = request.dependencies.unwrap_or(current.includes_dependencies());
    if request.allow_missing && !includes_dependencies {
        return Err(RepoError::Invalid(
            "--allow-missing leaves out dependencies, and none are included; add --dependencies".to_owned(),
        ));
    }
    let base = base_state(repositories, index, request.snapshot.unwrap_or(Snapshot::Latest))?;
    let snapshot = match request.snapshot {
        Some(snapshot @ (Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_))) => {
            snapshot.to_string()
        }
        Some(Snapshot::Latest) | None => base.at.day().to_string(),
    };
    let name = snapshot_name(request.snapshot.unwrap_or(Snapshot::Latest), &snapshot);
    let mut new = match request.input {
        Input::Replace(files) => {
            let mut new = definition::read(files, request.strict).await?;
            let definition = &mut new.definition;
            leave_out_names_of_others(repositories, source_id, base.base, definition).await?;
            new
        }
        Input::Add(files) => definition::extended(&current, files, request.strict).await?,
        Input::Keep => definition::unchanged(&current, includes_dependencies).await?,
    };
    let mut notices = std::mem::take(&mut new.definition.notices);
    notices.extend(open_notice(&base, &snapshot));
    let (dependencies, projects) = if includes_dependencies {
        let search = Search::new(&new.definition, &name, request.allow_missing);
        find_dependencies(repositories, source_id, base.base, search).await?
    } else {
        (Dependencies::default(), base_projects(repositories, base.base, &new.definition).await?)
    };
    add_dependencies(&mut new.definition, &dependencies)?;
    notices.extend(dependencies.notices);
    let mut plan = plan(&current.rules, &new.definition, &projects, &name);
    plan.problems.extend(dependencies.problems);
    let blocked = blocked_files(repositories, source_id, base.base, &new.definition.rules).await?;
    let mut update = PythonUpdate {
        plan,
        chains: dependencies.chains,
        blocked,
        notices,
        snapshot,
        base_at: base.at,
        sha256: new.sha256,
        transaction: None,
    };
    let problems = blocked_problems(&update);
    update.plan.problems.extend(problems);
    if !update.plan.problems.is_empty() {
        return Ok(update);
    }
    let flags = [
        (request.strict, "strict"),
        (includes_dependencies, "dependencies"),
        (request.allow_missing, "allow-missing"),
    ];
    let flags: Vec<&str> = flags.into_iter().filter_map(|(is_set, flag)| is_set.then_some(flag)).collect();
    let include = includes_dependencies.then(|| DEPENDENCIES.to_owned());
    let (curation, definition) = new.at(base.base, update.snapshot.clone(), include);
    let selected = SelectedState {
        packages: update.plan.rows.iter().map(selected).collect(),
        flags: flags.join(" "),
        // No transaction names the state of an index.
        transaction: None,
    };
    let step = PlannedStep {
        current: &current.step,
        curation: Curation { dependencies: dependency_rows(&update.chains), ..curation },
        rules: definition::rule_rows(&definition.rules),
        changes: Vec::new(),
        counts: counts(&update.plan),
    };
    let end = step.end_update(state, selected, request.commit, request.comment, actor).await?;
    update.transaction = end.transaction;
    update.notices.extend(end.notice);
    Ok(update)
}

fn add_dependencies(definition: &mut PythonDefinition, dependencies: &Dependencies) -> Result<(), RepoError> {
    definition.add_dependencies(dependencies).map_err(|error| RepoError::Invalid(error.to_string()))
}

/// Returns the rows of the projects that others require.
fn dependency_rows(chains: &BTreeMap<ProjectName, Vec<ProjectName>>) -> Vec<Dependency> {
    let row = |(name, chain): (&ProjectName, &Vec<ProjectName>)| Dependency {
        name: name.to_string(),
        chain: chain.iter().map(ToString::to_string).collect(),
    };
    chains.iter().filter(|(_, chain)| chain.len() > 1).map(row).collect()
}

/// Removes a project from the definition of a curated source, with the dependencies that no other project requires. The
/// source continues to select from the same state of PyPI. Returns the removed rule, and names and rules of the removed
/// dependencies; empty if other projects require the project.
///
/// # Errors
/// [`RepoError::Invalid`] for a scope other than all versions, or if dependencies cannot be read now;
/// [`RepoError::NotFound`] if the definition does not name the project.
pub async fn remove(
    repositories: &Repositories,
    state: &State,
    source: &str,
    project: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let source = curated_source(state, source, Layout::Projects)?;
    let project = parse_project(source.kind, project)?;
    require_all_versions(&source, project.as_str(), &scope, "names")?;
    let source_id = source.id;
    let current = definition::current(state, source).await?;
    let (Some(old), None, Some(_)) =
        (&current.step.curation, current.chain(&project), current.rules.get(&project))
    else {
        return Err(not_named(&current, &project));
    };
    let mut definition = current.definition().await?;
    definition.rules.remove(&project);
    definition.extras.remove(&project);
    let mut new = definition::generated(definition);
    let mut chains = BTreeMap::new();
    if current.includes_dependencies() {
        // Packages whose dependencies are missing already can remain.
        let search = Search::new(&new.definition, &old.snapshot, true);
        let base = current.step.base(old);
        let (dependencies, _) = find_dependencies(repositories, source_id, base, search).await?;
        if let Some(problem) = dependencies.problems.first() {
            return Err(RepoError::Invalid(problem.clone()));
        }
        add_dependencies(&mut new.definition, &dependencies)?;
        // Dependencies that were blocked or withdrawn after their selection do not prevent the removal of another project.
        let kept = kept_dependencies(&current, &dependencies, &new.definition);
        chains = dependencies.chains;
        for (name, (rule, chain)) in kept {
            new.definition.rules.insert(name.clone(), rule);
            chains.insert(name, chain);
        }
    }
    let rules = &new.definition.rules;
    let removed = current.rules.iter().filter(|(name, _)| !rules.contains_key(*name));
    let (own, others): (Vec<_>, Vec<_>) = removed.partition(|(name, _)| **name == project);
    let own = own.into_iter().map(|(_, rule)| rule.summary());
    let texts = own.chain(others.into_iter().map(|(name, rule)| format!("{name} {}", rule.summary())));
    let texts: Vec<String> = if rules.contains_key(&project) { Vec::new() } else { texts.collect() };
    let removed_count = current.rules.keys().filter(|name| !rules.contains_key(*name)).count();
    let removed = i64::try_from(removed_count).unwrap_or(i64::MAX);
    let step = PlannedStep {
        current: &current.step,
        curation: Curation {
            sha256: new.sha256,
            files: new.files,
            dependencies: dependency_rows(&chains),
            ..old.clone()
        },
        rules: definition::rule_rows(rules),
        changes: Vec::new(),
        counts: Counts { removed, ..Counts::default() },
    };
    step.commit(state, removal(state, project.as_str(), &scope, comment, actor)).await?;
    Ok(texts)
}

/// Returns the current rules, with their chains, of the dependencies that a selection leaves out though something requires
/// them, and of what is required through these.
fn kept_dependencies(
    current: &CurrentPythonDefinition,
    dependencies: &Dependencies,
    definition: &PythonDefinition,
) -> BTreeMap<ProjectName, (ProjectRule, Vec<ProjectName>)> {
    let kept_chain = |name: &ProjectName| -> Option<Vec<ProjectName>> {
        let old = current.chain(name)?;
        let left_out = |part: &String| dependencies.left_out.iter().find(|(other, _)| other.as_str() == part);
        let (position, (_, chain)) =
            old.iter().enumerate().find_map(|(at, part)| Some((at, left_out(part)?)))?;
        let rest = old[position + 1..].iter().map(|part| ProjectName::folded(part.as_str()));
        Some(chain.iter().cloned().chain(rest).collect())
    };
    let lost = current.rules.iter().filter(|(name, _)| !definition.rules.contains_key(*name));
    lost.filter_map(|(name, rule)| Some((name.clone(), (rule.clone(), kept_chain(name)?)))).collect()
}

/// Returns the error for a project that the definition of a source does not name.
fn not_named(current: &CurrentPythonDefinition, project: &ProjectName) -> RepoError {
    let name = &current.step.source.name;
    RepoError::NotFound(match current.chain(project) {
        Some(chain) => format!(
            "the definition of the source '{name}' does not name '{project}': other packages require it ({})",
            chain.join(" > ")
        ),
        None => format!(
            "the source '{name}' has no package '{project}'; rspm list packages --source={name} shows all"
        ),
    })
}

/// Returns the newest definition of a source; `None` for a source of another kind, and before the first one.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown source.
pub async fn definition(state: &State, source: &str) -> Result<Option<Curation>, RepoError> {
    let source = find::source(&state.catalog.get(), source)?.clone();
    if !is_curated(source.kind, Layout::Projects) {
        return Ok(None);
    }
    Ok(definition::current(state, source).await?.step.curation)
}

/// Returns an error text for each package whose files are all blocked, so that a commit would offer none of them.
fn blocked_problems(update: &PythonUpdate) -> Vec<String> {
    let problem = |row: &ProjectPlanRow| {
        let BlockedFiles { count, reason, remedy } = update.blocked.get(&row.name)?;
        let number = match count {
            Some(_) if *count == row.files => count.map(|count| format!("{count} ")).unwrap_or_default(),
            Some(_) => return None,
            None => String::new(),
        };
        let name = &row.name;
        Some(format!("all {number}files of '{name}' are {reason}; no client could download them: {remedy}"))
    };
    update.plan.rows.iter().filter_map(problem).collect()
}

/// Returns the values of a package that are compared with the last plan: only the name if its files were not read.
fn selected(row: &ProjectPlanRow) -> Selected {
    Selected {
        name: row.name.to_string(),
        version: row.newest.clone().unwrap_or_else(|| "-".to_owned()),
        files: row.files_digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string()),
    }
}

/// Returns the notice that a later plan for the same snapshot may differ; `None` if it cannot.
fn open_notice(base: &ProjectBaseState, snapshot: &str) -> Option<String> {
    // A snapshot is a day or the number of a transaction.
    let cause = match snapshot.parse::<i64>() {
        Ok(number) => format!("PyPI has not been synced since transaction {number}"),
        Err(_) => format!("{snapshot} is not over, or PyPI has not been synced since its end"),
    };
    base.is_open.then(|| {
        format!(
            "{cause}: this plan selects packages as of {}; a commit after another sync is refused if it would allow other \
             files",
            base.at
        )
    })
}

fn counts(plan: &Plan) -> Counts {
    let count = |state| i64::try_from(plan.count(state)).unwrap_or(i64::MAX);
    Counts {
        added: count(RowState::Added),
        updated: count(RowState::Changed),
        archived: 0,
        removed: count(RowState::Removed),
    }
}
