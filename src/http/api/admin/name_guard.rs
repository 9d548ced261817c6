//! Name guards: list, create, change, delete, audit.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus};
use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use api::name_guard as wire;
use base::model::ids::SourceId;
use base::model::kind::Language;
use content::serve::guard_effects::{NameChange, ProvidedPackage};
use content::serve::name_audit;
use runtime::catalog::Catalog;
use store::db::name_guard::{self, GuardState, NameGuardRow};
use tasks::edit;
use tasks::edit::name_guard::{ChangedGuard, NameGuardChanges, NewNameGuard};

/// `GET /name-guards`: all guards, in the order of their numbers.
pub(super) async fn list(call: Call<'_>) -> Answer<Vec<wire::NameGuard>> {
    let rows = call.app.state.db.read(name_guard::list).await?;
    let catalog = call.app.state.catalog.get();
    Ok(rows.into_iter().map(|row| wire_of_row(call.app, &catalog, row)).collect())
}

fn wire_of_row(app: &App, catalog: &Catalog, row: NameGuardRow) -> wire::NameGuard {
    let is_automatic = app.state.config.load().server.automatic_name_guard;
    let state = match row.state {
        GuardState::InForce if row.automatic && !is_automatic => "off",
        GuardState::InForce => "in force",
        GuardState::ListedBefore => "listed before",
        GuardState::Ended => "ended",
    };
    wire::NameGuard {
        id: (row.id != 0).then_some(row.id),
        name: row.pattern,
        language: row.language,
        source: catalog.source_name(row.source),
        source_deleted: catalog.source_by_id(row.source).is_none(),
        automatic: row.automatic,
        state: state.to_owned(),
        description: row.description,
        created_by: row.created_by,
        created: row.created_at.to_string(),
    }
}

pub(super) async fn create(
    call: Call<'_>,
    body: wire::CreateNameGuard,
) -> Answer<WithStatus<wire::CreatedNameGuard>> {
    let Call { app, actor, .. } = call;
    let new = NewNameGuard {
        name: body.name,
        language: body.language.as_deref().map(language).transpose()?,
        source: body.source,
        description: body.description,
    };
    let (row, hidden) = edit::name_guard::create(&app.state, &new, body.dry_run, &actor).await?;
    let catalog = app.state.catalog.get();
    let hidden = hidden_names(&catalog, hidden);
    let created = wire::CreatedNameGuard { guard: wire_of_row(app, &catalog, row), hidden };
    Ok(WithStatus(if body.dry_run { StatusCode::OK } else { StatusCode::CREATED }, created))
}

pub(super) fn hidden_names(catalog: &Catalog, hidden: Vec<(String, SourceId)>) -> Vec<wire::HiddenName> {
    let name = |(name, source)| wire::HiddenName { name, source: catalog.source_name(source) };
    hidden.into_iter().map(name).collect()
}

fn language(text: &str) -> Result<Language, Failure> {
    let known = Language::ALL.into_iter().find(|language| language.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let words = Language::WORDS.join(" or ");
        Failure::bad_request(format!("the language is {words}, not '{}'", truncate(text)))
    })
}

/// Refuses a number that no guard can have, before the body is read.
pub(super) async fn require_number(_: &Call<'_>, [id]: [&str; 1]) -> Result<(), Failure> {
    number(id).map(drop)
}

pub(super) async fn edit(
    call: Call<'_>,
    id: &str,
    body: wire::EditNameGuard,
) -> Answer<wire::ChangedNameGuard> {
    let (app, id) = (call.app, number(id)?);
    let changes = NameGuardChanges { name: body.name, source: body.source, description: body.description };
    if changes == NameGuardChanges::default() {
        return Err(Failure::bad_request("nothing to change: give a new name, source or description"));
    }
    let changed = edit::name_guard::update(&app.repositories, &app.state, id, &changes, body.dry_run).await?;
    Ok(wire_of_change(app, changed))
}

pub(super) async fn delete(
    call: Call<'_>,
    id: &str,
    query: wire::DeleteNameGuard,
) -> Answer<wire::ChangedNameGuard> {
    let (app, id) = (call.app, number(id)?);
    let is_dry_run = match query.dry_run.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Failure::bad_request("the parameter dry_run is true or false")),
    };
    let deleted = edit::name_guard::delete(&app.repositories, &app.state, id, is_dry_run).await?;
    let row = NameGuardRow { state: GuardState::Ended, ..deleted.row };
    Ok(wire_of_change(app, ChangedGuard { row, ..deleted }))
}

fn wire_of_change(app: &App, changed: ChangedGuard) -> wire::ChangedNameGuard {
    let catalog = app.state.catalog.get();
    let parts = |package: Option<ProvidedPackage>| {
        package.map_or((None, None), |it| (it.version, Some(catalog.source_name(it.source))))
    };
    let change = |change: NameChange| {
        let (from_version, from_source) = parts(change.before);
        let (to_version, to_source) = parts(change.after);
        wire::NameChange {
            repo: change.repo,
            bioc_version: change.bioconductor.map(|version| version.to_string()),
            name: change.name,
            from_version,
            from_source,
            to_version,
            to_source,
        }
    };
    wire::ChangedNameGuard {
        changes: changed.changes.into_iter().map(change).collect(),
        guard: wire_of_row(app, &catalog, changed.row),
    }
}

fn number(id: &str) -> Result<i64, Failure> {
    let unknown = || {
        Failure::not_found(format!(
            "there is no name guard {}; rspm list name-guards shows all",
            truncate(id)
        ))
    };
    id.parse().map_err(|_| unknown())
}

pub(super) async fn audit(call: Call<'_>) -> Answer<Vec<wire::AuditedName>> {
    let catalog = call.app.state.catalog.get();
    let findings = name_audit::of_server(&call.app.state).await?.into_iter();
    let row = |found: name_audit::Finding| wire::AuditedName {
        finding: found.kind.as_str().to_owned(),
        language: found.language,
        name: found.name,
        source: catalog.source_name(found.source),
        source_deleted: catalog.source_by_id(found.source).is_none(),
        guard: found.guard,
        other_name: found.other_name,
        other_source: found.other_source.map(|source| catalog.source_name(source)),
        since: found.since.map(|at| at.to_string()),
        note: found.note,
    };
    Ok(findings.map(row).collect())
}
