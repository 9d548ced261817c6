//! `GET /repos/{r}/diff`: the packages that differ between two snapshots, as JSON or CSV.

use super::lookup::{repository, requested_point};
use super::{Answer, PublicCall, Raw};
use crate::http::api::csv;
use crate::http::error::Failure;
use api::public::repo::{Compare, PackageDifference};
use base::model::ids::SourceId;
use content::serve::difference::{self, Change, ChangeKind, ListedPackage};

pub(super) async fn of_repo(call: PublicCall<'_>, repo: &str, query: Compare) -> Answer<Raw> {
    repository(&call.catalog, repo)?;
    let version = query.bioc_version.as_deref();
    let from = query.from.ok_or_else(|| Failure::bad_request("the parameter from must name a snapshot"))?;
    let from = requested_point(&call, repo, version, Some(from)).await?;
    let to = requested_point(&call, repo, version, query.to).await?;
    let kind =
        query.kind.as_deref().filter(|text| !text.is_empty()).map(str::parse::<ChangeKind>).transpose();
    let kind = kind.map_err(|error| Failure::bad_request(format!("the parameter kind: {error}")))?;
    let mut changes = difference::between(&call.app.repositories, &from, &to).await?;
    changes.retain(|change| kind.is_none_or(|kind| change.kind == kind));
    let source = |id: SourceId| call.head.principal.source_name(&call.catalog, id);
    match query.format.as_deref().unwrap_or("json") {
        "json" | "" => {
            let rows: Vec<PackageDifference> =
                changes.into_iter().map(|change| wire(change, source)).collect();
            Ok(Raw::json(&rows))
        }
        "csv" => Ok(Raw(csv::of_changes(call.head, &changes, source))),
        _ => Err(Failure::bad_request("the parameter format must be json or csv")),
    }
}

fn wire(change: Change, name_of: impl Fn(SourceId) -> String) -> PackageDifference {
    let source = |listed: &Option<ListedPackage>| listed.as_ref().map(|listed| name_of(listed.source));
    PackageDifference {
        kind: change.kind.as_str().to_owned(),
        from_source: source(&change.from),
        to_source: source(&change.to),
        published: change.to.as_ref().and_then(|listed| listed.published_at).map(|at| at.to_string()),
        from_version: change.from.map(|listed| listed.version),
        to_version: change.to.map(|listed| listed.version),
        name: change.name,
    }
}
