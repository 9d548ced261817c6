//! Creates, changes and deletes repositories.

use std::collections::{BTreeMap, BTreeSet};

use super::promotion::{FixedState, fixed_states};
use super::{Actor, NewRepo, OnExisting, RepoEdit, Write, exists_already, name_conflict, publish};
use base::model::ids::{RepoId, Seq, SourceId, TxId};
use base::model::kind::ChangePolicy;
use base::model::time::Timestamp;
use content::serve::{RepoError, find};
use runtime::catalog::{RepoStep, Repository, RuleChanges};
use runtime::publish::edit::{apply_edit, apply_unless_refused, publish_list};
use runtime::state::State;
use store::db::audit::{self, AuditRow};
use store::db::clock::Change;
use store::db::repo::{NewRepoStep, Subscription};
use store::db::tx::{Publish, TxKind};
use store::db::{self, Conn, DbError};

/// Creates a repository without subscriptions; a Bioconductor repository subscribes to the Bioconductor source.
///
/// # Errors
/// [`RepoError::Invalid`] for a bad description, [`RepoError::Conflict`] when the name is taken.
pub async fn create(
    state: &State,
    new: NewRepo,
    existing: OnExisting,
    actor: &Actor,
) -> Result<(), RepoError> {
    let NewRepo { name, kind, description, authenticated, changes } = new;
    if let Some(repo) = state.catalog.get().repo(name.as_str()) {
        return match existing {
            // SECURITY: an open repository in place of an authenticated one is not a success, nor is one that accepts
            // more changes.
            OnExisting::Succeed
                if repo.kind == kind && repo.authenticated == authenticated && repo.changes == changes =>
            {
                Ok(())
            }
            OnExisting::Fail | OnExisting::Succeed | OnExisting::Replace => {
                Err(exists_already("repository", name.as_str()))
            }
        };
    }
    let description = validate_description(&description)?;
    let row =
        db::repo::NewRepo { name: name.clone(), kind, description, hidden: false, authenticated, changes };
    let now = (state.clock)();
    let initial_publish = publish(TxKind::Subscribe, now, actor);
    let fixed = match changes {
        ChangePolicy::Promotion | ChangePolicy::TwoPersons if kind.has_parts() => {
            let repo = new_bioconductor(&row, now);
            fixed_states(state, &[&repo], &RuleChanges::default()).await?.pop()
        }
        ChangePolicy::Promotion | ChangePolicy::TwoPersons | ChangePolicy::Any => None,
    };
    let creation = apply_edit(state, move |c| {
        let repo = write_new(c, std::slice::from_ref(&row), now)?;
        audit::record_all(c, vec![creation(&row)])?;
        if !kind.has_parts() {
            return Ok(());
        }
        let subscriptions = vec![Subscription { source: SourceId::BIOCONDUCTOR, label: String::new() }];
        publish_list(c, new_step(repo, subscriptions, fixed.as_ref()), &initial_publish).map(drop)
    });
    creation.await.map_err(|error| name_conflict(error.into(), "repository", &name))
}

/// Creates repositories, which get the next ids in their order; returns the first. The caller records each [`creation`].
pub(super) fn write_new(
    c: &mut dyn Conn,
    rows: &[db::repo::NewRepo],
    now: Timestamp,
) -> Result<RepoId, DbError> {
    let first = db::repo::create_all(c, rows, now)?;
    let changes = (first.0..).take(rows.len()).map(|id| Change::Repo(RepoId(id)));
    db::clock::bump_catalog_for(c, &changes.collect::<Vec<_>>())?;
    Ok(first)
}

/// Returns the row of a new repository in the audit trail.
pub(super) fn creation(row: &db::repo::NewRepo) -> AuditRow {
    let (kind, authenticated, changes) = (row.kind.label(), row.authenticated, row.changes);
    let detail = format!("type {kind}; authenticated: {authenticated}; changes: {changes}");
    audit::row("create repository", "repository", row.name.as_str(), &detail)
}

/// Changes a repository's name, description, visibility, authentication, or the changes that it accepts. A repository
/// that accepts only promotions from now on keeps its current state; one that accepts all changes again serves the
/// newest states of its sources.
///
/// # Errors
/// [`RepoError::Invalid`] for a bad description, [`RepoError::Conflict`] when the name is taken.
pub async fn edit(state: &State, name: &str, edit: RepoEdit, actor: &Actor) -> Result<(), RepoError> {
    let repo = find::repo(&state.catalog.get(), name)?.clone();
    let description = edit.description.as_deref().map(validate_description).transpose()?;
    let new_name = edit.name.clone().unwrap_or_else(|| repo.name.clone());
    let edit = db::repo::Edit {
        name: edit.name,
        description,
        hidden: edit.hidden,
        authenticated: edit.authenticated,
        changes: edit.changes,
    };
    let now = (state.clock)();
    let publish = publish(TxKind::Subscribe, now, actor);
    let fixed = match edit.changes {
        Some(ChangePolicy::Promotion | ChangePolicy::TwoPersons) if repo.changes == ChangePolicy::Any => {
            state.catalog.refresh(&state.db).await?;
            let catalog = state.catalog.get();
            let repo = catalog.repo_by_id(repo.id).unwrap_or(&repo);
            fixed_states(state, &[repo], &RuleChanges::default()).await?.pop()
        }
        Some(_) | None => None,
    };
    let update = apply_unless_refused(state, move |c| {
        if let Some(changes) = edit.changes {
            change_policy(c, &repo, changes, fixed.as_ref(), &publish)?;
        }
        write_edits(c, &BTreeMap::from([(repo.id, edit.clone())]))?;
        Ok(audit::record_all(c, vec![change(&repo, &edit)])?)
    });
    update.await.map_err(|error| name_conflict(error, "repository", &new_name))
}

