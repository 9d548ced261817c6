//! Lists as CSV (RFC 4180), for spreadsheets.

use http::Response;
use http::header::{self, HeaderValue};

use super::body::Body;
use super::response;
use crate::model::csv::cell;
use crate::model::ids::SourceId;
use crate::serve::difference::{Change, ListedPackage};

/// Returns the packages that differ between two snapshots as CSV; `name_of` returns the name of a source.
#[must_use]
pub(super) fn of_changes(changes: &[Change], name_of: impl Fn(SourceId) -> String) -> Response<Body> {
    let mut text = "name,kind,from_version,from_source,to_version,to_source,published\r\n".to_owned();
    for change in changes {
        let version = |listed: &Option<ListedPackage>| {
            listed.as_ref().map(|listed| listed.version.clone()).unwrap_or_default()
        };
        let source = |listed: &Option<ListedPackage>| {
            listed.as_ref().map(|listed| name_of(listed.source)).unwrap_or_default()
        };
        let published = change.to.as_ref().and_then(|listed| listed.published_at);
        let cells = [
            change.name.clone(),
            change.kind.as_str().to_owned(),
            version(&change.from),
            source(&change.from),
            version(&change.to),
            source(&change.to),
            published.map(|at| at.to_string()).unwrap_or_default(),
        ];
        text.push_str(&cells.map(|text| cell(&text)).join(","));
        text.push_str("\r\n");
    }
    let mut response = response::text("text/csv; charset=utf-8", text.into_bytes());
    let name = HeaderValue::from_static("attachment; filename=\"changes.csv\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
