//! Makes the changes of many objects in one write, as of a state file: sources, repositories with their lists of
//! subscriptions, name guards, block rules and metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::metadata::Setting;
use super::name_guard::NewValues;
use super::promotion::{FixedState, current_catalog, fixed_states};
use super::subscription::subscription_label;
use super::{Actor, OnExisting, Write, apply, block_rule, metadata, name_guard, publish, repo, source};
use base::model::ids::{RepoId, SourceId};
use base::model::kind::ChangePolicy;
use base::model::name::Name;
use base::model::time::Timestamp;
use content::serve::RepoError;
use formats::policy::Rule;
use runtime::catalog::{Catalog, Repository, RuleChanges, Source, merged_ranges};
use runtime::publish::edit::list_publish;
use runtime::state::State;
use store::db::metadata::Metadata;
use store::db::name_guard::NameGuardRow;
use store::db::repo::{Edit, NewRepo, Subscription, supersede_promotions};
use store::db::source::NewSource;
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, DbError, audit, clock};

/// An object with all its values. A new source or repository has a negative id, by which other objects refer to it.
#[derive(Clone, Debug)]
pub enum Object {
    Source(Source),
    /// The last list of subscriptions is the complete one.
    Repository(Repository),
    Guard(NameGuardRow),
    Rule(Arc<Rule>),
    Metadata(Metadata),
}

/// A change of an object: its creation if there is no old one, its deletion if there is no new one.
#[derive(Clone, Debug)]
pub struct ObjectChange {
    pub old: Option<Object>,
    pub new: Option<Object>,
}

/// The changes that a plan has for the objects of a catalog.
pub struct ObjectChanges {
    /// The digest of the current objects.
    pub digest: String,
    /// Sources come first, then repositories.
    pub changes: Vec<ObjectChange>,
    /// The text for the audit trail.
    pub detail: String,
}

/// Makes the changes that `plan` returns for the catalog of the write, all or none, if they are those of `planned`. The
/// states of repositories that accept only promotions from now on are determined before, under the rules of the plan. The
/// plan of the written objects must have no changes.
///
/// # Errors
/// Those of `plan`; [`RepoError::Conflict`] if the objects changed since the plan, a repository subscribes to a deleted
/// source, or the written objects are not those of the plan.
pub async fn commit<F>(
    state: &State,
    planned: &ObjectChanges,
    comment: &str,
    actor: &Actor,
    plan: F,
) -> Result<(), RepoError>
where
    F: Fn(&mut dyn Conn, &Catalog) -> Write<ObjectChanges> + Send + 'static,
{
    let rule = |object: &Option<Object>| match object {
        Some(Object::Rule(rule)) => Some(Arc::clone(rule)),
        _ => None,
    };
    let rules = RuleChanges {
        removed: planned.changes.iter().filter_map(|change| rule(&change.old)).collect(),
        added: planned.changes.iter().filter_map(|change| rule(&change.new)).collect(),
    };
    let repos: Vec<&Repository> = planned.changes.iter().filter_map(fixed_now).collect();
    let states = fixed_states(state, &repos, &rules).await?;
    let fixed: BTreeMap<Name, FixedState> = repos.iter().map(|repo| repo.name.clone()).zip(states).collect();
    let now = (state.clock)();
    let publish = Publish { comment: comment.to_owned(), ..publish(TxKind::Subscribe, now, actor) };
    let (handle, actor, digest) = (state.catalog.clone(), actor.clone(), planned.digest.clone());
    apply(state, move |c| {
        let catalog = current_catalog(c, &handle)?;
        let current = plan(c, &catalog)?;
        if current.digest != digest {
            let text = "the objects of the server changed at the same time; run the command again";
            return Err(RepoError::Conflict(text.to_owned()).into());
        }
        let ObjectChanges { changes, detail, .. } = current;
        let ids = write_places(c, &changes, &fixed, &publish)?;
        // The new catalog has the names of new sources and repositories for the audit trail.
        let catalog = current_catalog(c, &handle)?;
        delete_contents(c, &changes, &catalog)?;
        write_contents(c, &changes, &catalog, &ids, &actor, now)?;
        // Repositories follow the sources to which they subscribe.
        let deleted = || changes.iter().rev().filter(|change| change.new.is_none());
        let repos: Vec<&Repository> = deleted().filter_map(|change| as_repository(&change.old)).collect();
        repo::write_deletion(c, &repos)?;
        for old in deleted().filter_map(|change| as_source(&change.old)) {
            source::write_deletion(c, old, now)?;
        }
        let catalog = current_catalog(c, &handle)?;
        let rest = plan(c, &catalog)?.changes;
        if let Some(change) = rest.first() {
            let text =
                format!("an object would not have its values afterwards, so nothing was changed: {change:?}");
            return Err(RepoError::Conflict(text).into());
        }
        Ok(audit::record(c, "apply state", "server", "", &detail)?)
    })
    .await
}

