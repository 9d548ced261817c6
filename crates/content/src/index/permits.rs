//! Permits for requests to an index: for pages, for downloads that compute digests, and for background work.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::PageError;

const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A request of a client, which gets an error if it waits too long.
    Client,
    /// A sync, a prefetch or a plan: waits for clients. All of them together use at most half of the permits.
    Background,
}

pub(super) struct Permits {
    pages: Semaphore,
    downloads: Semaphore,
    background: Semaphore,
    max_wait: Duration,
}

/// A permit for one reading, returned when this is dropped.
pub(super) struct Permit<'a> {
    permits: &'a Permits,
    held: Option<SemaphorePermit<'a>>,
}

impl Permits {
    pub(super) fn new(concurrency: usize) -> Permits {
        Permits {
            pages: Semaphore::new(concurrency),
            downloads: Semaphore::new(concurrency),
            background: Semaphore::new((concurrency / 2).max(1)),
            max_wait: MAX_WAIT,
        }
    }

    /// Waits until a page may be requested; [`PageError::Busy`] after [`MAX_WAIT`].
    pub(super) async fn page(&self) -> Result<Permit<'_>, PageError> {
        Ok(Permit { permits: self, held: Some(self.wait(&self.pages).await?) })
    }

    /// Waits until background work may read a page. Clients join readings only after this wait.
    pub(super) async fn background(&self) -> Option<SemaphorePermit<'_>> {
        self.background.acquire().await.ok()
    }

    async fn wait<'a>(&self, permits: &'a Semaphore) -> Result<SemaphorePermit<'a>, PageError> {
        let permit = tokio::time::timeout(self.max_wait, permits.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or(PageError::Busy)
    }
}

impl Permit<'_> {
    /// Replaces a permit for a page by one for downloads, which take up to a minute. Fails as [`Permits::page`].
    pub(super) async fn exchange_for_downloads(&mut self) -> Result<(), PageError> {
        self.held = None;
        self.held = Some(self.permits.wait(&self.permits.downloads).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_reading_waits_for_a_limited_time() {
        let permits = Permits { max_wait: Duration::ZERO, ..Permits::new(2) };
        let (mut first, second) = (permits.page().await.expect("free"), permits.page().await.expect("free"));
        assert!(matches!(permits.page().await, Err(PageError::Busy)));
        first.exchange_for_downloads().await.expect("free");
        let third = permits.page().now_or_never().expect("it does not wait").expect("free");
        assert!(matches!(permits.page().await, Err(PageError::Busy)));
        drop((first, second, third));
        assert_eq!((permits.pages.available_permits(), permits.downloads.available_permits()), (2, 2));
    }
}
