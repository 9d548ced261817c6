//! The client of a request, and its permissions: maps names in a request to the objects of [`access`](base::access).

use std::sync::Arc;

use http::request::Parts;

use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::{cookie, origin};
use crate::http::net::Peer;
use crate::http::route::access::{Access, AccessTarget, RepositoryAccess};
use base::access::{self, Action, Actor, Object, Refusal, ScopeKind, SourceObject};
use base::metrics::{self, RefusedToken};
use base::model::ids::{RepoId, SourceId};
use base::model::time::Timestamp;
use base::model::trusted_publisher::TrustedPublisher;
use runtime::auth::{self, BadCredential, Credential, Purpose, SessionLimits, Token};
use runtime::catalog::{Catalog, Repository, Source};

/// The realm of a challenge that is not about one repository.
pub(crate) const REALM: &str = "rstudio-pm";

/// The phrase of a 401 for unknown, expired and revoked tokens.
const INVALID: &str = "the token or password is not valid; it may be expired or revoked";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    Anonymous,
    Token(Arc<Token>),
    /// A client of the admin socket, to which only administrators have access.
    Administrator,
}

impl Principal {
    /// Determines the client of a request from the network. Fails with 400 for several `Authorization` fields; 401 for
    /// an unknown, expired or revoked token, which have one error; 429 after too many of these.
    pub(crate) async fn from_request(
        app: &App,
        peer: Peer,
        parts: &Parts,
        path: &str,
        now: Timestamp,
    ) -> Result<Principal, Failure> {
        let headers = &parts.headers;
        let (token, prefix, kind) = match auth::credential(headers) {
            Ok(Credential::None) => return from_session(app, parts, path, now).await,
            Ok(Credential::Signed(text)) => {
                let issuer = token_issuer(app);
                let verified = auth::verify(&app.tokens, &issuer, text.expose(), Purpose::Access, now);
                (verified.ok(), None, RefusedToken::Signed)
            }
            Ok(Credential::Unusable) => (None, None, RefusedToken::Other),
            Ok(Credential::Token(digest, prefix)) => {
                (app.tokens.find(&digest, now).await, Some(prefix), RefusedToken::Created)
            }
            Err(BadCredential) => {
                return Err(Failure::bad_request("the request has more than one Authorization field"));
            }
        };
        if let Some(token) = token {
            return Ok(Principal::Token(token));
        }
        metrics::tokens().count_refused(kind);
        if let Some(client) = app.site.load().client_network(peer, headers) {
            app.tokens.count_failure(client, prefix, now).map_err(Failure::too_many_failures)?;
        }
        Err(Failure::unauthorized(INVALID, REALM))
    }

    /// Checks again that the token of the client is valid. SECURITY: a client may send the body of a request
    /// slowly, and its token may be revoked meanwhile.
    pub(crate) fn require_valid(&self, app: &App) -> Result<(), Failure> {
        if let Principal::Token(token) = self
            && !app.tokens.is_valid(token, (app.state.clock)())
        {
            return Err(Failure::unauthorized(INVALID, REALM));
        }
        Ok(())
    }

    /// Returns the job of a CI system with this token; `None` for other clients.
    pub(crate) fn publisher(&self) -> Option<&TrustedPublisher> {
        match self {
            Principal::Token(token) => token.publisher.as_deref(),
            Principal::Anonymous | Principal::Administrator => None,
        }
    }

    /// Returns the identity of a user who signed in with an identity provider; `None` for other clients.
    pub(crate) fn unique_id(&self) -> Option<&str> {
        match self {
            Principal::Token(token) => token.unique_id.as_deref(),
            Principal::Anonymous | Principal::Administrator => None,
        }
    }

