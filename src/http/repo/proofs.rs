//! Proofs from the log that a repository had an index, a package or a file in a snapshot.

use http::Response;
use http::header::HeaderValue;
use http::request::Parts;

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use crate::http::repo::{document, r};
use base::model::snapshot::Snapshot;
use content::serve::proofs;
use formats::r::bioconductor::PartName;
use formats::tlog::record_proof::Member;

/// Answers a GET or HEAD with the proof of the state, or of the record of a member. Fails with 404 for a day that is not
/// over, for a snapshot without an entry, and for a member that the state does not have.
pub(crate) async fn answer(
    app: &App,
    repo: &str,
    snapshot: Snapshot,
    part: Option<PartName>,
    member: Option<Member>,
    parts: &Parts,
) -> Result<Response<Body>, Failure> {
    let part = match part {
        Some(part) => Some(r::bioconductor::resolve_part(app, repo, part, snapshot)?),
        None => None,
    };
    let name = match &member {
        Some(Member::Package { package, version }) => format!("{package} {version}"),
        Some(Member::File { name, .. }) => name.clone(),
        None => String::new(),
    };
    let bytes = proofs::of_snapshot(&app.repositories, repo, part, snapshot, member).await?;
    let bytes =
        bytes.ok_or_else(|| Failure::not_found(format!("the state of {snapshot} does not list {name}")))?;
    // The next checkpoint gives another proof of the same.
    Ok(document::answer_bytes(bytes, HeaderValue::from_static("text/plain; charset=utf-8"), true, parts))
}
