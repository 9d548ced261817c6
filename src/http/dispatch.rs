//! Dispatch of a request to its handler, once it has the permission that its route requires.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};

use super::app::App;
use super::base_url::RequestHead;
use super::body::Body;
use super::client_kind::client_kind;
use super::download_log::{self, Completion, PackagePath, PackageRequest, RequestedBinary};
use super::error::Failure;
use super::peer::Peer;
use super::permission::{Principal, is_unknown_repository, repository_access};
use super::r::platform_request::{self, PlatformRequest};
use super::r::{answer, bioconductor, choose_platform, resolve};
use super::request_body::Incoming;
use super::resolve_cache::{Entry, EntryKey, Validity};
use super::response::{self, ErrorFormat};
use super::route::repo_path::RepoPath;
use super::route::web::WebPath;
use super::route::{self, Route};
use super::target::Query;
use super::{admin, login, public, python, web};
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use formats::python::layout::PythonPath;
use formats::r::bioconductor::PartName;
use formats::r::layout::RPath;
use tasks::usage::BlockedRequest;

/// Handles a request from the network.
pub(super) async fn network(app: &Arc<App>, head: &RequestHead<'_>, body: Incoming) -> Response<Body> {
    let RequestHead { parts, path, received_at, .. } = *head;
    let query = parts.uri.query();
    let key = EntryKey { path, format: python::page_format(path, query, parts) };
    if let Some(entry) = app.resolve_cache.get(&app.state, received_at, key, query) {
        return answer_cached(app, &entry, &PlatformRequest::NoBinaries, head).await;
    }
    let agent = platform_request::user_agent(parts);
    if let Some(negotiated) = app.resolve_cache.get_negotiated(&app.state, received_at, path, query, agent) {
        return answer_cached(app, &negotiated.entry, &negotiated.platform_request(), head).await;
    }
    match route::parse(&parts.method, path, query, app.limits.target_bytes) {
        Err(failure) => {
            let is_page = route::page::is_page_path(path);
            let mut response = if is_page {
                web::answer::failure_page(head, &failure)
            } else if route::page::is_repository_path(path) {
                repository_failure(head, &failure)
            } else {
                response::failure(&failure, ErrorFormat::of_path(path))
            };
            let catalog = app.state.catalog.get();
            let segment = route::repository_segment(path);
            let is_private = catalog.repo_by_name_or_id(segment).is_some_and(|repo| repo.authenticated);
            let is_of_session = is_page && has_session(head);
            if is_of_session {
                forbid_storing(&mut response);
            }
            // SECURITY: a name without a repository gets the same response as a private one.
            let is_closed = app.state.config.load().authentication.require_auth_for_ui;
            let looks_private = is_private || (is_closed && is_unknown_repository(&catalog, segment));
            if is_of_session || looks_private {
                response::restrict_to_client(&mut response);
            }
            response
        }
        // Boxed, because the futures of all routes together are large, and each request would move them.
        Ok((route, query)) => Box::pin(read(app, route, &query, head, body)).await,
    }
}

/// Answers from a cached entry, if the client may read its repository.
async fn answer_cached(
    app: &App,
    entry: &Entry,
    platform: &PlatformRequest<'_>,
    head: &RequestHead<'_>,
) -> Response<Body> {
    let RequestHead { parts, path, received_at, principal, .. } = *head;
    if entry.access.authenticated {
        let requested = route::repository_segment(path);
        if let Err(failure) = principal.require_repository(entry.access, requested) {
            return response::failure(&failure, ErrorFormat::Text);
        }
    }
    let mut response = answer::answer(app, &entry.resource, platform, parts, received_at).await;
    if entry.access.authenticated {
        response::restrict_to_client(&mut response);
    }
    response
}

/// Returns the error at the address of a repository without a snapshot: a page for browsers, text for programs.
fn repository_failure(head: &RequestHead<'_>, failure: &Failure) -> Response<Body> {
    let mut response = if head.accepts_html() {
        web::answer::failure_page(head, failure)
    } else {
        response::failure(failure, ErrorFormat::Text)
    };
    response.headers_mut().append(http::header::VARY, http::HeaderValue::from_static("Accept"));
    response
}

