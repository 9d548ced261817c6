//! Posts a message to a service, such as a witness of the log, and reads its answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};

use super::client::{self, HttpClient};
use super::http::RequestUrl;
use crate::UpstreamError;
use base::config::without_userinfo;

/// Maximum size of an answer in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The answer of a service, with any status.
#[derive(Clone, Debug)]
pub struct Posted {
    pub status: StatusCode,
    pub media_type: String,
    pub body: Bytes,
}

/// Sends one request, without retries. The whole exchange ends after `timeout`.
pub(crate) async fn post(
    http: &HttpClient,
    url: &str,
    media_type: &'static str,
    body: Vec<u8>,
    timeout: Duration,
) -> Result<Posted, UpstreamError> {
    let target = RequestUrl { url: url.to_owned(), display_url: without_userinfo(url) };
    let request = http.client()?.post(&target.url).timeout(timeout);
    let request = request.header(header::CONTENT_TYPE, media_type).body(body);
    let error = |error| target.request_error(error);
    let mut response = client::send(request).await.0.map_err(error)?;
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let (status, media_type) = (response.status(), media_type.unwrap_or_default().to_owned());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(error)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(target.refusal(format!("the answer has more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Posted { status, media_type, body: body.freeze() })
}