fn as_source(object: &Option<Object>) -> Option<&Source> {
    match object {
        Some(Object::Source(source)) => Some(source),
        _ => None,
    }
}

fn as_repository(object: &Option<Object>) -> Option<&Repository> {
    match object {
        Some(Object::Repository(repo)) => Some(repo),
        _ => None,
    }
}

/// Returns the new values of a repository that accepts only promotions after a change, and did not before.
fn fixed_now(change: &ObjectChange) -> Option<&Repository> {
    let is_open = |repo: &&Repository| repo.changes == ChangePolicy::Any;
    let was_open = as_repository(&change.old).is_none_or(|old| is_open(&old));
    as_repository(&change.new).filter(|new| was_open && !is_open(new))
}

/// The ids of new sources and repositories, by their negative ones.
#[derive(Default)]
struct NewIds {
    sources: BTreeMap<SourceId, SourceId>,
    repos: BTreeMap<RepoId, RepoId>,
}

impl NewIds {
    fn source(&self, id: SourceId) -> SourceId {
        self.sources.get(&id).copied().unwrap_or(id)
    }

    fn repo(&self, id: RepoId) -> RepoId {
        self.repos.get(&id).copied().unwrap_or(id)
    }
}

/// Creates and changes sources and repositories; returns the ids of the new ones.
fn write_places(
    c: &mut dyn Conn,
    changes: &[ObjectChange],
    fixed: &BTreeMap<Name, FixedState>,
    publish: &Publish,
) -> Write<NewIds> {
    let ids = create_places(c, changes, publish.now)?;
    let (mut edits, mut publishes, mut superseded) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    let mut audited = Vec::new();
    for change in changes {
        match (as_source(&change.old), as_source(&change.new)) {
            (None, Some(new)) => audited.push(source::creation(&source_row(new))),
            (Some(old), Some(new)) => audited.push(source::write_name(c, old, &new.name)?),
            (_, None) => {}
        }
        let (old, Some(new)) = (as_repository(&change.old), as_repository(&change.new)) else { continue };
        let id = ids.repo(new.id);
        match old.map(|old| (old, edit(old, new))) {
            None => audited.push(repo::creation(&repo_row(new))),
            Some((_, edit)) if edit == Edit::default() => {}
            Some((old, edit)) => {
                audited.push(repo::change(old, &edit));
                edits.insert(id, edit);
            }
        }
        let fixed = match fixed_now(change).map(|repo| fixed.get(&repo.name)) {
            Some(None) => {
                let text = "the repository changed at the same time; run the command again";
                return Err(RepoError::Conflict(format!("'{}': {text}", new.name)).into());
            }
            fixed => fixed.flatten(),
        };
        let list = new.subscriptions();
        if list != old.map(Repository::subscriptions).unwrap_or_default()
            || (fixed.is_some() && !list.is_empty())
        {
            let entry = |entry: &runtime::catalog::Subscription| Subscription {
                source: ids.source(entry.source),
                label: subscription_label(entry.version),
            };
            let step = repo::new_step(id, list.iter().map(entry).collect(), fixed);
            publishes
                .push(Publish { preceding: std::mem::take(&mut audited), ..list_publish(step, publish) });
        } else if fixed.is_some() {
            superseded.insert(id);
        }
    }
    repo::write_edits(c, &edits)?;
    supersede_promotions(c, &superseded)?;
    clock::publish_all(c, &publishes)?;
    audit::record_all(c, audited)?;
    Ok(ids)
}

