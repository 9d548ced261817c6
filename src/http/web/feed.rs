//! The changes of a repository as an Atom feed.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use sha2::Digest as _;

use super::context::Context;
use super::repository::{newest_transactions, sources, summary};
use crate::http::base_url::{self, RequestHead};
use crate::http::body::Body;
use crate::http::conditional::{self, Precondition, Validators};
use crate::http::error::Failure;
use crate::http::etag;
use crate::http::response;
use crate::model::digest::Sha256;
use crate::model::snapshot::Snapshot;
use crate::model::time::{SECOND, Timestamp};
use crate::web::feed::{Entry, Feed};
use crate::web::text::segment;

/// Most entries of a feed.
const MAX_ENTRIES: usize = 100;
/// The time that a feed covers, in microseconds: 30 days.
const PERIOD: i64 = 30 * 86_400 * SECOND;

/// Answers with the transactions of the last 30 days.
///
/// # Errors
/// 404 for another snapshot than `latest`, failures of the stores.
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
    let transactions = newest_transactions(app, &sources, MAX_ENTRIES).await?;
    let Timestamp(now) = (app.state.clock)();
    let recent = transactions.iter().filter(|(tx, _)| tx.at.0 >= now.saturating_sub(PERIOD));
    let newest = transactions.first().map(|(tx, _)| tx.at);
    let feed = Feed {
        repo: context.location.repo.clone(),
        base: base_url::base_url(&app.site.load(), head),
        segment: segment(&context.location.repo),
        updated: newest.or(context.point.modified).unwrap_or(Timestamp(0)),
        entries: recent
            .map(|(tx, source)| Entry {
                transaction: tx.id.0,
                at: tx.at,
                source: (*source).to_owned(),
                summary: summary(tx),
            })
            .collect(),
    };
    let text = feed.render();
    let etag = etag::of_content(Sha256(sha2::Sha256::digest(text.as_bytes()).into()), true);
    let current = Validators { etag: Some(etag.as_bytes()), previous_etag: None, modified: None };
    let mut response = match conditional::precondition(&head.parts.headers, current) {
        Precondition::Proceed => response::text("application/atom+xml; charset=utf-8", text.into_bytes()),
        Precondition::NotModified => empty(StatusCode::NOT_MODIFIED),
        Precondition::Failed => empty(StatusCode::PRECONDITION_FAILED),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
