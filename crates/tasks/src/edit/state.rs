//! Makes the changes of many objects in one write, as of a state file: sources, repositories with their lists of
//! subscriptions, name guards, block rules and metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

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
use runtime::publish::edit::publish_list;
use runtime::state::State;
use store::db::metadata::Metadata;
use store::db::name_guard::NameGuardRow;
use store::db::repo::{Edit, NewRepo, Subscription, supersede_promotions};
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, DbError, audit};

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
        let mut ids = NewIds::default();
        for change in &changes {
            write_place(c, change, &mut ids, &fixed, &publish)?;
        }
        // The new catalog has the names of new sources and repositories for the audit trail.
        let catalog = current_catalog(c, &handle)?;
        delete_contents(c, &changes, &catalog)?;
        write_contents(c, &changes, &catalog, &ids, &actor, now)?;
        // Repositories follow the sources to which they subscribe.
        for change in changes.iter().rev().filter(|change| change.new.is_none()) {
            match &change.old {
                Some(Object::Repository(old)) => repo::write_deletion(c, old)?,
                Some(Object::Source(old)) => source::write_deletion(c, old, now)?,
                _ => {}
            }
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

/// Returns the new values of a repository that accepts only promotions after a change, and did not before.
fn fixed_now(change: &ObjectChange) -> Option<&Repository> {
    let Some(Object::Repository(new)) = &change.new else { return None };
    let is_open = |repo: &Repository| repo.changes == ChangePolicy::Any;
    let was_open = !matches!(&change.old, Some(Object::Repository(old)) if !is_open(old));
    (was_open && !is_open(new)).then_some(new)
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

/// Creates or changes a source or a repository.
fn write_place(
    c: &mut dyn Conn,
    change: &ObjectChange,
    ids: &mut NewIds,
    fixed: &BTreeMap<Name, FixedState>,
    publish: &Publish,
) -> Write<()> {
    match (&change.old, &change.new) {
        (None, Some(Object::Source(new))) => {
            let id = source::write_new(c, &new.name, new.kind, publish.now)?;
            ids.sources.insert(new.id, id);
        }
        (Some(Object::Source(old)), Some(Object::Source(new))) => source::write_name(c, old, &new.name)?,
        (old, Some(Object::Repository(new))) => {
            let old = match old {
                Some(Object::Repository(old)) => Some(old),
                _ => None,
            };
            let text = "the repository changed at the same time; run the command again";
            let conflict = || RepoError::Conflict(format!("'{}': {text}", new.name));
            let fixed = fixed_now(change).map(|repo| fixed.get(&repo.name).ok_or_else(conflict));
            write_repository(c, old, new, fixed.transpose()?, ids, publish)?;
        }
        _ => {}
    }
    Ok(())
}

fn write_repository(
    c: &mut dyn Conn,
    old: Option<&Repository>,
    new: &Repository,
    fixed: Option<&FixedState>,
    ids: &mut NewIds,
    publish: &Publish,
) -> Write<()> {
    let id = match old {
        None => {
            let row = NewRepo {
                name: new.name.clone(),
                kind: new.kind,
                description: new.description.clone(),
                hidden: new.hidden,
                authenticated: new.authenticated,
                changes: new.changes,
            };
            let id = repo::write_new(c, &row, publish.now)?;
            ids.repos.insert(new.id, id);
            id
        }
        Some(old) => {
            let edit = Edit {
                name: (old.name != new.name).then(|| new.name.clone()),
                description: (old.description != new.description).then(|| new.description.clone()),
                hidden: (old.hidden != new.hidden).then_some(new.hidden),
                authenticated: (old.authenticated != new.authenticated).then_some(new.authenticated),
                changes: (old.changes != new.changes).then_some(new.changes),
            };
            if edit != Edit::default() {
                repo::write_edit(c, old, &edit)?;
            }
            old.id
        }
    };
    let before = old.map(Repository::subscriptions).unwrap_or_default();
    let list = new.subscriptions();
    if list == before && (fixed.is_none() || list.is_empty()) {
        if fixed.is_some() {
            supersede_promotions(c, id)?;
        }
        return Ok(());
    }
    let entry = |entry: &runtime::catalog::Subscription| Subscription {
        source: ids.source(entry.source),
        label: subscription_label(entry.version),
    };
    publish_list(c, repo::new_step(id, list.iter().map(entry).collect(), fixed), publish)?;
    Ok(())
}

/// Deletes guards, rules and metadata.
fn delete_contents(c: &mut dyn Conn, changes: &[ObjectChange], catalog: &Catalog) -> Write<()> {
    let mut rules = Vec::new();
    for change in changes.iter().filter(|change| change.new.is_none()) {
        match &change.old {
            Some(Object::Guard(row)) => name_guard::write_deletion(c, row)?,
            Some(Object::Metadata(row)) => metadata::write_deletion(c, catalog, row)?,
            Some(Object::Rule(rule)) => rules.push((rule.id, rule.id)),
            Some(Object::Source(_) | Object::Repository(_)) | None => {}
        }
    }
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
    let mut rules = Vec::new();
    for change in changes {
        match &change.new {
            Some(Object::Guard(row)) => {
                let row = NameGuardRow { source: ids.source(row.source), ..row.clone() };
                match &change.old {
                    Some(Object::Guard(old)) => name_guard::write_change(c, old, &row, now)?,
                    _ => drop(name_guard::write_new(c, &row, now)?),
                }
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
                let present = match &change.old {
                    Some(Object::Metadata(old)) => Some(old),
                    _ => None,
                };
                metadata::write_row(c, catalog, &row, present, OnExisting::Replace)?;
            }
            Some(Object::Source(_) | Object::Repository(_)) | None => {}
        }
    }
    if !rules.is_empty() {
        block_rule::write_new(c, &rules, actor, now)?;
    }
    Ok(())
}
