//! Dispatch of a request to its handler, once it has the permission that its route requires.

use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::http::api::{admin, public};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::log;
use crate::http::login::permission::{Principal, is_unknown_repository};
use crate::http::net::body::Body;
use crate::http::net::request_body::Incoming;
use crate::http::repo::r::platform_request::{self, PlatformRequest};
use crate::http::repo::r::{self, bioconductor};
use crate::http::repo::resolve_cache::{Entry, EntryKey};
use crate::http::repo::{answer, project, proofs, python};
use crate::http::response::{self, ErrorFormat};
use crate::http::route::repo_path::RepoPath;
use crate::http::route::web::{PackagePage, WebPath};
use crate::http::route::{self, Route};
use crate::http::target::Query;
use crate::http::{login, web};
use base::model::project_path::ProjectPath;
use base::model::time::Timestamp;
use tasks::usage::BlockedRequest;

pub(super) async fn network(app: &Arc<App>, head: &RequestHead<'_>, body: Incoming) -> Response<Body> {
    let RequestHead { parts, path, received_at, .. } = *head;
    let query = parts.uri.query();
    let key = EntryKey { path, format: project::page_format(path, query, parts) };
    if let Some(entry) = app.resolve_cache.get(&app.state, received_at, key, query) {
        return answer_cached(app, &entry, &PlatformRequest::NoBinaries, head).await;
    }
    let agent = platform_request::user_agent(parts);
    if let Some(negotiated) = app.resolve_cache.get_negotiated(&app.state, received_at, path, query, agent) {
        return answer_cached(app, &negotiated.entry, &negotiated.platform_request(), head).await;
    }
    match route::parse(&parts.method, path, query, app.limits.target_bytes) {
        Err(failure) => {
            let is_page = route::web::is_page_path(path);
            let mut response = if is_page {
                web::answer::failure_page(head, &failure)
            } else if route::web::is_repository_path(path) {
                repository_failure(head, &failure)
            } else {
                response::failure(&failure, ErrorFormat::of_path(path))
            };
            let catalog = app.state.catalog.get();
            let segment = route::repository_segment(path);
            let is_private = catalog.repo_by_name_or_id(segment).is_some_and(|repo| repo.authenticated);
            let is_of_session = is_page && has_session(head);
            // SECURITY: a name without a repository gets the same response as a private one.
            let is_closed = app.state.config.load().authentication.require_auth_for_ui;
            let looks_private = is_private || (is_closed && is_unknown_repository(&catalog, segment));
            Privacy { is_of_session, is_restricted: is_of_session || looks_private }.apply(&mut response);
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
    response.headers_mut().append(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Who may store a response.
struct Privacy {
    /// Whether it is a page of a browser with a session: the history of the browser keeps nothing after the sign-out.
    is_of_session: bool,
    /// Whether it is only for this client, so that shared caches do not store it.
    is_restricted: bool,
}

impl Privacy {
    fn apply(&self, response: &mut Response<Body>) {
        if self.is_of_session {
            response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.is_restricted {
            response::restrict_to_client(response);
        }
    }
}

pub(super) async fn read(
    app: &Arc<App>,
    route: Route,
    query: &Query,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Response<Body> {
    let RequestHead { parts, path, received_at, .. } = *head;
    let is_page = route.is_page();
    let mut privacy = Privacy {
        is_of_session: is_page && has_session(head),
        // A page also names the account, and what only this client may see.
        is_restricted: is_page && *head.principal != Principal::Anonymous,
    };
    let catalog = app.state.catalog.get();
    let result = match require_permission(app, &route, head.principal) {
        Ok(is_restricted) => {
            privacy.is_restricted |= is_restricted;
            let mut result = serve(app, &route, query, head, body).await;
            // SECURITY: while the request waited, for its body, memory or an index, the token may have been revoked, and the
            // name in the address may have become that of a repository that the client may not read.
            if route.is_read() {
                result = result.and_then(|response| {
                    head.principal.require_valid(app)?;
                    if !Arc::ptr_eq(&catalog, &app.state.catalog.load()) {
                        privacy.is_restricted |= require_permission(app, &route, head.principal)?;
                    }
                    Ok(response)
                });
            }
            result.inspect_err(|failure| count_blocked(app, failure, parts, received_at))
        }
        Err(failure) => {
            if let (Route::UploadPython { .. }, Principal::Token(token)) = (&route, head.principal) {
                let address = app.site.load().client_address(head.peer, &parts.headers);
                let request = format!("{} {path}", parts.method);
                admin::record_refusal(app, token, address, &request, &failure).await;
            }
            if let Some(redirect) = login::redirect_to_start(app, &route, head, &failure) {
                return redirect;
            }
            Err(failure)
        }
    };
    let mut response = result.unwrap_or_else(|failure| match route {
        Route::Latest { .. } => repository_failure(head, &failure),
        _ if is_page => web::answer::failure_page(head, &failure),
        _ => response::failure(&failure, route.error_format()),
    });
    privacy.apply(&mut response);
    response
}

async fn serve(
    app: &Arc<App>,
    route: &Route,
    query: &Query,
    head: &RequestHead<'_>,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let RequestHead { parts, path: raw, received_at, .. } = *head;
    match route {
        Route::Ping => Ok(response::json(StatusCode::OK, &serde_json::json!({}))),
        Route::Home => answer_within_budget(app, head, web::home::answer(app, query, head)).await,
        Route::Manual(name) => {
            answer_within_budget(app, head, async { web::asset::manual(app, name, head) }).await
        }
        Route::Asset(file) => web::asset::answer(file, head),
        Route::OpenSearch => Ok(web::asset::open_search(app, head)),
        Route::Favicon => Ok(web::asset::favicon(head)),
        Route::Robots => Ok(web::asset::robots()),
        Route::Latest { repo, trailing_slash } => {
            web::repository::redirect(&app.state.catalog.get(), repo, *trailing_slash, query)
        }
        Route::PackageLink { location, .. } => {
            Ok(response::redirect(StatusCode::MOVED_PERMANENTLY, response::header_value(location.clone())))
        }
        Route::RepositoryPage { repo, snapshot, linux } => {
            let page = web::repository::answer(app, repo, *snapshot, linux.as_deref(), query, head);
            answer_within_budget(app, head, page).await
        }
        Route::Web { repo, snapshot, path } => {
            let posted = match parts.method {
                Method::POST => Some(web::lock_file::read(app, body, head).await?),
                _ => None,
            };
            let client = app.client(head.peer);
            let reservation = match path {
                WebPath::Package(_, PackagePage::File(_)) => {
                    app.response_budget.reserve_for_file(client).await?
                }
                _ => app.response_budget.reserve(client)?,
            };
            let page = web::snapshot_page::answer(app, repo, *snapshot, path, query, head, posted);
            reservation.charge(page.await?)
        }
        Route::Versions { repo, snapshot } => bioconductor::versions(app, repo, *snapshot, parts).await,
        Route::Repository { repo, snapshot, path } => match path {
            RepoPath::Projects { language, path: ProjectPath::Json { project, version } } => {
                let answer = async {
                    project::require_language(app, repo, *language)?;
                    python::json::answer(app, repo, *snapshot, project, version.as_deref(), head).await
                };
                answer_within_budget(app, head, answer).await
            }
            RepoPath::Projects { language, path } => {
                let address =
                    project::ProjectAddress { repo, snapshot: *snapshot, language: *language, path, raw };
                project::answer(app, &address, query, parts, received_at).await
            }
            RepoPath::R { linux, path } => {
                let linux = linux.as_deref();
                r::answer(
                    app,
                    &r::Address { repo, snapshot: *snapshot, linux, part: None, path },
                    query,
                    head,
                )
                .await
            }
            RepoPath::Bioconductor { linux, part, path } => {
                let (linux, part) = (linux.as_deref(), Some(*part));
                r::answer(app, &r::Address { repo, snapshot: *snapshot, linux, part, path }, query, head)
                    .await
            }
            RepoPath::Proof { part, member } => {
                let answer = proofs::answer(app, repo, *snapshot, *part, member.clone(), parts);
                answer_within_budget(app, head, answer).await
            }
        },
        Route::UploadPython { source } => python::upload::answer(app, source, head, body).await,
        Route::Log(route) => log::answer(app, *route, parts, body).await,
        Route::Login(route) => login::answer(app, *route, query, head, body).await,
        Route::PublishingAudience => python::trusted_publishing::audience(app),
        Route::MintToken => python::trusted_publishing::mint(app, head, body).await,
        Route::Public(route) => {
            // Memory for the response is reserved only after the request body has arrived.
            let body = public::request_body(app, route, &parts.method, body).await?;
            answer_within_budget(app, head, public::answer(app, route, query, head, body)).await
        }
        // `services` handles these: a control request must release the app before it ends, which is not possible here.
        Route::Admin(_) | Route::Administration(_) => Err(Failure::no_such_address()),
    }
}

fn has_session(head: &RequestHead<'_>) -> bool {
    matches!(head.principal, Principal::Token(_))
        && !head.parts.headers.contains_key(http::header::AUTHORIZATION)
}

fn count_blocked(app: &App, failure: &Failure, parts: &Parts, received_at: Timestamp) {
    let Some(blocked) = failure.blocked_release().filter(|_| parts.method == Method::GET) else { return };
    app.usage.count_blocked(&BlockedRequest {
        at: received_at,
        rule: blocked.rule,
        package: &blocked.package,
        version: &blocked.version,
        client: platform_request::client_kind(platform_request::user_agent(parts)),
    });
}

/// Checks that the client may use a route. Returns true if the response is only for clients with a token or a session.
fn require_permission(app: &App, route: &Route, client: &Principal) -> Result<bool, Failure> {
    let access = match route {
        Route::Log(route) => route.access(app.state.config.load().history.public),
        route => route.access(),
    };
    client.require_public(app, access, route.is_interface())
}

async fn answer_within_budget(
    app: &App,
    head: &RequestHead<'_>,
    response: impl Future<Output = Result<Response<Body>, Failure>>,
) -> Result<Response<Body>, Failure> {
    let reservation = app.response_budget.reserve(app.client(head.peer))?;
    reservation.charge(response.await?)
}
