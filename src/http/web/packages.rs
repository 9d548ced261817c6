//! The lists of a snapshot, in pages: its packages, sorted and searched, and their known vulnerabilities.

use http::Response;

use super::answer;
use super::context::Context;
use super::home::title;
use super::unknown;
use crate::http::api::csv;
use crate::http::api::public::vulnerabilities;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use base::model::kind::{Language, SourceKind};
use base::model::point::Point;
use content::serve;
use content::serve::package_query::{PackageQuery, SortBy};
use content::serve::search::matches;
use formats::language;
use pages::packages::{List, PackageLine};
use pages::text::segment;
use pages::vulnerabilities::Vulnerabilities;
use runtime::catalog::Catalog;

const PER_PAGE: usize = 100;

/// Returns the page `page` of the packages that a search for `q` finds, sorted by `sort` in the order `order`;
/// with `format=csv` all of them by name.
pub(super) async fn answer(context: Context<'_>, head: &RequestHead<'_>) -> Result<Response<Body>, Failure> {
    match context.query.get("format") {
        None | Some("" | "html") => Ok(answer::page(head, list(context).await?, false)),
        Some("csv") => as_csv(&context, head).await,
        Some(_) => Err(Failure::bad_request("the parameter format must be csv or html")),
    }
}

fn searched(context: &Context<'_>) -> String {
    matches::searched(context.query.get("q"))
}

async fn as_csv(context: &Context<'_>, head: &RequestHead<'_>) -> Result<Response<Body>, Failure> {
    let Context { app, catalog, point, principal, .. } = *context;
    if let Some(language) = index_language(catalog, point) {
        let directory = language::of(language).nouns().directory;
        return Err(Failure::bad_request(format!(
            "the packages of an index of {} packages are not available as CSV; /{directory}/ lists their names",
            language.label()
        )));
    }
    let mut packages = serve::listing::listed_versions(&app.repositories, point).await?;
    let searched = searched(context);
    if !searched.is_empty() {
        let texts = Some(matches::find(&app.repositories, &[point], &searched).await);
        let query = PackageQuery { name_part: searched, texts, ..PackageQuery::default() };
        let found = serve::listing::found_names(&app.repositories, point, query).await?;
        packages.retain(|package| found.contains(&package.name));
    }
    Ok(csv::of_packages(head, &packages, |source| principal.source_name(catalog, source)))
}

/// Returns the language of an index of projects in a point: only requested projects have known versions.
pub(super) fn index_language(catalog: &Catalog, point: &Point) -> Option<Language> {
    let sources = point.trees.iter().filter_map(|tree| catalog.source_by_id(tree.source));
    let mut kinds = sources.map(|source| source.kind);
    kinds.find(|kind| kind.is_of_project_index()).map(SourceKind::language)
}

async fn list(context: Context<'_>) -> Result<String, Failure> {
    let Context { app, catalog, point, query, principal, .. } = context;
    let searched = searched(&context);
    let texts = match searched.is_empty() {
        true => None,
        false => Some(matches::find(&app.repositories, &[point], &searched).await),
    };
    let (key, sort) = match query.get("sort") {
        Some("version") => ("version", SortBy::Version),
        Some("published") => ("published", SortBy::Published),
        Some("source") => ("source", SortBy::Source),
        Some("name") => ("name", SortBy::Name),
        _ if texts.is_some() => ("relevance", SortBy::Relevance),
        _ => ("name", SortBy::Name),
    };
    let is_complete = texts.as_ref().is_none_or(|texts| texts.is_complete());
    let descending = query.get("order") == Some("desc");
    let page = query.page()?;
    let package_query = PackageQuery {
        name_part: searched.clone(),
        texts,
        sort,
        descending,
        exact_first: true,
        limit: PER_PAGE,
        offset: PER_PAGE * (page - 1),
        ..PackageQuery::default()
    };
    let listing = serve::listing::packages(&app.repositories, point, package_query).await?;
    let vulnerabilities = serve::vulnerabilities::current(&app.state).await;
    let rows = listing.packages.into_iter().map(|row| PackageLine {
        vulnerabilities: vulnerabilities.of(row.source, &row.name, &row.version).len(),
        published: row.published_at.map(|at| at.day()),
        source: principal.source_name(catalog, row.source),
        title: title(&row),
        display_name: row.display_name().to_owned(),
        name: row.name,
        version: row.version,
    });
    let json = format!("packages?search={}&_limit={PER_PAGE}&_page={page}", segment(&searched));
    let similar = match listing.total {
        0 if !searched.is_empty() => unknown::similar(app, point, &searched).await,
        _ => Vec::new(),
    };
    let first_packages = context.first_packages();
    let list = List {
        has_csv: index_language(catalog, point).is_none(),
        rows: rows.collect(),
        json: Some(context.api(&json)),
        first_packages,
        location: context.location,
        query: searched,
        is_complete,
        similar,
        sort: key.to_owned(),
        descending,
        page,
        pages: listing.total.div_ceil(PER_PAGE),
        total: listing.total,
    };
    Ok(list.render(context.root))
}

/// Returns a page of the known vulnerabilities, sorted by package and id.
pub(super) async fn vulnerabilities(context: Context<'_>) -> Result<String, Failure> {
    let Context { app, point, query, principal, .. } = context;
    let page = query.page()?;
    let (rows, total) =
        vulnerabilities::rows(app, point, principal, PER_PAGE * (page - 1)..PER_PAGE * page).await?;
    let list = Vulnerabilities {
        rows,
        total,
        page,
        pages: total.div_ceil(PER_PAGE),
        layout: context.repo.kind.layout(),
        printed: context.printed(),
        has_advisories: serve::vulnerabilities::current(&app.state).await.is_known(),
        json: Some(context.api(&format!("vulns?_limit={PER_PAGE}&_page={page}"))),
        location: context.location,
    };
    Ok(list.render(context.root))
}
