//! Changes the definition of a curated source of Python packages. Each change is a step of the source, so that
//! older snapshots do not change.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::Digest;

use super::remove::parse_project;
use crate::catalog::Source;
use crate::db::curation::{self, Curation, DefinitionFile, RuleRow};
use crate::db::tx::{Publish, TxKind};
use crate::db::{DbError, tree};
use crate::edit::last_plan::{self, Selected};
use crate::edit::upload_body::shutting_down;
use crate::edit::{Actor, EditResult, RemoveScope, publish};
use crate::model::change::Counts;
use crate::model::digest::Sha256;
use crate::model::ids::{Seq, TreeId, TxId};
use crate::model::snapshot::Snapshot;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;
use crate::publish::edit::{ClaimedTrees, apply_edit};
use crate::python::curated::plan::{Plan, PlanRow, RowState, plan};
use crate::python::curated::rule::Rule;
use crate::python::curated::{self, Definition, NamedFile, ReadOptions};
use crate::python::name::NormalName;
use crate::serve::python::curated::{
    BaseState, BlockedFiles, base_projects, base_state, blocked_files, parse_rule,
};
use crate::serve::{RepoError, Repositories, find};
use crate::state::State;

/// File name of a definition that this server has generated, after single packages were added or removed.
const GENERATED_FILE: &str = "requirements.txt";

/// The change to the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// These files replace it; the first one is the main one.
    Replace(Vec<DefinitionFile>),
    /// The packages of these files are added to it.
    Add(Vec<DefinitionFile>),
    /// Keeps the definition; only the snapshot changes.
    Keep,
}

/// An update of a curated source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRequest {
    /// The name of the source.
    pub source: String,
    /// The new definition.
    pub input: Input,
    /// The state of PyPI from which to select; the newest one if `None`.
    pub snapshot: Option<Snapshot>,
    /// For lock files, allows only the files whose digests they list.
    pub strict: bool,
    /// Whether to publish the update; otherwise it is only planned.
    pub commit: bool,
    /// Comment of the transaction.
    pub comment: String,
}

/// A planned or published update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The plan. With problems, nothing is published.
    pub plan: Plan,
    /// The files that block rules and name guards hide, by project.
    pub blocked: BTreeMap<NormalName, BlockedFiles>,
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

/// The current definition of a source.
struct CurrentDefinition {
    tree: TreeId,
    /// Its step; 0 before the first one.
    seq: Seq,
    curation: Option<Curation>,
    rules: BTreeMap<NormalName, Rule>,
}

/// A new definition of a source.
struct NewDefinition {
    definition: Definition,
    files: Vec<DefinitionFile>,
    sha256: Sha256,
}

