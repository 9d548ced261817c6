//! `POST /__api__/token`: the exchange of a token for an access token (RFC 8693). Tokens of the company's
//! provider and of devices are exchanged here; others by [`exchange_federated_token`].

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::json;

use super::device::error;
use super::{Problem, Provider, RETRY_AFTER, browser, provider, unavailable_failure};
use crate::http::app::App;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::login::permission::token_issuer;
use crate::http::net::body::Body;
use crate::http::target::Query;
use crate::http::{login, response};
use base::metrics::{self, IssuedToken};
use base::model::time::{SECOND, Timestamp};
use runtime::auth::federation::{self, Exchange, ExchangeKind};
use runtime::auth::provider::VerifyError;
use runtime::auth::{self, Invalid, NewSignedToken, Purpose, SignInKind};
use store::db::author::{Author, AuthorKind};
use store::db::{audit, token};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Retention of the record of a device's token use, in microseconds: exceeds the difference between servers' clocks.
const USE_RETENTION: i64 = 300 * SECOND;
/// Lifetime of an access token without `[OpenIDConnect]`.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Exchanges a token. Fails with 429 after too many invalid tokens, 503 if the keys of an issuer are unavailable.
pub(super) async fn exchange(
    app: &App,
    provider: Option<&Provider>,
    form: &Query,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    if form.get("grant_type") != Some(GRANT) {
        return Ok(error("unsupported_grant_type", &format!("grant_type must be {GRANT}")));
    }
    if !matches!(form.get("subject_token_type"), Some(ID_TOKEN | JWT)) {
        return Ok(error("invalid_request", &format!("subject_token_type must be {ID_TOKEN}")));
    }
    let subject_token = form.get("subject_token").unwrap_or_default();
    let Some(issuer) = auth::unverified_issuer(subject_token) else {
        login::count_refused_proof(app, head)?;
        return Ok(error("invalid_grant", "subject_token is not a JSON Web Token with an issuer"));
    };
    if issuer == token_issuer(app) {
        return exchange_device_token(app, provider, subject_token, head).await;
    }
    if let Some(provider) = provider.filter(|provider| provider.settings.issuer == issuer) {
        match provider::verify(app, &provider.settings, subject_token, head.received_at).await {
            Ok(claims) => return exchange_id_token(app, provider, &claims, head).await,
            // `[IdentityFederation]` may configure the same issuer with another audience.
            Err(VerifyError::Invalid(Invalid::Audience)) => {}
            Err(problem) => return refuse(app, &problem, head),
        }
    }
    exchange_federated_token(app, subject_token, head).await
}

async fn exchange_federated_token(
    app: &App,
    subject_token: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let config = app.state.config.load_full();
    let client = app.site.load().client_address(head.peer, &head.parts.headers);
    let server = Exchange {
        state: &app.state,
        tokens: &app.tokens,
        providers: &app.providers,
        issuer: &token_issuer(app),
        address: &client.map(|address| address.to_string()).unwrap_or_default(),
    };
    match federation::exchange(server, &config.federations, subject_token, ExchangeKind::Access).await {
        Ok(exchanged) => {
            metrics::tokens().count_issued(IssuedToken::Federation);
            Ok(answer(&exchanged.token.text, exchanged.lifetime))
        }
        Err(error) if error.is_failure_of_server() => {
            tracing::error!("could not exchange a token: {error}");
            Err(Failure::unavailable(error.to_string(), RETRY_AFTER))
        }
        Err(refusal) => {
            login::count_refused_proof(app, head)?;
            Ok(error("invalid_grant", &refusal.to_string()))
        }
    }
}

