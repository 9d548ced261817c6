//! Proofs from the log that a repository had an index, or a package, on a day.

use http::Response;
use http::header::HeaderValue;
use http::request::Parts;

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::repo::{document, project};
use base::model::snapshot::Snapshot;
use content::serve::proofs;
use formats::r::layout::RepoFileName;

/// Answers a GET or HEAD with the proof of the index, or of the record of a file. Fails with 404 for a snapshot that is not
/// a day, a day that is not over, and a file that the index does not list.
pub(crate) async fn answer(
    app: &App,
    repo: &str,
    snapshot: Snapshot,
    file: Option<&RepoFileName>,
    parts: &Parts,
) -> Result<Response<Body>, Failure> {
    project::refuse_list_path(app, repo)?;
    let package_file = file.and_then(RepoFileName::package_file);
    let bytes = proofs::of_day(&app.repositories, repo, snapshot, package_file).await?;
    let bytes = bytes.ok_or_else(|| {
        Failure::not_found(format!(
            "the index of {snapshot} does not list {}",
            file.map_or("", RepoFileName::as_str)
        ))
    })?;
    // The next checkpoint gives another proof of the same.
    Ok(document::answer_bytes(bytes, HeaderValue::from_static("text/plain; charset=utf-8"), true, parts))
}
