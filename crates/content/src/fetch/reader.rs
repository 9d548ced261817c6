//! The progress of a fetch, and the stream of its released bytes to a client.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};

use super::verify::{ExpectedFile, PackageForm};
use super::{Delivery, Fetch, FetchError, Subscriber, UNRELEASED_END};
use store::storage::{self, ReadRequest};

/// Maximum distance in bytes from the end of the written bytes to the start of a range that waits for them.
const MAX_DISTANCE: u64 = 1 << 20;

/// Returns whether a range from `start` on can be answered from this fetch without a long wait.
pub fn is_near(fetch: &Fetch, start: u64) -> bool {
    start <= fetch.progress.borrow().written_bytes + MAX_DISTANCE
}

/// Streams the released bytes of `range`. An error ends it, so that the client does not take them as the whole file.
pub fn read(subscriber: Subscriber, range: Range<u64>) -> BoxStream<'static, Result<Bytes, FetchError>> {
    unfold(Some((subscriber, range)), |state| async move {
        let (subscriber, range) = state?;
        if range.start >= range.end {
            return None;
        }
        match piece(&subscriber.fetch, &range).await {
            Ok(Some(bytes)) => {
                let rest_range = range.start + bytes.len() as u64..range.end;
                Some((Ok(bytes), Some((subscriber, rest_range))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// The next piece of the range; `None` at the end of a file of undeclared size.
async fn piece(fetch: &Arc<Fetch>, range: &Range<u64>) -> Result<Option<Bytes>, FetchError> {
    let mut progress = fetch.progress.clone();
    let current = progress
        .wait_for(|p| p.released_bytes() > range.start || p.outcome.is_some())
        .await
        .map_err(|_| FetchError::Storage("the server is stopping".to_owned()))?
        .clone();
    if current.released_bytes() <= range.start {
        return match current.failure() {
            Some(error) => Err(error.clone()),
            None if range.end == u64::MAX => Ok(None),
            None => Err(FetchError::Mismatch("upstream's file is shorter than declared".to_owned())),
        };
    }
    let end = current.released_bytes().min(range.end).min(range.start + storage::chunk_size() as u64);
    if range.start >= current.spooled_bytes {
        return Ok(Some(fetch.overflow.piece(range.start - current.spooled_bytes, end - range.start)));
    }
    let (start, end) = (range.start, end.min(current.spooled_bytes));
    let missing_error = || FetchError::Storage("the spool of a fetch is missing".to_owned());
    let file = fetch.spool.lock().clone().ok_or_else(missing_error)?;
    let request = ReadRequest::new(start..end);
    tokio::task::spawn_blocking(move || request.read(&file))
        .await
        .map_err(|_| missing_error())?
        .map(Some)
        .map_err(|e| FetchError::Storage(format!("could not read a spool: {e}")))
}

#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Bytes written to the spool or its overflow.
    pub written_bytes: u64,
    /// Number of written bytes that are in the spool; lower than `written_bytes` only if the file cannot be stored.
    pub(super) spooled_bytes: u64,
    /// Size of the file, once upstream or the index has declared it.
    pub size: Option<u64>,
    pub outcome: Option<FetchOutcome>,
    pub(super) is_verified: bool,
    /// True when nothing is released before verification: if the file is wrong, another one can still be served.
    pub(super) is_held_until_verified: bool,
}

#[derive(Clone, Debug)]
pub enum FetchOutcome {
    /// Verified, and stored where possible.
    Done(Delivery),
    Failed(FetchError),
}

impl Progress {
    pub(super) fn begin(expected: &ExpectedFile) -> Progress {
        // The source package can be served instead of a binary, unless a byte of the binary was sent.
        let is_held_until_verified = matches!(expected.form, PackageForm::Binary(_));
        Progress { is_held_until_verified, ..Progress::default() }
    }

    /// Returns whether a client can be answered. Small files must be verified, so that a wrong one is an
    /// error and not a broken connection.
    pub fn can_answer(&self) -> bool {
        self.released_bytes() > 0 || self.outcome.is_some()
    }

    /// The number of bytes that may be sent to clients.
    pub(super) fn released_bytes(&self) -> u64 {
        match (self.is_verified, self.is_held_until_verified) {
            (true, _) => self.written_bytes,
            (false, true) => 0,
            (false, false) => self.written_bytes.saturating_sub(UNRELEASED_END),
        }
    }

    pub(super) fn failure(&self) -> Option<&FetchError> {
        match &self.outcome {
            Some(FetchOutcome::Failed(error)) => Some(error),
            Some(FetchOutcome::Done(_)) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_not_released_until_it_is_verified() {
        let mut progress = Progress { written_bytes: 100 << 10, ..Progress::default() };
        assert_eq!(progress.released_bytes(), 36 << 10);
        progress.is_verified = true;
        assert_eq!(progress.released_bytes(), 100 << 10);
        assert_eq!(Progress { written_bytes: 10, ..Progress::default() }.released_bytes(), 0);
        let mut binary =
            Progress { written_bytes: 100 << 20, is_held_until_verified: true, ..Progress::default() };
        assert_eq!(binary.released_bytes(), 0);
        binary.is_verified = true;
        assert_eq!(binary.released_bytes(), 100 << 20);
    }
}
