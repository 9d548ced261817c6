//! The home page: the repositories that the client may read, and a search in all of them.

use std::sync::Arc;

use http::Response;

use super::context::root;
use super::{answer, unknown};
use crate::http::api::public::alerts;
use crate::http::app::App;
use crate::http::base_url::{RequestHead, base_url};
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::target::Query;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::text::one_line;
use content::serve::listing::{PackageRow, packages};
use content::serve::package_query::{PackageQuery, SortBy};
use content::serve::search::matches;
use content::serve::{self, RepoError};
use formats::r::description::Description;
use pages::home::{self, Repositories, RepositoryCard, SearchMatch, SearchResult};
use runtime::catalog::Repository;

const REPOSITORIES_PER_PAGE: usize = 50;
const REPOSITORIES_BELOW_RESULTS: usize = 20;
/// Maximum number of packages on a page of results.
const RESULTS_PER_PAGE: usize = 100;
/// Maximum number of packages that a search shows per repository.
const MAX_RESULTS: usize = 20;
/// Maximum number of repositories with whose names a search without results is compared.
const COMPARED_REPOSITORIES: usize = 4;
/// Maximum number of similar names that a search without results proposes.
const MAX_SIMILAR: usize = 5;
/// Maximum length of a title in a list, in characters; the page of the package has the whole one.
const MAX_TITLE: usize = 300;

/// Answers `/` and `/client/`. `page` is that of the results if `q` has a search text, otherwise of the repositories.
pub(in crate::http) async fn answer(
    app: &App,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let catalog = app.state.catalog.get();
    let searched = matches::searched(query.get("q"));
    let page = query.page()?;
    // SECURITY: lists, counts and searches omit hidden repositories, and those that the client may not read.
    let readable: Vec<&Repository> =
        catalog.repos.iter().filter(|repo| head.principal.may_list_publicly(repo)).collect();
    let found = match searched.is_empty() {
        true => None,
        false => Some(search(app, &readable, searched, page).await?),
    };
    let (size, page) =
        if found.is_some() { (REPOSITORIES_BELOW_RESULTS, 1) } else { (REPOSITORIES_PER_PAGE, page) };
    let pages = readable.len().div_ceil(size);
    let page = page.min(pages).max(1);
    let mut cards = Vec::new();
    for repo in readable.iter().skip(size * (page - 1)).take(size) {
        cards.push(card(app, repo).await?);
    }
    let names = readable.iter().map(|repo| (repo.id.0, repo.name.to_string())).collect();
    let server = base_url(&app.site.load(), head);
    let repositories = Repositories { cards, page, pages, names, server };
    let alerts = alerts::current(app, head.principal).await?;
    Ok(answer::page(head, home::page(root(app, head), &alerts, &repositories, found.as_ref()), false))
}

async fn card(app: &App, repo: &Repository) -> Result<RepositoryCard, Failure> {
    let point = newest_point(app, repo).await?;
    let packages = match &point {
        Some(point) => Some(serve::listing::package_count(&app.repositories, point).await?),
        None => None,
    };
    Ok(RepositoryCard {
        name: repo.name.to_string(),
        kind: repo.kind.label(),
        description: repo.description.clone(),
        packages,
        changed: point.and_then(|point| point.modified).map(|at| at.day()),
    })
}

async fn newest_point(app: &App, repo: &Repository) -> Result<Option<Point>, Failure> {
    match serve::point::resolve(&app.repositories, repo.name.as_str(), Snapshot::Latest).await {
        Ok(point) => Ok(Some(point)),
        Err(RepoError::Unresolved(_) | RepoError::NotFound(_) | RepoError::Unknown { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns a page of the results of a search. All results of a repository are on the same page.
async fn search(
    app: &App,
    repositories: &[&Repository],
    query: String,
    page: usize,
) -> Result<SearchResult, Failure> {
    let mut points = Vec::with_capacity(repositories.len());
    for repo in repositories {
        points.extend(newest_point(app, repo).await?.map(|point| (*repo, point)));
    }
    let searched: Vec<&Point> = points.iter().map(|(_, point)| point).collect();
    let texts = matches::find(&app.repositories, &searched, &query).await;
    let mut found = SearchResult { query, page, is_complete: texts.is_complete(), ..SearchResult::default() };
    // The number of packages on the last page so far.
    let mut results = 0;
    for (repo, point) in &points {
        // The results of the repository are on the last page so far, or on the next one.
        let is_requested = found.pages == page || found.pages + 1 == page;
        let query = PackageQuery {
            name_part: found.query.clone(),
            texts: Some(Arc::clone(&texts)),
            sort: SortBy::Relevance,
            limit: if is_requested { MAX_RESULTS } else { 0 },
            ..PackageQuery::default()
        };
        let matches = packages(&app.repositories, point, query).await?;
        if matches.total == 0 {
            continue;
        }
        found.repositories += 1;
        let count = matches.total.min(MAX_RESULTS);
        if found.pages == 0 || results + count > RESULTS_PER_PAGE {
            found.pages += 1;
            results = 0;
        }
        results += count;
        if found.pages != page {
            continue;
        }
        if matches.total > matches.packages.len() {
            found.more.push((repo.name.to_string(), matches.total));
        }
        found.packages.extend(matches.packages.into_iter().map(|row| SearchMatch {
            repo: repo.name.to_string(),
            title: title(&row),
            display_name: row.display_name().to_owned(),
            name: row.name,
            version: row.version,
        }));
    }
    if found.repositories == 0 {
        for (repo, point) in points.iter().take(COMPARED_REPOSITORIES) {
            let similar = unknown::similar(app, point, &found.query).await;
            found.similar.extend(similar.into_iter().map(|name| (repo.name.to_string(), name)));
        }
        found.similar.truncate(MAX_SIMILAR);
    }
    Ok(found)
}

/// Returns the title in a DESCRIPTION or an index record, or the summary of a project, in one line.
pub(super) fn title(row: &PackageRow) -> String {
    let description = Description::from_bytes(&row.description).ok();
    let title = description.as_ref().and_then(|description| description.non_empty("Title"));
    let summary = row.project.as_ref().and_then(|project| project.summary.as_deref());
    title.or(summary).map(|title| one_line(title, MAX_TITLE)).unwrap_or_default()
}
