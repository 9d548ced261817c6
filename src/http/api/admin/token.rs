//! Access tokens: create, list, revoke, verify.

use std::time::Duration;

use http::StatusCode;

use super::call::{Answer, Call, Raw, WithStatus};
use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use crate::http::login::permission::{Principal, token_issuer};
use api::token::{
    CreateToken, CreatedToken, ListTokens, RevokeToken, RevokedUser, Scope as WireScope, Token as WireToken,
    Verification,
};
use base::access::person::is_invisible;
use base::access::{Grant, Scope, ScopeKind, Selection};
use base::metrics::{self, IssuedToken};
use base::model::time::{SECOND, Timestamp};
use content::serve;
use runtime::auth::{self, NewToken, Purpose};
use runtime::catalog::Catalog;

/// Maximum length of a description, in characters.
const MAX_DESCRIPTION: usize = 500;
/// Maximum length of the name of a user, in characters.
const MAX_USER: usize = 200;
/// The name that means all objects of a scope.
const ALL: &str = "*";

/// Refuses to send a new token over a connection on which others can read it, before the body is read.
pub(super) async fn require_confidential(call: &Call<'_>, _: [&str; 0]) -> Result<(), Failure> {
    if call.is_confidential {
        return Ok(());
    }
    Err(Failure::bad_request(
        "the new token would cross the network unencrypted: use https, or create it on the server's machine",
    ))
}

pub(super) async fn create(call: Call<'_>, body: CreateToken) -> Answer<WithStatus<CreatedToken>> {
    let Call { app, actor, .. } = call;
    let catalog = app.state.catalog.get();
    let grant = grant(&catalog, &body.scopes)?;
    let description = text(&body.description, "description", MAX_DESCRIPTION)?;
    if description.is_empty() {
        return Err(Failure::bad_request("a token needs a description of its purpose: --description"));
    }
    let user = text(&body.user, "user", MAX_USER)?;
    let now = (app.state.clock)();
    check_lifetime(app, body.expires_in)?;
    let expires_at = body.expires_in.map(|seconds| expiry(now, seconds)).transpose()?;
    let new = NewToken { user, description, created_by: actor.0, grant: grant.clone(), expires_at };
    let (secret, guid) = auth::create(&app.state, &app.tokens, new).await?;
    metrics::tokens().count_issued(IssuedToken::Created);
    let created = CreatedToken {
        guid: guid.to_string(),
        token: secret.expose().to_owned(),
        scopes: wire_grant(&catalog, &grant),
        expires: expires_at.map(|at| at.to_string()),
    };
    Ok(WithStatus(StatusCode::CREATED, created))
}

/// `GET /tokens?expired=&revoked=`: a parameter selects tokens by `true` or `false`; without it, both are listed.
pub(super) async fn list(call: Call<'_>, query: ListTokens) -> Answer<Vec<WireToken>> {
    let ListTokens { expired, revoked } = query;
    let (catalog, now) = (call.app.state.catalog.get(), (call.app.state.clock)());
    let tokens = auth::list(&call.app.state).await?;
    let tokens = tokens.into_iter().map(|(row, grant)| WireToken {
        guid: row.guid.to_string(),
        excerpt: row.excerpt,
        user: row.user,
        description: row.description,
        scopes: wire_grant(&catalog, &grant),
        created_by: row.created_by,
        created: row.created_at.to_string(),
        expires: row.expires_at.map(|at| at.to_string()),
        expired: row.expires_at.is_some_and(|at| at <= now),
        last_used: row.used_on.map(|day| day.to_string()),
        revoked: row.revoked_at.map(|at| at.to_string()),
    });
    let is_selected = |token: &WireToken| {
        expired.is_none_or(|expired| expired == token.expired)
            && revoked.is_none_or(|revoked| revoked == token.revoked.is_some())
    };
    Ok(tokens.filter(is_selected).collect())
}

