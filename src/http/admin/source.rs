//! Sources: list, create, show, rename, delete.

use http::StatusCode;

use super::call::{AdminResult, Call, name, ok, on_existing};
use super::definition;
use crate::api::source::{CreateSource, EditSource, IndexState, Source, Transaction};
use crate::catalog;
use crate::edit;
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::response;
use crate::http::route::access::inspect_repository;
use crate::model::source::{SourceKind, UnknownSourceKind};
use crate::serve;
use crate::serve::info::SourceInfo;

fn kind(text: &str) -> Result<SourceKind, Failure> {
    text.parse().map_err(|e: UnknownSourceKind| Failure::bad_request(e.to_string()))
}

fn wire(info: SourceInfo) -> Source {
    Source {
        id: info.source.id.0,
        name: info.source.name.to_string(),
        kind: info.source.kind.to_string(),
        type_label: info.source.kind.label().to_owned(),
        created: info.source.created_at.to_string(),
        packages: i64::try_from(info.packages).unwrap_or(i64::MAX),
        last_transaction: info.last_transaction.map(|tx| Transaction {
            id: tx.id.0,
            at: tx.at.to_string(),
            added: tx.counts.added,
            updated: tx.counts.updated,
            archived: tx.counts.archived,
            removed: tx.counts.removed,
        }),
        index: info.index.map(|index| IndexState {
            read_projects: index.read_projects,
            state_at: index.head.map(|head| head.to_string()),
        }),
        definition: None,
    }
}

async fn show(app: &App, name: &str) -> Result<Source, Failure> {
    let source = wire(serve::info::source(&app.repositories, name).await?);
    Ok(Source { definition: definition::of_source(app, name, true).await?, ..source })
}

/// `GET /sources?repo=&type=`.
pub(super) async fn list(call: Call<'_>) -> AdminResult {
    let kind_filter = call.query.get("type").map(kind).transpose()?;
    let repo = call.query.get("repo");
    if let Some(repo) = repo {
        call.principal.require(&call.app.state.catalog.get(), inspect_repository(repo))?;
        super::repo::check_exists(call.app, repo)?;
    }
    let catalog = call.app.state.catalog.get();
    let mut sources = Vec::new();
    let is_selected = |source: &&catalog::Source| {
        kind_filter.is_none_or(|kind| kind == source.kind) && call.principal.may_read_source(&catalog, source)
    };
    for source in catalog.sources.iter().filter(is_selected) {
        let info = serve::info::source(&call.app.repositories, source.name.as_str()).await?;
        if repo.is_none_or(|repo| info.repos.iter().any(|name| name == repo)) {
            let definition = definition::of_source(call.app, source.name.as_str(), false).await?;
            sources.push(Source { definition, ..wire(info) });
        }
    }
    ok(&sources)
}

/// `POST /sources`.
pub(super) async fn create(call: Call<'_>) -> AdminResult {
    let app = call.app;
    let (body, _): (CreateSource, _) = call.json().await?;
    let name = name(&body.name)?;
    edit::source::create(&app.state, &name, kind(&body.kind)?, on_existing(body.succeed_on_existing)).await?;
    Ok(response::json(StatusCode::CREATED, &show(app, name.as_str()).await?))
}

/// `GET /sources/{name}`.
pub(super) async fn info(call: Call<'_>, name: &str) -> AdminResult {
    ok(&show(call.app, name).await?)
}

/// `PATCH /sources/{name}`.
pub(super) async fn edit(call: Call<'_>, old: &str) -> AdminResult {
    let app = call.app;
    let (body, _): (EditSource, _) = call.json().await?;
    let new = name(&body.new_name)?;
    edit::source::rename(&app.state, old, &new).await?;
    ok(&show(app, new.as_str()).await?)
}

/// `DELETE /sources/{name}`.
pub(super) async fn delete(call: Call<'_>, name: &str) -> AdminResult {
    edit::source::delete(&call.app.state, name).await?;
    ok(&serde_json::json!({ "deleted": name }))
}
