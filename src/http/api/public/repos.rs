//! Repositories, as JSON, or as names and addresses for the RStudio IDE; the days on which they changed, their snapshots at a
//! given time, and the differences between two snapshots.

use http::StatusCode;
use http::header::{HeaderValue, VARY};

use super::lookup::{named_repository, repository, requested_point};
use super::{Answer, PublicCall, Raw};
use crate::http::api::csv;
use crate::http::error::Failure;
use crate::http::response;
use crate::http::route::access::read_repository;
use api::public::repo::{
    Compare, ListDates, ListRepos, PackageDifference, PublicRepo, SnapshotQuery, SnapshotUrl, TransactionDate,
};
use api::query::Order;
use base::model::ids::SourceId;
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use content::serve;
use content::serve::difference::{self, Change, ChangeKind, ListedPackage};
use runtime::catalog::Repository;

/// The media type of the list that the RStudio IDE reads to offer secondary repositories.
const INI: &str = "text/ini";

/// Returns the repositories that are not hidden and that the client may read; `type` selects a kind.
pub(super) async fn list(call: PublicCall<'_>, query: ListRepos) -> Answer<Raw> {
    let is_visible = |repo: &&Repository| {
        call.head.principal.may_list_publicly(repo)
            && query.kind.as_ref().is_none_or(|kind| repo.kind.label().eq_ignore_ascii_case(kind))
    };
    let repos = call.catalog.repos.iter().filter(is_visible);
    let mut response = if call.head.accepts(INI) {
        let base = call.base();
        // `install.packages()` can use the address of such a repository only.
        let repos = repos.filter(|repo| repo.kind.is_one_list());
        let lines: String = repos.map(|repo| format!("{0}={base}/{0}/latest\n", repo.name)).collect();
        response::text(INI, lines.into_bytes())
    } else {
        response::json(StatusCode::OK, &repos.map(wire).collect::<Vec<_>>())
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    Ok(Raw(response))
}

pub(super) async fn show(call: PublicCall<'_>, repo: &str) -> Answer<PublicRepo> {
    named_repository(&call.catalog, repo, call.head.principal).map(wire)
}

/// Returns the days, the newest first; reversed with `_order=asc`. `latest` is the alias of the newest day.
pub(super) async fn dates(
    call: PublicCall<'_>,
    repo: &str,
    query: ListDates,
) -> Answer<Vec<TransactionDate>> {
    let repo = repository(&call.catalog, repo)?;
    let days = serve::info::repository_days(&call.app.state, repo.name.as_str())?;
    if query.sort.is_some_and(|sort| !["", "alias", "date"].contains(&sort.as_str())) {
        return Err(Failure::bad_request("days can only be sorted by date (_sort=date)"));
    }
    let latest = days.first().map(|newest| wire_date(repo, "latest".to_owned(), *newest));
    let mut dates: Vec<_> = latest.into_iter().collect();
    dates.extend(days.iter().map(|day| wire_date(repo, day.to_string(), *day)));
    if query.order == Some(Order::Ascending) {
        dates.reverse();
    }
    Ok(dates)
}

pub(super) async fn first_date(call: PublicCall<'_>, repo: &str) -> Answer<TransactionDate> {
    let repo = repository(&call.catalog, repo)?;
    let first = serve::info::repository_days(&call.app.state, repo.name.as_str())?.pop();
    let first = first.ok_or_else(|| Failure::not_found("this repository has no snapshot yet"))?;
    Ok(wire_date(repo, first.to_string(), first))
}

fn wire_date(repo: &Repository, alias: String, day: Day) -> TransactionDate {
    TransactionDate { repo_id: repo.id.0, alias, date: day.start().to_string() }
}

fn wire(repo: &Repository) -> PublicRepo {
    PublicRepo {
        id: repo.id.0,
        name: repo.name.to_string(),
        created: repo.created_at.to_string(),
        description: repo.description.clone(),
        kind: repo.kind.label().to_owned(),
        auth: repo.authenticated,
        hidden: repo.hidden,
    }
}

/// Returns the snapshot of the day of the requested time.
pub(super) async fn snapshot_at(call: PublicCall<'_>, query: SnapshotQuery) -> Answer<SnapshotUrl> {
    let PublicCall { app, head, .. } = call;
    let day = day(&query.snapshot).ok_or_else(|| {
        Failure::bad_request("\"snapshot\" must be a time in UTC, such as 2022-01-04T00:00:00Z")
    })?;
    head.principal.require_public(app, read_repository(&query.repo), false)?;
    let catalog = app.state.catalog.get();
    let name = named_repository(&catalog, &query.repo, head.principal)?.name.clone();
    // Fails if there is no snapshot: scripts then request earlier days until one exists.
    serve::point::resolve(&app.repositories, name.as_str(), Snapshot::Date(day)).await?;
    Ok(SnapshotUrl { url: format!("{}/{name}/{day}", call.base()), upsi: day.to_string() })
}

/// The packages that differ between two snapshots, as JSON or CSV.
pub(super) async fn difference(call: PublicCall<'_>, repo: &str, query: Compare) -> Answer<Raw> {
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
                changes.into_iter().map(|change| wire_change(change, source)).collect();
            Ok(Raw::json(&rows))
        }
        "csv" => Ok(Raw(csv::of_changes(call.head, &changes, source))),
        _ => Err(Failure::bad_request("the parameter format must be json or csv")),
    }
}

fn wire_change(change: Change, name_of: impl Fn(SourceId) -> String) -> PackageDifference {
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

fn day(text: &str) -> Option<Day> {
    let (date, time) = text.split_at_checked(10).unwrap_or((text, ""));
    let day = date.parse().ok()?;
    let is_utc = time.is_empty() || text.parse::<jiff::Timestamp>().is_ok() && time.ends_with(['Z', 'z']);
    is_utc.then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_converted_to_its_day_in_utc() {
        let day_of = |text: &str| day(text).map(|day| day.to_string());
        for good in ["2022-01-04", "2022-01-04T00:00:00Z", "2022-01-04T23:59:59.999Z"] {
            assert_eq!(day_of(good).as_deref(), Some("2022-01-04"), "{good}");
        }
        for bad in ["", "2022-01-04T00:00:00+02:00", "2022-13-04", "2022-01-04T", "latest", "2022-01-04Tx"] {
            assert_eq!(day_of(bad), None, "{bad}");
        }
    }
}
