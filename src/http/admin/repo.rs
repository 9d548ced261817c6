//! Repositories: list, create, show, change, delete, and their subscriptions.

use http::StatusCode;

use super::{Answered, Call, name, ok, on_existing};
use crate::api::repo::{CreateRepo, EditRepo, Reorder, Repo, Subscribe, Subscription};
use crate::catalog::{Catalog, Repository};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::response;
use crate::model::repository::UnknownRepoKind;
use crate::repo::edit::RepoEdit;

fn wire(app: &App, catalog: &Catalog, repo: &Repository) -> Repo {
    let subscription = |source: &crate::catalog::Source| Subscription {
        name: source.name.to_string(),
        type_label: source.kind.label().to_owned(),
    };
    Repo {
        id: repo.id.0,
        name: repo.name.to_string(),
        kind: repo.kind.label().to_owned(),
        description: repo.description.clone(),
        hidden: repo.hidden,
        created: repo.created_at.to_string(),
        sources: repo.sources().iter().filter_map(|id| catalog.source_by_id(*id)).map(subscription).collect(),
        url: format!("{}/{}/latest", app.site.load().address.as_deref().unwrap_or_default(), repo.name),
    }
}

fn show(app: &App, name: &str) -> Result<Repo, Failure> {
    let catalog = app.state.catalog.get();
    Ok(wire(app, &catalog, app.repo.known(&catalog, name)?))
}

/// That there is such a repository.
pub(super) fn known(app: &App, name: &str) -> Result<(), Failure> {
    Ok(app.repo.known(&app.state.catalog.get(), name).map(drop)?)
}

/// `GET /repos?source=`.
pub(super) async fn list(call: Call<'_>) -> Answered {
    let app = call.app;
    let catalog = app.state.catalog.get();
    let source = match call.query.get("source") {
        None => None,
        Some(name) => Some(app.repo.source_info(name).await?.source.id),
    };
    let wanted = |repo: &&Repository| source.is_none_or(|id| repo.sources().contains(&id));
    let repos: Vec<Repo> =
        catalog.repos.iter().filter(wanted).map(|repo| wire(app, &catalog, repo)).collect();
    ok(&repos)
}

/// `POST /repos`.
pub(super) async fn create(call: Call<'_>) -> Answered {
    let app = call.app;
    let (body, _): (CreateRepo, _) = call.json().await?;
    let name = name(&body.name)?;
    let kind = body.kind.parse().map_err(|e: UnknownRepoKind| Failure::bad_request(e.to_string()))?;
    app.repo.create_repo(&name, kind, &body.description, on_existing(body.succeed_on_existing)).await?;
    Ok(response::json(StatusCode::CREATED, &show(app, name.as_str())?))
}

/// `GET /repos/{name}`.
pub(super) async fn info(call: Call<'_>, name: &str) -> Answered {
    ok(&show(call.app, name)?)
}

/// `PATCH /repos/{name}`.
pub(super) async fn edit(call: Call<'_>, old: &str) -> Answered {
    let app = call.app;
    let (body, _): (EditRepo, _) = call.json().await?;
    let new = body.new_name.as_deref().map(name).transpose()?;
    let shown = new.as_ref().map_or_else(|| old.to_owned(), ToString::to_string);
    let edit = RepoEdit { name: new, description: body.description, hidden: body.hidden };
    app.repo.edit_repo(old, edit).await?;
    ok(&show(app, &shown)?)
}

/// `DELETE /repos/{name}`.
pub(super) async fn delete(call: Call<'_>, name: &str) -> Answered {
    call.app.repo.delete_repo(name).await?;
    ok(&serde_json::json!({ "deleted": name }))
}

/// `POST /repos/{name}/sources`.
pub(super) async fn subscribe(call: Call<'_>, name: &str) -> Answered {
    let app = call.app;
    let (body, actor): (Subscribe, _) = call.json().await?;
    app.repo.subscribe(name, &body.source, on_existing(body.succeed_on_existing), &actor).await?;
    ok(&show(app, name)?)
}

/// `DELETE /repos/{name}/sources/{source}`.
pub(super) async fn unsubscribe(call: Call<'_>, name: &str, source: &str) -> Answered {
    call.app.repo.unsubscribe(name, source, &call.actor).await?;
    ok(&show(call.app, name)?)
}

/// `PUT /repos/{name}/sources`.
pub(super) async fn reorder(call: Call<'_>, name: &str) -> Answered {
    let app = call.app;
    let (body, actor): (Reorder, _) = call.json().await?;
    app.repo.reorder(name, &body.sources, &actor).await?;
    ok(&show(app, name)?)
}
