//! Creates, changes and deletes repositories.

use super::{Actor, NewRepo, OnExisting, RepoEdit, exists_already, name_conflict, publish};
use crate::db::repo::{NewRepoStep, Subscription};
use crate::db::tx::{Publish, TxKind};
use crate::db::{self, Conn, DbError, audit};
use crate::model::ids::{RepoId, SourceId};
use crate::model::repository::{ChangePolicy, RepoKind};
use crate::model::time::Timestamp;
use crate::publish::edit::{apply_edit, end_of_past, publish_list};
use crate::serve::{RepoError, find};
use crate::state::State;

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
    let creation = apply_edit(state, move |c| {
        let repo = db::repo::create(c, &row, now)?;
        let detail =
            format!("type {}; authenticated: {}; changes: {changes}", kind.label(), row.authenticated);
        audit::record(c, "create repository", ("repository", row.name.as_str()), &detail)?;
        match kind {
            RepoKind::R | RepoKind::Python => db::clock::bump_catalog(c),
            RepoKind::Bioconductor => {
                let subscriptions =
                    vec![Subscription { source: SourceId::BIOCONDUCTOR, label: String::new() }];
                let pinned_at = pin(c, changes, now)?;
                let step = NewRepoStep { repo, subscriptions, pinned_at };
                publish_list(c, step, &initial_publish).map(drop)
            }
        }
    });
    creation.await.map_err(|error| name_conflict(error, "repository", &name))
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
    let update = apply_edit(state, move |c| {
        if let Some(changes) = edit.changes {
            change_policy(c, repo.id, changes, &publish)?;
        }
        db::repo::edit(c, repo.id, &edit)?;
        audit::record(c, "edit repository", ("repository", repo.name.as_str()), &describe(&edit))?;
        db::clock::bump_catalog(c)
    });
    update.await.map_err(|error| name_conflict(error, "repository", &new_name))
}

/// Publishes the list of subscriptions with or without a pin, if a change of the policy requires another one. Requested
/// promotions are superseded then, also if there is no list yet.
fn change_policy(
    c: &mut dyn Conn,
    repo: RepoId,
    changes: ChangePolicy,
    publish: &Publish,
) -> Result<(), DbError> {
    db::clock::lock(c)?;
    let Some(old) = db::repo::get(c, repo)? else { return Ok(()) };
    if (old.changes == ChangePolicy::Any) == (changes == ChangePolicy::Any) {
        return Ok(());
    }
    let subscriptions = db::repo::subscriptions(c, repo)?;
    if subscriptions.is_empty() {
        return db::repo::supersede_promotions(c, repo);
    }
    let pinned_at = pin(c, changes, publish.now)?;
    publish_list(c, NewRepoStep { repo, subscriptions, pinned_at }, publish).map(drop)
}

/// Returns the pin of a list of subscriptions that is published now; `None` if the policy requires none.
fn pin(c: &mut dyn Conn, changes: ChangePolicy, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
    match changes {
        ChangePolicy::Any => Ok(None),
        ChangePolicy::Promotion | ChangePolicy::TwoPersons => end_of_past(c, now).map(Some),
    }
}

/// Deletes a repository with its subscriptions. The sources are not deleted.
pub async fn delete(state: &State, name: &str) -> Result<(), RepoError> {
    let repo = find::repo(&state.catalog.get(), name)?.clone();
    let deletion = apply_edit(state, move |c| {
        // Other edits that refer to the repository are finished, or do not find it any more.
        db::clock::lock(c)?;
        db::metadata::delete_of_repo(c, repo.id)?;
        db::repo::delete(c, repo.id)?;
        audit::record(c, "delete repository", ("repository", repo.name.as_str()), "")?;
        db::clock::bump_catalog(c)
    });
    Ok(deletion.await?)
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

/// Checks and trims a description, which must be one line.
fn validate_description(text: &str) -> Result<String, RepoError> {
    if text.len() > 1000 || text.chars().any(char::is_control) {
        let rule = "a description must be one line of at most 1000 bytes, without control characters";
        return Err(RepoError::Invalid(rule.to_owned()));
    }
    Ok(text.trim().to_owned())
}
