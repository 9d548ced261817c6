//! Downloads a whole file; each retry resumes where the last attempt ended.

use bytes::Bytes;
use futures_util::StreamExt;

use super::file::{FileStream, Validators};
use super::{Transport, retry};
use crate::UpstreamError;

/// Receives the bytes of a file.
#[allow(async_fn_in_trait, reason = "callers await it in place")]
pub trait ByteSink {
    /// Discards the bytes received so far: the file starts again at 0. `size` is its size, if known.
    fn begin(&mut self, size: Option<u64>);

    /// Receives the next part. An error, such as a full disk, ends the download.
    async fn take(&mut self, chunk: Bytes) -> Result<(), UpstreamError>;
}

struct Progress {
    bytes: u64,
    validators: Option<Validators>,
}

/// Downloads a file; `expected_size` is its size if it is known: a file of a different size is refused. Returns the
/// number of bytes. Fails also if the file is missing or all retries failed: see [`super::client::Limits`].
pub(crate) async fn download(
    transport: &Transport,
    path: &str,
    expected_size: Option<u64>,
    sink: &mut impl ByteSink,
) -> Result<u64, UpstreamError> {
    let limits = transport.limits();
    let mut progress = Progress { bytes: 0, validators: None };
    let (mut retries, mut pause) = (limits.max_retries, limits.first_pause);
    loop {
        let old_bytes = progress.bytes;
        let error = match download_once(transport, path, expected_size, &mut progress, sink).await {
            Ok(()) => return Ok(progress.bytes),
            Err(error) => error,
        };
        if progress.bytes > old_bytes {
            // Any progress resets the retries.
            (retries, pause) = (limits.max_retries, limits.first_pause);
        }
        let planned_pause =
            (retries > 0 && matches!(error, UpstreamError::Unavailable { .. })).then_some(pause);
        let Some(wait) = retry::pause_after(&error, planned_pause, limits.max_pause) else {
            return Err(error);
        };
        tracing::info!(target: "upstream", %error, ?wait, "the download was interrupted; retrying");
        tokio::time::sleep(wait).await;
        retries -= 1;
        pause = pause.saturating_mul(2).min(limits.max_pause);
    }
}

async fn download_once(
    transport: &Transport,
    path: &str,
    expected_size: Option<u64>,
    progress: &mut Progress,
    sink: &mut impl ByteSink,
) -> Result<(), UpstreamError> {
    let resume = progress.validators.clone().filter(|_| progress.bytes > 0);
    let FileStream { size, offset, validators, mut body } =
        transport.open(path, resume.map(|validators| (progress.bytes, validators))).await?;
    let url = || format!("{}/{path}", transport.address());
    let refusal = |reason: String| UpstreamError::Refused { url: url(), reason };
    let total_size = expected_size.or(size);
    if offset == 0 || offset != progress.bytes {
        sink.begin(total_size);
        progress.bytes = 0;
    }
    progress.validators = Some(validators);
    if let (Some(expected_size), Some(size)) = (expected_size, size)
        && expected_size != size
    {
        return Err(refusal(format!(
            "has {size} bytes instead of the {expected_size} in the mirror's index"
        )));
    }
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        let received_bytes = progress.bytes + chunk.len() as u64;
        if let Some(total_size) = total_size.filter(|total_size| received_bytes > *total_size) {
            return Err(refusal(format!("has more than the expected {total_size} bytes")));
        }
        sink.take(chunk).await?;
        progress.bytes = received_bytes;
    }
    match total_size.filter(|total_size| *total_size != progress.bytes) {
        None => Ok(()),
        Some(total_size) => Err(UpstreamError::Unavailable {
            url: url(),
            reason: format!("ended after {} of {total_size} bytes", progress.bytes),
            retry_after: None,
            is_of_mirror: false,
        }),
    }
}