pub(super) async fn revoke(call: Call<'_>, body: RevokeToken) -> Answer<Raw> {
    let app = call.app;
    let name = match (&body.guid, &body.token, &body.user) {
        (Some(name), None, None) | (None, Some(name), None) => name.trim(),
        (None, None, Some(user)) => {
            let user = text(user, "user", MAX_USER)?;
            if user.is_empty() {
                return Err(Failure::bad_request("the name of the user is empty"));
            }
            // Tokens that this server signed are in no list, so an unknown name is not an error.
            let (ended, similar_users) = auth::revoke_user(&app.state, &app.tokens, &user).await?;
            return Ok(Raw::json(&RevokedUser {
                revoked_user: user,
                tokens: ended.tokens,
                sessions: ended.sessions,
                similar_users,
            }));
        }
        _ => {
            return Err(Failure::bad_request("name what to revoke by exactly one of guid, token and user"));
        }
    };
    let now = (app.state.clock)();
    // SECURITY: only a token that is valid, so that the list of revoked ones is bounded.
    let signed = auth::verify(&app.tokens, &token_issuer(app), name, Purpose::Access, now);
    if let Some(verified) = signed.ok().filter(|_| body.token.is_some()) {
        auth::revoke_signed(&app.state, &app.tokens, &verified).await?;
        return Ok(Raw::json(&serde_json::json!({ "revoked": verified.guid.to_string() })));
    }
    let Some(row) = auth::find(&app.state, name).await? else {
        // SECURITY: a mistyped token is not repeated.
        return Err(Failure::not_found(
            "there is no such token; rspm list tokens shows all, except those of sign-ins and exchanges, which \
             rspm revoke token revokes with --token, if they have not expired, or with --user",
        ));
    };
    auth::revoke(&app.state, &app.tokens, row.id, row.guid).await?;
    Ok(Raw::json(&serde_json::json!({ "revoked": row.guid.to_string() })))
}

pub(super) async fn verify(call: Call<'_>) -> Answer<Verification> {
    let catalog = call.app.state.catalog.get();
    let token = match call.principal {
        Principal::Token(token) => Some(token),
        Principal::Anonymous | Principal::Administrator => None,
    };
    Ok(Verification {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        user: token.map(|token| token.user.to_string()),
        scopes: token.map(|token| wire_grant(&catalog, &token.grant)).unwrap_or_default(),
        expires: token.and_then(|token| token.expires_at).map(|at| at.to_string()),
    })
}

fn expiry(now: Timestamp, seconds: i64) -> Result<Timestamp, Failure> {
    let at = seconds.checked_mul(SECOND).and_then(|micros| now.0.checked_add(micros));
    match at.filter(|_| seconds > 0) {
        // The end of the year 9999: later times have no RFC 3339 form.
        Some(at) if at < 253_402_300_800 * SECOND => Ok(Timestamp(at)),
        Some(_) | None => Err(Failure::bad_request(
            "a token must expire after at least one second and before the year 10000",
        )),
    }
}

/// Checks that the lifetime of a new token is at most `Authentication.MaxTokenLifetime`; `expires_in` is in seconds,
/// `None` for a token that never expires. Fails with 400.
pub(crate) fn check_lifetime(app: &App, expires_in: Option<i64>) -> Result<(), Failure> {
    let Some(max) = app.state.config.load().authentication.max_token_lifetime else { return Ok(()) };
    if expires_in.is_none_or(|seconds| u64::try_from(seconds).is_ok_and(|s| s > max.as_secs())) {
        let max = lifetime(max);
        return Err(Failure::bad_request(format!(
            "tokens of this server are valid for at most {max} ([Authentication] MaxTokenLifetime): --expires={max}"
        )));
    }
    Ok(())
}

