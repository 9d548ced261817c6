//! Sources: list, create, show, rename, delete.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus, name, on_existing};
use super::definition;
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::route::access::inspect_repository;
use api::definition::Definition;
use api::source::{
    CreateSource, DeleteSource, EditSource, IndexState, ListSources, Source, TransactionSummary,
};
use base::model::kind::{SourceKind, Supply};
use base::model::snapshot::{BadSnapshot, Snapshot};
use content::serve;
use content::serve::RepoError;
use content::serve::info::SourceInfo;
use runtime::catalog::{self, Repository};
use tasks::edit;
use tasks::edit::curated::snapshot::{self, SnapshotChange};

fn wire(info: SourceInfo) -> Source {
    Source {
        id: info.source.id.0,
        name: info.source.name.to_string(),
        kind: info.source.kind,
        type_label: info.source.kind.label().to_owned(),
        created: info.source.created_at.to_string(),
        packages: i64::try_from(info.packages).unwrap_or(i64::MAX),
        last_transaction: info.last_transaction.map(|tx| TransactionSummary {
            id: tx.id.0,
            at: tx.at.to_string(),
            added: tx.counts.added,
            updated: tx.counts.updated,
            archived: tx.counts.archived,
            removed: tx.counts.removed,
        }),
        index: info.index.map(|index| IndexState {
            read_projects: index.read_projects,
            first_sync: index.first_sync.map(|at| at.to_string()),
            state_at: index.head.map(|head| head.to_string()),
        }),
        definition: None,
    }
}

async fn show(app: &App, name: &str) -> Result<Source, Failure> {
    let info = serve::info::source(&app.repositories, name).await?;
    Ok(with_definition(info, definition::of_source(app, name, true).await?))
}

/// Returns the types of sources that select from lists in a way, in texts.
fn types_based_on_lists(supply: Supply) -> String {
    SourceKind::phrase("and", |kind| kind.selects_from_lists() && kind.supply() == supply)
}

/// Converts a source with its definition. The label of one based on a snapshot of CRAN contains it.
fn with_definition(info: SourceInfo, definition: Option<Definition>) -> Source {
    let is_based_on_lists = info.source.kind.selects_from_lists();
    let source = wire(info);
    let type_label = match &definition {
        Some(definition) if is_based_on_lists => format!("{} - {}", source.type_label, definition.snapshot),
        _ => source.type_label,
    };
    Source { definition, type_label, ..source }
}

fn parse_snapshot(text: Option<&str>) -> Result<Option<Snapshot>, Failure> {
    text.map(str::parse).transpose().map_err(|error: BadSnapshot| Failure::bad_request(error.to_string()))
}

pub(super) async fn list(call: Call<'_>, query: ListSources) -> Answer<Vec<Source>> {
    let kind_filter = query.kind.as_deref().map(str::parse::<SourceKind>).transpose()?;
    let repo = query.repo.as_deref();
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
            sources.push(with_definition(info, definition));
        }
    }
    Ok(sources)
}

pub(super) async fn create(call: Call<'_>, body: CreateSource) -> Answer<WithStatus<Source>> {
    let Call { app, actor, .. } = call;
    let (name, kind) = (name(&body.name)?, body.kind.parse::<SourceKind>()?);
    let (snapshot, include) =
        (parse_snapshot(body.snapshot.as_deref())?, definition::include(body.include.as_deref())?);
    let origin = kind.origin().filter(|_| kind.selects_from_lists());
    let is_curated = origin.is_some() && kind.supply() == Supply::Curated;
    if include.is_some() && !is_curated {
        return Err(Failure::bad_request(format!(
            "a source of type {kind} selects no dependencies: --include is for sources of type {}",
            types_based_on_lists(Supply::Curated)
        )));
    }
    if snapshot.is_some() && origin.is_none() {
        return Err(Failure::bad_request(format!(
            "a source of type {kind} has no state of CRAN: --snapshot is for sources of type {} and {}",
            types_based_on_lists(Supply::Curated),
            types_based_on_lists(Supply::Snapshot)
        )));
    }
    // Before the first sync, a curated source is created without a state.
    let has_state = snapshot.is_some() || include.is_some();
    let has_state =
        has_state || origin.is_some_and(|origin| !is_curated || app.state.catalog.get().has_steps(origin));
    let state = snapshot.unwrap_or(Snapshot::Latest);
    if has_state {
        snapshot::check(&app.repositories, state).await?;
    }
    edit::source::create(&app.state, &name, kind, on_existing(body.succeed_on_existing)).await?;
    // A source may exist without its state, if setting it failed after the source was created.
    let catalog = app.state.catalog.get();
    let is_without_state = catalog.source(name.as_str()).is_some_and(|source| !catalog.has_steps(source.id));
    if has_state && is_without_state {
        let change = SnapshotChange { source: name.as_str(), snapshot: state, include };
        snapshot::set(&app.repositories, &app.state, change, true, "", &actor).await?;
    }
    Ok(WithStatus(StatusCode::CREATED, show(app, name.as_str()).await?))
}

pub(super) async fn info(call: Call<'_>, name: &str) -> Answer<Source> {
    show(call.app, name).await
}

pub(super) async fn edit(call: Call<'_>, old: &str, body: EditSource) -> Answer<Source> {
    let Call { app, actor, .. } = call;
    let new = body.new_name.as_deref().map(name).transpose()?;
    let state = parse_snapshot(body.snapshot.as_deref())?;
    match (new, state) {
        (None, None) => Err(Failure::bad_request("nothing to change: give a new name or a snapshot")),
        // Two writes, of which the second could be refused.
        (Some(_), Some(_)) => Err(Failure::bad_request(
            "set the new name and the snapshot in two requests, one after the other",
        )),
        (Some(new), None) => {
            edit::source::rename(&app.state, old, &new).await?;
            show(app, new.as_str()).await
        }
        (None, Some(snapshot)) => {
            let change = SnapshotChange { source: old, snapshot, include: None };
            snapshot::set(&app.repositories, &app.state, change, true, "", &actor).await?;
            show(app, old).await
        }
    }
}

pub(super) async fn delete(call: Call<'_>, name: &str, query: DeleteSource) -> Answer<serde_json::Value> {
    if !query.with_packages {
        edit::source::require_empty(&call.app.state, name).await?;
    }
    let deletion = edit::source::delete(&call.app.state, name).await;
    let catalog = call.app.state.catalog.get();
    // SECURITY: the refusal names the subscribed repositories, which the client may not know.
    let is_unknown = |repo: &Repository| !call.principal.may_read(repo);
    if let Err(RepoError::Conflict(_)) = deletion
        && let Some(source) = catalog.source(name)
        && catalog.repos.iter().any(|repo| repo.subscribes_to(source.id) && is_unknown(repo))
    {
        let text = format!(
            "the source '{name}' is subscribed to by a repository that the token may not read; ask an administrator"
        );
        return Err(RepoError::Conflict(text).into());
    }
    deletion?;
    Ok(serde_json::json!({ "deleted": name }))
}