/// Requires that a commit names a snapshot.
///
/// # Errors
/// [`RepoError::Invalid`].
pub fn require_snapshot(is_commit: bool, snapshot: Option<Snapshot>) -> Result<(), RepoError> {
    if is_commit && snapshot.is_none() {
        return Err(RepoError::Invalid(
            "--commit requires --snapshot, so that what is committed is what was planned; the plan without --commit \
             ends with the flags"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Returns the name of a snapshot in messages, so that the number of a transaction is not mistaken for a version. `label` is
/// that of the state that it selects.
pub fn snapshot_name(snapshot: Snapshot, label: &str) -> String {
    match snapshot {
        Snapshot::Transaction(id) => format!("transaction {id}"),
        Snapshot::Latest | Snapshot::Date(_) | Snapshot::Alias(_) => label.to_owned(),
    }
}

/// Plans an update of a curated source and, if requested and the plan has no problems, publishes it as one transaction. A
/// package that no client could download is a problem. The pages of packages with a version or a digest are read from PyPI,
/// if they are not known at that time.
///
/// # Errors
/// [`RepoError::Invalid`] for another kind of source, a commit without a snapshot or a definition with a defect, which
/// names file and line; [`RepoError::Conflict`] when PyPI was not synced, when the source was changed meanwhile, or when a
/// commit allows other files than the last plan, because the day was not over then.
pub async fn update(
    repositories: &Repositories,
    state: &State,
    request: UpdateRequest,
    actor: &Actor,
) -> Result<Update, RepoError> {
    let source = curated_source(state, &request.source)?;
    require_snapshot(request.commit, request.snapshot)?;
    let current = current(state, &source).await?;
    let base = base_state(state, request.snapshot.unwrap_or(Snapshot::Latest))?;
    let snapshot = match request.snapshot {
        Some(snapshot @ (Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_))) => {
            snapshot.to_string()
        }
        Some(Snapshot::Latest) | None => base.at.day().to_string(),
    };
    let mut new = new_definition(&source, &current, request.input, request.strict).await?;
    let mut notices = std::mem::take(&mut new.definition.notices);
    notices.extend(open_notice(&base, &snapshot));
    let projects = base_projects(repositories, base.base, &new.definition).await?;
    let name = snapshot_name(request.snapshot.unwrap_or(Snapshot::Latest), &snapshot);
    let plan = plan(&current.rules, &new.definition, &projects, &name);
    let blocked = blocked_files(repositories, source.id, base.base, &new.definition.rules).await?;
    let mut update =
        Update { plan, blocked, notices, snapshot, base_at: base.at, sha256: new.sha256, transaction: None };
    let problems = blocked_problems(&update);
    update.plan.problems.extend(problems);
    if !update.plan.problems.is_empty() {
        return Ok(update);
    }
    let selected: Vec<Selected> = update.plan.rows.iter().map(selected).collect();
    let flags = if request.strict { "strict" } else { "" };
    let key = last_plan::request_digest(new.sha256, &update.snapshot, flags);
    if request.commit {
        let notice = last_plan::compare(state, (current.tree, "PyPI"), key, &selected).await?;
        update.notices.extend(notice);
        let curation = Curation {
            base_tree: base.base.tree,
            base_seq: base.base.seq,
            snapshot: update.snapshot.clone(),
            sha256: new.sha256,
            include: None,
            files: new.files,
        };
        let subject = format!("definition {}, snapshot {}", new.sha256, update.snapshot);
        let publish = Publish {
            comment: request.comment,
            subject,
            counts: counts(&update.plan),
            ..publish(TxKind::Add, (state.clock)(), actor)
        };
        update.transaction =
            commit(state, &source, &current, curation, &new.definition.rules, publish).await?;
    } else {
        // No transaction names the state of an index.
        last_plan::store(state, current.tree, key, (&selected, None)).await?;
    }
    Ok(update)
}

/// Removes a project from the definition of a curated source, which continues to select from the same state of
/// PyPI. Returns the removed rule.
///
/// # Errors
/// [`RepoError::Invalid`] for a scope other than all versions, [`RepoError::NotFound`] if the definition does not
/// name the project.
pub async fn remove(
    state: &State,
    source: &str,
    project: &str,
    scope: RemoveScope,
    comment: &str,
    actor: &Actor,
) -> Result<Vec<String>, RepoError> {
    let source = curated_source(state, source)?;
    let project = parse_project(project)?;
    if scope != RemoveScope::All {
        return Err(RepoError::Invalid(format!(
            "the source '{}' is curated: its definition names versions; write {project}@all to remove the package, or \
             change its line and run: rspm update --source={} --file-in=FILE",
            source.name, source.name
        )));
    }
    let current = current(state, &source).await?;
    let mut rules = current.rules.clone();
    let (Some(old), Some(removed)) = (&current.curation, rules.remove(&project)) else {
        return Err(RepoError::NotFound(format!(
            "the source '{}' has no package '{project}'; rspm list packages --source={} shows all",
            source.name, source.name
        )));
    };
    let files = generated(&rules);
    let curation = Curation { sha256: digest(&files), files, ..old.clone() };
    let publish = Publish {
        comment: comment.to_owned(),
        subject: scope.of(project.as_str()),
        counts: Counts { removed: 1, ..Counts::default() },
        ..publish(TxKind::Remove, (state.clock)(), actor)
    };
    commit(state, &source, &current, curation, &rules, publish).await?;
    Ok(vec![removed.summary()])
}

/// Returns the newest definition of a source; `None` for a source of another kind, and before the first one.
///
/// # Errors
/// [`RepoError::NotFound`] for an unknown source; database errors.
pub async fn definition(state: &State, source: &str) -> Result<Option<Curation>, RepoError> {
    if find::source(&state.catalog.get(), source)?.kind != SourceKind::CuratedPypi {
        return Ok(None);
    }
    Ok(current(state, &curated_source(state, source)?).await?.curation)
}

fn curated_source(state: &State, name: &str) -> Result<Source, RepoError> {
    let catalog = state.catalog.get();
    let source = find::source(&catalog, name)?;
    if source.kind == SourceKind::CuratedPypi {
        return Ok(source.clone());
    }
    Err(RepoError::Invalid(format!(
        "the source '{name}' is of type {}, and only sources of type {} have a definition; create one with: rspm \
         create source --name=NAME --type={}",
        source.kind,
        SourceKind::CuratedPypi,
        SourceKind::CuratedPypi
    )))
}

/// Reads the definition of the newest step of a source.
async fn current(state: &State, source: &Source) -> Result<CurrentDefinition, RepoError> {
    let catalog = state.catalog.get();
    let tree = catalog.source_package_trees(source.id).next().ok_or_else(|| {
        RepoError::NotFound(format!("the source '{}' has no list of packages", source.name))
    })?;
    let (tree, seq) = (tree.id, tree.newest().unwrap_or(Seq(0)));
    let read = state.db.read(move |c| Ok((curation::get(c, tree, seq)?, curation::rules(c, tree, seq)?)));
    let (curation, rows) = read.await?;
    let mut rules = BTreeMap::new();
    for (normalized_name, text) in rows {
        let name =
            normalized_name.parse::<NormalName>().map_err(|error| RepoError::Invalid(error.to_string()))?;
        rules.insert(name, parse_rule(&text)?);
    }
    Ok(CurrentDefinition { tree, seq, curation, rules })
}

/// Reads the new definition.
async fn new_definition(
    source: &Source,
    current: &CurrentDefinition,
    input: Input,
    strict: bool,
) -> Result<NewDefinition, RepoError> {
    match input {
        Input::Replace(files) => read(files, strict).await,
        Input::Add(files) => {
            let mut definition = read(files, strict).await?.definition;
            for (name, rule) in &current.rules {
                let added =
                    std::mem::replace(definition.rules.entry(name.clone()).or_default(), rule.clone());
                if let Some(rule) = definition.rules.get_mut(name) {
                    added.alternatives().iter().cloned().for_each(|alternative| rule.add(alternative));
                }
                definition.origins.entry(name.clone()).or_insert_with(|| "the current definition".to_owned());
            }
            let files = generated(&definition.rules);
            Ok(NewDefinition { definition, sha256: digest(&files), files })
        }
        Input::Keep => {
            let Some(curation) = &current.curation else {
                return Err(RepoError::Invalid(format!(
                    "the source '{}' has no definition yet; name a requirements file or a lock file: rspm update \
                     --source={} --file-in=requirements.txt",
                    source.name, source.name
                )));
            };
            let origin = |name: &NormalName| (name.clone(), "the current definition".to_owned());
            let definition = Definition {
                rules: current.rules.clone(),
                origins: current.rules.keys().map(origin).collect(),
                notices: Vec::new(),
            };
            Ok(NewDefinition { definition, sha256: curation.sha256, files: curation.files.clone() })
        }
    }
}

/// Reads the files of a definition, which may be 24 MB in size: not on an async thread.
async fn read(files: Vec<DefinitionFile>, strict: bool) -> Result<NewDefinition, RepoError> {
    let work = move || -> Result<NewDefinition, RepoError> {
        let named: Vec<NamedFile<'_>> =
            files.iter().map(|file| (file.name.as_str(), file.content.as_slice())).collect();
        let definition = curated::read(&named, ReadOptions { strict });
        let definition = definition.map_err(|error| RepoError::Invalid(error.to_string()))?;
        Ok(NewDefinition { definition, sha256: digest(&files), files })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(shutting_down().into()),
    }
}

/// Returns a generated file for a definition that differs from the file that an administrator wrote.
fn generated(rules: &BTreeMap<NormalName, Rule>) -> Vec<DefinitionFile> {
    vec![DefinitionFile {
        name: GENERATED_FILE.to_owned(),
        content: curated::requirements(rules).into_bytes(),
    }]
}

/// Returns the digest of a definition: that of its only file, or that of the lines that `sha256sum` prints for several
/// files.
pub(in crate::edit) fn digest(files: &[DefinitionFile]) -> Sha256 {
    let sha256 = |bytes: &[u8]| Sha256(sha2::Sha256::digest(bytes).into());
    match files {
        [file] => sha256(&file.content),
        files => {
            let mut lines = String::new();
            for file in files {
                // Writing to a `String` cannot fail.
                let _ = writeln!(lines, "{}  {}", sha256(&file.content), file.name);
            }
            sha256(lines.as_bytes())
        }
    }
}

/// Returns an error text for each package whose files are all blocked, so that a commit would offer none of them.
fn blocked_problems(update: &Update) -> Vec<String> {
    let problem = |row: &PlanRow| {
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

/// Returns the values of a package that are compared with the last plan. If the files of the package were not
/// read, only the name is set.
fn selected(row: &PlanRow) -> Selected {
    Selected {
        name: row.name.to_string(),
        version: row.newest.clone().unwrap_or_else(|| "-".to_owned()),
        files: row.files_digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string()),
    }
}

/// Returns the notice that a later plan for the same snapshot may differ; `None` if it cannot.
fn open_notice(base: &BaseState, snapshot: &str) -> Option<String> {
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

/// Publishes a definition as the next step. Returns `None` if it equals the current one.
async fn commit(
    state: &State,
    source: &Source,
    current: &CurrentDefinition,
    curation: Curation,
    rules: &BTreeMap<NormalName, Rule>,
    publish: Publish,
) -> Result<Option<TxId>, RepoError> {
    let base = |curation: &Curation| (curation.base_tree, curation.base_seq, curation.sha256);
    let is_same = current.curation.as_ref().is_some_and(|old| base(old) == base(&curation));
    if is_same && current.rules == *rules {
        return Ok(None);
    }
    let rows: Vec<RuleRow> = rules.iter().map(|(name, rule)| (name.to_string(), rule.to_string())).collect();
    let publish = Publish { source: Some(source.id), ..publish };
    let (tree, seq, name) = (current.tree, current.seq, source.name.to_string());
    let edit = apply_edit(state, move |c| {
        let mut trees = ClaimedTrees::default();
        let pending = trees.claim(c, tree)?;
        if pending.0 != seq.0 + 1 {
            tree::end_claim(c, tree)?;
            return Ok(changed_meanwhile(&name));
        }
        curation::insert(c, (tree, pending), &curation, &rows)?;
        Ok::<_, DbError>(Ok(trees.publish(c, &publish)?))
    });
    edit.await?
}

/// Returns the error for a source that was changed after the plan.
fn changed_meanwhile(source: &str) -> EditResult<Option<TxId>> {
    Err(RepoError::Conflict(format!(
        "the source '{source}' was changed since the plan; repeat the command to plan again"
    )))
}
