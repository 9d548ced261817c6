//! Limits per upstream host: concurrent requests, and a circuit breaker for a host that does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use base::model::ids::FileId;
use upstream::UpstreamError;

const MAX_REQUESTS: usize = 16;
/// Number of files that must fail in a row to open the breaker, without an answer for any other. Several
/// attempts for one file count once: the file itself may be the cause.
const FAILURE_LIMIT: usize = 5;
const OPEN_TIME: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
pub(super) struct HostLimits {
    table: Arc<Mutex<HashMap<String, Host>>>,
}

struct Host {
    permits: Arc<Semaphore>,
    /// Files whose requests failed since the host last answered, the oldest first.
    failing_files: Vec<FileId>,
    breaker_end: Option<Instant>,
    last_data: LastData,
}

impl Host {
    fn new() -> Host {
        let permits = Arc::new(Semaphore::new(MAX_REQUESTS));
        Host { permits, failing_files: Vec::new(), breaker_end: None, last_data: LastData::default() }
    }
}

/// Time at which any fetch last received data from a host.
pub(super) type LastData = Arc<Mutex<Option<tokio::time::Instant>>>;

impl HostLimits {
    /// Waits for a request permit of `host`; fails while its breaker is open, also when it opens during the wait.
    pub(super) async fn admit(&self, host: &str) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let permits = self.permits(host)?;
        let permit = permits.acquire_owned().await.map_err(|_| open_breaker_error(host, OPEN_TIME))?;
        self.permits(host)?;
        Ok(permit)
    }

    /// Returns the error of an open breaker of `host`.
    pub(super) fn breaker_error(&self, host: &str) -> Option<UpstreamError> {
        let until = self.table.lock().get(host)?.breaker_end?;
        until.checked_duration_since(Instant::now()).map(|remaining| open_breaker_error(host, remaining))
    }

    fn permits(&self, host: &str) -> Result<Arc<Semaphore>, UpstreamError> {
        let mut table = self.table.lock();
        let entry = table.entry(host.to_owned()).or_insert_with(Host::new);
        match entry.breaker_end.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(remaining) => Err(open_breaker_error(host, remaining)),
            None => Ok(entry.permits.clone()),
        }
    }

    /// Like [`HostLimits::admit`], with a timeout; `None` when no fetch has received anything for
    /// `max_inactivity`. While other fetches receive data from the host, the wait moves `fetch_last_data`
    /// forward, the time of this fetch's last data.
    pub(super) async fn admit_within(
        &self,
        host: &str,
        fetch_last_data: &Mutex<tokio::time::Instant>,
        max_inactivity: Duration,
    ) -> Option<Result<OwnedSemaphorePermit, UpstreamError>> {
        let (queued_at, first_data_at) = (tokio::time::Instant::now(), *fetch_last_data.lock());
        let last_data = self.last_data(host);
        let mut admission = std::pin::pin!(self.admit(host));
        loop {
            let deadline = *fetch_last_data.lock() + max_inactivity;
            let result = timeout_at(deadline, admission.as_mut()).await;
            let last_data_at = last_data.lock().filter(|at| *at > queued_at);
            match (result, last_data_at) {
                (Ok(admission), Some(_)) => {
                    *fetch_last_data.lock() = first_data_at + queued_at.elapsed();
                    return Some(admission);
                }
                (Ok(admission), None) => return Some(admission),
                (Err(_), Some(at)) if at + max_inactivity > deadline => *fetch_last_data.lock() = at,
                (Err(_), _) => return None,
            }
        }
    }

    /// The time of the last data from `host`, shared with the fetches that update it.
    pub(super) fn last_data(&self, host: &str) -> LastData {
        Arc::clone(&self.table.lock().entry(host.to_owned()).or_insert_with(Host::new).last_data)
    }

    /// Records the result of a request for a file to `host`; only [`UpstreamError::Unavailable`] counts as a failure.
    pub(super) fn record(&self, host: &str, file: FileId, error: Option<&UpstreamError>) {
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(host) else { return };
        match error {
            Some(UpstreamError::Unavailable { .. }) => {
                if entry.failing_files.contains(&file) {
                    return;
                }
                entry.failing_files.push(file);
                if entry.failing_files.len() >= FAILURE_LIMIT {
                    entry.breaker_end = Some(Instant::now() + OPEN_TIME);
                    // After `OPEN_TIME`, one more failing file opens the breaker again.
                    entry.failing_files.remove(0);
                }
            }
            Some(UpstreamError::Missing(_) | UpstreamError::Refused { .. }) | None => {
                entry.failing_files.clear();
                entry.breaker_end = None;
                *entry.last_data.lock() = Some(tokio::time::Instant::now());
            }
        }
    }
}

