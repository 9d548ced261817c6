//! State shared by all request handlers, and the dispatch of a request to its handler.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{Method, Response};

use super::base_url::RequestHead;
use super::body::Body;
use super::budget::{Client, ResponseBudget};
use super::download_log::{self, Completion, DownloadRecorder, PackagePath, PackageRequest, RequestedBinary};
use super::error::Failure;
use super::limits::Limits;
use super::listener::Peer;
use super::r::platform_request::{self, PlatformRequest};
use super::r::resolve::Entry;
use super::r::{bioconductor, resolve};
use super::request_body::Incoming;
use super::resolve_cache::{ResolveCache, Validity};
use super::response::{self, ErrorFormat, SiteSettings};
use super::route::{self, Route};
use super::switch::error_format;
use super::target::Query;
use super::{pages, public};
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::bioconductor::PartName;
use crate::r::layout::RPath;
use crate::repo::Repo;
use crate::state::State;
use crate::sync::Sync;
use crate::usage::Usage;

/// State shared by all request handlers; `daemon` creates it each time the server goes online.
pub struct App {
    /// Handles of the database, the storage and other shared state.
    pub state: Arc<State>,
    /// Package repositories.
    pub repo: Repo,
    /// Syncs and their schedule.
    pub sync: Sync,
    /// Download counters.
    pub usage: Usage,
    /// Common headers and the path prefix, shared with the context.
    pub site: Arc<ArcSwap<SiteSettings>>,
    /// Request limits.
    pub limits: Limits,
    /// Cache of resolved addresses.
    pub resolve_cache: ResolveCache,
    /// Budget of public API responses that are held in memory for slow clients.
    pub response_budget: ResponseBudget,
    /// Logs and counts requests for packages.
    pub recorder: DownloadRecorder,
}

impl App {
    /// Handles a request from the network.
    pub(super) async fn public(&self, head: &RequestHead<'_>, body: Incoming) -> Response<Body> {
        let RequestHead { parts, path, received_at: began, .. } = *head;
        let query = parts.uri.query();
        if let Some(entry) = self.resolve_cache.get(&self.state, began, path, query) {
            return resolve::answer(self, &entry, &PlatformRequest::NoBinaries, parts, began).await;
        }
        if let Some(chosen) = self.resolve_cache.get_negotiated(
            &self.state,
            began,
            path,
            query,
            platform_request::user_agent(parts),
        ) {
            return resolve::answer(self, &chosen.entry, &chosen.platform_request(), parts, began).await;
        }
        match route::parse(&parts.method, path, query, self.limits.target_bytes) {
            Err(failure) => response::failure(&failure, error_format(path)),
            Ok((Route::Admin(_), _)) => json(Failure::not_found("there is nothing at this address")),
            Ok((route, query)) => self.read(route, &query, head, body).await,
        }
    }

    /// Handles a route that needs no permission. Most of them take no body; a body sent to those is dropped unread.
    pub(super) async fn read(
        &self,
        route: Route,
        query: &Query,
        head: &RequestHead<'_>,
        body: Incoming,
    ) -> Response<Body> {
        let RequestHead { parts, path, received_at: began, .. } = *head;
        let answered = match route {
            Route::Ping => Ok(response::json(http::StatusCode::OK, &serde_json::json!({}))),
            Route::Home => {
                let site = self.site.load_full();
                Ok(pages::index_page(&self.state.catalog.get(), site.address.as_deref()))
            }
            Route::Latest { repo, trailing_slash: slash } => {
                pages::redirect_to_latest(&self.state.catalog.get(), &repo, slash)
            }
            Route::Repository { repo, snapshot, path: None, .. } => {
                pages::repository_page(self, &repo, snapshot, head).await
            }
            Route::Versions { repo, snapshot } => bioconductor::versions(self, &repo, snapshot, parts).await,
            Route::Repository { repo, linux, snapshot, part, path: Some(wanted) } => {
                let linux = linux.as_deref();
                // Taken before anything is resolved.
                let moment = Validity::of(&self.state, began);
                match platform_request::choose(self, linux, &wanted, parts, query) {
                    Err(failure) => {
                        let wish = linux.map(|distro| platform_request::unknown_distribution(distro, parts));
                        self.record_failure(&wanted, wish, &failure, parts, began);
                        Err(failure)
                    }
                    Ok(asked) => {
                        let address =
                            Address { repo: &repo, snapshot, part, r_path: &wanted, path, validity: moment };
                        let answered = self.repository(&address, &asked, parts, began).await;
                        if let Err(failure) = &answered {
                            self.record_failure(
                                &wanted,
                                asked.requested_binary(parts),
                                failure,
                                parts,
                                began,
                            );
                        }
                        answered
                    }
                }
            }
            Route::Public(route) => {
                let response = public::answer(self, &route, query, head);
                return self.budgeted(head.peer, response).await.unwrap_or_else(json);
            }
            Route::Post(route) => {
                let response = public::answer_post(self, route, query, head, body);
                return self.budgeted(head.peer, response).await.unwrap_or_else(json);
            }
            Route::Admin(_) => Err(Failure::not_found("there is nothing at this address")),
        };
        answered.unwrap_or_else(text)
    }