    fn actor(&self) -> Actor<'_> {
        match self {
            Principal::Anonymous => Actor::Anonymous,
            Principal::Token(token) => Actor::Token(&token.grant),
            Principal::Administrator => Actor::Socket,
        }
    }

    /// Checks the permission for the action of a route. Returns true if the response is only for clients with a token.
    pub(crate) fn require(&self, catalog: &Catalog, access: Access<'_>) -> Result<bool, Failure> {
        let Access { action, target } = access;
        match target {
            AccessTarget::Server => {
                self.check(action, Object::Server, "")?;
                Ok(*self != Principal::Anonymous)
            }
            AccessTarget::Repository(name) => match catalog.repo_by_name_or_id(name) {
                Some(repo) => {
                    self.check(action, repository(repo), name)?;
                    Ok(repo.authenticated)
                }
                None => self.check(action, Object::UnknownRepository, "").map(|()| false),
            },
            AccessTarget::Source(name) => match catalog.source_by_name_or_id(name) {
                Some(source) => {
                    let object = source_object(catalog, source);
                    self.check(action, Object::Source(object), name)?;
                    Ok(!object.open)
                }
                None => self.check(action, Object::UnknownSource, "").map(|()| false),
            },
        }
    }

    /// Checks the permission for an action of the pages or of the public API on the object in the address or
    /// the body. Returns true if the response is only for clients with a token or a session.
    ///
    /// SECURITY: with `Authentication.RequireAuthForUI`, anonymous clients get the same response for objects
    /// that do not exist and for private ones, and are refused routes with `is_interface` entirely.
    pub(crate) fn require_public(
        &self,
        app: &App,
        access: Access<'_>,
        is_interface: bool,
    ) -> Result<bool, Failure> {
        let catalog = app.state.catalog.get();
        let is_closed = app.state.config.load().authentication.require_auth_for_ui;
        if is_closed && *self == Principal::Anonymous {
            if is_interface {
                return Err(Failure::unauthorized("this server requires a sign-in or a token", REALM));
            }
            match access.target {
                AccessTarget::Repository(name) if is_unknown_repository(&catalog, name) => {
                    let private = Object::Repository { id: RepoId(0), authenticated: true };
                    self.check(access.action, private, name)?;
                }
                AccessTarget::Source(name) if catalog.source_by_name_or_id(name).is_none() => {
                    let private = SourceObject { id: SourceId(0), open: false, repositories: &[] };
                    self.check(access.action, Object::Source(private), name)?;
                }
                AccessTarget::Server | AccessTarget::Repository(_) | AccessTarget::Source(_) => {}
            }
        }
        Ok(self.require(&catalog, access)? || (is_closed && is_interface))
    }

    /// Checks that the client may read a resolved repository; `requested` is its name or number in the request.
    pub(crate) fn require_repository(
        &self,
        access: RepositoryAccess,
        requested: &str,
    ) -> Result<(), Failure> {
        let RepositoryAccess { id, authenticated } = access;
        self.check(Action::Read, Object::Repository { id, authenticated }, requested)
    }

    pub(crate) fn may_read(&self, repo: &Repository) -> bool {
        access::permit(self.actor(), Action::Read, repository(repo)).is_ok()
    }

    /// Returns whether lists contain the repository: the client may read it, and it is visible or for administrators.
    pub(crate) fn may_list(&self, repo: &Repository) -> bool {
        self.may_read(repo) && (!repo.hidden || self.is_administrator())
    }

    /// Returns whether a response may contain the name of a repository: a hidden one is found only by its name.
    pub(crate) fn may_name(&self, repo: &Repository, requested: &str) -> bool {
        !repo.hidden || repo.name.as_str() == requested || self.is_administrator()
    }

    /// As [`Principal::may_list`], for lists for everyone, which omit hidden repositories even for administrators.
    pub(crate) fn may_list_publicly(&self, repo: &Repository) -> bool {
        !repo.hidden && self.may_read(repo)
    }

    pub(crate) fn may_promote(&self, repo: &Repository) -> bool {
        access::permit(self.actor(), Action::Promote, repository(repo)).is_ok()
    }

    pub(crate) fn may_read_source(&self, catalog: &Catalog, source: &Source) -> bool {
        let object = source_object(catalog, source);
        access::permit(self.actor(), Action::Read, Object::Source(object)).is_ok()
    }

    /// Returns the name of a source, empty if the client cannot read it. SECURITY: a snapshot of an open
    /// repository may have packages of a source that only authenticated repositories subscribe to now.
    pub(crate) fn source_name(&self, catalog: &Catalog, id: SourceId) -> String {
        let source = catalog.source_by_id(id).filter(|source| self.may_read_source(catalog, source));
        source.map(|source| source.name.to_string()).unwrap_or_default()
    }

    /// Returns the sources the client may not read: earlier snapshots of open repositories may have their packages.
    pub(crate) fn unreadable_sources(&self, catalog: &Catalog) -> Vec<SourceId> {
        let is_unreadable = |source: &&Source| !self.may_read_source(catalog, source);
        catalog.sources.iter().filter(is_unreadable).map(|source| source.id).collect()
    }

    pub(crate) fn is_administrator(&self) -> bool {
        access::permit(self.actor(), Action::Administer, Object::Server).is_ok()
    }

    fn check(&self, action: Action, object: Object<'_>, name: &str) -> Result<(), Failure> {
        access::permit(self.actor(), action, object).map_err(|refusal| failure(refusal, action, object, name))
    }
}

