//! Requests for pages of any server, whose addresses end in a slash.

use std::time::Duration;

use super::error::OfflineError;
use upstream::transport::Transport;
use upstream::{PageRequest, PageResponse, UpstreamError};

/// Maximum size of a page in bytes, and duration of a request.
const MAX_PAGE: u64 = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(300);

/// Requests a page in this media type, with retries; `None` if it is missing. `path` has no slash at its end.
pub(super) async fn page(
    transport: &Transport,
    path: &str,
    accept: &'static str,
) -> Result<Option<Vec<u8>>, OfflineError> {
    let (limit, timeout) = (MAX_PAGE, TIMEOUT);
    let request = PageRequest { path, body: None, accept, validators: None, limit, retries: true, timeout };
    match transport.page(request).await {
        Ok(PageResponse::Page(page)) => Ok(Some(page.decoded(MAX_PAGE)?.to_vec())),
        Ok(PageResponse::Unchanged(_)) | Err(UpstreamError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
