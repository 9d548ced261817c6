//! Repositories, as JSON, or as names and addresses for the RStudio IDE, and the days on which they changed.

use http::StatusCode;
use http::header::{HeaderValue, VARY};

use super::lookup::{named_repository, repository};
use super::{Answer, Call, Raw};
use crate::http::error::Failure;
use crate::http::response;
use api::public::repo::{ListDates, ListRepos, Repo, TransactionDate};
use api::query::Order;
use base::model::repository::RepoKind;
use base::model::time::Day;
use content::serve;
use runtime::catalog::Repository;

/// The media type of the list that the RStudio IDE reads to offer secondary repositories.
const INI: &str = "text/ini";

/// Returns the repositories that are not hidden and that the client may read; `type` selects a kind.
pub(super) async fn list(call: Call<'_>, query: ListRepos) -> Answer<Raw> {
    let is_visible = |repo: &&Repository| {
        call.head.principal.may_list_publicly(repo)
            && query.kind.as_ref().is_none_or(|kind| repo.kind.label().eq_ignore_ascii_case(kind))
    };
    let repos = call.catalog.repos.iter().filter(is_visible);
    let mut response = if call.head.accepts(INI) {
        let base = call.base();
        // `install.packages()` can use the address of a repository of this kind only.
        let repos = repos.filter(|repo| repo.kind == RepoKind::R);
        let lines: String = repos.map(|repo| format!("{0}={base}/{0}/latest\n", repo.name)).collect();
        response::text(INI, lines.into_bytes())
    } else {
        response::json(StatusCode::OK, &repos.map(wire).collect::<Vec<_>>())
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    Ok(Raw(response))
}

pub(super) async fn show(call: Call<'_>, repo: &str) -> Answer<Repo> {
    named_repository(&call.catalog, repo, call.head.principal).map(wire)
}

/// Returns the days, the newest first; reversed with `_order=asc`. `latest` is the alias of the newest day.
pub(super) async fn dates(call: Call<'_>, repo: &str, query: ListDates) -> Answer<Vec<TransactionDate>> {
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

pub(super) async fn first_date(call: Call<'_>, repo: &str) -> Answer<TransactionDate> {
    let repo = repository(&call.catalog, repo)?;
    let first = serve::info::repository_days(&call.app.state, repo.name.as_str())?.pop();
    let first = first.ok_or_else(|| Failure::not_found("this repository has no snapshot yet"))?;
    Ok(wire_date(repo, first.to_string(), first))
}

fn wire_date(repo: &Repository, alias: String, day: Day) -> TransactionDate {
    TransactionDate { repo_id: repo.id.0, alias, date: day.start().to_string() }
}

fn wire(repo: &Repository) -> Repo {
    Repo {
        id: repo.id.0,
        name: repo.name.to_string(),
        created: repo.created_at.to_string(),
        description: repo.description.clone(),
        kind: repo.kind.label().to_owned(),
        auth: repo.authenticated,
        hidden: repo.hidden,
    }
}
