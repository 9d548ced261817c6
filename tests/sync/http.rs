//! Downloads of package files over HTTP: complete, or resumed at the byte where they were interrupted.

use futures_util::TryStreamExt;
use rstudio_pm::config::Proxy;
use rstudio_pm::storage::install_tls_provider;
use rstudio_pm::upstream::{
    FileRequest, FileResponse, FileStream, Mirror, Upstream as Client, UpstreamError, Validators,
};

use crate::support::listener::ClosedPort;
use crate::support::sync_backend::limits;
use crate::support::upstream::{Fault, Upstream};

const FILE: &str = "src/contrib/a_1.0.tar.gz";

fn mirror(upstream: &Upstream) -> Mirror {
    mirror_at(&upstream.url())
}

fn mirror_at(url: &str) -> Mirror {
    install_tls_provider();
    let client = Client::with_limits(&Proxy::default(), limits()).expect("no proxy");
    client.mirror(url).expect("a URL")
}

/// One file of 300,000 bytes.
fn upstream_with_file() -> (Upstream, Vec<u8>) {
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
    let upstream = Upstream::empty();
    upstream.put(FILE, bytes.clone());
    (upstream, bytes)
}

async fn read(stream: FileStream) -> Result<Vec<u8>, UpstreamError> {
    let chunks: Vec<bytes::Bytes> = stream.body.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn a_file_is_downloaded_completely_with_its_size() {
    let (upstream, bytes) = upstream_with_file();
    let stream = mirror(&upstream).open(FILE, None).await.expect("the file exists");
    assert_eq!((stream.size, stream.offset), (Some(300_000), 0));
    assert!(read(stream).await.expect("complete") == bytes);
    let request = upstream.take_requests().remove(0);
    assert_eq!(request.headers["user-agent"], format!("rstudio-pm/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.headers["accept-encoding"], "identity");
}

#[tokio::test]
async fn a_download_is_resumed_where_it_was_interrupted() {
    let (upstream, bytes) = upstream_with_file();
    let mirror = mirror(&upstream);
    upstream.fail(FILE, [Fault::CutAfter(100_000)]);
    let stream = mirror.open(FILE, None).await.expect("the file exists");
    let validators = stream.validators.clone();
    let error = read(stream).await.expect_err("the connection is closed early");
    assert!(matches!(error, UpstreamError::Unavailable { .. }), "{error}");
    let rest = mirror.open(FILE, Some((100_000, validators))).await.expect("the file exists");
    assert_eq!((rest.size, rest.offset), (Some(300_000), 100_000));
    assert!(read(rest).await.expect("the rest") == bytes[100_000..]);
}

#[tokio::test]
async fn the_download_of_a_changed_file_begins_again() {
    let (upstream, _) = upstream_with_file();
    let mirror = mirror(&upstream);
    let validators = mirror.open(FILE, None).await.expect("the file exists").validators;
    upstream.put(FILE, vec![7; 400_000]);
    let stream = mirror.open(FILE, Some((100_000, validators))).await.expect("the file exists");
    assert_eq!((stream.size, stream.offset), (Some(400_000), 0));
}

#[tokio::test]
async fn an_invalid_resumption_begins_again() {
    let (upstream, bytes) = upstream_with_file();
    let mirror = mirror(&upstream);
    let validators = mirror.open(FILE, None).await.expect("the file exists").validators;
    upstream.fail(FILE, [Fault::WrongRange]);
    let stream = mirror.open(FILE, Some((100_000, validators.clone()))).await.expect("the file exists");
    assert_eq!(stream.offset, 0);
    assert!(read(stream).await.expect("complete") == bytes);
    // Beyond the end, without validators, with a weak one, and from a server without ranges.
    let weak_validators = Validators { etag: Some("W/\"x\"".to_owned()), modified: None };
    for resume in
        [(300_000, validators.clone()), (100_000, Validators::default()), (100_000, weak_validators)]
    {
        assert_eq!(mirror.open(FILE, Some(resume)).await.expect("the file exists").offset, 0);
    }
    upstream.fail(FILE, [Fault::NoValidators]);
    assert_eq!(mirror.open(FILE, Some((100_000, validators))).await.expect("the file exists").offset, 0);
}

#[tokio::test]
async fn a_missing_file_is_distinguished_from_a_busy_mirror() {
    let (upstream, _) = upstream_with_file();
    let mirror = mirror(&upstream);
    let error = mirror.open("src/contrib/b_1.0.tar.gz", None).await.err().expect("missing");
    assert!(matches!(error, UpstreamError::Missing(_)), "{error}");
    upstream.fail(FILE, [Fault::Status(503, "Retry-After: 7")]);
    let error = mirror.open(FILE, None).await.err().expect("busy");
    assert!(
        matches!(error, UpstreamError::Unavailable { retry_after: Some(7), is_of_mirror: false, .. }),
        "{error:?}"
    );
    assert_eq!(upstream.take_requests().len(), 2, "each opening is one request");
}

#[tokio::test]
async fn a_mirror_without_a_connection_is_distinguished_from_a_file_that_fails() {
    let closed = ClosedPort::open();
    let unreachable = mirror_at(&format!("http://127.0.0.1:{}", closed.port));
    let error = unreachable.open(FILE, None).await.err().expect("no connection");
    assert!(matches!(error, UpstreamError::Unavailable { is_of_mirror: true, .. }), "{error:?}");
    let (upstream, _) = upstream_with_file();
    upstream.fail(FILE, [Fault::CutAfter(100_000)]);
    let stream = mirror(&upstream).open(FILE, None).await.expect("the file exists");
    let error = read(stream).await.expect_err("the connection is closed early");
    assert!(matches!(error, UpstreamError::Unavailable { is_of_mirror: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_small_file_larger_than_its_limit_is_refused_whatever_the_header_declares() {
    let (upstream, _) = upstream_with_file();
    let mirror = mirror(&upstream);
    let fetch = |limit| FileRequest { path: FILE, validators: None, limit };
    let error = mirror.fetch(fetch(299_999)).await.expect_err("too large");
    assert!(matches!(error, UpstreamError::Refused { .. }), "{error}");
    assert!(
        matches!(mirror.fetch(fetch(300_000)).await, Ok(FileResponse::Body { bytes, .. }) if bytes.len() == 300_000)
    );
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let (upstream, bytes) = upstream_with_file();
    let cdn = Upstream::empty();
    cdn.put("cdn/a.tar.gz", bytes.clone());
    upstream.always(FILE, Fault::Redirect(format!("{}/cdn/a.tar.gz", cdn.url())));
    let stream = mirror(&upstream).open(FILE, None).await.expect("the file exists");
    assert!(read(stream).await.expect("complete") == bytes);
}

#[tokio::test]
async fn requests_go_through_the_proxy_with_its_password() {
    install_tls_provider();
    // A proxy is sent complete URLs; this one has a single file.
    let proxy = Upstream::empty();
    proxy.put("http://cran.invalid/src/contrib/PACKAGES", &b"Package: a\n"[..]);
    let settings = Proxy {
        url: Some(rstudio_pm::config::Secret(proxy.url().trim_start_matches("http://").to_owned())),
        user: Some("team".to_owned()),
        password: Some(rstudio_pm::config::Secret("s3cret".to_owned())),
    };
    let client = Client::with_limits(&settings, limits()).expect("a proxy");
    let mirror = client.mirror("http://cran.invalid").expect("a URL");
    let result =
        mirror.fetch(FileRequest { path: "src/contrib/PACKAGES", validators: None, limit: 100 }).await;
    assert!(matches!(result, Ok(FileResponse::Body { .. })), "{result:?}");
    assert_eq!(proxy.take_requests()[0].headers["proxy-authorization"], "Basic dGVhbTpzM2NyZXQ=");
}