/// Exchanges the token that proves the sign-in of a device. It can be used once.
async fn exchange_device_token(
    app: &App,
    provider: Option<&Provider>,
    subject_token: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let now = head.received_at;
    let verified = auth::verify(&app.tokens, &token_issuer(app), subject_token, Purpose::Device, now);
    let verified = match verified {
        Ok(verified) => verified,
        Err(invalid) => return refuse(app, &VerifyError::Invalid(invalid), head),
    };
    let expires_at = verified.expires_at.unwrap_or(now);
    let (digest, end) = (auth::digest(subject_token), Timestamp(expires_at.0.saturating_add(USE_RETENTION)));
    if !app.state.db.write(move |c| token::record_proof(c, &digest, end, now)).await? {
        return refuse(app, &VerifyError::Invalid(Invalid::Expired), head);
    }
    // SECURITY: the new token gets the newest revision of the user's access, so a revocation is checked again
    // after the write.
    if !app.tokens.is_valid(&verified, now) {
        return refuse(app, &VerifyError::Invalid(Invalid::Revoked), head);
    }
    let properties = NewSignedToken {
        user: verified.user.to_string(),
        unique_id: verified.unique_id.as_deref().unwrap_or_default().to_owned(),
        grant: verified.grant.clone(),
        kind: SignInKind::OpenIdConnect,
        lifetime: provider.map_or(LIFETIME, |provider| provider.settings.token_lifetime),
        purpose: Purpose::Access,
        publisher: None,
    };
    issue(app, &properties, head).await
}

async fn exchange_id_token(
    app: &App,
    provider: &Provider,
    claims: &auth::Claims,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let settings = &provider.settings;
    let user = match provider::user(app, settings, claims) {
        Ok(user) => user,
        Err(_) => return refuse(app, &VerifyError::Invalid(Invalid::Missing("UniqueIdClaim")), head),
    };
    if user.has_no_scope() {
        let groups = if user.groups.is_empty() { "none".to_owned() } else { user.groups.join(" ") };
        Problem::refused(format!("{} has no scope; groups: {groups}", user.user)).log();
        login::count_refused_proof(app, head)?;
        browser::record_refusal(app, &user, head).await?;
        return Ok(error("access_denied", "no group of the user has access to this server"));
    }
    if let Err(invalid) = auth::check_newer(&app.tokens, &user.user, claims) {
        return refuse(app, &VerifyError::Invalid(invalid), head);
    }
    let properties = NewSignedToken {
        user: user.user,
        unique_id: user.unique_id,
        grant: user.grant,
        kind: SignInKind::OpenIdConnect,
        lifetime: settings.token_lifetime,
        purpose: Purpose::Access,
        publisher: None,
    };
    issue(app, &properties, head).await
}

/// Signs an access token and records it in the audit trail. Fails with 503 without an encryption key.
async fn issue(
    app: &App,
    properties: &NewSignedToken,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let now = head.received_at;
    let token = auth::issue(&app.tokens, &token_issuer(app), properties, now)
        .map_err(|error| Failure::unavailable(error.to_string(), 300))?;
    let client = app.site.load().client_address(head.peer, &head.parts.headers);
    let author = Author {
        kind: AuthorKind::Session,
        name: properties.user.clone(),
        address: client.map(|address| address.to_string()).unwrap_or_default(),
        at: now,
    };
    // SECURITY: the identity is recorded too, because some providers let users choose their name.
    let detail = format!("for {}; identity {}", properties.user, properties.unique_id);
    let guid = token.guid.to_string();
    let write = app.state.db.write(move |c| {
        audit::record_by(c, &author, "exchange token", "token", &guid, audit::SUCCESS, &detail)
    });
    write.await?;
    metrics::tokens().count_issued(IssuedToken::SignIn);
    Ok(answer(&token.text, properties.lifetime))
}

/// Returns the response: JSON without nesting, which a script of Posit's Kubernetes operator reads with `sed`.
fn answer(token: &str, lifetime: Duration) -> Response<Body> {
    let body = json!({
        "access_token": token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
    });
    response::json(StatusCode::OK, &body)
}

fn refuse(app: &App, problem: &VerifyError, head: &RequestHead<'_>) -> Result<Response<Body>, Failure> {
    match problem {
        VerifyError::Unavailable(reason) => {
            Problem::unavailable(reason).log();
            Err(unavailable_failure())
        }
        VerifyError::Invalid(reason) => {
            Problem::refused(format!("subject_token: {reason}")).log();
            login::count_refused_proof(app, head)?;
            Ok(error("invalid_grant", &format!("subject_token: {reason}")))
        }
    }
}
