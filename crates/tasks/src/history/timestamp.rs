//! Time stamps (RFC 3161) of checkpoints, which prove the time to those who accept no witness.

use std::time::Duration;

use http::StatusCode;

use super::{History, export};
use base::model::digest::Sha256;
use base::model::time::Timestamp;
use content::serve::{RepoError, proofs};
use store::db::tlog;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Time after which a request that failed is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);
/// A request (RFC 3161, 2.4.1) up to the SHA-256, and after it: the answer has the certificate of the authority.
const BEFORE_DIGEST: &[u8] =
    b"\x30\x39\x02\x01\x01\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const AFTER_DIGEST: &[u8] = b"\x01\x01\xff";

/// Requests a time stamp of the text of the newest checkpoint from `History.TimestampURL`, once a day. `next` is the time of
/// the next request.
pub(super) async fn stamp(history: &History, next: &mut Timestamp) -> Result<(), RepoError> {
    let (state, now) = (&history.state, (history.state.clock)());
    let url = state.config.load().history.timestamp_url.clone();
    let (Some(url), true) = (url, now >= *next) else { return Ok(()) };
    let Some(head) = state.db.read(tlog::head).await? else { return Ok(()) };
    let Some(signed) = proofs::signed(&head)? else { return Ok(()) };
    let (log, size) = (head.id, signed.checkpoint.root.count);
    *next = now.day().end();
    if state.db.read(move |c| tlog::stamped_size(c, log)).await? == Some(size) {
        return Ok(());
    }
    let digest = Sha256::of(signed.note.text().as_bytes()).0;
    let request = [BEFORE_DIGEST, &digest, AFTER_DIGEST].concat();
    let upstream = state.upstream.load_full();
    let answer = upstream.post(&url, "application/timestamp-query", request, TIMEOUT).await;
    let answer = answer.map_err(|error| error.to_string()).and_then(|answer| {
        // A refusal does not contain the digest.
        match answer.status == StatusCode::OK && answer.body.windows(digest.len()).any(|part| part == digest)
        {
            true => Ok(answer.body),
            false => Err(format!("it answered {} without a time stamp", answer.status)),
        }
    });
    match answer {
        Ok(answer) => {
            state.db.write(move |c| tlog::insert_timestamp(c, log, size, &answer)).await?;
            export::add_tiles(history, &head).await.map(drop)
        }
        Err(error) => {
            *next = now + RETRY_INTERVAL;
            tracing::warn!("could not get a time stamp of the log: {error}");
            Ok(())
        }
    }
}
