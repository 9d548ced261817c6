//! Repositories of R packages: CRAN-like ones and Bioconductor.

pub(crate) mod bioconductor;
pub(crate) mod choose_platform;
mod locate;
pub(crate) mod platform_request;
mod resolve;

use std::borrow::Cow;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::download_log::{self, Completion, PackagePath, PackageRequest, RequestedBinary};
use super::resolve_cache::{Entry, EntryKey, Validity};
use super::{answer, project};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::repository_access;
use crate::http::net::body::Body;
use crate::http::response;
use crate::http::target::Query;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::r::bioconductor::PartName;
use formats::r::layout::RPath;
use platform_request::PlatformRequest;

/// A parsed address inside a repository of R packages.
pub(crate) struct Address<'a> {
    pub(crate) repo: &'a str,
    pub(crate) snapshot: Snapshot,
    /// The segment after `__linux__`.
    pub(crate) linux: Option<&'a str>,
    pub(crate) part: Option<PartName>,
    pub(crate) path: &'a RPath,
}

/// Answers a request for a document or a file, or redirects to the address of a directory.
pub(crate) async fn answer(
    app: &App,
    address: &Address<'_>,
    query: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let Address { repo, linux, path, .. } = *address;
    let RequestHead { parts, received_at, .. } = *head;
    project::refuse_list_path(app, repo)?;
    if let Some(name) = path.directory_without_slash() {
        let location = HeaderValue::try_from(name + "/").map_err(|_| Failure::no_such_address())?;
        return Ok(response::redirect(StatusCode::MOVED_PERMANENTLY, location));
    }
    // Determined before the resolution: a publish in between makes the cache entry outdated, not wrong.
    let validity = Validity::of(&app.state, received_at);
    let platform = choose_platform::choose(app, linux, path, parts, query).inspect_err(|failure| {
        let binary = linux.map(|distro| platform_request::unknown_distribution(distro, parts));
        record_failure(app, path, binary, failure, parts, received_at);
    })?;
    repository(app, address, validity, &platform, head).await.inspect_err(|failure| {
        record_failure(app, path, platform.requested_binary(parts), failure, parts, received_at);
    })
}

/// Returns a document or a file of a repository. `validity` are the versions that the resolution depends on.
async fn repository(
    app: &App,
    address: &Address<'_>,
    validity: Validity,
    platform: &PlatformRequest<'_>,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let Address { repo, snapshot, part, path: r_path, .. } = *address;
    let RequestHead { parts, path, received_at, .. } = *head;
    // `network` has looked up the entries that depend on the address alone, before it parsed the address.
    let (key, cached) = match platform.cache_key() {
        None => (Cow::Borrowed(path), None),
        Some(platform_key) => {
            let key = format!("{path} {platform_key}");
            let cached = app.resolve_cache.get(&app.state, received_at, EntryKey::of_path(&key), None);
            (Cow::Owned(key), cached)
        }
    };
    let entry = match cached {
        Some(entry) => entry,
        None => {
            let part = part.map(|part| bioconductor::resolve_part(app, repo, part, snapshot)).transpose()?;
            let resource = resolve::resolve(app, repo, part, snapshot, r_path, platform).await?;
            let entry = Entry { validity, access: repository_access(app, repo), resource };
            app.resolve_cache.insert(EntryKey::of_path(&key), entry)
        }
    };
    app.resolve_cache.insert_negotiated(
        validity,
        path,
        platform_request::user_agent(parts),
        platform,
        &entry,
    );
    Ok(answer::answer(app, &entry.resource, platform, parts, received_at).await)
}

fn record_failure(
    app: &App,
    path: &RPath,
    requested_binary: Option<RequestedBinary<'_>>,
    failure: &Failure,
    parts: &Parts,
    received_at: Timestamp,
) {
    let Some(package_path) = download_log::package_path(path).filter(|_| parts.method == Method::GET) else {
        return;
    };
    let PackagePath { package, version, archived } = package_path;
    let is_service_failure = failure.status.is_server_error();
    let error = failure.detail.as_deref().unwrap_or(&failure.phrase);
    let outcome = Completion::Failed { is_service_failure, error };
    app.recorder.record(
        &PackageRequest {
            received_at,
            package,
            version,
            archived,
            requested_binary,
            missing_binary: None,
            outcome,
        },
        false,
    );
}