/// Creates the new sources and repositories; returns their ids. [`write_places`] records them in the audit trail.
fn create_places(c: &mut dyn Conn, changes: &[ObjectChange], now: Timestamp) -> Result<NewIds, DbError> {
    let new = || changes.iter().filter(|change| change.old.is_none()).map(|change| &change.new);
    let (sources, repos) = (|| new().filter_map(as_source), || new().filter_map(as_repository));
    let mut ids = NewIds::default();
    let rows: Vec<NewSource> = sources().map(source_row).collect();
    if !rows.is_empty() {
        let first = source::write_new(c, &rows, now)?;
        ids.sources = sources().map(|source| source.id).zip((first.0..).map(SourceId)).collect();
    }
    let rows: Vec<NewRepo> = repos().map(repo_row).collect();
    if !rows.is_empty() {
        let first = repo::write_new(c, &rows, now)?;
        ids.repos = repos().map(|repo| repo.id).zip((first.0..).map(RepoId)).collect();
    }
    Ok(ids)
}

fn source_row(new: &Source) -> NewSource {
    NewSource { name: new.name.clone(), kind: new.kind }
}

/// Returns the row of a new repository.
fn repo_row(new: &Repository) -> NewRepo {
    NewRepo {
        name: new.name.clone(),
        kind: new.kind,
        description: new.description.clone(),
        hidden: new.hidden,
        authenticated: new.authenticated,
        changes: new.changes,
    }
}

/// Returns the difference between two values of a repository, besides their lists.
fn edit(old: &Repository, new: &Repository) -> Edit {
    Edit {
        name: (old.name != new.name).then(|| new.name.clone()),
        description: (old.description != new.description).then(|| new.description.clone()),
        hidden: (old.hidden != new.hidden).then_some(new.hidden),
        authenticated: (old.authenticated != new.authenticated).then_some(new.authenticated),
        changes: (old.changes != new.changes).then_some(new.changes),
    }
}

/// Deletes guards, rules and metadata.
fn delete_contents(c: &mut dyn Conn, changes: &[ObjectChange], catalog: &Catalog) -> Write<()> {
    let (mut guards, mut rules, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes.iter().filter(|change| change.new.is_none()) {
        match &change.old {
            Some(Object::Guard(row)) => guards.push(row.clone()),
            Some(Object::Metadata(row)) => values.push(row),
            Some(Object::Rule(rule)) => rules.push((rule.id, rule.id)),
            Some(Object::Source(_) | Object::Repository(_)) | None => {}
        }
    }
    name_guard::write_deletion(c, &guards)?;
    metadata::write_deletion(c, catalog, &values)?;
    block_rule::write_deletion(c, &merged_ranges(rules))?;
    Ok(())
}

/// Creates or changes guards, rules and metadata.
fn write_contents(
    c: &mut dyn Conn,
    changes: &[ObjectChange],
    catalog: &Catalog,
    ids: &NewIds,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), DbError> {
    let (mut guards, mut rules, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        match &change.new {
            Some(Object::Guard(row)) => {
                let new = NameGuardRow { source: ids.source(row.source), ..row.clone() };
                let old = match &change.old {
                    Some(Object::Guard(old)) => Some(old),
                    _ => None,
                };
                guards.push(NewValues { old, new });
            }
            Some(Object::Rule(rule)) => {
                let mut rule = Rule::clone(rule);
                rule.criteria.source = rule.criteria.source.map(|id| ids.source(id));
                rule.criteria.repo = rule.criteria.repo.map(|id| ids.repo(id));
                rules.push(rule);
            }
            Some(Object::Metadata(row)) => {
                let mut row = Metadata { actor: actor.0.clone(), changed_at: now, ..row.clone() };
                row.scope.source = row.scope.source.map(|id| ids.source(id));
                row.scope.repo = row.scope.repo.map(|id| ids.repo(id));
                values.push((row, &change.old));
            }
            Some(Object::Source(_) | Object::Repository(_)) | None => {}
        }
    }
    name_guard::write(c, guards, now)?;
    let settings = values.iter().map(|(row, old)| match old {
        Some(Object::Metadata(old)) => Setting { row, present: Some(old) },
        _ => Setting { row, present: None },
    });
    metadata::write_rows(c, catalog, settings, OnExisting::Replace)?;
    if !rules.is_empty() {
        block_rule::write_new(c, &rules, actor, now)?;
    }
    Ok(())
}
