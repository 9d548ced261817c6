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
    /// Waits for a free request to `host`; fails at once while its breaker is open.
    pub(super) async fn admit(&self, host: &str) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let closed = |retry_after| UpstreamError::Unavailable {
            url: host.to_owned(),
            reason: "the mirror failed several times in a row and is left alone for a moment".to_owned(),
            retry_after: Some(retry_after),
        };
        let slots = {
            let mut table = self.table.lock();
            let entry = table.entry(host.to_owned()).or_insert_with(|| Host {
                slots: Arc::new(Semaphore::new(REQUESTS)),
                failures: 0,
                open_until: None,
            });
            if let Some(left) =
                entry.open_until.and_then(|until| until.checked_duration_since(Instant::now()))
            {
                return Err(closed(left.as_secs().max(1)));
            }
            entry.slots.clone()
        };
        slots.acquire_owned().await.map_err(|_| closed(OPEN_FOR.as_secs()))
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
}
