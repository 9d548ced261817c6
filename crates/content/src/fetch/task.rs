//! The task of a fetch: requests the file, resumes broken transfers, pauses without clients, and stores the result.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::candidates::MirrorPath;
use super::host_limits::LastData;
use super::registry::FetchRequest;
use super::spool::{CompleteFile, NotStoredReason, Writer};
use super::verify::{merge_size, no_space_error};
use super::{Delivery, Fetch, FetchError, FetchOutcome, Fetches, Progress, store};
use ::store::storage::StorageError;
use upstream::{FileStream, UpstreamError, Validators};

/// Approximate maximum number of bytes per write; a write does not wait for more bytes to arrive.
const BATCH: usize = 1 << 20;
/// Maximum `Retry-After` for which a fetch waits; with a longer one the clients get the error.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(15);

enum TransferEnd {
    Ended,
    Broken(UpstreamError),
    NoSubscriber,
    /// More bytes were received than the file has.
    TooLong,
    /// A file whose size the index does not declare would use more than half of the free disk space.
    NoSpace,
}

struct TransferLimits {
    remaining: u64,
    max_inactivity: Duration,
    /// Whether the file may use at most half of the free disk space: true if the index declares no size.
    must_leave_space: bool,
}

pub(super) struct FetchTask {
    pub(super) fetches: Arc<Fetches>,
    pub(super) fetch: Arc<Fetch>,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) request: FetchRequest,
    /// Time at which upstream last sent data, moved forward by the time this fetch waited for something else.
    last_data: Mutex<Instant>,
}

impl Drop for FetchTask {
    /// Removes the registry entry, even after a panic: the next request starts a new fetch.
    fn drop(&mut self) {
        self.fetches.remove(self.request.file, &self.fetch);
    }
}

/// Runs a fetch to its end and publishes the result.
pub(super) async fn run(
    fetches: Arc<Fetches>,
    fetch: Arc<Fetch>,
    progress: Arc<watch::Sender<Progress>>,
    request: FetchRequest,
) {
    let task = FetchTask { fetches, fetch, progress, request, last_data: Mutex::new(Instant::now()) };
    let Err(error) = task.attempt().await else { return };
    let (file, name) = (task.request.file, &task.request.expected.name);
    match &error {
        // The row of the file does not change: a mirror can be wrong, and the file can be in storage that is not mounted.
        FetchError::Missing(_) | FetchError::Mismatch(_) => {
            task.fetches.mismatch_hook.call(task.request.tree, &task.request.package);
        }
        FetchError::Upstream(_) | FetchError::Storage(_) => {}
        FetchError::Cancelled => {
            tracing::debug!(file = %name, "cancelled the fetch of a package: no client is waiting");
            return;
        }
    }
    tracing::warn!(file = %name, reason = %error, "could not fetch a package");
    // A directory is looked up again by each request.
    let is_directory = task.request.candidates.iter().all(|candidate| candidate.mirror.directory().is_some());
    if !(is_directory && matches!(error, FetchError::Upstream(UpstreamError::Unavailable { .. }))) {
        task.fetches.record_failure(file, &error);
    }
    task.fetches.remove(file, &task.fetch);
    task.progress.send_modify(|p| p.outcome = Some(FetchOutcome::Failed(error)));
}

impl FetchTask {
    pub(super) fn complete(&self, delivery: Delivery) {
        self.fetches.clear_failure(self.request.file);
        self.progress.send_modify(|p| p.outcome = Some(FetchOutcome::Done(delivery)));
    }

