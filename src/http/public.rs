//! The public read API under `/__api__`: repositories, sources, packages, transactions.

use std::cmp::Reverse;

use http::{Response, StatusCode};

use super::app::App;
use super::body::Body;
use super::cran;
use super::error::Failure;
use super::response;
use super::route::Public;
use super::target::Query;
use crate::api::public::repo::{Repo, TransactionDate};
use crate::api::public::source::Source;
use crate::api::public::status::Status;
use crate::catalog::{self, Catalog, Repository};
use crate::model::ids::SourceId;
use crate::model::repository::RepoKind;
use crate::model::time::Timestamp;

/// Answers one question.
///
/// # Errors
/// 400, 404, or what the stores say.
pub async fn answer(app: &App, asked: &Public, query: &Query) -> Result<Response<Body>, Failure> {
    let catalog = app.state.catalog.get();
    Ok(match asked {
        Public::Status => ok(&Status::new(cran_repo(&catalog))),
        Public::Repos => {
            let kind = query.get("type");
            let wanted = |repo: &&Repository| {
                !repo.hidden && kind.is_none_or(|kind| repo.kind.label().eq_ignore_ascii_case(kind))
            };
            ok(&catalog.repos.iter().filter(wanted).map(wire_repo).collect::<Vec<_>>())
        }
        Public::Repo(name) => ok(&wire_repo(repository(&catalog, name)?)),
        Public::RepoSources(name) => {
            let subscribed = sources_of(repository(&catalog, name)?);
            let sources = subscribed.iter().filter_map(|id| catalog.sources.iter().find(|s| s.id == *id));
            ok(&sources.map(wire_source).collect::<Vec<_>>())
        }
        Public::TransactionDates(name) => ok(&dates(&catalog, repository(&catalog, name)?, query)),
        Public::FirstTransaction(name) => {
            let repo = repository(&catalog, name)?;
            let first = moments(&catalog, repo).into_iter().min();
            let first = first.ok_or_else(|| Failure::not_found("this repository has no snapshot yet"))?;
            ok(&wire_date(repo, first.day().to_string(), first))
        }
        Public::Sources => ok(&catalog.sources.iter().map(wire_source).collect::<Vec<_>>()),
        Public::Source(name) => ok(&wire_source(source(&catalog, name)?)),
        Public::Packages(name) => {
            let _ = repository(&catalog, name)?;
            ok::<[(); 0]>(&[])
        }
        Public::Package(name, package) => {
            let _ = repository(&catalog, name)?;
            return Err(Failure::not_found(format!("Package '{}' not found", cran::shown(package))));
        }
        Public::SourceTransactions(name) | Public::SourcePackages(name) => {
            let _ = source(&catalog, name)?;
            ok::<[(); 0]>(&[])
        }
    })
}

fn ok<T: serde::Serialize + ?Sized>(value: &T) -> Response<Body> {
    response::json(StatusCode::OK, value)
}

/// By number or name: a number that is also a name means the name.
fn repository<'a>(catalog: &'a Catalog, asked: &str) -> Result<&'a Repository, Failure> {
    let number: Option<i64> = asked.parse().ok();
    cran::repository(catalog, asked)
        .or_else(|failure| catalog.repos.iter().find(|repo| Some(repo.id.0) == number).ok_or(failure))
}

fn source<'a>(catalog: &'a Catalog, asked: &str) -> Result<&'a catalog::Source, Failure> {
    let number: Option<i64> = asked.parse().ok();
    let named = catalog.sources.iter().find(|source| source.name.as_str() == asked);
    named
        .or_else(|| catalog.sources.iter().find(|source| Some(source.id.0) == number))
        .ok_or_else(|| Failure::not_found(format!("there is no source '{}'", cran::shown(asked))))
}

fn wire_repo(repo: &Repository) -> Repo {
    Repo {
        id: repo.id.0,
        name: repo.name.to_string(),
        created: repo.created_at.to_string(),
        description: repo.description.clone(),
        kind: repo.kind.label().to_owned(),
        auth: false,
        hidden: repo.hidden,
    }
}

fn wire_source(source: &catalog::Source) -> Source {
    Source {
        id: source.id.0,
        name: source.name.to_string(),
        created: source.created_at.to_string(),
        kind: source.kind.label().to_owned(),
    }
}

fn sources_of(repo: &Repository) -> &[SourceId] {
    repo.steps.last().map_or(&[], |step| &step.sources)
}

/// The repository clients may take for CRAN: the first listed R repository that subscribes to it.
fn cran_repo(catalog: &Catalog) -> Option<String> {
    let mut repos = catalog.repos.iter().filter(|repo| !repo.hidden && repo.kind == RepoKind::R);
    repos.find(|repo| sources_of(repo).contains(&SourceId::CRAN)).map(|repo| repo.name.to_string())
}

/// Every moment at which the repository's newest subscriptions changed.
fn moments(catalog: &Catalog, repo: &Repository) -> Vec<Timestamp> {
    let sources = sources_of(repo);
    let trees = catalog.trees.iter().filter(|tree| sources.contains(&tree.source));
    trees.flat_map(|tree| tree.steps.iter().map(|step| step.at)).collect()
}

/// The days with a state of their own; `_sort=date`, newest first unless `_order=asc`, `latest` among them.
fn dates(catalog: &Catalog, repo: &Repository, query: &Query) -> Vec<TransactionDate> {
    let mut moments = moments(catalog, repo);
    moments.sort_by_key(|at| Reverse(*at));
    let newest = moments.first().copied();
    // The newest moment of each day is the day's state.
    moments.dedup_by_key(|at| at.day());
    let mut dates: Vec<_> = newest.map(|at| wire_date(repo, "latest".to_owned(), at)).into_iter().collect();
    dates.extend(moments.into_iter().map(|at| wire_date(repo, at.day().to_string(), at)));
    if query.get("_order").is_some_and(|order| order.eq_ignore_ascii_case("asc")) {
        dates.reverse();
    }
    dates
}

fn wire_date(repo: &Repository, alias: String, at: Timestamp) -> TransactionDate {
    TransactionDate { repo_id: repo.id.0, alias, date: at.to_string() }
}