fn open_breaker_error(host: &str, remaining: Duration) -> UpstreamError {
    UpstreamError::Unavailable {
        url: host.to_owned(),
        reason: "the mirror failed several times in a row; requests to it are paused".to_owned(),
        retry_after: Some(remaining.as_secs().max(1)),
        is_of_mirror: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> UpstreamError {
        UpstreamError::Unavailable {
            url: "h".to_owned(),
            reason: "down".to_owned(),
            retry_after: None,
            is_of_mirror: false,
        }
    }

    fn files() -> impl Iterator<Item = FileId> {
        (1..).map(FileId)
    }

    #[tokio::test]
    async fn a_host_that_is_down_gets_no_requests() {
        let hosts = HostLimits::default();
        for file in files().take(FAILURE_LIMIT) {
            assert!(hosts.admit("h").await.is_ok());
            hosts.record("h", file, Some(&unavailable()));
        }
        assert!(matches!(
            hosts.admit("h").await,
            Err(UpstreamError::Unavailable { retry_after: Some(_), .. })
        ));
        assert!(hosts.admit("other").await.is_ok());
    }

    #[tokio::test]
    async fn repeated_failures_of_one_file_do_not_open_the_breaker() {
        let hosts = HostLimits::default();
        for _ in 0..9 * FAILURE_LIMIT {
            assert!(hosts.admit("h").await.is_ok());
            hosts.record("h", FileId(1), Some(&unavailable()));
        }
        assert!(hosts.admit("h").await.is_ok());
        // An answer for another file in between shows that the host is up.
        for file in files().take(FAILURE_LIMIT - 1) {
            hosts.record("h", file, Some(&unavailable()));
        }
        hosts.record("h", FileId(99), None);
        hosts.record("h", FileId(98), Some(&unavailable()));
        assert!(hosts.admit("h").await.is_ok());
    }

    #[tokio::test]
    async fn a_missing_file_is_not_a_failure_of_the_host() {
        let hosts = HostLimits::default();
        for file in files().take(2 * FAILURE_LIMIT) {
            assert!(hosts.admit("h").await.is_ok());
            hosts.record("h", file, Some(&UpstreamError::Missing("x".to_owned())));
        }
        assert!(hosts.admit("h").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_counts_as_inactivity_for_a_silent_host_and_not_for_a_busy_one() {
        const MAX_INACTIVITY: Duration = Duration::from_millis(100);
        let hosts = HostLimits::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_REQUESTS {
            permits.push(hosts.admit("h").await.expect("below the limit"));
        }
        let now = tokio::time::Instant::now;
        assert!(hosts.admit_within("h", &Mutex::new(now()), MAX_INACTIVITY).await.is_none());
        // Other requests receive data all the time, and then one of them ends.
        let (last_data, waiting_hosts) = (hosts.last_data("h"), hosts.clone());
        let waiting_task = tokio::spawn(async move {
            let fetch_last_data = Mutex::new(now());
            let admission = waiting_hosts.admit_within("h", &fetch_last_data, MAX_INACTIVITY).await;
            (admission.is_some_and(|result| result.is_ok()), fetch_last_data.into_inner().elapsed())
        });
        for _ in 0..30 {
            *last_data.lock() = Some(now());
            tokio::time::sleep(MAX_INACTIVITY / 10).await;
        }
        assert!(!waiting_task.is_finished());
        drop(permits);
        let (is_admitted, inactivity) = waiting_task.await.expect("no panic");
        assert!(is_admitted && inactivity < MAX_INACTIVITY, "{inactivity:?}");
    }

    #[tokio::test]
    async fn requests_that_wait_while_the_breaker_opens_are_not_sent() {
        let hosts = HostLimits::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_REQUESTS {
            permits.push(hosts.admit("h").await.expect("below the limit"));
        }
        let waiting_task = tokio::spawn({
            let hosts = hosts.clone();
            async move { hosts.admit("h").await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting_task.is_finished());
        files().take(FAILURE_LIMIT).for_each(|file| hosts.record("h", file, Some(&unavailable())));
        drop(permits);
        assert!(matches!(waiting_task.await.unwrap(), Err(UpstreamError::Unavailable { .. })));
    }
}
