//! Atom feeds: the changes of a repository, the versions of a package, the vulnerabilities of a repository.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::answer;
use super::context::Context;
use super::project;
use super::repository::{newest_events, sources};
use crate::http::api::public::vulnerabilities::last_changed;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::response;
use api::public::vulnerability::AffectedPackage;
use base::model::snapshot::Snapshot;
use base::model::time::{SECOND, Timestamp};
use content::serve;
use content::serve::history::{Listings, Subscriptions};
use pages::feed::{Feed, VersionEntry, VersionFeed, VulnerabilityFeed};
use pages::text::segment;
use runtime::catalog::Repository;

const MAX_ENTRIES: usize = 100;
/// The period that a feed covers, in microseconds: 30 days.
const PERIOD: i64 = 30 * 86_400 * SECOND;

/// Answers with the changes of the last 30 days: transactions of the sources, and of the list of
/// subscriptions. Fails with 404 for any snapshot but `latest`.
pub(super) async fn answer(
    context: &Context<'_>,
    snapshot: Snapshot,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    if snapshot != Snapshot::Latest {
        return Err(Failure::not_found("the feed of a repository is below /latest/"));
    }
    let app = context.app;
    let sources = sources(context.catalog, context.repo, context.point, snapshot, head);
    let events = newest_events(app, context.repo, &sources, context.principal, MAX_ENTRIES).await?;
    let Timestamp(now) = (app.state.clock)();
    let newest = events.first().map(|event| event.at);
    let recent = events.into_iter().filter(|event| event.at.0 >= now.saturating_sub(PERIOD));
    let feed = Feed {
        repo: context.location.repo.clone(),
        base: base_url::base_url(&app.site.load(), head),
        segment: segment(&context.location.repo),
        updated: updated(context.repo, [newest, context.repo.steps.last().map(|step| step.at)]),
        entries: recent.collect(),
    };
    Ok(response(head, feed.render()))
}

/// Answers with the versions of a package that the repository listed, by its subscriptions at each time.
/// Fails with 404 for any snapshot but `latest`, and for a package that was never listed.
pub(super) async fn of_package(
    context: &Context<'_>,
    package: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    if context.snapshot != Snapshot::Latest {
        return Err(Failure::not_found("the feed of a package is below /latest/"));
    }
    let app = context.app;
    // A package that the repository does not list any more has a history.
    let detail = match project::detail(context, package).await {
        Err(failure) if failure.status != StatusCode::NOT_FOUND => return Err(failure),
        detail => detail,
    };
    let subscriptions = Subscriptions::new(&app.repositories, &context.listing_scope())?;
    // The feed is about `latest`: it has no version that a rule hides there.
    let Listings { listed, hidden, .. } = subscriptions.newest_listings(&app.repositories, package).await?;
    let detail = match detail {
        Err(failure) if listed.is_empty() => return Err(failure),
        detail => detail.ok(),
    };
    // A rule that hides the newest version does not make the feed older.
    let newest = [listed.first().map(|version| version.from), hidden.iter().map(|hidden| hidden.from).max()];
    let is_served = |version: &str| {
        let mut releases =
            detail.iter().flat_map(|detail| std::iter::once(&detail.release).chain(&detail.others));
        releases.any(|release| release.version == version)
    };
    let entries = listed.into_iter().take(MAX_ENTRIES).map(|listed| VersionEntry {
        source: context.principal.source_name(context.catalog, listed.source),
        is_served: is_served(&listed.version),
        version: listed.version,
        at: listed.from,
    });
    let feed = VersionFeed {
        repo: context.location.repo.clone(),
        package: package.to_owned(),
        is_served: detail.is_some(),
        address: format!(
            "{}/{}/latest/web/packages/{}",
            base_url::base_url(&app.site.load(), head),
            segment(&context.location.repo),
            segment(package)
        ),
        updated: updated(context.repo, newest),
        entries: entries.collect(),
    };
    Ok(response(head, feed.render()))
}

/// Answers with the vulnerabilities of a repository's packages, last changed first. 404 for any snapshot but `latest`.
pub(super) async fn of_vulnerabilities(
    context: &Context<'_>,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    if context.snapshot != Snapshot::Latest {
        return Err(Failure::not_found("the feed of vulnerabilities is below /latest/"));
    }
    let Context { app, point, principal, .. } = context;
    let affected = last_changed(app, point, principal, MAX_ENTRIES).await?;
    let changed = |affected: &AffectedPackage| {
        let time = affected.modified.as_ref().or(affected.published.as_ref());
        time.and_then(|time| time.parse().ok()).unwrap_or(Timestamp(0))
    };
    let entries: Vec<_> = affected.into_iter().map(|affected| (changed(&affected), affected)).collect();
    // Of all advisories: a publish, an unsubscription, or a withdrawn advisory may remove the newest entry.
    let language = context.repo.kind.language();
    let advisories = serve::vulnerabilities::current(&app.state).await;
    let newest = [entries.first().map(|(changed, _)| *changed), advisories.last_change(language)];
    let feed = VulnerabilityFeed {
        repo: context.location.repo.clone(),
        folder: format!(
            "{}/{}/latest/web",
            base_url::base_url(&app.site.load(), head),
            segment(&context.location.repo)
        ),
        updated: updated(context.repo, newest),
        entries,
    };
    Ok(response(head, feed.render()))
}

/// Returns the time of the last change of a feed about a repository, at least that of its creation.
fn updated(repo: &Repository, times: impl IntoIterator<Item = Option<Timestamp>>) -> Timestamp {
    times.into_iter().flatten().fold(repo.created_at, Timestamp::max)
}

fn response(head: &RequestHead<'_>, text: String) -> Response<Body> {
    let content = |bytes| response::text("application/atom+xml; charset=utf-8", bytes);
    let mut response = answer::with_etag(head, text.into_bytes(), content);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
