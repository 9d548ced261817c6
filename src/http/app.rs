//! State shared by all request handlers, and the dispatch of a request to its handler.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{Method, Response};

use super::binaries::{self, Asked};
use super::body::Body;
use super::budget::{AnswerBudget, Client};
use super::cran::Entry;
use super::error::Failure;
use super::incoming::Incoming;
use super::limits::Limits;
use super::listener::Peer;
use super::origin::Head;
use super::response::{self, Site, Tongue};
use super::route::{self, Route};
use super::served::{self, Book, Named, Outcome, Served, Wish};
use super::switch::tongue;
use super::target::Query;
use super::warm::{Moment, Warm};
use super::{bioconductor, cran, home, public};
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::bioconductor::NamedPart;
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
    pub site: Arc<ArcSwap<Site>>,
    /// Request limits.
    pub limits: Limits,
    /// Cache of resolved addresses.
    pub warm: Warm,
    /// Budget of public API responses that are held in memory for slow clients.
    pub answers: AnswerBudget,
    /// Logs and counts requests for packages.
    pub book: Book,
}

impl App {
    /// Handles a request from the network.
    pub(super) async fn public(&self, head: &Head<'_>, body: Incoming) -> Response<Body> {
        let Head { parts, path, began, .. } = *head;
        let query = parts.uri.query();
        if let Some(entry) = self.warm.get(&self.state, began, path, query) {
            return cran::answer(self, &entry, &Asked::Nothing, parts, began).await;
        }
        if let Some(chosen) = self.warm.chosen(&self.state, began, path, query, binaries::agent(parts)) {
            return cran::answer(self, &chosen.entry, &chosen.asked(), parts, began).await;
        }
        match route::parse(&parts.method, path, query, self.limits.target_bytes) {
            Err(failure) => response::failure(&failure, tongue(path)),
            Ok((Route::Admin(_), _)) => json(Failure::not_found("there is nothing at this address")),
            Ok((route, query)) => self.read(route, &query, head, body).await,
        }
    }

    /// Handles a route that needs no permission. Most of them take no body; a body sent to those is dropped unread.
    pub(super) async fn read(
        &self,
        route: Route,
        query: &Query,
        head: &Head<'_>,
        body: Incoming,
    ) -> Response<Body> {
        let Head { parts, path, began, .. } = *head;
        let answered = match route {
            Route::Ping => Ok(response::json(http::StatusCode::OK, &serde_json::json!({}))),
            Route::Home => {
                let site = self.site.load_full();
                Ok(home::page(&self.state.catalog.get(), site.address.as_deref()))
            }
            Route::Newest { repo, slash } => home::newest(&self.state.catalog.get(), &repo, slash),
            Route::Repository { repo, snapshot, path: None, .. } => {
                home::repository(self, &repo, snapshot, head).await
            }
            Route::Versions { repo, snapshot } => bioconductor::versions(self, &repo, snapshot, parts).await,
            Route::Repository { repo, linux, snapshot, part, path: Some(wanted) } => {
                let linux = linux.as_deref();
                // Taken before anything is resolved.
                let moment = Moment::of(&self.state, began);
                match binaries::asked(self, linux, &wanted, parts, query) {
                    Err(failure) => {
                        let wish = linux.map(|distro| binaries::unknown(distro, parts));
                        self.missed(&wanted, wish, &failure, parts, began);
                        Err(failure)
                    }
                    Ok(asked) => {
                        let address = Address { repo: &repo, snapshot, part, wanted: &wanted, path, moment };
                        let answered = self.repository(&address, &asked, parts, began).await;
                        if let Err(failure) = &answered {
                            self.missed(&wanted, asked.wish(parts), failure, parts, began);
                        }
                        answered
                    }
                }
            }
            Route::Public(route) => {
                let answered = async {
                    let reserved = self.answers.reserve(self.client(head.peer))?;
                    reserved.count(public::answer(self, &route, query, head).await?)
                };
                return answered.await.unwrap_or_else(json);
            }
            Route::Posted(route) => {
                let answered = async {
                    let reserved = self.answers.reserve(self.client(head.peer))?;
                    reserved.count(public::posted(self, route, query, head, body).await?)
                };
                return answered.await.unwrap_or_else(json);
            }
            Route::Admin(_) => Err(Failure::not_found("there is nothing at this address")),
        };
        answered.unwrap_or_else(text)
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
    part: Option<NamedPart>,
    wanted: &'a RPath,
    /// The whole raw path.
    path: &'a str,
    /// What the resolution depends on, taken before it.
    moment: Moment,
}

impl App {
    /// Returns a document or a file of a repository.
    async fn repository(
        &self,
        address: &Address<'_>,
        asked: &Asked<'_>,
        parts: &Parts,
        began: Timestamp,
    ) -> Result<Response<Body>, Failure> {
        let Address { repo, snapshot, part, wanted, path, moment } = *address;
        // Entries that depend on the address alone were looked up before it was parsed.
        let (name, known) = match asked.name() {
            None => (Cow::Borrowed(path), None),
            Some(name) => {
                let name = format!("{path} {name}");
                let known = self.warm.get(&self.state, began, &name, None);
                (Cow::Owned(name), known)
            }
        };
        let entry = match known {
            Some(entry) => entry,
            None => {
                let part = part.map(|part| bioconductor::part(self, repo, part, snapshot)).transpose()?;
                let wanted = cran::find(self, repo, part, snapshot, wanted, asked).await?;
                self.warm.keep(&name, Entry::new(moment, wanted))
            }
        };
        self.warm.choose(moment, path, binaries::agent(parts), asked, &entry);
        Ok(cran::answer(self, &entry, asked, parts, began).await)
    }

    /// Records a request for a package file that failed before a file was found.
    fn missed(
        &self,
        wanted: &RPath,
        wish: Option<Wish<'_>>,
        failure: &Failure,
        parts: &Parts,
        began: Timestamp,
    ) {
        let Some(named) = served::named(wanted).filter(|_| parts.method == Method::GET) else { return };
        let Named { package, version, archived } = named;
        let service = failure.status.is_server_error();
        let error = failure.detail.as_deref().unwrap_or(&failure.phrase);
        let outcome = Outcome::Failed { service, error };
        self.book.note(&Served { began, package, version, archived, wish, lost: None, outcome }, false);
    }
}

fn text(failure: Failure) -> Response<Body> {
    response::failure(&failure, Tongue::Text)
}

fn json(failure: Failure) -> Response<Body> {
    response::failure(&failure, Tongue::Json)
}
