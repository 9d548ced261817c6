//! Metadata of packages that administrators set.

use super::call::{Answer, Call, read_row};
use crate::http::error::Failure;
use api::metadata::{
    DeleteMetadata, ListMetadata, Metadata, MetadataRecord, MetadataResult, RefusedMetadata, SetMetadata,
};
use base::model::project_name::spelling_key;
use content::serve::find;
use runtime::catalog::Catalog;
use store::db;
use tasks::edit::OnExisting;
use tasks::edit::metadata::{self, MetadataStatus, NewMetadata};

fn wire(catalog: &Catalog, row: db::metadata::Metadata) -> Metadata {
    let source = row.scope.source.map(|id| catalog.source_name(id));
    let repo = row.scope.repo.map(|id| catalog.repo_name(id));
    Metadata {
        id: row.id,
        package_name: row.scope.name,
        version: Some(row.scope.version).filter(|version| !version.is_empty()),
        source,
        repo,
        key: row.key,
        value: row.value,
        actor: row.actor,
        changed: row.changed_at.to_string(),
    }
}

pub(super) async fn list(call: Call<'_>, query: ListMetadata) -> Answer<Vec<Metadata>> {
    let app = call.app;
    let catalog = app.state.catalog.get();
    let source = query.source.as_deref().map(|name| find::source(&catalog, name)).transpose()?;
    let repo = query.repo.as_deref().map(|name| find::repo(&catalog, name)).transpose()?;
    let mut rows = app.state.db.read(db::metadata::list).await?;
    let normalized_name = query.package_name.as_deref().map(spelling_key);
    rows.retain(|row| {
        normalized_name.as_ref().is_none_or(|normalized_name| row.scope.normalized_name == *normalized_name)
            && query.key.as_ref().is_none_or(|key| row.key == *key)
            && source.is_none_or(|source| row.scope.source == Some(source.id))
            && repo.is_none_or(|repo| row.scope.repo == Some(repo.id))
    });
    Ok(rows.into_iter().map(|row| wire(&catalog, row)).collect())
}

pub(super) fn new_metadata(record: MetadataRecord) -> NewMetadata {
    NewMetadata {
        package: record.package_name,
        version: record.version.unwrap_or_default(),
        source: record.source.unwrap_or_default(),
        repo: record.repo.unwrap_or_default(),
        key: record.key,
        value: record.value,
    }
}

pub(super) async fn set(call: Call<'_>, body: SetMetadata) -> Answer<MetadataResult> {
    let Call { app, actor, .. } = call;
    let existing = match (body.succeed_on_existing, body.update_existing) {
        (true, true) => {
            return Err(Failure::bad_request("choose one of --succeed-on-existing and --update-existing"));
        }
        (true, false) => OnExisting::Succeed,
        (false, true) => OnExisting::Replace,
        (false, false) => OnExisting::Fail,
    };
    let records = body.records.into_iter().map(|row| read_row(row).map(new_metadata)).collect();
    let results = metadata::set(&app.state, records, existing, body.fail_all, &actor).await?;
    let catalog = app.state.catalog.get();
    let mut result = MetadataResult::default();
    for (index, row) in results.into_iter().enumerate() {
        match row {
            Ok((row, MetadataStatus::Created)) => result.created.push(wire(&catalog, row)),
            Ok((row, MetadataStatus::Updated)) => result.updated.push(wire(&catalog, row)),
            Ok((row, MetadataStatus::Unchanged)) => result.unchanged.push(wire(&catalog, row)),
            Err(error) => result.refused.push(RefusedMetadata { index, error }),
        }
    }
    Ok(result)
}

pub(super) async fn delete(call: Call<'_>, body: DeleteMetadata) -> Answer<Vec<Metadata>> {
    let app = call.app;
    let ids = match (body.all, body.ids) {
        (true, ids) if ids.is_empty() => None,
        (false, ids) if !ids.is_empty() => Some(ids),
        _ => return Err(Failure::bad_request("name the ids to delete, or all")),
    };
    let rows = metadata::delete(&app.state, ids).await?;
    let catalog = app.state.catalog.get();
    Ok(rows.into_iter().map(|row| wire(&catalog, row)).collect())
}
