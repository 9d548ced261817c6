//! Provenance objects of files (PEP 740): their addresses on pages, and the responses at them.

use http::Response;
use http::header::HeaderValue;
use http::request::Parts;

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::repo::document;
use base::model::digest::Sha256;
use base::model::loopback::is_https_or_loopback;
use base::model::point::Point;
use base::model::project_path::FilePart;
use base::model::snapshot::Snapshot;
use content::serve;
use content::serve::project::document::ProvenanceLinks;
use content::serve::python::provenance;

/// Returns the base URL of provenance objects; `None` if `Server.Address` is not a secure origin (PEP 740).
pub(in crate::http::repo) fn links(
    app: &App,
    point: &Point,
    repo: &str,
    snapshot: Snapshot,
) -> ProvenanceLinks {
    let site = app.site.load();
    let server = site.address.as_deref().filter(|server| is_https_or_loopback(server))?;
    let base = provenance::link_base(&app.repositories, point, repo, snapshot);
    Some(format!("{server}/packages/{base}").into())
}

/// Answers a GET or HEAD. Fails with 404 without the file or its provenance, 502 if the object of the index
/// is invalid, 503 if the index does not answer.
pub(in crate::http::repo) async fn answer(
    app: &App,
    repo: &str,
    snapshot: Snapshot,
    sha256: Sha256,
    file: &str,
    parts: &Parts,
) -> Result<Response<Body>, Failure> {
    let point = serve::point::resolve(&app.repositories, repo, snapshot).await?;
    let bytes = provenance::object(&app.repositories, &point, sha256, file).await?;
    let media_type = HeaderValue::from_static(FilePart::Provenance.media_type());
    // The index may add attestations.
    Ok(document::answer_bytes(bytes, media_type, true, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_and_loopback_are_secure_origins() {
        for secure in ["https://h/prefix", "http://localhost:4242", "http://127.0.0.1", "http://[::1]:80"] {
            assert!(is_https_or_loopback(secure), "{secure}");
        }
        for other in ["http://h", "http://192.0.2.1", "http://localhost.example.org", "h"] {
            assert!(!is_https_or_loopback(other), "{other}");
        }
    }
}
