//! The public API under `/__api__`: repositories, sources, packages, transactions, system requirements. Routes
//! that need more code have a separate file; `docs/api/public.json` (OpenAPI) describes the addresses.

pub(super) mod alerts;
mod bootstrap;
mod build_log;
mod difference;
mod download;
mod filter;
mod licenses;
mod lookup;
pub mod openapi;
mod packages;
mod python_filter;
mod python_packages;
mod repos;
mod status;
mod swagger;
pub(super) mod sysreqs;
mod url;
mod usage;
pub(super) mod vulnerabilities;
mod webhook;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;

use lookup::{bioconductor_version, named_repository, repository, requested_point, requested_points, source};

use super::app::App;
use super::base_url::{self, RequestHead};
use super::body::Body;
use super::error::Failure;
use super::read_body;
use super::response;
use super::route::public::PublicRoute;
use super::target::Query;
use super::wire_binary;
use crate::http::request_body::Incoming;
use api::public::repo::TransactionDate;
use api::public::source::{Source, Transaction};
use base::model::ids::SourceId;
use base::model::language::Language;
use base::model::repository::RepoKind;
use base::model::time::Day;
use content::serve;
use content::serve::name_guards::HiddenNames;
use runtime::catalog::{self, Repository};
use store::db::tx::{Tx, TxKind};
use tasks::build::webhook::Verification;

/// Maximum number of transactions in a response; old clients request ten thousand.
const MAX_TRANSACTIONS: usize = 100_000;