/// Handles a route outside the admin API, if the client has the permission that it requires.
pub(super) async fn read(
    app: &Arc<App>,
    route: Route,
    query: &Query,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Response<Body> {
    let RequestHead { parts, path, received_at, .. } = *head;
    let format = route.error_format();
    let is_page = route.is_page();
    let is_repository = matches!(route, Route::Latest { .. });
    let failed = |failure: &Failure| match (is_page, is_repository) {
        (true, _) => web::answer::failure_page(head, failure),
        (false, true) => repository_failure(head, failure),
        (false, false) => response::failure(failure, format),
    };
    let is_of_session = is_page && has_session(head);
    let finished = |mut response: Response<Body>, is_restricted: bool| {
        if is_of_session {
            forbid_storing(&mut response);
        }
        if is_restricted {
            response::restrict_to_client(&mut response);
        }
        response
    };
    // A page also names the account, and what only this client may see.
    let is_personal = is_page && *head.principal != Principal::Anonymous;
    let mut is_restricted = match require_permission(app, &route, head.principal) {
        Ok(is_restricted) => is_restricted,
        Err(failure) => {
            if let (Route::UploadPython { .. }, Principal::Token(token)) = (&route, head.principal) {
                let address = app.site.load().client_address(head.peer, &parts.headers);
                let request = format!("{} {path}", parts.method);
                admin::record_refusal(app, (token, address), &request, &failure).await;
            }
            return match login::redirect_to_start(app, &route, head, &failure) {
                Some(redirect) => redirect,
                None => finished(failed(&failure), is_personal),
            };
        }
    };
    is_restricted |= is_personal;
    let result = match route {
        Route::Ping => Ok(response::json(http::StatusCode::OK, &serde_json::json!({}))),
        Route::Home => answer_within_budget(app, head.peer, web::home::answer(app, query, head)).await,
        Route::Manual(name) => {
            let page = async { web::manual::answer(app, &name, head) };
            answer_within_budget(app, head.peer, page).await
        }
        Route::Asset(file) => web::asset::answer(&file, head),
        Route::Favicon => Ok(web::asset::favicon(head)),
        Route::Robots => Ok(web::asset::robots()),
        Route::Latest { repo, trailing_slash: slash } => {
            web::repository::redirect(&app.state.catalog.get(), &repo, slash, query)
        }
        Route::PackageLink { location, .. } => {
            Ok(response::redirect(http::StatusCode::MOVED_PERMANENTLY, response::header_value(location)))
        }
        Route::RepositoryPage { repo, snapshot, linux } => {
            let page = web::repository::answer(app, &repo, snapshot, linux.as_deref(), query, head);
            answer_within_budget(app, head.peer, page).await
        }
        route @ Route::Web { .. } => match web_page(app, &route, query, head, body).await {
            Ok((response, is_restricted_now)) => {
                is_restricted |= is_restricted_now;
                Ok(response)
            }
            Err(failure) => Err(failure),
        },
        Route::Versions { repo, snapshot } => bioconductor::versions(app, &repo, snapshot, parts).await,
        Route::Repository {
            repo,
            snapshot,
            path: RepoPath::Python(PythonPath::Json { project, version }),
        } => {
            let document = (&project, version.as_deref());
            let response = python::json::answer(app, (repo.as_str(), snapshot), document, head);
            answer_within_budget(app, head.peer, response).await
        }
        Route::Repository { repo, snapshot, path: RepoPath::Python(python_path) } => {
            let address = python::Address { repo: &repo, snapshot, path: &python_path, raw: path };
            python::answer(app, &address, query, parts, received_at).await
        }
        Route::Repository { repo, snapshot, path: rest } => {
            let (linux, part, r_path) = match &rest {
                RepoPath::R { linux, path } => (linux.as_deref(), None, path),
                RepoPath::Bioconductor { linux, part, path } => (linux.as_deref(), Some(*part), path),
                RepoPath::Python(_) => return response::failure(&Failure::no_such_address(), format),
            };
            if let Err(failure) = python::refuse_r_path(app, &repo) {
                let mut response = response::failure(&failure, format);
                if is_restricted {
                    response::restrict_to_client(&mut response);
                }
                return response;
            }
            if let Some(name) = r_path.directory_without_slash() {
                let location =
                    http::HeaderValue::try_from(name + "/").map_err(|_| Failure::no_such_address());
                let result = location.map(|at| response::redirect(http::StatusCode::MOVED_PERMANENTLY, at));
                return finished(result.unwrap_or_else(|failure| failed(&failure)), is_restricted);
            }
            // Determined before the resolution: a publish in between makes the cache entry outdated, not wrong.
            let validity = Validity::of(&app.state, received_at);
            let address = Address { repo: &repo, snapshot, part, r_path, path, validity };
            match choose_platform::choose(app, linux, r_path, parts, query) {
                Err(failure) => {
                    let binary = linux.map(|distro| platform_request::unknown_distribution(distro, parts));
                    record_failure(app, r_path, binary, &failure, parts, received_at);
                    Err(failure)
                }
                Ok(platform) => {
                    repository(app, &address, &platform, parts, received_at).await.inspect_err(|failure| {
                        record_failure(
                            app,
                            r_path,
                            platform.requested_binary(parts),
                            failure,
                            parts,
                            received_at,
                        );
                    })
                }
            }
        }
        Route::UploadPython { source } => python::upload::answer(app, &source, head, body).await,
        Route::Login(route) => login::answer(app, route, query, head, body).await,
        Route::PublishingAudience => python::trusted_publishing::audience(app),
        Route::MintToken => python::trusted_publishing::mint(app, head, body).await,
        // Memory for the response is reserved only after the request body has arrived.
        Route::Public(route) => match public::request_body(app, &route, &parts.method, body).await {
            Ok(body) => {
                answer_within_budget(app, head.peer, public::answer(app, &route, query, head, body)).await
            }
            Err(failure) => Err(failure),
        },
        // `services` handles these: a control request must release the app before it ends, which is not possible here.
        Route::Admin(_) | Route::Administration(_) => Err(Failure::no_such_address()),
    };
    if let Err(failure) = &result {
        count_blocked(app, failure, parts, received_at);
    }
    finished(result.unwrap_or_else(|failure| failed(&failure)), is_restricted)
}

/// Returns true if the client of a request is a browser with a session.
fn has_session(head: &RequestHead<'_>) -> bool {
    matches!(head.principal, Principal::Token(_))
        && !head.parts.headers.contains_key(http::header::AUTHORIZATION)
}

/// Forbids browsers to store a response: after the sign-out, the history of the browser has nothing of the session.
fn forbid_storing(response: &mut Response<Body>) {
    let value = http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(http::header::CACHE_CONTROL, value);
}

/// Returns a page of a snapshot, and whether it is only for clients with a token or a session according to a check after
/// the body.
async fn web_page(
    app: &App,
    route: &Route,
    query: &Query,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Result<(Response<Body>, bool), Failure> {
    let Route::Web { repo, snapshot, path } = route else { return Err(Failure::no_such_address()) };
    let (posted, is_restricted) = match head.parts.method {
        Method::POST => {
            let posted = web::lock_file::read(app, body, head).await?;
            // SECURITY: the body may have taken a minute. Meanwhile the token may have been revoked, and the repository
            // may have become authenticated.
            head.principal.require_valid(app)?;
            (Some(posted), require_permission(app, route, head.principal)?)
        }
        _ => (None, false),
    };
    let client = app.client(head.peer);
    let reservation = match path {
        WebPath::File(..) => app.response_budget.reserve_for_file(client).await?,
        _ => app.response_budget.reserve(client)?,
    };
    let page = web::snapshot_page::answer(app, repo.as_str(), *snapshot, path, query, head, posted);
    Ok((reservation.charge(page.await?)?, is_restricted))
}

/// Counts a request for a file or a page that a block rule refused.
fn count_blocked(app: &App, failure: &Failure, parts: &Parts, received_at: Timestamp) {
    let Some(blocked) = failure.blocked_release().filter(|_| parts.method == Method::GET) else { return };
    app.usage.count_blocked(&BlockedRequest {
        at: received_at,
        rule: blocked.rule,
        package: &blocked.package,
        version: &blocked.version,
        client: client_kind(platform_request::user_agent(parts)),
    });
}

/// Checks that the client may use a route. Returns true if the response is only for clients with a token or a session.
fn require_permission(app: &App, route: &Route, client: &Principal) -> Result<bool, Failure> {
    client.require_public(app, route.access(), route.is_interface())
}

/// Makes a response within the memory budget of responses.
async fn answer_within_budget(
    app: &App,
    peer: Peer,
    response: impl Future<Output = Result<Response<Body>, Failure>>,
) -> Result<Response<Body>, Failure> {
    let reservation = app.response_budget.reserve(app.client(peer))?;
    reservation.charge(response.await?)
}

/// A parsed address inside a repository.
struct Address<'a> {
    repo: &'a str,
    snapshot: Snapshot,
    part: Option<PartName>,
    r_path: &'a RPath,
    path: &'a str,
    /// The versions that the resolution depends on, determined before resolving.
    validity: Validity,
}

/// Returns a document or a file of a repository.
async fn repository(
    app: &App,
    address: &Address<'_>,
    platform: &PlatformRequest<'_>,
    parts: &Parts,
    received_at: Timestamp,
) -> Result<Response<Body>, Failure> {
    let Address { repo, snapshot, part, r_path, path, validity } = *address;
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

/// Records a request for a package file that failed before a file was found.
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
