//! Answers requests for the documents of PyPI's JSON API at a snapshot: `pypi/{project}/json` and
//! `pypi/{project}/{version}/json`. With absolute links and current advisories, they are rendered for each
//! request; their `ETag` is the digest of the text.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::project::{self, Base};
use crate::http::app::App;
use crate::http::base_url::{self, RequestHead};
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::repo::conditional::accepts_gzip;
use crate::http::repo::document;
use crate::http::response::{self, Representation, RepresentationKind, Vary, header_value};
use api::error::Code;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::model::snapshot::Snapshot;
use content::serve::project::detail::{self, ProjectDetail};
use content::serve::python::metadata;
use content::serve::{self, encoding};

/// Answers a GET or HEAD of the document of a project, or of one of its versions, in any equivalent spelling.
pub(in crate::http) async fn answer(
    app: &App,
    repo: &str,
    snapshot: Snapshot,
    project: &ProjectName,
    version: Option<&str>,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    if !matches!(head.parts.method, Method::GET | Method::HEAD) {
        return Err(Failure::method_not_allowed("GET, HEAD"));
    }
    let point = serve::point::resolve(&app.repositories, repo, snapshot).await?;
    let detail = detail::project(&app.repositories, &point, project.as_str(), version).await?;
    let metadata = metadata::of_release(&app.repositories, &point, &detail.release).await;
    let advisories = serve::vulnerabilities::current(&app.state).await;
    let server = base_url::base_url(&app.site.load(), head);
    let base = Base { server, repository: format!("{repo}/{snapshot}") };
    let has_releases = version.is_none();
    let (open, last_serial) = (detail.open, serial(&detail));
    let encoded = accepts_gzip(&head.parts.headers);
    // A project may have thousands of files.
    let rendered = tokio::task::spawn_blocking(move || {
        let findings = advisories.of(detail.source, detail.project.as_str(), &detail.release.version);
        let mut document = json!({
            "info": project::info(&detail, metadata.as_deref(), &base),
            "last_serial": last_serial,
            "urls": project::files(&detail.release, &base),
            "vulnerabilities": project::vulnerabilities(&findings),
        });
        if has_releases {
            document["releases"] = project::releases(&detail.releases, &base);
        }
        let text = document.to_string();
        let content = Sha256::of(&text);
        let bytes = if encoded { encoding::compress(text.as_bytes()) } else { Ok(text.into_bytes()) };
        bytes.map(|bytes| (content, Bytes::from(bytes)))
    });
    let rendered = rendered.await.map_err(|_| Failure::unavailable("the server is stopping", 5))?;
    let internal = |error: std::io::Error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, error.to_string())
    };
    let (content, bytes) = rendered.map_err(internal)?;
    let representation = Representation {
        etag: Some(document::content_etag(content, encoded)),
        previous_etag: None,
        modified: None,
        vary: Vary::AcceptEncoding,
        kind: RepresentationKind::Document {
            media_type: HeaderValue::from_static("application/json"),
            open,
            accept_ranges: false,
            encoded,
            // Mirrors request this document too, and refuse one that is older than their list.
            last_serial: Some(HeaderValue::from(last_serial)),
        },
    };
    Ok(match response::check_preconditions(&representation, None, head.parts) {
        Some(response) => response,
        None => {
            let size = bytes.len() as u64;
            let body = if head.parts.method == Method::HEAD { Body::empty() } else { Body::full(bytes) };
            response::whole(&representation, Some(size), body)
        }
    })
}

/// Redirects the raw path `/{repository}/{snapshot}/pypi/…` to a document. `query` begins with a question mark.
pub(in crate::http) fn redirect(
    raw: &str,
    project: &ProjectName,
    version: Option<&str>,
    query: &str,
) -> Response<Body> {
    let depth = raw.split('/').count().saturating_sub(5);
    let location = format!("{}{}{query}", "../".repeat(depth), project::json_link(project, version));
    response::redirect(StatusCode::MOVED_PERMANENTLY, header_value(location))
}

/// Returns the serial of the last change, which increases with every change, as on PyPI; for a project
/// without one, the time of the change in microseconds since the epoch, or 0.
fn serial(detail: &ProjectDetail) -> u64 {
    let changed_at = detail.changed_at.and_then(|at| u64::try_from(at.0).ok());
    detail.serial.or(changed_at).unwrap_or(0)
}