/// Changes repositories. The caller records each [`change`].
pub(super) fn write_edits(c: &mut dyn Conn, edits: &BTreeMap<RepoId, db::repo::Edit>) -> Result<(), DbError> {
    db::repo::edit_all(c, edits)?;
    db::clock::bump_catalog_for(c, &edits.keys().map(|id| Change::Repo(*id)).collect::<Vec<_>>())
}

/// Returns the row of a changed repository in the audit trail.
pub(super) fn change(repo: &Repository, edit: &db::repo::Edit) -> AuditRow {
    audit::row("edit repository", "repository", repo.name.as_str(), &describe(edit))
}

/// Publishes the list of subscriptions with or without a pin, if a change of the policy requires another one. Requested
/// promotions are superseded then, also if there is no list yet.
fn change_policy(
    c: &mut dyn Conn,
    repo: &Repository,
    changes: ChangePolicy,
    fixed: Option<&FixedState>,
    publish: &Publish,
) -> Write<()> {
    db::clock::lock(c)?;
    let Some(old) = db::repo::get(c, repo.id)? else { return Ok(()) };
    if (old.changes == ChangePolicy::Any) == (changes == ChangePolicy::Any) {
        return Ok(());
    }
    let subscriptions = db::repo::subscriptions(c, repo.id)?;
    let list = |fixed: &FixedState| fixed.list.iter().map(|entry| entry.source).collect::<Vec<_>>();
    let present: Vec<SourceId> = subscriptions.iter().map(|entry| entry.source).collect();
    if (changes != ChangePolicy::Any) && fixed.is_none_or(|fixed| list(fixed) != present) {
        let text = format!("the repository '{}' changed at the same time; run the command again", repo.name);
        return Err(RepoError::Conflict(text).into());
    }
    if subscriptions.is_empty() {
        return Ok(db::repo::supersede_promotions(c, &BTreeSet::from([repo.id]))?);
    }
    publish_list(c, new_step(repo.id, subscriptions, fixed), publish)?;
    Ok(())
}

/// Returns a list of subscriptions, with the state that it fixes.
pub(super) fn new_step(
    repo: RepoId,
    subscriptions: Vec<Subscription>,
    fixed: Option<&FixedState>,
) -> NewRepoStep {
    NewRepoStep {
        repo,
        subscriptions,
        pinned_at: fixed.map(|fixed| fixed.pinned_at),
        withheld: fixed.map(|fixed| fixed.withheld.clone()).unwrap_or_default(),
    }
}

/// Returns a Bioconductor repository that is not created yet, with its list of subscriptions.
fn new_bioconductor(row: &db::repo::NewRepo, now: Timestamp) -> Repository {
    let list = std::sync::Arc::new([runtime::catalog::Subscription::to(SourceId::BIOCONDUCTOR)]);
    let step = RepoStep { seq: Seq(1), at: now, tx: TxId(0), list, pinned_at: None, has_withheld: false };
    Repository {
        id: RepoId(0),
        name: row.name.clone(),
        kind: row.kind,
        description: row.description.clone(),
        hidden: row.hidden,
        authenticated: row.authenticated,
        created_at: now,
        changes: row.changes,
        steps: vec![step],
    }
}

/// Deletes a repository with its subscriptions. The sources are not deleted.
pub async fn delete(state: &State, name: &str) -> Result<(), RepoError> {
    let repo = find::repo(&state.catalog.get(), name)?.clone();
    Ok(apply_edit(state, move |c| write_deletion(c, &[&repo])).await?)
}

pub(super) fn write_deletion(c: &mut dyn Conn, repos: &[&Repository]) -> Result<(), DbError> {
    // Other edits that refer to the repositories are finished, or do not find them any more.
    db::clock::lock(c)?;
    let ids: BTreeSet<RepoId> = repos.iter().map(|repo| repo.id).collect();
    db::metadata::delete_of_repos(c, &ids)?;
    db::repo::delete(c, &ids)?;
    let row = |repo: &&Repository| audit::row("delete repository", "repository", repo.name.as_str(), "");
    audit::record_all(c, repos.iter().map(row).collect())?;
    db::clock::bump_catalog_for(c, &ids.into_iter().map(Change::Repo).collect::<Vec<_>>())
}

/// The changes of an edit, for the audit trail.
fn describe(edit: &db::repo::Edit) -> String {
    let changes = [
        edit.name.as_ref().map(|name| format!("new name: {name}")),
        edit.description.as_ref().map(|text| format!("description: {text}")),
        edit.hidden.map(|hidden| format!("hidden: {hidden}")),
        edit.authenticated.map(|authenticated| format!("authenticated: {authenticated}")),
        edit.changes.map(|changes| format!("changes: {changes}")),
    ];
    changes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Checks and trims the description of a repository, which must be one line.
pub fn validate_description(text: &str) -> Result<String, RepoError> {
    if text.len() > 1000 || text.chars().any(char::is_control) {
        let rule = "a description must be one line of at most 1000 bytes, without control characters";
        return Err(RepoError::Invalid(rule.to_owned()));
    }
    Ok(text.trim().to_owned())
}