/// Maximum size of a request body, in bytes: a DESCRIPTION, or several thousand names.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Timeout of a request body, ample for a megabyte.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Handles a request; `body` is empty if the route accepts none.
///
/// # Errors
/// 400, 404, or a failure of the database or storage.
pub async fn answer(
    app: &App,
    route: &PublicRoute,
    query: &Query,
    head: &RequestHead<'_>,
    body: RequestBody,
) -> Result<Response<Body>, Failure> {
    let RequestBody { bytes: body, verification } = body;
    let catalog = app.state.catalog.get();
    Ok(match route {
        PublicRoute::Status => ok(&status::current(app, &catalog, head.principal)),
        PublicRoute::Repos => repos::list(app, &catalog, query, head),
        PublicRoute::Repo(name) => ok(&repos::wire(named_repository(&catalog, name, head.principal)?)),
        PublicRoute::RepoSources(name) => {
            let subscribed = repository(&catalog, name)?.sources();
            let sources = subscribed.iter().filter_map(|id| catalog.source_by_id(*id));
            ok(&sources.map(wire_source).collect::<Vec<_>>())
        }
        PublicRoute::TransactionDates(name) => {
            let repo = repository(&catalog, name)?;
            ok(&dates(repo, &serve::info::repository_days(&app.state, repo.name.as_str())?, query)?)
        }
        PublicRoute::FirstTransaction(name) => {
            let repo = repository(&catalog, name)?;
            let first = serve::info::repository_days(&app.state, repo.name.as_str())?.pop();
            let first = first.ok_or_else(|| Failure::not_found("this repository has no snapshot yet"))?;
            ok(&wire_date(repo, first.to_string(), first))
        }
        PublicRoute::Sources => {
            let readable =
                catalog.sources.iter().filter(|source| head.principal.may_read_source(&catalog, source));
            ok(&readable.map(wire_source).collect::<Vec<_>>())
        }
        PublicRoute::Source(name) => ok(&wire_source(source(&catalog, name)?)),
        PublicRoute::Packages(name) => {
            let point = requested_point(app, &catalog, name, query).await?;
            ok(&packages::list(app, &catalog, head.principal, &point, query, None).await?)
        }
        PublicRoute::Package(name, package) => {
            let point = requested_point(app, &catalog, name, query).await?;
            if repository(&catalog, name)?.kind == RepoKind::Python {
                return python_packages::package(app, &catalog, name, &point, package, query, head)
                    .await
                    .map(|package| ok(&package));
            }
            ok(&packages::detail(app, &catalog, head.principal, &point, package, query).await?)
        }
        PublicRoute::RepoVulnerabilities(name) => {
            let point = requested_point(app, &catalog, name, query).await?;
            ok(&vulnerabilities::of_repository(app, &point, query, head.principal).await?)
        }
        PublicRoute::RepoDifference(name) => {
            let (from, to) = requested_points(app, &catalog, name, query).await?;
            return difference::answer(app, &catalog, &from, &to, query, head).await;
        }
        PublicRoute::PackageBinaries(name, package) => {
            let point = requested_point(app, &catalog, name, query).await?;
            let rows = serve::binary_rows::at_point(&app.state, &point, package).await?;
            ok(&rows.into_iter().map(wire_binary::wire).collect::<Vec<_>>())
        }
        PublicRoute::BuildLog(name, package) => {
            let repo = repository(&catalog, name)?;
            if let Some(answer) = build_log::of_git_build(app, repo, package, query).await? {
                return Ok(answer);
            }
            let point = requested_point(app, &catalog, name, query).await?;
            return Err(build_log::failure(app, &catalog, head.principal, &point, package, query).await);
        }
        PublicRoute::PackageSysreqs(name, package) => {
            ok(&sysreqs::of_package(app, name, package, query).await?)
        }
        PublicRoute::Sysreqs(name) => ok(&sysreqs::of_packages(app, name, query).await?),
        PublicRoute::SourcePackages(name) => {
            let version = bioconductor_version(query)?;
            let source = source(&catalog, name)?;
            let point = serve::point::of_source(&app.state, source.name.as_str(), version)?;
            let hidden = HiddenNames::of(&app.state, source.kind.language(), source.id);
            ok(&packages::list(app, &catalog, head.principal, &point, query, Some(hidden)).await?)
        }
        PublicRoute::SourceReleases(name, package) => {
            let version = bioconductor_version(query)?;
            let source = source(&catalog, name)?;
            let point = serve::point::of_source(&app.state, source.name.as_str(), version)?;
            let language = source.kind.language();
            let releases = match language {
                Language::R => packages::releases(app, &point, package).await,
                Language::Python => python_packages::releases(app, &point, package).await,
            };
            let hidden = HiddenNames::of(&app.state, language, source.id);
            hidden.require_visible(package, releases.is_ok())?;
            ok(&releases?)
        }
        PublicRoute::Alerts => ok(&alerts::current(app, head.principal).await?),
        // A token that is not valid has been refused already.
        PublicRoute::VerifyAuth => ok(&serde_json::json!({})),
        PublicRoute::Download => download::answer(app, query).await?,
        PublicRoute::Swagger | PublicRoute::SwaggerIndex => swagger::page(head),
        PublicRoute::OpenApi => ok(&openapi::document_with_base(base_url::base_url(&app.site.load(), head))),
        PublicRoute::SourceTransactions(name) => {
            let source = source(&catalog, name)?.id;
            let limit = query.number("_limit", MAX_TRANSACTIONS)?.unwrap_or(1000);
            let page = query.number("_page", MAX_TRANSACTIONS / limit.max(1))?.unwrap_or(1).max(1);
            let rows = serve::info::source_transactions(&app.state, source, limit * page).await?;
            let rows = rows.iter().skip(limit * (page - 1));
            ok(&rows.map(|tx| wire_transaction(source, tx)).collect::<Vec<_>>())
        }
        PublicRoute::MetricsPackages => ok(&usage::packages(app, query, head.principal).await?),
        PublicRoute::DescriptionSysreqs(repo) => ok(&sysreqs::of_description(app, repo, query, &body).await?),
        PublicRoute::FilterRepo(repo) => filter::answer(app, Some(repo), json(&body)?, body, head).await?,
        PublicRoute::Filter => filter::answer(app, None, json(&body)?, body, head).await?,
        PublicRoute::GitWebhook(_) => {
            // Only a POST has a verification.
            let verification = verification.ok_or_else(Failure::no_such_address)?;
            webhook::receive(app, head.principal, &head.parts.headers, verification)?
        }
        PublicRoute::Bootstrap => bootstrap::answer(app, head, json(&body)?).await?,
        PublicRoute::Url => ok(&url::answer(app, &json(&body)?, head).await?),
    })
}

