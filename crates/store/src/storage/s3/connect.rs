//! Creates the client of a configured bucket, with bounded retries and no limit on the duration of a transfer.

use super::credentials::Credentials;
use crate::storage::{StorageError, install_tls_provider};
use base::config::S3Location;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// Retries for 500, 503 SlowDown, 429 and lost connections, bounded because the client has a timeout.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
        max_retries: 6,
        retry_timeout: Duration::from_secs(30),
    }
}

pub(super) async fn connect(
    location: &S3Location,
    credentials: Arc<Credentials>,
) -> Result<AmazonS3, StorageError> {
    install_tls_provider();
    let location_error = |problem: &dyn std::fmt::Display| {
        StorageError::Other(format!("s3://{}/{}: {problem}", location.bucket, location.prefix))
    };
    let region = credentials.region().await.ok_or_else(|| {
        location_error(&"no region found; set S3Storage.Region, AWS_REGION, or a region in the profile")
    })?;
    // Without an endpoint the client library connects to Amazon by HTTPS.
    let http_endpoint = location.disable_ssl.then(|| format!("http://s3.{region}.amazonaws.com"));
    let endpoint = location.endpoint.clone().or(http_endpoint);
    let endpoint = endpoint.map(|e| address(&e, location)).transpose().map_err(|e| location_error(&e))?;
    let options = ClientOptions::new()
        .with_allow_http(endpoint.as_deref().is_some_and(|e| e.starts_with("http://")))
        .with_connect_timeout(Duration::from_secs(4))
        // The whole transfer has no timeout, only each read.
        .with_timeout_disabled()
        .with_read_timeout(Duration::from_secs(20));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(!location.path_style)
        .with_credentials(credentials)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // One key per request: other S3 servers often lack the bulk call, and it needs the same permissions.
        .with_disable_bulk_delete(true)
        .with_retry(retries())
        .with_client_options(options);
    if let Some(key) = &location.key_id {
        builder = builder.with_sse_kms_encryption(key);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build().map_err(|e| location_error(&e))
}

/// Returns the address for requests. With virtual-hosted style the client library expects the bucket in the host name.
fn address(endpoint: &str, location: &S3Location) -> Result<String, String> {
    let invalid = |reason: &dyn std::fmt::Display| {
        format!("S3Storage.Endpoint '{endpoint}' is not 'http(s)://host[:port]': {reason}")
    };
    let mut url = url::Url::parse(endpoint).map_err(|e| invalid(&e))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(&"the scheme is neither http nor https"));
    }
    if !location.path_style {
        let host = url.host_str().ok_or_else(|| invalid(&"no host"))?;
        let host = format!("{}.{host}", location.bucket);
        url.set_host(Some(&host))
            .map_err(|e| invalid(&format_args!("{e}; set S3Storage.PathStyle = true for an IP address")))?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_host_unless_path_style_is_configured() {
        let mut location = S3Location { bucket: "b1b".into(), path_style: true, ..S3Location::default() };
        assert_eq!(address("http://s3.local:9000/", &location), Ok("http://s3.local:9000".into()));
        location.path_style = false;
        assert_eq!(address("https://s3.local:9000", &location), Ok("https://b1b.s3.local:9000".into()));
        assert!(address("ftp://s3.local", &location).unwrap_err().contains("neither http nor https"));
        assert!(address("s3.local", &location).is_err());
    }
}
