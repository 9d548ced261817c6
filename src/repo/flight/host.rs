//! Limits for each upstream host: requests at one time, and a breaker that spares a host that is down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::upstream::UpstreamError;

/// Requests to one host at one time.
const REQUESTS: usize = 16;
/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// How long it stays open.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// What is known of each host; cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    table: Arc<Mutex<HashMap<String, Host>>>,
}

struct Host {
    slots: Arc<Semaphore>,
    failures: u32,
    open_until: Option<Instant>,
}

impl Hosts {
    /// Waits for a free request to `host`; fails while its breaker is open, also when it opened during the wait.
    pub(super) async fn admit(&self, host: &str) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let slots = self.slots(host)?;
        let permit = slots.acquire_owned().await.map_err(|_| left_alone(host, OPEN_FOR))?;
        self.slots(host)?;
        Ok(permit)
    }

    /// Why no request would be sent to `host` now, if none would.
    pub(super) fn is_open(&self, host: &str) -> Option<UpstreamError> {
        let until = self.table.lock().get(host)?.open_until?;
        until.checked_duration_since(Instant::now()).map(|left| left_alone(host, left))
    }

    fn slots(&self, host: &str) -> Result<Arc<Semaphore>, UpstreamError> {
        let mut table = self.table.lock();
        let entry = table.entry(host.to_owned()).or_insert_with(|| Host {
            slots: Arc::new(Semaphore::new(REQUESTS)),
            failures: 0,
            open_until: None,
        });
        match entry.open_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) => Err(left_alone(host, left)),
            None => Ok(entry.slots.clone()),
        }
    }

    /// Notes how a request to `host` went: only a host that cannot be reached counts against it.
    pub(super) fn note(&self, host: &str, error: Option<&UpstreamError>) {
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(host) else { return };
        match error {
            Some(UpstreamError::Unavailable { .. }) => {
                entry.failures += 1;
                if entry.failures >= FAILURES {
                    entry.open_until = Some(Instant::now() + OPEN_FOR);
                    // One more failure after the pause opens it again.
                    entry.failures = FAILURES - 1;
                }
            }
            Some(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) | None => {
                entry.failures = 0;
                entry.open_until = None;
            }
        }
    }
}

fn left_alone(host: &str, left: Duration) -> UpstreamError {
    UpstreamError::Unavailable {
        url: host.to_owned(),
        reason: "the mirror failed several times in a row and is left alone for a moment".to_owned(),
        retry_after: Some(left.as_secs().max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> UpstreamError {
        UpstreamError::Unavailable { url: "h".to_owned(), reason: "down".to_owned(), retry_after: None }
    }

    #[tokio::test]
    async fn a_host_that_is_down_is_left_alone() {
        let hosts = Hosts::default();
        for _ in 0..FAILURES {
            assert!(hosts.admit("h").await.is_ok());
            hosts.note("h", Some(&down()));
        }
        assert!(matches!(
            hosts.admit("h").await,
            Err(UpstreamError::Unavailable { retry_after: Some(_), .. })
        ));
        assert!(hosts.admit("other").await.is_ok());
    }

    #[tokio::test]
    async fn a_missing_file_is_not_the_hosts_fault() {
        let hosts = Hosts::default();
        for _ in 0..2 * FAILURES {
            assert!(hosts.admit("h").await.is_ok());
            hosts.note("h", Some(&UpstreamError::Missing("x".to_owned())));
        }
        assert!(hosts.admit("h").await.is_ok());
    }

    #[tokio::test]
    async fn requests_that_waited_for_a_host_that_went_down_meanwhile_are_not_sent() {
        let hosts = Hosts::default();
        let mut first = Vec::new();
        for _ in 0..REQUESTS {
            first.push(hosts.admit("h").await.expect("there is room"));
        }
        let waiting = tokio::spawn({
            let hosts = hosts.clone();
            async move { hosts.admit("h").await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        (0..FAILURES).for_each(|_| hosts.note("h", Some(&down())));
        drop(first);
        assert!(matches!(waiting.await.unwrap(), Err(UpstreamError::Unavailable { .. })));
    }
}
