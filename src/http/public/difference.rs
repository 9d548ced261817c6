//! `GET /repos/{r}/diff`: the packages that differ between two snapshots, as JSON or CSV.

use http::{Response, StatusCode};

use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::body::Body;
use crate::http::csv;
use crate::http::error::Failure;
use crate::http::response;
use crate::http::target::Query;
use api::public::difference::PackageDifference;
use base::model::ids::SourceId;
use base::model::point::Point;
use content::serve::difference::{self, Change, ChangeKind, ListedPackage};
use runtime::catalog::Catalog;

/// Answers a request about the difference between two points.
///
/// # Errors
/// 400 for parameters that are not valid, failures of the database or storage.
pub(super) async fn answer(
    app: &App,
    catalog: &Catalog,
    from: &Point,
    to: &Point,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let kind = query.get("kind").filter(|text| !text.is_empty()).map(str::parse::<ChangeKind>).transpose();
    let kind = kind.map_err(|error| Failure::bad_request(format!("the parameter kind: {error}")))?;
    let mut changes = difference::between(&app.repositories, from, to).await?;
    changes.retain(|change| kind.is_none_or(|kind| change.kind == kind));
    let source = |id: SourceId| head.principal.source_name(catalog, id);
    match query.get("format").unwrap_or("json") {
        "json" | "" => {
            let rows: Vec<PackageDifference> =
                changes.into_iter().map(|change| wire(change, source)).collect();
            Ok(response::json(StatusCode::OK, &rows))
        }
        "csv" => Ok(csv::of_changes(head, &changes, source)),
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
