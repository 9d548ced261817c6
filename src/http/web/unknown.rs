//! The error for a package that a snapshot does not list: the days on which the repository lists it, and similar names.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::context::Context;
use crate::http::app::App;
use crate::http::error::{Failure, Payload, truncate};
use base::model::kind::Layout;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use content::serve::dependency_graph::{self, DependencyGraph};
use content::serve::history::{ListingScope, Subscriptions};
use content::serve::listing;
use formats::language;

/// Maximum length of a name that is compared with others, in characters.
const MAX_NAME: usize = 64;
/// Maximum number of similar names in the error.
const MAX_SIMILAR: usize = 3;
/// Minimum similarity of names (Jaro-Winkler), from 0 to 1.
const MIN_SIMILARITY: f64 = 0.88;

/// Limits the number of concurrent comparisons; each compares a name with all names of a snapshot.
static COMPARISONS: Semaphore = Semaphore::const_new(2);

/// Returns the 404 for a package that the snapshot does not list, as `message` states.
pub(super) async fn package(context: &Context<'_>, package: &str, message: String) -> Failure {
    if let Some(version) = context.query.get("version").filter(|version| !version.is_empty()) {
        // The package may have other versions, which its page lists.
        let (version, package) = (truncate(version), truncate(package));
        return Failure::not_found(format!("Version '{version}' of package '{package}' not found"));
    }
    let mut message = message;
    if let Some(days) = days(context, package).await {
        message.push_str("; ");
        message.push_str(&days);
    }
    let similar = similar_names(context.app, context.point, package).await;
    with_similar(context, message, similar)
}

/// As [`package`], for a project; `project` is the folded name.
pub(super) async fn project(context: &Context<'_>, project: &str, message: String) -> Failure {
    let has_version = context.query.get("version").is_some_and(|version| !version.is_empty());
    let similar =
        if has_version { Vec::new() } else { similar_projects(context.app, context.point, project).await };
    with_similar(context, message, similar)
}

/// Returns a 404 with links to the pages of similar names.
fn with_similar(context: &Context<'_>, mut message: String, similar: Vec<String>) -> Failure {
    if let [first, others @ ..] = similar.as_slice() {
        let others = others.iter().map(|name| format!(" or '{name}'")).collect::<String>();
        message.push_str(&format!("; did you mean '{first}'{others}?"));
    }
    let page = |name: String| {
        let address = context.root.package(&context.location, &name, "");
        (name, address)
    };
    let pages: Vec<(String, String)> = similar.into_iter().map(page).collect();
    let payload = (!pages.is_empty()).then(|| Box::new(Payload::Similar(pages)));
    Failure { payload, ..Failure::not_found(message) }
}

/// Returns a text with the days on which the repository lists the package; `None` if there are none.
async fn days(context: &Context<'_>, package: &str) -> Option<String> {
    let repositories = &context.app.repositories;
    let scope = ListingScope { snapshot: Snapshot::Latest, ..context.listing_scope() };
    let listings =
        Subscriptions::new(repositories, &scope).ok()?.listings(repositories, package).await.ok()?;
    let (newest, oldest) = (listings.listed.first()?, listings.listed.last()?);
    let first = oldest.from.day();
    Some(match newest.until {
        None if newest.is_only_dated => format!("dated snapshots of the repository list it since {first}"),
        None => format!("the repository lists it since {first}"),
        Some(until) => format!("the repository listed it from {first} until {}", until.day()),
    })
}

/// Returns the names of packages or projects of a point that are most similar to `name`, the most similar first.
pub(super) async fn similar(app: &App, point: &Point, name: &str) -> Vec<String> {
    match point.language.layout() {
        Layout::Lists => similar_names(app, point, name).await,
        Layout::Projects => similar_projects(app, point, &language::of(point.language).fold(name)).await,
    }
}

async fn similar_names(app: &App, point: &Point, package: &str) -> Vec<String> {
    if package.is_empty() || package.chars().nth(MAX_NAME).is_some() {
        return Vec::new();
    }
    let Ok(permit) = COMPARISONS.try_acquire() else { return Vec::new() };
    let Ok(graph) = dependency_graph::of_point(&app.repositories, point).await else {
        return Vec::new();
    };
    let package = package.to_owned();
    let names = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        similar_to(&graph, &package)
    });
    names.await.unwrap_or_default()
}

async fn similar_projects(app: &App, point: &Point, project: &str) -> Vec<String> {
    if project.is_empty() || project.chars().nth(MAX_NAME).is_some() {
        return Vec::new();
    }
    let Ok(permit) = COMPARISONS.try_acquire() else { return Vec::new() };
    let compared = project.to_owned();
    let choose = move |names: &mut dyn Iterator<Item = &str>| {
        let _permit = permit;
        most_similar(names, &compared)
    };
    let names = listing::names_near(&app.repositories, point, project.to_owned(), choose);
    names.await.unwrap_or_default()
}

fn similar_to(graph: &Arc<DependencyGraph>, package: &str) -> Vec<String> {
    most_similar(graph.names(), package)
}

fn most_similar<'a>(names: impl Iterator<Item = &'a str>, package: &str) -> Vec<String> {
    let package = package.to_lowercase();
    let similarity = |name: &str| strsim::jaro_winkler(&package, &name.to_lowercase());
    let mut names: Vec<(f64, &str)> = names
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    names.into_iter().take(MAX_SIMILAR).map(|(_, name)| name.to_owned()).collect()
}
