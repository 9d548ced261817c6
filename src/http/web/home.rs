//! The home page: the repositories that the client may read, and a search in all of them.

use http::Response;

use super::answer;
use super::context::root;
use crate::catalog::Repository;
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::body::Body;
use crate::http::error::Failure;
use crate::http::public::alerts;
use crate::http::target::Query;
use crate::model::point::Point;
use crate::model::snapshot::Snapshot;
use crate::r::description::Description;
use crate::serve::listing::{PackageRow, packages};
use crate::serve::package_query::PackageQuery;
use crate::serve::{self, RepoError};
use crate::web::home::{self, RepositoryCard, SearchMatch, SearchResult};

/// Maximum number of packages that a search shows per repository.
const MAX_RESULTS: usize = 20;
/// Maximum length of a title in a list, in characters; the page of the package has the whole one.
const MAX_TITLE: usize = 300;
/// Maximum length of a search text, in characters.
pub(super) const MAX_QUERY: usize = 100;

/// Answers `/` and `/client/`.
///
/// # Errors
/// Failures of the database or storage.
pub(in crate::http) async fn answer(
    app: &App,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let catalog = app.state.catalog.get();
    let searched: String = query.get("q").unwrap_or_default().trim().chars().take(MAX_QUERY).collect();
    let mut cards = Vec::new();
    let mut found = SearchResult { query: searched, packages: Vec::new(), more: Vec::new() };
    // SECURITY: lists, counts and searches omit repositories that the client may not read, and hidden ones for every
    // client.
    for repo in catalog.repos.iter().filter(|repo| !repo.hidden && head.principal.may_read(repo)) {
        let point = newest_point(app, repo).await?;
        let count = match &point {
            Some(point) => Some(serve::listing::package_count(&app.repositories, point).await?),
            None => None,
        };
        cards.push(RepositoryCard {
            id: repo.id.0,
            name: repo.name.to_string(),
            kind: repo.kind.label(),
            description: repo.description.clone(),
            packages: count,
            changed: point.as_ref().and_then(|point| point.modified).map(|at| at.day()),
        });
        if let Some(point) = point.filter(|_| !found.query.is_empty()) {
            search(app, repo, &point, &mut found).await?;
        }
    }
    let found = Some(found).filter(|found| !found.query.is_empty());
    let alerts = alerts::current(app, head.principal).await?;
    Ok(answer::page(head, home::page(root(app, head), &alerts, &cards, found.as_ref()), false))
}

/// Returns the newest point of a repository; `None` if it has no state yet.
async fn newest_point(app: &App, repo: &Repository) -> Result<Option<Point>, Failure> {
    match serve::point::resolve(&app.repositories, repo.name.as_str(), Snapshot::Latest).await {
        Ok(point) => Ok(Some(point)),
        Err(RepoError::Unresolved(_) | RepoError::NotFound(_) | RepoError::Unknown { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn search(
    app: &App,
    repo: &Repository,
    point: &Point,
    found: &mut SearchResult,
) -> Result<(), Failure> {
    let query = PackageQuery {
        name_part: found.query.clone(),
        exact_first: true,
        limit: MAX_RESULTS,
        ..PackageQuery::default()
    };
    let page = packages(&app.repositories, point, query).await?;
    let count = page.packages.len();
    found.packages.extend(page.packages.into_iter().map(|row| SearchMatch {
        repo: repo.name.to_string(),
        title: title(&row),
        name: row.name,
        version: row.version,
    }));
    if page.total > count {
        found.more.push((repo.name.to_string(), page.total));
    }
    Ok(())
}

/// Returns the title in a DESCRIPTION or an index record, or the summary of a Python project, in one line.
#[must_use]
pub(super) fn title(row: &PackageRow) -> String {
    let description = Description::from_bytes(&row.description).ok();
    let title = description.as_ref().and_then(|description| description.non_empty("Title"));
    let summary = row.facts.as_ref().and_then(|facts| facts.summary.as_deref());
    title.or(summary).map(one_line).unwrap_or_default()
}

/// Returns a title in one line, at most [`MAX_TITLE`] characters of it.
fn one_line(title: &str) -> String {
    // Only the beginning is read: a package may have a title of a megabyte.
    let end = title.char_indices().nth(4 * MAX_TITLE).map_or(title.len(), |(end, _)| end);
    let line = title[..end].split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_TITLE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_shortened_to_one_line() {
        assert_eq!(one_line(" A title\n\tin  lines "), "A title in lines");
        let longest = "é".repeat(MAX_TITLE);
        assert_eq!(one_line(&longest), longest);
        assert_eq!(one_line(&"é".repeat(900_000)), format!("{longest}…"));
        assert_eq!(one_line(&format!("a{}b", " ".repeat(900_000))), "a");
    }
}
