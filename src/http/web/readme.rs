//! READMEs as HTML, in a cache, with limits of the conversions at the same time.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::markdown_process;
use crate::http::error::Failure;
use crate::http::net::Client;
use crate::http::net::budget::MemoryBudget;
use base::model::digest::Sha256;
use pages::readme::{Format, Html, HtmlTemplate, Links, convert_with};
use store::storage::memory_cache;

const CACHE_ENTRIES: usize = 1000;
/// Size of the cache in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// Size of an entry without its figures and its HTML, in bytes.
const ENTRY_BYTES: usize = 512;
/// Size of a figure without its path and its address, in bytes.
const FIGURE_BYTES: usize = 64;

/// The text, and the targets of its links, without their addresses, which differ between the snapshots of a repository.
type Key = (Sha256, Format, Links);

#[derive(Clone)]
struct SizeWeighter;

impl Weighter<Key, HtmlTemplate> for SizeWeighter {
    fn weight(&self, (_, _, links): &Key, converted: &HtmlTemplate) -> u64 {
        let figures: usize =
            links.figures.iter().map(|(path, address)| path.len() + address.len() + FIGURE_BYTES).sum();
        (ENTRY_BYTES + figures + converted.size()) as u64
    }
}

static CACHE: LazyLock<Cache<Key, HtmlTemplate, SizeWeighter>> =
    LazyLock::new(|| memory_cache::with_shards(1, CACHE_BYTES, CACHE_ENTRIES, SizeWeighter));

/// Number of conversions at the same time: they are CPU-bound, and Markdown needs a process each.
const CONVERSIONS: usize = 2;
/// Each waiting request has reserved memory for its response; all of them together a quarter of that of all responses.
const MAX_WAITING: usize = 64;
/// Maximum number of these requests from one client address.
const MAX_WAITING_PER_ADDRESS: usize = 16;
const MAX_WAIT: Duration = Duration::from_secs(5);
/// `Retry-After` in seconds while too many conversions wait.
const RETRY_AFTER: u64 = 5;

static QUEUE: LazyLock<Queue> = LazyLock::new(Queue::new);

/// The requests that convert a README, and those that wait for it.
struct Queue {
    /// Has a permit for each conversion that may begin.
    permits: Arc<Semaphore>,
    /// Has one byte for each request that may wait.
    places: MemoryBudget,
}

impl Queue {
    fn new() -> Queue {
        let permits = Arc::new(Semaphore::new(CONVERSIONS));
        Queue { permits, places: MemoryBudget::new(MAX_WAITING, MAX_WAITING_PER_ADDRESS) }
    }

    /// Waits until a conversion may begin. Fails with 503 if too many requests wait, or after [`MAX_WAIT`].
    async fn permit(&self, client: Client) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let busy = || Failure::unavailable("too many READMEs are being converted", RETRY_AFTER);
        let mut place = self.places.for_address(client).map(|places| places.share());
        if place.as_mut().is_some_and(|place| !place.grow(1)) {
            return Err(busy());
        }
        let permit = tokio::time::timeout(MAX_WAIT, Arc::clone(&self.permits).acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or_else(busy)
    }

    async fn html(
        &self,
        text: Vec<u8>,
        format: Format,
        links: Links,
        client: Client,
    ) -> Result<Option<Html>, Failure> {
        let key = (Sha256::of(&text), format, links.placeholders());
        if let Some(converted) = CACHE.get(&key) {
            return Ok(Some(converted.with_addresses(&links)));
        }
        let permit = self.permit(client).await?;
        if let Some(converted) = CACHE.get(&key) {
            return Ok(Some(converted.with_addresses(&links)));
        }
        // In a separate task, which has the permit until the conversion ends even if the client disconnects.
        let in_task = move || {
            let _permit = permit;
            let converted = convert_with(&text, key.1, &key.2, markdown_process::to_html);
            CACHE.insert(key, converted.clone());
            converted
        };
        let converted = tokio::task::spawn_blocking(in_task).await.ok();
        Ok(converted.map(|converted| converted.with_addresses(&links)))
    }
}

/// Converts a README for a client; `None` if the server is stopping. Fails with 503 if too many are being converted: a
/// page without its README would have to be neither stored by browsers nor compared by its `ETag`.
pub(super) async fn html(
    text: Vec<u8>,
    format: Format,
    links: Links,
    client: Client,
) -> Result<Option<Html>, Failure> {
    QUEUE.html(text, format, links, client).await
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(number: usize) -> Client {
        Client::Address(format!("192.0.2.{number}").parse().expect("an address"))
    }

    fn retry_after(result: Result<OwnedSemaphorePermit, Failure>) -> Option<u64> {
        result.expect_err("too many requests wait").retry_after
    }

    #[tokio::test]
    async fn the_number_of_waiting_requests_is_limited_per_client_and_in_total() {
        let queue = Queue::new();
        let mut running = Vec::new();
        for _ in 0..CONVERSIONS {
            running.push(queue.permit(address(1)).await.expect("nothing waits"));
        }
        let mut waiting = Vec::new();
        for number in 1..=MAX_WAITING / MAX_WAITING_PER_ADDRESS {
            for _ in 0..MAX_WAITING_PER_ADDRESS {
                let mut wait = Box::pin(queue.permit(address(number)));
                assert!(wait.as_mut().now_or_never().is_none());
                waiting.push(wait);
            }
            let refused = queue.permit(address(number)).now_or_never().expect("it does not wait");
            assert_eq!(retry_after(refused), Some(RETRY_AFTER));
        }
        for client in [address(200), Client::Shared] {
            let refused = queue.permit(client).now_or_never().expect("it does not wait");
            assert_eq!(retry_after(refused), Some(RETRY_AFTER));
        }
        running.pop();
        drop(waiting.remove(0).await.expect("the first that waited"));
        // Its place is free.
        assert!(queue.permit(address(1)).now_or_never().is_none());
        drop((waiting, running));
        drop(queue.permit(address(1)).now_or_never().expect("nothing waits").expect("a permit"));
    }

    #[tokio::test]
    async fn a_converted_readme_needs_no_permit() {
        let queue = Queue::new();
        let text = b"# A README of the test of the queue\n".to_vec();
        let html = |text| queue.html(text, Format::Markdown, Links::default(), address(1));
        assert!(matches!(html(text.clone()).await, Ok(Some(_))));
        let permits: Vec<_> =
            (0..CONVERSIONS).map(|_| Arc::clone(&queue.permits).try_acquire_owned().expect("free")).collect();
        assert!(html(b"# Another one\n".to_vec()).now_or_never().is_none());
        assert!(matches!(html(text).now_or_never(), Some(Ok(Some(_)))));
        drop(permits);
    }
}
