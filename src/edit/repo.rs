//! Creates, changes and deletes repositories.

use super::{Actor, NewRepo, OnExisting, RepoEdit, exists_already, name_conflict, publish};
use crate::db;
use crate::db::audit;
use crate::db::repo::Subscription;
use crate::db::tx::TxKind;
use crate::model::ids::SourceId;
use crate::model::repository::RepoKind;
use crate::publish::edit::{apply_edit, publish_subscriptions};
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
    let NewRepo { name, kind, description, authenticated } = new;
    if let Some(repo) = state.catalog.get().repo(name.as_str()) {
        return match existing {
            // SECURITY: an open repository in place of an authenticated one is no success.
            OnExisting::Succeed if repo.kind == kind && repo.authenticated == authenticated => Ok(()),
            OnExisting::Fail | OnExisting::Succeed | OnExisting::Replace => {
                Err(exists_already("repository", name.as_str()))
            }
        };
    }
    let description = validate_description(&description)?;
    let row = db::repo::NewRepo { name: name.clone(), kind, description, hidden: false, authenticated };
    let now = (state.clock)();
    let initial_publish = publish(TxKind::Subscribe, now, actor);
    let creation = apply_edit(state, move |c| {
        let repo = db::repo::create(c, &row, now)?;
        let detail = format!("type {}; authenticated: {}", kind.label(), row.authenticated);
        audit::record(c, "create repository", ("repository", row.name.as_str()), &detail)?;
        match kind {
            RepoKind::R | RepoKind::Python => db::clock::bump_catalog(c),
            RepoKind::Bioconductor => {
                let subscription = Subscription { source: SourceId::BIOCONDUCTOR, label: String::new() };
                publish_subscriptions(c, repo, vec![subscription], &initial_publish)
            }
        }
    });
    creation.await.map_err(|error| name_conflict(error, "repository", &name))
}

/// Changes a repository's name, description or visibility.
pub async fn edit(state: &State, name: &str, edit: RepoEdit) -> Result<(), RepoError> {
    let repo = find::repo(&state.catalog.get(), name)?.clone();
    let description = edit.description.as_deref().map(validate_description).transpose()?;
    let new_name = edit.name.clone().unwrap_or_else(|| repo.name.clone());
    let edit = db::repo::Edit {
        name: edit.name,
        description,
        hidden: edit.hidden,
        authenticated: edit.authenticated,
    };
    let update = apply_edit(state, move |c| {
        db::repo::edit(c, repo.id, &edit)?;
        audit::record(c, "edit repository", ("repository", repo.name.as_str()), &describe(&edit))?;
        db::clock::bump_catalog(c)
    });
    update.await.map_err(|error| name_conflict(error, "repository", &new_name))
}

/// Deletes a repository with its subscriptions. The sources are not deleted.
pub async fn delete(state: &State, name: &str) -> Result<(), RepoError> {
    let repo = find::repo(&state.catalog.get(), name)?.clone();
    let deletion = apply_edit(state, move |c| {
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
    ];
    changes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Checks and trims a description: one line that a listing can show.
fn validate_description(text: &str) -> Result<String, RepoError> {
    if text.len() > 1000 || text.chars().any(char::is_control) {
        let rule = "a description is one line of at most 1000 bytes, without control characters";
        return Err(RepoError::Invalid(rule.to_owned()));
    }
    Ok(text.trim().to_owned())
}
