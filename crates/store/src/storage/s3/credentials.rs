//! AWS credentials and region by the standard credential chain, cached until shortly before they expire.

use async_trait::async_trait;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use base::config::S3Location;
use base::model::errors::error_chain;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Mutex;

/// Time before their expiry at which credentials are renewed: they must be valid until a request and its retries end.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5 * 60);
/// Minimum age at which credentials are loaded again, unless they have expired.
const MIN_AGE: Duration = Duration::from_secs(5);
/// Timeout of the chain, which queries the instance's metadata service last; not every machine has one.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// The credentials of a bucket. Every load creates a chain, because the AWS crates read the shared files once.
#[derive(Debug)]
pub(super) struct Credentials {
    location: S3Location,
    cache: Mutex<Option<CachedCredentials>>,
}

#[derive(Debug)]
struct CachedCredentials {
    credential: Arc<AwsCredential>,
    expires_at: Option<SystemTime>,
    loaded_at: Instant,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoCredentials(pub(super) String);

impl CachedCredentials {
    /// Returns whether the credentials can be used without loading them again.
    fn is_valid(&self) -> bool {
        let remaining = self.expires_at.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        match remaining {
            None => true,
            Some(remaining) => {
                remaining > EXPIRY_MARGIN
                    || (remaining > Duration::ZERO && self.loaded_at.elapsed() < MIN_AGE)
            }
        }
    }

    fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= SystemTime::now())
    }
}

impl Credentials {
    pub(super) fn new(location: S3Location) -> Credentials {
        Credentials { location, cache: Mutex::new(None) }
    }

    /// Drops refused credentials, so that the next request loads new ones. Returns false if they are so recent that
    /// loading them again is pointless and would only burden the issuer. `is_expired` means that the server reported
    /// them as expired; otherwise it gave no reason.
    pub(super) async fn drop_refused(&self, start: Instant, is_expired: bool) -> bool {
        let mut cache = self.cache.lock().await;
        match cache.as_ref() {
            // Another request was refused, too, and has already renewed them.
            Some(credentials) if credentials.loaded_at > start => true,
            Some(credentials) if !is_expired && credentials.loaded_at.elapsed() < MIN_AGE => false,
            Some(_) | None => {
                *cache = None;
                true
            }
        }
    }

    /// Returns the shared files to read: `credentials`, and `config` only if enabled.
    fn files(&self) -> EnvConfigFiles {
        EnvConfigFiles::builder()
            .include_default_credentials_file(true)
            .include_default_config_file(self.location.enable_shared_config)
            .build()
    }

    async fn load(&self) -> Result<CachedCredentials, NoCredentials> {
        let to_error = |e: &dyn std::error::Error| NoCredentials(error_chain(e));
        let http = http_client();
        let provider = match &self.location.profile {
            // A configured profile takes precedence over the environment.
            Some(profile) => SharedCredentialsProvider::new(
                ProfileFileCredentialsProvider::builder()
                    .configure(&ProviderConfig::without_region().with_http_client(http))
                    .profile_files(self.files())
                    .profile_name(profile)
                    .build(),
            ),
            None => aws_config::defaults(BehaviorVersion::latest())
                .http_client(http)
                .profile_files(self.files())
                .region(Region::new(self.location.region.clone().unwrap_or_else(|| "us-east-1".into())))
                .load()
                .await
                .credentials_provider()
                .ok_or_else(|| NoCredentials("the standard credential chain has no provider".into()))?,
        };
        let credentials = provider.provide_credentials().await.map_err(|e| to_error(&e))?;
        let credential = AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        };
        Ok(CachedCredentials {
            credential: Arc::new(credential),
            expires_at: credentials.expiry(),
            loaded_at: Instant::now(),
        })
    }

    /// Returns the region: the configured one, else that of the environment, else that of the profile. Without these,
    /// `us-east-1` if an endpoint is configured, which is not Amazon's, else the region of the instance.
    pub(super) async fn region(&self) -> Option<String> {
        if let Some(region) = &self.location.region {
            return Some(region.clone());
        }
        let mut profile = ProfileFileRegionProvider::builder().profile_files(self.files());
        if let Some(name) = &self.location.profile {
            profile = profile.profile_name(name);
        }
        let chain =
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
        let chain = match &self.location.endpoint {
            Some(_) => chain.or_else(Region::new("us-east-1")),
            None => chain.or_else(
                aws_config::imds::region::ImdsRegionProvider::builder()
                    .configure(&ProviderConfig::without_region().with_http_client(http_client()))
                    .build(),
            ),
        };
        let region = tokio::time::timeout(CHAIN_TIMEOUT, chain.region()).await.ok().flatten();
        region.map(|region| region.to_string())
    }
}

/// Returns the client for all requests of the AWS crates, which panic without one.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cache = self.cache.lock().await;
        if let Some(credentials) = cache.as_ref().filter(|credentials| credentials.is_valid()) {
            return Ok(Arc::clone(&credentials.credential));
        }
        let result = tokio::time::timeout(CHAIN_TIMEOUT, self.load()).await.unwrap_or_else(|_| {
            Err(NoCredentials(format!(
                "no answer from the standard credential chain within {CHAIN_TIMEOUT:?}"
            )))
        });
        match (result, cache.as_ref()) {
            (Ok(new), _) => Ok(Arc::clone(&cache.insert(new).credential)),
            // Early renewal failed; the cached credentials are still valid.
            (Err(_), Some(old)) if !old.is_expired() => Ok(Arc::clone(&old.credential)),
            (Err(e), _) => Err(object_store::Error::Generic { store: "S3", source: Box::new(e) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached_credentials(remaining: Option<i64>, age: u64) -> CachedCredentials {
        let now = SystemTime::now();
        let expires_at = remaining.map(|s| match u64::try_from(s) {
            Ok(s) => now + Duration::from_secs(s),
            Err(_) => now - Duration::from_secs(s.unsigned_abs()),
        });
        let credential = AwsCredential { key_id: "k".into(), secret_key: "s".into(), token: None };
        let loaded_at = Instant::now().checked_sub(Duration::from_secs(age)).unwrap();
        CachedCredentials { credential: Arc::new(credential), expires_at, loaded_at }
    }

    #[test]
    fn credentials_are_renewed_five_minutes_before_they_expire() {
        assert!(cached_credentials(None, 1_000).is_valid());
        assert!(cached_credentials(Some(310), 60).is_valid());
        assert!(!cached_credentials(Some(290), 60).is_valid());
        assert!(
            cached_credentials(Some(60), 1).is_valid(),
            "short-lived ones are not loaded at every request"
        );
        assert!(!cached_credentials(Some(-1), 1).is_valid() && cached_credentials(Some(-1), 1).is_expired());
    }

    #[tokio::test]
    async fn young_credentials_are_renewed_only_if_the_server_reports_them_as_expired() {
        let credentials = Credentials::new(S3Location::default());
        *credentials.cache.lock().await = Some(cached_credentials(None, 1));
        let start = Instant::now();
        assert!(!credentials.drop_refused(start, false).await);
        assert!(credentials.drop_refused(start, true).await);
        assert!(credentials.cache.lock().await.is_none());
    }
}
