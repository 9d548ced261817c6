//! Downloads a whole file of a mirror; each retry resumes where the last attempt ended.

use bytes::Bytes;
use futures_util::StreamExt;

use super::mirror::{FileStream, Mirror, Validators};
use super::{Limits, UpstreamError, retry};

/// Receives the bytes of a file.
#[allow(async_fn_in_trait, reason = "callers await it in place")]
pub trait ByteSink {
    /// Discards what was received: the file starts over, with its size if the mirror or the caller knows it.
    fn begin(&mut self, size: Option<u64>);

    /// Receives the next part.
    ///
    /// # Errors
    /// An error, such as a full disk, ends the download.
    async fn take(&mut self, piece: Bytes) -> Result<(), UpstreamError>;
}

/// The state of a download.
struct Progress {
    bytes: u64,
    validators: Option<Validators>,
}

impl Mirror {
    /// Downloads a file; `expected` is its size if it is known, and more is never received. Returns the number of
    /// bytes.
    ///
    /// # Errors
    /// The mirror does not have it, or all retries failed: see [`Limits`].
    pub async fn download(
        &self,
        path: &str,
        expected: Option<u64>,
        taker: &mut impl ByteSink,
    ) -> Result<u64, UpstreamError> {
        let limits = self.limits();
        let mut progress = Progress { bytes: 0, validators: None };
        let (mut left, mut pause) = (limits.retries, limits.pause);
        loop {
            let before = progress.bytes;
            let error = match self.download_once(path, expected, &mut progress, taker).await {
                Ok(()) => return Ok(progress.bytes),
                Err(error) => error,
            };
            if progress.bytes > before {
                // Any progress resets the retries, however bad the connection.
                (left, pause) = (limits.retries, limits.pause);
            }
            let planned = (left > 0 && matches!(error, UpstreamError::Unavailable { .. })).then_some(pause);
            let Some(wait) = retry::pause_after(&error, planned, limits.patience) else { return Err(error) };
            tracing::info!(target: "upstream", %error, ?wait, "the download was interrupted; retrying");
            tokio::time::sleep(wait).await;
            left -= 1;
            pause = pause.saturating_mul(2).min(limits.patience);
        }
    }

    async fn download_once(
        &self,
        path: &str,
        expected: Option<u64>,
        progress: &mut Progress,
        taker: &mut impl ByteSink,
    ) -> Result<(), UpstreamError> {
        let resume = progress.validators.clone().filter(|_| progress.bytes > 0);
        let FileStream { size, offset, validators, mut body } =
            self.open(path, resume.map(|validators| (progress.bytes, validators))).await?;
        let whole = expected.or(size);
        if offset == 0 || offset != progress.bytes {
            taker.begin(whole);
            progress.bytes = 0;
        }
        progress.validators = Some(validators);
        if let (Some(expected), Some(size)) = (expected, size)
            && expected != size
        {
            return Err(self
                .refused(path, format!("has {size} bytes instead of the {expected} in the mirror's index")));
        }
        while let Some(piece) = body.next().await {
            let piece = piece?;
            let now = progress.bytes + piece.len() as u64;
            if let Some(whole) = whole.filter(|whole| now > *whole) {
                return Err(self.refused(path, format!("has more than the expected {whole} bytes")));
            }
            taker.take(piece).await?;
            progress.bytes = now;
        }
        match whole.filter(|whole| *whole != progress.bytes) {
            None => Ok(()),
            Some(whole) => Err(UpstreamError::Unavailable {
                url: format!("{}/{path}", self.address()),
                reason: format!("ended after {} of {whole} bytes", progress.bytes),
                retry_after: None,
            }),
        }
    }

    fn refused(&self, path: &str, reason: String) -> UpstreamError {
        UpstreamError::Refused { url: format!("{}/{path}", self.address()), reason }
    }

    fn limits(&self) -> Limits {
        self.http_limits().cloned().unwrap_or_default()
    }
}