/// Formats a lifetime as `--expires` accepts it, such as `7d`.
fn lifetime(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
        if seconds > 0 && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// Trims a text and checks that it is one line of at most `limit` characters.
fn text(text: &str, noun: &str, limit: usize) -> Result<String, Failure> {
    let text = text.trim();
    if text.chars().count() > limit || text.chars().any(char::is_control) {
        return Err(Failure::bad_request(format!(
            "the {noun} of a token must be one line of at most {limit} characters, without control characters"
        )));
    }
    // SECURITY: `ann` and `ann` with an invisible character must not be two persons.
    if let Some(c) = text.chars().find(|c| noun == "user" && is_invisible(*c)) {
        return Err(Failure::bad_request(format!(
            "the user of a token has the invisible character U+{:04X}; write the name without it",
            u32::from(c)
        )));
    }
    Ok(text.to_owned())
}

/// Returns the grant for scopes with named objects.
fn grant(catalog: &Catalog, scopes: &[WireScope]) -> Result<Grant, Failure> {
    if scopes.is_empty() {
        return Err(Failure::bad_request("a token needs a scope: --scope"));
    }
    let mut granted: Vec<Scope> = Vec::new();
    for WireScope { scope, objects } in scopes {
        let kind: ScopeKind = scope.parse()?;
        granted.push(match kind {
            ScopeKind::ReposRead => Scope::ReposRead(selection(objects, "--repos", |name| {
                Ok(serve::find::repo(catalog, name)?.id)
            })?),
            ScopeKind::ReposPromote => Scope::ReposPromote(selection(objects, "--repos", |name| {
                Ok(serve::find::repo(catalog, name)?.id)
            })?),
            ScopeKind::SourcesWrite => Scope::SourcesWrite(selection(objects, "--sources", |name| {
                Ok(serve::find::source(catalog, name)?.id)
            })?),
            kind => match Scope::without_objects(kind).filter(|_| objects.is_empty()) {
                Some(scope) => scope,
                None => {
                    let text = format!("the scope {kind} has no repositories or sources");
                    return Err(Failure::bad_request(text));
                }
            },
        });
    }
    Ok(Grant::new(granted))
}

fn selection<T: PartialEq>(
    names: &[String],
    flag: &str,
    find: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Selection<T>, Failure> {
    if names.iter().any(|name| name == ALL) {
        return Ok(Selection::All);
    }
    if names.is_empty() {
        return Err(Failure::bad_request(format!(
            "the scope needs its objects: {flag} with names separated by commas, or '*' for all"
        )));
    }
    let mut ids = Vec::new();
    for name in names {
        let id = find(name).map_err(|failure| Failure {
            phrase: format!("{flag}={}: {}", truncate(name), failure.phrase),
            ..failure
        })?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(Selection::Only(ids))
}

fn wire_grant(catalog: &Catalog, grant: &Grant) -> Vec<WireScope> {
    let wire = |kind: ScopeKind, objects| WireScope { scope: kind.as_str().to_owned(), objects };
    let repositories = |selection| {
        names(selection, |id| match catalog.repo_by_id(*id) {
            Some(repo) => repo.name.to_string(),
            None => format!("#{id} (deleted)"),
        })
    };
    let scopes = grant.scopes().iter().map(|scope| match scope {
        Scope::ReposRead(selection) => wire(ScopeKind::ReposRead, repositories(selection)),
        Scope::ReposPromote(selection) => wire(ScopeKind::ReposPromote, repositories(selection)),
        Scope::SourcesWrite(selection) => wire(
            ScopeKind::SourcesWrite,
            names(selection, |id| match catalog.source_by_id(*id) {
                Some(source) => source.name.to_string(),
                None => format!("#{id} (deleted)"),
            }),
        ),
        scope => wire(scope.kind(), Vec::new()),
    });
    scopes.collect()
}

fn names<T>(selection: &Selection<T>, name: impl Fn(&T) -> String) -> Vec<String> {
    match selection {
        Selection::All => vec![ALL.to_owned()],
        Selection::Only(ids) => ids.iter().map(name).collect(),
    }
}