/// Determines the client from the session of a browser. A session that has ended is not an error, because
/// browsers keep cookies. Fails with 403 for a change that a page of another site requests.
async fn from_session(app: &App, parts: &Parts, path: &str, now: Timestamp) -> Result<Principal, Failure> {
    let Some(secret) = cookie::find(&parts.headers, cookie::SESSION) else { return Ok(Principal::Anonymous) };
    if app.state.config.load().open_id_connect.is_none() {
        return Ok(Principal::Anonymous);
    }
    match app.sessions.find(&app.tokens, secret, session_limits(app), now).await? {
        None => Ok(Principal::Anonymous),
        Some(session) => {
            origin::require_own(app.site.load().address.as_deref(), parts, path)?;
            Ok(Principal::Token(session))
        }
    }
}

pub(crate) fn session_limits(app: &App) -> SessionLimits {
    let config = app.state.config.load();
    SessionLimits {
        lifetime: config.authentication.session_lifetime,
        inactivity: config.authentication.session_inactivity,
    }
}

/// Returns the issuer of the tokens of this server: `Server.Address`, the same for all servers of a database.
pub(crate) fn token_issuer(app: &App) -> String {
    app.site.load().address.clone().unwrap_or_else(|| "rstudio-pm".to_owned())
}

/// Returns the data that decides who may read the repository with this name or number.
pub(crate) fn repository_access(app: &App, repo: &str) -> RepositoryAccess {
    let catalog = app.state.catalog.get();
    match catalog.repo_by_name_or_id(repo) {
        Some(repo) => RepositoryAccess { id: repo.id, authenticated: repo.authenticated },
        // It was deleted since the address was resolved, so a cache entry with this value is outdated.
        None => RepositoryAccess { id: RepoId(0), authenticated: true },
    }
}

/// Returns whether the repository is unknown to a request: only requests by name find hidden ones.
pub(crate) fn is_unknown_repository(catalog: &Catalog, name: &str) -> bool {
    let repo = catalog.repo_by_name_or_id(name);
    repo.is_none_or(|repo| repo.hidden && repo.name.as_str() != name)
}

fn repository(repo: &Repository) -> Object<'static> {
    Object::Repository { id: repo.id, authenticated: repo.authenticated }
}

fn source_object<'a>(catalog: &'a Catalog, source: &Source) -> SourceObject<'a> {
    let repositories = catalog.authenticated_readers(source.id);
    SourceObject { id: source.id, open: catalog.is_open(source.id), repositories }
}

/// Converts a refusal. SECURITY: `name` is the name or number in the request, so no other name is disclosed.
fn failure(refusal: Refusal, action: Action, object: Object<'_>, name: &str) -> Failure {
    match refusal {
        Refusal::Unauthenticated => match object {
            Object::Repository { .. } if action == Action::Read => {
                Failure::unauthorized(format!("the repository '{name}' requires a token"), name)
            }
            Object::Source(_) if action == Action::Read => {
                Failure::unauthorized("this source requires a token", REALM)
            }
            // SECURITY: the same response as for objects that do not exist.
            _ if action == Action::WriteSource => Failure::unauthorized(
                "this requires a token with the scope sources:write; create one on the server: rspm create token",
                REALM,
            ),
            Object::Server
            | Object::Repository { .. }
            | Object::Source(_)
            | Object::UnknownRepository
            | Object::UnknownSource => Failure::unauthorized(
                "this address requires a token; create one on the server: rspm create token",
                REALM,
            ),
        },
        Refusal::MissingScope(scope) => {
            let (noun, flag) = match object {
                Object::Repository { .. } => ("the repository", "--repos"),
                Object::Source(_) if scope == ScopeKind::SourcesWrite => ("the source", "--sources"),
                Object::Source(_) => ("a repository with the source", "--repos"),
                Object::Server | Object::UnknownRepository | Object::UnknownSource => ("", ""),
            };
            let object = match (scope, noun) {
                (ScopeKind::GlobalAdmin, _) | (_, "") if action == Action::CreateSource => {
                    " for all sources (--sources='*')".to_owned()
                }
                (ScopeKind::GlobalAdmin, _) | (_, "") => String::new(),
                (_, noun) => format!(" for {noun} '{name}' ({flag})"),
            };
            Failure::forbidden(format!("the token lacks the scope {scope}{object}"), scope.as_str())
        }
        Refusal::SocketOnly => Failure::forbidden(
            "this is possible only on the server's machine, as root or as a member of its group",
            ScopeKind::GlobalAdmin.as_str(),
        ),
    }
}
