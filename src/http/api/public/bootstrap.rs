//! `POST /bootstrap`: the first token of a server, for the owner of the key in `Bootstrap.PublicKey`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;

use super::{Answer, PublicCall, WithStatus};
use crate::http::api::admin;
use crate::http::error::Failure;
use crate::http::login;
use api::error::Code;
use api::token::{BootstrapRequest, BootstrapToken};
use base::metrics::{self, IssuedToken};
use base::model::time::{SECOND, Timestamp};
use runtime::auth::{self, BootstrapRefusal};

/// The end of the year 9999: later times have no RFC 3339 form.
const MAX_TIME: i64 = 253_402_300_800 * SECOND;

/// Handles a request. SECURITY: the response is encrypted, so a repeated request discloses no token. Fails with 400 for
/// an invalid form or time, 403 for a wrong or repeated signature, 404 without a key, 429 after too many refusals.
pub(super) async fn create(
    call: PublicCall<'_>,
    request: BootstrapRequest,
) -> Answer<WithStatus<BootstrapToken>> {
    let PublicCall { app, head, .. } = call;
    let config = app.state.config.load_full();
    if !config.authentication.api_token_auth {
        return Err(refusal(&BootstrapRefusal::Disabled));
    }
    if config.bootstrap.public_key.is_some() {
        admin::check_lifetime(app, request.expires_in)?;
    }
    let time: jiff::Timestamp = request
        .time
        .parse()
        .map_err(|_| Failure::bad_request("the time is not of the form 2026-11-23T12:00:00Z (RFC 3339)"))?;
    let signature = BASE64_STANDARD
        .decode(&request.signature)
        .map_err(|_| Failure::bad_request("the signature is not base64"))?;
    let now = (app.state.clock)();
    let expires_at = request.expires_in.map(|seconds| expiry(now, seconds)).transpose()?;
    let lifetime = request.expires_in.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string());
    let address = app.site.load().client_address(head.peer, &head.parts.headers);
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    let proof = auth::BootstrapRequest {
        time_text: &request.time,
        nonce: &request.nonce,
        lifetime: &lifetime,
        time: Timestamp(time.as_microsecond()),
        expires_at,
        signature: &signature,
        address: &address,
    };
    let key = config.bootstrap.public_key.clone();
    match auth::create_first_token(&app.state, &app.tokens, key, proof).await {
        Ok((token, guid)) => {
            metrics::tokens().count_issued(IssuedToken::Bootstrap);
            tracing::warn!(%address, "created token {guid} with the scope global:admin: bootstrap key");
            let created = BootstrapToken {
                guid: guid.to_string(),
                token: BASE64_STANDARD.encode(token),
                expires: expires_at.map(|at| at.to_string()),
            };
            Ok(WithStatus(StatusCode::CREATED, created))
        }
        Err(error) => {
            tracing::warn!(%address, "refused a request with the bootstrap key: {error}");
            if matches!(error, BootstrapRefusal::Signature | BootstrapRefusal::Used) {
                login::count_refused_proof(app, head)?;
            }
            Err(refusal(&error))
        }
    }
}

fn expiry(now: Timestamp, seconds: i64) -> Result<Timestamp, Failure> {
    let at = seconds.checked_mul(SECOND).and_then(|micros| now.0.checked_add(micros));
    at.filter(|at| seconds > 0 && *at < MAX_TIME).map(Timestamp).ok_or_else(|| {
        Failure::bad_request("a token must expire after at least one second and before the year 10000")
    })
}

fn refusal(error: &BootstrapRefusal) -> Failure {
    let text = error.to_string();
    match error {
        BootstrapRefusal::Disabled => Failure::not_found(text),
        BootstrapRefusal::Key(problem) => {
            tracing::error!("[Bootstrap] PublicKey: {problem}");
            Failure::unavailable(text, 300)
        }
        BootstrapRefusal::Time | BootstrapRefusal::Nonce => Failure::bad_request(text),
        BootstrapRefusal::Signature | BootstrapRefusal::Used => {
            Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, text)
        }
        BootstrapRefusal::Random(error) => {
            tracing::error!(
                "could not create a token with the bootstrap key: the operating system provides no random numbers: {error}"
            );
            Failure::unavailable(text, 300)
        }
        BootstrapRefusal::Database(error) => {
            tracing::error!("could not create a token with the bootstrap key: {error}");
            Failure::unavailable(text, 5)
        }
    }
}