    /// Makes a response within the memory budget of responses.
    async fn budgeted(
        &self,
        peer: Peer,
        response: impl Future<Output = Result<Response<Body>, Failure>>,
    ) -> Result<Response<Body>, Failure> {
        let reserved = self.response_budget.reserve(self.client(peer))?;
        reserved.charge(response.await?)
    }

    /// Which limits a peer has.
    pub(super) fn client(&self, peer: Peer) -> Client {
        self.site.load().client(peer)
    }
}

/// A parsed address inside a repository.
struct Address<'a> {
    repo: &'a str,
    snapshot: Snapshot,
    part: Option<PartName>,
    r_path: &'a RPath,
    /// The whole raw path.
    path: &'a str,
    /// What the resolution depends on, taken before it.
    validity: Validity,
}

impl App {
    /// Returns a document or a file of a repository.
    async fn repository(
        &self,
        address: &Address<'_>,
        asked: &PlatformRequest<'_>,
        parts: &Parts,
        began: Timestamp,
    ) -> Result<Response<Body>, Failure> {
        let Address { repo, snapshot, part, r_path: wanted, path, validity: moment } = *address;
        // Entries that depend on the address alone were looked up before it was parsed.
        let (name, known) = match asked.cache_key() {
            None => (Cow::Borrowed(path), None),
            Some(name) => {
                let name = format!("{path} {name}");
                let known = self.resolve_cache.get(&self.state, began, &name, None);
                (Cow::Owned(name), known)
            }
        };
        let entry = match known {
            Some(entry) => entry,
            None => {
                let part =
                    part.map(|part| bioconductor::resolve_part(self, repo, part, snapshot)).transpose()?;
                let wanted = resolve::resolve(self, repo, part, snapshot, wanted, asked).await?;
                self.resolve_cache.insert(&name, Entry::new(moment, wanted))
            }
        };
        self.resolve_cache.insert_negotiated(
            moment,
            path,
            platform_request::user_agent(parts),
            asked,
            &entry,
        );
        Ok(resolve::answer(self, &entry, asked, parts, began).await)
    }

    /// Records a request for a package file that failed before a file was found.
    fn record_failure(
        &self,
        wanted: &RPath,
        wish: Option<RequestedBinary<'_>>,
        failure: &Failure,
        parts: &Parts,
        began: Timestamp,
    ) {
        let Some(named) = download_log::package_path(wanted).filter(|_| parts.method == Method::GET) else {
            return;
        };
        let PackagePath { package, version, archived } = named;
        let service = failure.status.is_server_error();
        let error = failure.detail.as_deref().unwrap_or(&failure.phrase);
        let outcome = Completion::Failed { is_service_failure: service, error };
        self.recorder.record(
            &PackageRequest {
                received_at: began,
                package,
                version,
                archived,
                requested_binary: wish,
                missing_binary: None,
                outcome,
            },
            false,
        );
    }
}

fn text(failure: Failure) -> Response<Body> {
    response::failure(&failure, ErrorFormat::Text)
}

fn json(failure: Failure) -> Response<Body> {
    response::failure(&failure, ErrorFormat::Json)
}
