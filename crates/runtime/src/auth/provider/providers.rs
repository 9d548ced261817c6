//! The documents and keys of issuers in memory, and the verification of tokens with them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use parking_lot::Mutex;

use super::client::{Authentication, ProviderClient, ProviderError, Response};
use super::document::{Document, KeySet, is_secure};
use crate::auth::jwt::{Claims, Invalid, UnverifiedToken, is_signed_by};
use base::config::Proxy;
use base::model::time::Timestamp;
use upstream::UpstreamError;

/// Time after which the document and the keys of an issuer are requested again.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// Time for which the document and the keys are used if the provider cannot be reached.
const MAX_STALE: Duration = Duration::from_secs(24 * 3_600);
/// Minimum interval between requests that are caused by tokens with unknown keys.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(60);
/// Time after a failure during which no request is sent.
const FAILURE_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum time for which a request waits until the request of another task fails.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The accepted algorithms, all with public keys. SECURITY: with HMAC, a public key could be used as the secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The reason why a token was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the identity provider is unavailable: {0}")]
    Unavailable(#[from] ProviderError),
    #[error("the token is not valid: {0}")]
    Invalid(#[from] Invalid),
}

/// The providers of the process; clones share them. Issuers come only from the configuration.
#[derive(Clone)]
pub struct Providers(Arc<ProviderState>);

struct ProviderState {
    client: ProviderClient,
    issuers: Mutex<HashMap<String, Arc<Issuer>>>,
}

#[derive(Default)]
struct Issuer {
    loaded: Mutex<Option<Arc<IssuerData>>>,
    /// The last failure and the time at which it became known. The lock serializes requests.
    failure: tokio::sync::Mutex<Option<(Timestamp, ProviderError)>>,
}

struct IssuerData {
    document: Arc<Document>,
    keys: KeySet,
    at: Timestamp,
}

impl IssuerData {
    /// Returns whether the data was requested less than `limit` before `now`; false after the clock was set back.
    fn is_newer_than(&self, limit: Duration, now: Timestamp) -> bool {
        self.at <= now && now.since(self.at) < limit
    }

    fn verifies(&self, token: &UnverifiedToken<'_>) -> bool {
        let UnverifiedToken { header, message, signature, .. } = token;
        self.keys.candidates(header).any(|key| is_signed_by(key, header.alg, message, signature))
    }
}

impl Providers {
    /// Creates providers without loaded documents.
    pub fn new(proxy: &Proxy) -> Result<Providers, UpstreamError> {
        let client = ProviderClient::new(proxy)?;
        Ok(Providers(Arc::new(ProviderState { client, issuers: Mutex::default() })))
    }

    /// Uses another proxy for the next requests.
    ///
    /// # Errors
    /// The proxy is not a URL; nothing has changed.
    pub fn set_proxy(&self, proxy: &Proxy) -> Result<(), UpstreamError> {
        self.0.client.set_proxy(proxy)
    }

    /// Returns the discovery document of an issuer.
    ///
    /// # Errors
    /// The provider cannot be reached, or its document cannot be used.
    pub async fn document(&self, issuer: &str, now: Timestamp) -> Result<Arc<Document>, ProviderError> {
        Ok(Arc::clone(&self.load(issuer, MAX_AGE, now).await?.document))
    }

    /// Verifies a token of `issuer`: algorithm, signature, `iss` byte for byte, one of `audience` in `aud`, `exp`
    /// (required), `nbf` and `iat`; accepts a difference of 60 seconds between the clocks.
    ///
    /// # Errors
    /// The token is not valid, or the keys of the issuer are unavailable.
    pub async fn verify(
        &self,
        issuer: &str,
        audience: &[String],
        token: &str,
        now: Timestamp,
    ) -> Result<Claims, VerifyError> {
        let token = UnverifiedToken::parse(token)?;
        if !ALGORITHMS.contains(&token.header.alg) {
            return Err(Invalid::Form("its algorithm is not accepted").into());
        }
        // Before the signature, so that a token with wrong claims causes no request to the provider.
        token.claims.check_parties(issuer, audience)?;
        token.claims.check_times(now)?;
        let loaded = self.load(issuer, MAX_AGE, now).await?;
        if loaded.verifies(&token) {
            return Ok(token.claims);
        }
        // The provider may have new keys.
        let is_known = token.header.kid.as_ref().is_some_and(|id| loaded.keys.contains(id));
        if !is_known
            && !loaded.is_newer_than(UNKNOWN_KEY_INTERVAL, now)
            && self.load(issuer, UNKNOWN_KEY_INTERVAL, now).await?.verifies(&token)
        {
            return Ok(token.claims);
        }
        Err(Invalid::Signature.into())
    }

    /// Sends a form to an endpoint of a provider.
    pub async fn post(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        authentication: &Authentication<'_>,
    ) -> Result<Response, ProviderError> {
        self.0.client.post(url, fields, authentication).await
    }

    /// Requests the claims of a user with an access token (OpenID Connect Core 1.0 section 5.3).
    pub async fn user_info(&self, url: &str, access_token: &str) -> Result<Claims, ProviderError> {
        let response = self.0.client.get(url, Some(access_token)).await?;
        if !response.status.is_success() {
            return Err(ProviderError::new(url, format!("the response is {}", response.status)));
        }
        Ok(Claims::new(response.fields))
    }

    /// Returns document and keys of an issuer, at most `max_age` old, or older ones if the provider does not answer.
    async fn load(
        &self,
        issuer: &str,
        max_age: Duration,
        now: Timestamp,
    ) -> Result<Arc<IssuerData>, ProviderError> {
        let slot = Arc::clone(self.0.issuers.lock().entry(issuer.to_owned()).or_default());
        let fresh =
            |slot: &Issuer| slot.loaded.lock().clone().filter(|loaded| loaded.is_newer_than(max_age, now));
        if let Some(loaded) = fresh(&slot) {
            return Ok(loaded);
        }
        let mut failure = slot.failure.lock().await;
        if let Some(loaded) = fresh(&slot) {
            return Ok(loaded);
        }
        // A task that waited for the lock while the request of another task failed also uses this failure. If each task
        // sent its own request to an issuer that does not respond, each would wait for all earlier timeouts.
        let is_recent = |at: Timestamp| at <= now + MAX_WAIT && now.since(at) < FAILURE_INTERVAL;
        let recent = failure.as_ref().filter(|(at, _)| is_recent(*at)).map(|(_, error)| error.clone());
        let started = Instant::now();
        let error = match recent {
            Some(error) => error,
            None => match self.request(issuer, now).await {
                Ok(loaded) => {
                    *failure = None;
                    let loaded = Arc::new(loaded);
                    *slot.loaded.lock() = Some(Arc::clone(&loaded));
                    return Ok(loaded);
                }
                Err(error) => {
                    tracing::warn!("could not load the keys of the identity provider {issuer}: {error}");
                    *failure = Some((now + started.elapsed(), error.clone()));
                    error
                }
            },
        };
        let stale = slot.loaded.lock().clone();
        stale.filter(|loaded| loaded.is_newer_than(MAX_STALE, now)).ok_or(error)
    }

    async fn request(&self, issuer: &str, now: Timestamp) -> Result<IssuerData, ProviderError> {
        if !is_secure(issuer) {
            return Err(ProviderError::new(
                issuer,
                "the issuer must begin with https:// (http:// only on this machine)",
            ));
        }
        let document = Document::parse(issuer, self.fields(&Document::address(issuer)).await?)?;
        let fields = self.fields(&document.jwks_uri).await?;
        let keys = KeySet::parse(&fields)
            .ok_or_else(|| ProviderError::new(&document.jwks_uri, "the response has no keys"))?;
        Ok(IssuerData { document: Arc::new(document), keys, at: now })
    }

    async fn fields(&self, url: &str) -> Result<serde_json::Map<String, serde_json::Value>, ProviderError> {
        let response = self.0.client.get(url, None).await?;
        if !response.status.is_success() {
            return Err(ProviderError::new(url, format!("the response is {}", response.status)));
        }
        Ok(response.fields)
    }
}
