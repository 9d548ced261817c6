//! What answering needs, and the way from a request to the room that answers it.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Response;
use http::request::Parts;

use super::binaries::{self, Asked};
use super::body::Body;
use super::error::Failure;
use super::limits::Limits;
use super::response::{self, Site, Tongue};
use super::route::{self, Route};
use super::switch::tongue;
use super::target::Query;
use super::warm::Warm;
use super::{cran, home, public};
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::r::layout::RPath;
use crate::repo::Repo;
use crate::state::State;
use crate::sync::Sync;

/// Everything an answer may need; built by `daemon` each time the server goes online.
pub struct App {
    /// Handles of the stores and shared rooms.
    pub state: Arc<State>,
    /// Repositories.
    pub repo: Repo,
    /// Syncs.
    pub sync: Sync,
    /// Headers and the path prefix, as the porch has them.
    pub site: Arc<ArcSwap<Site>>,
    /// Limits of requests.
    pub limits: Limits,
    /// Resolved addresses that were asked for before.
    pub warm: Warm,
}

impl App {
    /// Answers a request from the network; `path` is without the prefix.
    pub(super) async fn public(&self, parts: &Parts, path: &str, began: Timestamp) -> Response<Body> {
        match self.warm.get(&self.state, began, path, parts.uri.query()) {
            Some(entry) => cran::answer(self, &entry, parts).await,
            None => match route::parse(&parts.method, path, parts.uri.query(), self.limits.target_bytes) {
                Err(failure) => response::failure(&failure, tongue(path)),
                Ok((Route::Admin(_), _)) => json(Failure::not_found("there is nothing at this address")),
                Ok((route, query)) => self.read(route, &query, parts, path).await,
            },
        }
    }

    /// Answers what may be read by anybody.
    pub(super) async fn read(
        &self,
        route: Route,
        query: &Query,
        parts: &Parts,
        path: &str,
    ) -> Response<Body> {
        let answered = match route {
            Route::Ping => Ok(response::json(http::StatusCode::OK, &serde_json::json!({}))),
            Route::Home => {
                let site = self.site.load_full();
                Ok(home::page(&self.state.catalog.get(), site.address.as_deref()))
            }
            Route::Repository { repo, snapshot, path: None, .. } => {
                home::repository(self, &repo, snapshot, parts).await
            }
            Route::Repository { repo, linux, snapshot, path: Some(wanted) } => {
                let asked = binaries::asked(self, linux.as_deref(), &wanted, parts, query);
                match asked {
                    Err(failure) => Err(failure),
                    Ok(asked) => self.repository(&repo, snapshot, wanted, asked, parts, path).await,
                }
            }
            Route::Public(route) => return public::answer(self, &route, query).await.unwrap_or_else(json),
            Route::Admin(_) => Err(Failure::not_found("there is nothing at this address")),
        };
        answered.unwrap_or_else(text)
    }
}

impl App {
    /// Answers with a document or a file of a repository.
    async fn repository(
        &self,
        repo: &str,
        snapshot: Snapshot,
        wanted: RPath,
        asked: Asked,
        parts: &Parts,
        path: &str,
    ) -> Result<Response<Body>, Failure> {
        // What the address alone tells was looked for before it was parsed.
        let name = match &asked {
            Asked::Nothing => Cow::Borrowed(path),
            Asked::Builds { .. } => Cow::Owned(format!("{path} {}", asked.name())),
        };
        let known = match &asked {
            Asked::Nothing => None,
            Asked::Builds { .. } => self.warm.get(&self.state, (self.state.clock)(), &name, None),
        };
        let entry = match known {
            Some(entry) => entry,
            None => self.warm.keep(&name, cran::find(self, repo, snapshot, wanted, &asked).await?),
        };
        Ok(cran::answer(self, &entry, parts).await)
    }
}

fn text(failure: Failure) -> Response<Body> {
    response::failure(&failure, Tongue::Text)
}

fn json(failure: Failure) -> Response<Body> {
    response::failure(&failure, Tongue::Json)
}
