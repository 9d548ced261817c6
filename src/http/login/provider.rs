//! Requests to the configured provider: exchanges codes for tokens, verifies tokens, and reads users from their claims.

use zeroize::Zeroizing;

use super::Problem;
use crate::http::app::App;
use base::config::{OpenIdConnect, client_secret};
use base::model::time::{SECOND, Timestamp, microseconds};
use runtime::auth::provider::{Authentication, Document, Response, VerifyError};
use runtime::auth::{self, Claims, Invalid, SignedIn};

/// Accepted difference between the clocks of both servers, in microseconds.
const LEEWAY: i64 = 60 * SECOND;

/// Sends a form to the token or device endpoint at `url`, with the credentials of this server.
pub(super) async fn post(
    app: &App,
    settings: &OpenIdConnect,
    document: &Document,
    url: &str,
    fields: &[(&str, &str)],
) -> Result<Response, Problem> {
    let secret = client_secret(app, settings).await?;
    let id = settings.client_id.as_str();
    let authentication = match &secret {
        None => Authentication::Public(id),
        Some(secret) if document.accepts_basic() => Authentication::Basic(id, secret),
        Some(secret) => Authentication::Post(id, secret),
    };
    app.providers.post(url, fields, &authentication).await.map_err(Problem::of_request)
}

async fn client_secret(app: &App, settings: &OpenIdConnect) -> Result<Option<Zeroizing<String>>, Problem> {
    if let Some(secret) = &settings.client_secret {
        return Ok(Some(Zeroizing::new(secret.0.clone())));
    }
    let Some(path) = settings.client_secret_file.clone() else { return Ok(None) };
    let problem = |reason: String| Problem::unavailable(format!("OpenIDConnect.ClientSecretFile {reason}"));
    let config = app.state.config.load_full();
    let read = tokio::task::spawn_blocking(move || {
        client_secret::read(&path, &config).map_err(|error| format!("{} {error}", path.display()))
    });
    let secret = read.await.map_err(|error| problem(error.to_string()))?.map_err(problem)?;
    Ok(Some(secret.text))
}

/// Verifies an id token of the provider (OpenID Connect Core 1.0 section 3.1.3.7), except its nonce.
pub(super) async fn verify(
    app: &App,
    settings: &OpenIdConnect,
    token: &str,
    now: Timestamp,
) -> Result<Claims, VerifyError> {
    let audience = [settings.client_id.clone()];
    let claims = app.providers.verify(&settings.issuer, &audience, token, now).await?;
    let has_party = claims.get("azp").is_some() || claims.texts("aud").len() > 1;
    if has_party && claims.text("azp") != Some(settings.client_id.as_str()) {
        return Err(Invalid::Value("azp").into());
    }
    if let Some(limit) = settings.max_authentication_age {
        let at = claims.time("auth_time")?.ok_or(Invalid::Missing("auth_time"))?;
        let limit = microseconds(limit).saturating_add(LEEWAY);
        if now.0.saturating_sub(at.0) > limit {
            return Err(Invalid::Value("auth_time").into());
        }
    }
    Ok(claims)
}

/// Adds the claims of the userinfo endpoint if the token lacks the name or the groups of the user.
pub(super) async fn complete(
    app: &App,
    settings: &OpenIdConnect,
    document: &Document,
    claims: &mut Claims,
    access_token: Option<&str>,
) -> Result<(), Problem> {
    let required_claims =
        [Some(&settings.username_claim), Some(&settings.groups_claim), settings.role_claim.as_ref()];
    let is_complete = required_claims.into_iter().flatten().all(|claim| claims.get(claim).is_some());
    let (false, Some(url), Some(token)) = (is_complete, &document.userinfo_endpoint, access_token) else {
        return Ok(());
    };
    let more = app.providers.user_info(url, token).await.map_err(Problem::of_request)?;
    if more.text("sub").is_none() || more.text("sub") != claims.text("sub") {
        return Err(Problem::refused("the userinfo endpoint of the provider described another user"));
    }
    claims.complete(more);
    Ok(())
}

/// Returns the user of verified claims. Warns if the provider omitted the user's groups.
pub(super) fn user(app: &App, settings: &OpenIdConnect, claims: &Claims) -> Result<SignedIn, Invalid> {
    let user = SignedIn::new(settings, &app.state.catalog.get(), claims)?;
    if user.are_groups_omitted {
        tracing::warn!(
            "the provider left out the groups of {}, because there are too many; configure it to send only groups that are \
             assigned to this application",
            user.user
        );
    }
    if !user.unknown_names.is_empty() {
        tracing::warn!(
            "scopes of {} name repositories or sources that do not exist: {}",
            user.user,
            user.unknown_names.join(", ")
        );
    }
    if settings.logging {
        let groups = user.groups.join(", ");
        let scopes = auth::scope_names(&app.state.catalog.get(), &user.grant);
        tracing::info!("sign-in of {}: groups [{groups}], scopes [{scopes}]", user.user);
    }
    Ok(user)
}