    async fn attempt(&self) -> Result<(), FetchError> {
        if store::complete_from_storage(self).await {
            return Ok(());
        }
        let mut last_error =
            FetchError::Missing(format!("{} is not on the mirror", self.request.expected.name));
        for (number, candidate) in self.request.candidates.iter().enumerate() {
            let result = match self.download(candidate, self.timeout_of(number)).await {
                Ok(complete_file) => store::store(self, complete_file).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else { return Ok(()) };
            // Unless clients were sent bytes of this one. Mirrors in a bucket answer 403 for a missing file.
            let may_other_candidate_have_it = matches!(
                error,
                FetchError::Missing(_)
                    | FetchError::Mismatch(_)
                    | FetchError::Upstream(UpstreamError::Refused { .. })
            );
            // Another host may have the file.
            let next_candidate = self.request.candidates.get(number + 1);
            let is_other_host_next =
                next_candidate.is_some_and(|next| next.mirror.host() != candidate.mirror.host());
            if !(may_other_candidate_have_it || is_other_host_next)
                || self.progress.borrow().released_bytes() > 0
            {
                return Err(error);
            }
            // A mismatch or a refusal is a more useful error than a missing file.
            if matches!(last_error, FetchError::Missing(_)) || matches!(error, FetchError::Mismatch(_)) {
                last_error = error;
            }
            self.progress.send_modify(|p| *p = Progress::begin(&self.request.expected));
        }
        Err(last_error)
    }

    /// Returns the timeout for a candidate: an equal share of the remaining time, so that later hosts have time, too.
    fn timeout_of(&self, number: usize) -> Duration {
        let remaining = self.fetches.limits.max_inactivity.saturating_sub(self.last_data.lock().elapsed());
        let hosts: HashSet<&str> =
            self.request.candidates[number..].iter().map(|candidate| candidate.mirror.host()).collect();
        self.last_data.lock().elapsed() + remaining / u32::try_from(hosts.len()).unwrap_or(1).max(1)
    }

    /// Returns the instant by which upstream must have sent further data.
    fn deadline(&self, max_inactivity: Duration) -> Instant {
        *self.last_data.lock() + max_inactivity
    }

    /// Downloads a candidate's file into a spool, in any number of requests, until idle for `max_inactivity`.
    async fn download(
        &self,
        candidate: &MirrorPath,
        max_inactivity: Duration,
    ) -> Result<CompleteFile, FetchError> {
        let expected = &self.request.expected;
        let path = candidate.path.as_str();
        let mut validators = Validators::default();
        let mut last_writer: Option<Writer> = None;
        let mut size = expected.size;
        let mut tries = 0;
        loop {
            let previous_bytes = last_writer.as_ref().map_or(0, Writer::written_bytes);
            let resume = (previous_bytes > 0).then(|| (previous_bytes, validators.clone()));
            // Dropped at the end of the iteration, so that no connection and no permit is in use while nothing is read.
            let (mut response, permits) = match self.open(candidate, resume, max_inactivity).await {
                Ok(response) => response,
                Err(UpstreamError::Missing(file)) if previous_bytes == 0 => {
                    // SECURITY: clients must not learn the address or the directory of the mirror.
                    tracing::debug!(file, "a mirror does not have a file");
                    return Err(FetchError::Missing(format!("{} is not on the mirror", expected.name)));
                }
                // A directory that is not mounted is not mounted a second later either.
                Err(error) if candidate.mirror.directory().is_some() => {
                    return Err(FetchError::Upstream(error));
                }
                Err(error) => {
                    tries += 1;
                    self.wait_before_retry(tries, error, max_inactivity).await?;
                    continue;
                }
            };
            expected.check_size(response.size)?;
            size = merge_size(path, size, response.size, previous_bytes)?;
            self.progress.send_modify(|p| p.size = size);
            validators = std::mem::take(&mut response.validators);
            let writer = match last_writer.take() {
                Some(writer) => writer,
                None => self.begin_spool().await?,
            };
            let skip_bytes = previous_bytes.checked_sub(response.offset).ok_or_else(|| {
                FetchError::Mismatch(format!("{path}: the mirror resumed at the wrong position"))
            })?;
            let remaining = size.unwrap_or(self.fetches.limits.max_unsized).saturating_sub(previous_bytes);
            let limits =
                TransferLimits { remaining, max_inactivity, must_leave_space: expected.size.is_none() };
            let writer = match size {
                Some(size) if limits.must_leave_space => {
                    let (has_space, writer) =
                        blocking(move || Ok((writer.leaves_space(size), writer))).await?;
                    if !has_space {
                        return Err(no_space_error(path, &format!("{size} bytes according to the mirror")));
                    }
                    writer
                }
                _ => writer,
            };
            let last_data = self.fetches.hosts.last_data(candidate.mirror.host());
            let (writer, end) = self.transfer(response.body, writer, skip_bytes, limits, &last_data).await?;
            drop(permits);
            let written_bytes = writer.written_bytes();
            if written_bytes > previous_bytes {
                tries = 0;
            }
            match end {
                TransferEnd::Ended if size.is_none_or(|size| size == written_bytes) => {
                    return Ok(writer.finish());
                }
                TransferEnd::TooLong => {
                    let reason = match size {
                        Some(size) => format!("{path} is longer than its {size} bytes"),
                        None => format!(
                            "{path} is longer than {} bytes, and neither the index nor the mirror declares its size",
                            self.fetches.limits.max_unsized
                        ),
                    };
                    return Err(FetchError::Mismatch(reason));
                }
                TransferEnd::NoSpace => {
                    return Err(no_space_error(path, &format!("{written_bytes} bytes so far")));
                }
                TransferEnd::NoSubscriber => {
                    self.await_subscriber().await?;
                    *self.last_data.lock() = Instant::now();
                }
                TransferEnd::Ended => {
                    tries += 1;
                    let reason = "the connection ended before the end of the file".to_owned();
                    let error = unavailable(path.to_owned(), reason);
                    self.wait_before_retry(tries, error, max_inactivity).await?;
                }
                TransferEnd::Broken(error) => {
                    tries += 1;
                    self.wait_before_retry(tries, error, max_inactivity).await?;
                }
            }
            last_writer = Some(writer);
        }
    }

    async fn open(
        &self,
        candidate: &MirrorPath,
        resume: Option<(u64, Validators)>,
        max_inactivity: Duration,
    ) -> Result<(FileStream, [Option<OwnedSemaphorePermit>; 2]), UpstreamError> {
        let host = candidate.mirror.host();
        // The permit of the host first: requests that wait for a slow host must not take the global permits.
        let hosts = &self.fetches.hosts;
        let admission = hosts.admit_within(host, &self.last_data, max_inactivity).await;
        let host_permit = admission.unwrap_or_else(|| Err(timeout_error(candidate, max_inactivity)))?;
        let queued_at = Instant::now();
        let global_permit = self.fetches.permits.clone().acquire_owned().await.ok();
        *self.last_data.lock() += queued_at.elapsed();
        let result =
            match timeout_at(self.deadline(max_inactivity), candidate.mirror.open(&candidate.path, resume))
                .await
            {
                Ok(result) => result,
                Err(_) => Err(timeout_error(candidate, max_inactivity)),
            };
        // All directories have one name as hosts; one that is not mounted must not stop requests to the others.
        let failure = result.as_ref().err().filter(|_| candidate.mirror.directory().is_none());
        hosts.record(host, self.request.file, failure);
        Ok((result?, [Some(host_permit), global_permit]))
    }

    /// Waits before the next try, or returns the error: after too many tries, without data for too long, or
    /// if a retry cannot help.
    async fn wait_before_retry(
        &self,
        tries: u32,
        error: UpstreamError,
        max_inactivity: Duration,
    ) -> Result<(), FetchError> {
        let limits = &self.fetches.limits;
        let wait = match &error {
            UpstreamError::Unavailable { retry_after, .. } if tries < limits.max_tries => {
                let delay = limits.retry_delay * (1 << tries.min(10));
                Duration::from_secs(retry_after.unwrap_or(0)).max(delay)
            }
            _ => return Err(FetchError::Upstream(error)),
        };
        if wait > MAX_RETRY_DELAY || Instant::now() + wait >= self.deadline(max_inactivity) {
            return Err(FetchError::Upstream(error));
        }
        sleep(wait).await;
        Ok(())
    }

    async fn begin_spool(&self) -> Result<Writer, FetchError> {
        let spool = match self.fetches.state.storage.spool(self.request.class).await {
            Ok(spool) => Ok(spool),
            Err(error @ StorageError::Full(_)) => {
                self.fetch.overflow_budget.log_disk_full(&error.to_string());
                Err(NotStoredReason::new(&error))
            }
            // The reason is reported as an alert of the class.
            Err(error @ StorageError::Refused { .. }) => Err(NotStoredReason::new(&error)),
            Err(error) => return Err(FetchError::Storage(error.to_string())),
        };
        let memory = self.fetches.limits.memory;
        let writer = blocking(move || Writer::new(spool, memory)).await?;
        self.fetch.overflow.clear();
        *self.fetch.spool.lock() = writer.file();
        Ok(writer)
    }

    /// Writes the received bytes except the first `skip_bytes`, written before. Slow mirrors do not occupy threads.
    async fn transfer(
        &self,
        mut body: BoxStream<'static, Result<Bytes, UpstreamError>>,
        mut writer: Writer,
        mut skip_bytes: u64,
        limits: TransferLimits,
        host_last_data: &LastData,
    ) -> Result<(Writer, TransferEnd), FetchError> {
        let TransferLimits { mut remaining, max_inactivity, must_leave_space } = limits;
        let unused = self.wait_unused();
        tokio::pin!(unused);
        loop {
            let mut next = tokio::select! {
                next = body.next() => Some(next),
                () = &mut unused => return Ok((writer, TransferEnd::NoSubscriber)),
                () = sleep_until(self.deadline(max_inactivity)) => {
                    let reason = format!("no data received for {} s", max_inactivity.as_secs_f32());
                    let url = self.request.expected.name.clone();
                    return Ok((writer, TransferEnd::Broken(unavailable(url, reason))));
                }
            };
            let (mut batch, mut size, mut end) = (Vec::new(), 0, None);
            while let Some(item) = next.take() {
                let mut chunk = match item {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => {
                        end = Some(TransferEnd::Broken(error));
                        break;
                    }
                    None => {
                        end = Some(TransferEnd::Ended);
                        break;
                    }
                };
                let skipped_bytes = skip_bytes.min(chunk.len() as u64);
                skip_bytes -= skipped_bytes;
                chunk.advance(usize::try_from(skipped_bytes).unwrap_or(0));
                let Some(rest) = remaining.checked_sub(chunk.len() as u64) else {
                    end = Some(TransferEnd::TooLong);
                    break;
                };
                remaining = rest;
                size += chunk.len();
                if !chunk.is_empty() {
                    batch.push(chunk);
                }
                if size < BATCH {
                    next = body.next().now_or_never();
                }
            }
            if !batch.is_empty() {
                let now = Instant::now();
                (*self.last_data.lock(), *host_last_data.lock()) = (now, Some(now));
                let (fetch, progress) = (self.fetch.clone(), self.progress.clone());
                let work = blocking(move || {
                    writer.write_chunks(&batch, &fetch, &progress)?;
                    let has_space = !must_leave_space || writer.leaves_space(writer.written_bytes());
                    Ok((writer, has_space))
                });
                let has_space;
                (writer, has_space) = work.await?;
                if !has_space && end.is_none() {
                    end = Some(TransferEnd::NoSpace);
                }
            }
            if let Some(end) = end {
                return Ok((writer, end));
            }
        }
    }

    /// Completes when no client has waited for a while and the file is neither small nor more than half received.
    async fn wait_unused(&self) {
        let (fetch, limits) = (&self.fetch, &self.fetches.limits);
        loop {
            let change = fetch.subscribers_changed.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            if fetch.subscribers.load(Ordering::SeqCst) > 0 {
                change.await;
                continue;
            }
            if timeout(limits.unsubscribed_timeout, change).await.is_ok() {
                continue;
            }
            let (written_bytes, size) = {
                let progress = fetch.progress.borrow();
                (progress.written_bytes, progress.size)
            };
            if size.is_none_or(|size| size > limits.small_file_bytes && written_bytes < size / 2) {
                return;
            }
        }
    }

    /// Waits for a client to subscribe; fails after a timeout.
    async fn await_subscriber(&self) -> Result<(), FetchError> {
        let fetch = &self.fetch;
        let subscription = async {
            loop {
                let change = fetch.subscribers_changed.notified();
                tokio::pin!(change);
                change.as_mut().enable();
                if fetch.subscribers.load(Ordering::SeqCst) > 0 {
                    return;
                }
                change.await;
            }
        };
        if timeout(self.fetches.limits.resume_window, subscription).await.is_err()
            && self.fetches.remove_if_unused(self.request.file, fetch)
        {
            return Err(FetchError::Cancelled);
        }
        Ok(())
    }
}

fn timeout_error(candidate: &MirrorPath, max_inactivity: Duration) -> UpstreamError {
    let url = format!("{}/{}", candidate.mirror.address(), candidate.path);
    unavailable(url, format!("no answer within {} s", max_inactivity.as_secs_f32()))
}

fn unavailable(url: String, reason: String) -> UpstreamError {
    UpstreamError::Unavailable { url, reason, retry_after: None, is_of_mirror: false }
}

/// Runs file operations outside the async threads. They complete even when the fetch is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|e| Err(FetchError::Storage(format!("a fetch task ended early: {e}"))))
}