#[derive(Default)]
pub struct RequestBody {
    /// The bytes of the body; empty for a webhook.
    bytes: Bytes,
    /// The signature of the body of a webhook.
    verification: Option<Verification>,
}

/// Reads the body of a POST. The body of any other request is dropped unread.
///
/// # Errors
/// 408, 413.
pub async fn request_body(
    app: &App,
    route: &PublicRoute,
    method: &Method,
    body: Incoming,
) -> Result<RequestBody, Failure> {
    if method != Method::POST {
        return Ok(RequestBody::default());
    }
    let timeout = app.limits.body_timeout;
    let read = async {
        if let PublicRoute::GitWebhook(builder) = route {
            let verification = webhook::read(app, builder, body, timeout).await?;
            return Ok(RequestBody { bytes: Bytes::new(), verification: Some(verification) });
        }
        let bytes = read_body::read(body, MAX_BODY_BYTES, timeout).await?;
        Ok::<RequestBody, Failure>(RequestBody { bytes, verification: None })
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| Failure {
        status: StatusCode::REQUEST_TIMEOUT,
        ..Failure::bad_request("the request body timed out")
    })?
}

/// Parses a JSON body, regardless of its `Content-Type`, which scripts may set wrong.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    // Only an object is accepted: serde would also accept a list with the fields in their order.
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(body);
    object.and_then(|object| serde_json::from_value(object.into())).map_err(|error| {
        Failure::bad_request(format!("the body is not valid JSON for this request: {error}"))
    })
}

fn ok<T: serde::Serialize + ?Sized>(value: &T) -> Response<Body> {
    response::json(StatusCode::OK, value)
}

fn wire_source(source: &catalog::Source) -> Source {
    Source {
        id: source.id.0,
        name: source.name.to_string(),
        created: source.created_at.to_string(),
        kind: source.kind.label().to_owned(),
    }
}

/// Converts a transaction. Old clients read `id` and `published_to` of each row, so neither is ever missing.
fn wire_transaction(source: SourceId, tx: &Tx) -> Transaction {
    let action = match tx.kind {
        TxKind::Sync => "Sync",
        TxKind::Add => "Add",
        TxKind::Remove => "Remove",
        TxKind::Yank => "Yank",
        TxKind::Subscribe => "Subscribe",
        TxKind::Promote => "Promote",
        TxKind::Backfill => "Backfill",
    };
    Transaction {
        id: tx.id.0,
        created: tx.started_at.to_string(),
        completed: tx.at.day().to_string(),
        kind: "source".to_owned(),
        tag: tx.comment.clone(),
        source_id: source.0,
        guid: format!("{source}-{}", tx.id),
        packages_added: tx.counts.added,
        packages_updated: tx.counts.updated,
        packages_archived: tx.counts.archived,
        packages_removed: tx.counts.removed,
        action: action.to_owned(),
        published_from: tx.published_from.unwrap_or(tx.at).to_string(),
        published_to: tx.at.to_string(),
        result: String::new(),
    }
}

/// Returns the rows for `days`, which are sorted newest first; reversed with `_order=asc`. `latest` is the alias of the
/// newest day.
fn dates(repo: &Repository, days: &[Day], query: &Query) -> Result<Vec<TransactionDate>, Failure> {
    if query.get("_sort").is_some_and(|sort| !["", "alias", "date"].contains(&sort)) {
        return Err(Failure::bad_request("days can only be sorted by date (_sort=date)"));
    }
    let latest = days.first().map(|newest| wire_date(repo, "latest".to_owned(), *newest));
    let mut dates: Vec<_> = latest.into_iter().collect();
    dates.extend(days.iter().map(|day| wire_date(repo, day.to_string(), *day)));
    if query.descending()? == Some(false) {
        dates.reverse();
    }
    Ok(dates)
}

fn wire_date(repo: &Repository, alias: String, day: Day) -> TransactionDate {
    TransactionDate { repo_id: repo.id.0, alias, date: day.start().to_string() }
}
