//! Repositories: list, create, show, change, delete, and their subscriptions.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus, name, on_existing, version};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::route::access::inspect_source;
use api::repo::{CreateRepo, EditRepo, ListRepos, Reorder, Repo, Subscribe, Subscription, Unsubscribe};
use base::model::kind::ChangePolicy;
use content::serve;
use runtime::catalog::{self, Catalog, Repository};
use tasks::edit::{self, NewRepo, RepoEdit};

/// The type of a subscribed source that was deleted; its name is its number.
const DELETED_SOURCE: &str = "deleted source";

fn wire(app: &App, catalog: &Catalog, repo: &Repository) -> Repo {
    let subscription = |entry: &catalog::Subscription| {
        let source = catalog.source_by_id(entry.source);
        Subscription {
            name: catalog.source_name(entry.source),
            type_label: source.map_or(DELETED_SOURCE, |source| source.kind.label()).to_owned(),
            version: entry.version.map(|version| version.to_string()),
        }
    };
    Repo {
        id: repo.id.0,
        name: repo.name.to_string(),
        kind: repo.kind.label().to_owned(),
        description: repo.description.clone(),
        hidden: repo.hidden,
        authenticated: repo.authenticated,
        changes: repo.changes,
        state_at: repo.steps.last().and_then(|step| step.pinned_at).map(|at| at.to_string()),
        created: repo.created_at.to_string(),
        sources: repo.subscriptions().iter().map(subscription).collect(),
        url: format!("{}/{}/latest", app.site.load().address.as_deref().unwrap_or_default(), repo.name),
        warnings: Vec::new(),
    }
}

fn show(app: &App, name: &str) -> Result<Repo, Failure> {
    let catalog = app.state.catalog.get();
    Ok(wire(app, &catalog, serve::find::repo(&catalog, name)?))
}

/// Checks that a repository exists.
pub(super) fn check_exists(app: &App, name: &str) -> Result<(), Failure> {
    Ok(serve::find::repo(&app.state.catalog.get(), name).map(drop)?)
}

pub(super) async fn list(call: Call<'_>, query: ListRepos) -> Answer<Vec<Repo>> {
    let app = call.app;
    let catalog = app.state.catalog.get();
    let source = match &query.source {
        None => None,
        Some(name) => {
            call.principal.require(&catalog, inspect_source(name))?;
            Some(serve::info::source(&app.repositories, name).await?.source.id)
        }
    };
    let is_selected =
        |repo: &&Repository| source.is_none_or(|id| repo.subscribes_to(id)) && call.principal.may_list(repo);
    let repos: Vec<Repo> =
        catalog.repos.iter().filter(is_selected).map(|repo| wire(app, &catalog, repo)).collect();
    Ok(repos)
}

pub(super) async fn create(call: Call<'_>, body: CreateRepo) -> Answer<WithStatus<Repo>> {
    let Call { app, actor, .. } = call;
    let name = name(&body.name)?;
    let kind = body.kind.parse()?;
    let existing = on_existing(body.succeed_on_existing);
    let default = || app.state.config.load().authentication.new_repos_auth_by_default;
    let new = NewRepo {
        name: name.clone(),
        kind,
        description: body.description,
        authenticated: body.authenticated.unwrap_or_else(default),
        changes: body.changes.parse()?,
    };
    edit::repo::create(&app.state, new, existing, &actor).await?;
    Ok(WithStatus(StatusCode::CREATED, show(app, name.as_str())?))
}

pub(super) async fn info(call: Call<'_>, name: &str) -> Answer<Repo> {
    let catalog = call.app.state.catalog.get();
    // SECURITY: the response has the name of the repository.
    if catalog.repo_by_name_or_id(name).is_some_and(|repo| !call.principal.may_name(repo, name)) {
        return Err(Failure::not_found(format!("there is no repository '{name}'")));
    }
    show(call.app, name)
}

pub(super) async fn edit(call: Call<'_>, old: &str, body: EditRepo) -> Answer<Repo> {
    let Call { app, actor, .. } = call;
    let new = body.new_name.as_deref().map(name).transpose()?;
    let current_name = new.as_ref().map_or_else(|| old.to_owned(), ToString::to_string);
    let edit = RepoEdit {
        name: new,
        description: body.description,
        hidden: body.hidden,
        authenticated: body.authenticated,
        changes: body.changes.as_deref().map(str::parse).transpose()?,
    };
    let before =
        serve::find::repo(&app.state.catalog.get(), old).map(|repo| (repo.authenticated, repo.changes));
    let (was_authenticated, changes) = before.unwrap_or_default();
    edit::repo::edit(&app.state, old, edit, &actor).await?;
    let mut repo = show(app, &current_name)?;
    if was_authenticated && !repo.authenticated {
        repo.warnings.push(format!(
            "everyone who can connect to the server can now read the repository '{current_name}' and its packages"
        ));
    }
    if changes != ChangePolicy::Any && repo.changes == ChangePolicy::Any {
        repo.warnings
            .push(format!("the repository '{current_name}' now serves the newest states of its sources"));
    }
    Ok(repo)
}

pub(super) async fn delete(call: Call<'_>, name: &str) -> Answer<serde_json::Value> {
    edit::repo::delete(&call.app.state, name).await?;
    Ok(serde_json::json!({ "deleted": name }))
}

pub(super) async fn subscribe(call: Call<'_>, name: &str, body: Subscribe) -> Answer<Repo> {
    let Call { app, actor, .. } = call;
    let version = body.version.as_deref().map(version).transpose()?;
    let existing = on_existing(body.succeed_on_existing);
    edit::subscription::subscribe(&app.state, name, &body.source, version, existing, &actor).await?;
    let mut repo = show(app, name)?;
    let warning = open_access_warning(app, &repo, &body.source);
    repo.warnings.extend(warning);
    match serve::shared_names::warnings(&app.repositories, name, &body.source, version).await {
        Ok(warnings) => repo.warnings.extend(warnings),
        // The subscription is made, so that the request has not failed.
        Err(error) => {
            tracing::warn!(%error, repository = name, "could not compare the names of the subscribed sources");
        }
    }
    Ok(repo)
}

/// Returns a warning if `repo` is open and an authenticated repository also subscribes to the source: the packages of
/// the source are readable for everyone.
fn open_access_warning(app: &App, repo: &Repo, source: &str) -> Option<String> {
    let catalog = app.state.catalog.get();
    let id = serve::find::source(&catalog, source).ok()?.id;
    let private = catalog.authenticated_readers(id).first().filter(|_| !repo.authenticated)?;
    Some(format!(
        "everyone who can connect to the server can now read the packages of the source '{source}', because '{}' requires no token; \
         the authenticated repository '{}' subscribes to it too",
        repo.name,
        catalog.repo_name(*private)
    ))
}

pub(super) async fn unsubscribe(
    call: Call<'_>,
    name: &str,
    source: &str,
    query: Unsubscribe,
) -> Answer<Repo> {
    let version = query.version.as_deref().map(version).transpose()?;
    edit::subscription::unsubscribe(&call.app.state, name, source, version, &call.actor).await?;
    show(call.app, name)
}

pub(super) async fn reorder(call: Call<'_>, name: &str, body: Reorder) -> Answer<Repo> {
    let Call { app, actor, .. } = call;
    edit::subscription::reorder(&app.state, name, &body.sources, &actor).await?;
    show(app, name)
}
