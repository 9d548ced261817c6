//! Lists as CSV (RFC 4180), for spreadsheets.

use http::Response;
use http::header::{self, HeaderValue};

use crate::http::base_url::RequestHead;
use crate::http::net::body::Body;
use crate::http::response;
use crate::http::web::answer;
use base::model::ids::SourceId;
use base::model::text::csv_cell;
use content::serve::difference::{Change, ListedPackage};
use content::serve::listing::ListedVersion;

/// Returns the packages that differ between two snapshots as CSV; `name_of` returns the name of a source.
pub(crate) fn of_changes(
    head: &RequestHead<'_>,
    changes: &[Change],
    name_of: impl Fn(SourceId) -> String,
) -> Response<Body> {
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
        push_row(&mut text, &cells);
    }
    response(head, text, "attachment; filename=\"changes.csv\"")
}

/// Returns the packages of a snapshot as CSV; `name_of` returns the name of a source.
pub(crate) fn of_packages<'a>(
    head: &RequestHead<'_>,
    packages: impl IntoIterator<Item = &'a ListedVersion>,
    name_of: impl Fn(SourceId) -> String,
) -> Response<Body> {
    let mut text = "name,version,source,published\r\n".to_owned();
    for package in packages {
        let ListedVersion { name, version, source, published_at, .. } = package;
        let published = published_at.map(|at| at.to_string()).unwrap_or_default();
        push_row(&mut text, &[name.clone(), version.clone(), name_of(*source), published]);
    }
    response(head, text, "attachment; filename=\"packages.csv\"")
}

fn push_row(text: &mut String, cells: &[String]) {
    text.push_str(&cells.iter().map(|text| csv_cell(text)).collect::<Vec<_>>().join(","));
    text.push_str("\r\n");
}

fn response(head: &RequestHead<'_>, text: String, disposition: &'static str) -> Response<Body> {
    let content = |bytes| response::text("text/csv; charset=utf-8", bytes);
    let mut response = answer::with_etag(head, text.into_bytes(), content);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
