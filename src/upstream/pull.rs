//! A whole file of a mirror, in pieces, however often the connection breaks: each try goes on where the last one ended.

use bytes::Bytes;
use futures_util::StreamExt;

use super::mirror::{Mirror, Opened, Validators};
use super::{Limits, UpstreamError, retry};

/// Takes the bytes of a file.
#[allow(async_fn_in_trait, reason = "whoever pulls awaits it in place")]
pub trait Taker {
    /// Forgets what came: the file begins, with so many bytes to come as far as the mirror or who asked knows.
    fn begin(&mut self, size: Option<u64>);

    /// Takes the next piece.
    ///
    /// # Errors
    /// What a full disk says, for one; it ends the pull.
    async fn take(&mut self, piece: Bytes) -> Result<(), UpstreamError>;
}

/// How far a pull has come.
struct Progress {
    bytes: u64,
    validators: Option<Validators>,
}

impl Mirror {
    /// Reads a file from its first to its last byte; `expected` is its size where that is known, and more is never taken.
    /// Returns how many bytes it has.
    ///
    /// # Errors
    /// The mirror does not have it, or did not give it after some tries: see [`Limits`].
    pub async fn pull(
        &self,
        path: &str,
        expected: Option<u64>,
        taker: &mut impl Taker,
    ) -> Result<u64, UpstreamError> {
        let limits = self.limits();
        let mut progress = Progress { bytes: 0, validators: None };
        let (mut left, mut pause) = (limits.retries, limits.pause);
        loop {
            let before = progress.bytes;
            let error = match self.pull_once(path, expected, &mut progress, taker).await {
                Ok(()) => return Ok(progress.bytes),
                Err(error) => error,
            };
            if progress.bytes > before {
                // What moves is not given up, however bad the line.
                (left, pause) = (limits.retries, limits.pause);
            }
            let planned = (left > 0 && matches!(error, UpstreamError::Unavailable { .. })).then_some(pause);
            let Some(wait) = retry::after(&error, planned, limits.patience) else { return Err(error) };
            tracing::info!(target: "upstream", %error, ?wait, "a file broke off; trying again");
            tokio::time::sleep(wait).await;
            left -= 1;
            pause = pause.saturating_mul(2).min(limits.patience);
        }
    }

    async fn pull_once(
        &self,
        path: &str,
        expected: Option<u64>,
        progress: &mut Progress,
        taker: &mut impl Taker,
    ) -> Result<(), UpstreamError> {
        let resume = progress.validators.clone().filter(|_| progress.bytes > 0);
        let Opened { size, offset, validators, mut body } =
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
            return Err(self.refused(
                path,
                format!("has {size} bytes and not the {expected} that the mirror's index tells"),
            ));
        }
        while let Some(piece) = body.next().await {
            let piece = piece?;
            let now = progress.bytes + piece.len() as u64;
            if let Some(whole) = whole.filter(|whole| now > *whole) {
                return Err(self.refused(path, format!("has more than the {whole} bytes it should have")));
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
        self.web_limits().cloned().unwrap_or_default()
    }
}
