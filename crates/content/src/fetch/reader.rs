//! Streams the released bytes of a fetch to a client.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, unfold};

use super::{Fetch, FetchError, Subscriber};
use store::storage::{self, ReadRequest};

/// Maximum distance in bytes from the end of the written bytes to the start of a range that waits for them.
const MAX_DISTANCE: u64 = 1 << 20;

/// Returns true if a range from `start` on can be answered from this fetch without a long wait.
pub fn is_near(fetch: &Fetch, start: u64) -> bool {
    start <= fetch.progress.borrow().written_bytes + MAX_DISTANCE
}

/// Streams the bytes of `range`, each piece as soon as it is released. An error ends the stream, so that the
/// client does not treat the received bytes as the whole file.
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
