//! The task of a fetch: requests the file from upstream, resumes broken transfers, pauses without clients, and stores
//! the result.

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

use super::board::Ticket;
use super::host::Heard;
use super::spool::{Complete, NotStored, Writer};
use super::{Flight, FlightError, Flights, LARGEST, Outcome, Progress};
use crate::db::file::FileState;
use crate::repo::places::Place;
use crate::storage::StorageError;
use crate::upstream::{Opened, UpstreamError, Validators};

/// Received bytes that are gathered for one write, roughly: only those that are available without waiting.
const BATCH: usize = 1 << 20;
/// The longest `Retry-After` that is waited for; with a longer one the clients get the error.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How the transfer of one upstream answer ended.
enum Pumped {
    /// Upstream ended the body.
    Ended,
    /// The connection failed.
    Broken(UpstreamError),
    /// No client is waiting.
    Deserted,
    /// More bytes were received than the file has.
    Overlong,
    /// A file whose size the index does not declare leaves less free disk space than it takes.
    Crowded,
}

/// The limits for the transfer of one upstream answer.
struct Bounds {
    /// Bytes that may still be received.
    left: u64,
    /// The longest time without data.
    silence: Duration,
    /// The index declares no size: the file must leave as much free disk space as it takes.
    leaves_room: bool,
}

/// The state of a running fetch.
pub(super) struct Pilot {
    pub(super) flights: Flights,
    pub(super) flight: Arc<Flight>,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) ticket: Ticket,
    /// When upstream last sent data, not counting time in which this fetch did not wait for it.
    heard: Mutex<Instant>,
}

impl Drop for Pilot {
    /// Removes the registry entry, even after a panic: the next request starts a new fetch.
    fn drop(&mut self) {
        self.flights.over(self.ticket.file, &self.flight);
    }
}

/// Runs a fetch to its end and publishes the outcome.
pub(super) async fn fly(
    flights: Flights,
    flight: Arc<Flight>,
    progress: Arc<watch::Sender<Progress>>,
    ticket: Ticket,
) {
    let pilot = Pilot { flights, flight, progress, ticket, heard: Mutex::new(Instant::now()) };
    let Err(error) = pilot.attempt().await else { return };
    let (file, name) = (pilot.ticket.file, &pilot.ticket.promise.name);
    match &error {
        FlightError::Missing(_) | FlightError::Mismatch(_) => {
            pilot.ticket.crew.learner.state(file, FileState::Lost).await;
            (pilot.ticket.crew.stale)();
        }
        FlightError::Upstream(_) | FlightError::Storage(_) => {}
        FlightError::Deserted => {
            tracing::debug!(file = %name, "cancelled the fetch of a package: no client is waiting");
            return;
        }
    }
    tracing::warn!(file = %name, reason = %error, "could not fetch a package");
    pilot.flights.remember(file, &error);
    pilot.flights.over(file, &pilot.flight);
    pilot.progress.send_modify(|p| p.outcome = Some(Outcome::Failed(error)));
}

impl Pilot {
    async fn attempt(&self) -> Result<(), FlightError> {
        if self.landed_already().await {
            return Ok(());
        }
        let mut last = FlightError::Missing(format!("{} is not on the mirror", self.ticket.promise.name));
        for (number, place) in self.ticket.places.iter().enumerate() {
            let result = match self.carry(place, self.share(number)).await {
                Ok(complete) => self.land(complete).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else { return Ok(()) };
            // The next candidate may have the right file, unless clients were sent bytes of this one. Mirrors in a
            // bucket answer 403 for a missing file.
            let elsewhere = matches!(
                error,
                FlightError::Missing(_)
                    | FlightError::Mismatch(_)
                    | FlightError::Upstream(UpstreamError::Refused { .. })
            );
            // Another host may have the file.
            let next = self.ticket.places.get(number + 1);
            let other_host = next.is_some_and(|next| next.mirror.host() != place.mirror.host());
            if !(elsewhere || other_host) || self.progress.borrow().released() > 0 {
                return Err(error);
            }
            // A mismatch or a refusal is a more useful error than a missing file.
            if matches!(last, FlightError::Missing(_)) || matches!(error, FlightError::Mismatch(_)) {
                last = error;
            }
            self.progress.send_modify(|p| *p = Progress::begin(&self.ticket.promise));
        }
        Err(last)
    }

    /// The timeout for the candidate of that number: the hosts after it must get a share of the time, too.
    fn share(&self, number: usize) -> Duration {
        let left = self.flights.patience.silence.saturating_sub(self.heard.lock().elapsed());
        let hosts: HashSet<&str> =
            self.ticket.places[number..].iter().map(|place| place.mirror.host()).collect();
        self.heard.lock().elapsed() + left / u32::try_from(hosts.len()).unwrap_or(1).max(1)
    }

    /// The instant at which upstream was silent for that long.
    fn deadline(&self, silence: Duration) -> Instant {
        *self.heard.lock() + silence
    }

    /// Downloads the file of a candidate into a spool, with as many requests as needed, until upstream is silent for
    /// too long.
    async fn carry(&self, place: &Place, silence: Duration) -> Result<Complete, FlightError> {
        let promise = &self.ticket.promise;
        let path = place.path.as_str();
        let mut validators = Validators::default();
        let mut previous: Option<Writer> = None;
        let mut size = promise.size;
        let mut tries = 0;
        loop {
            let written = previous.as_ref().map_or(0, Writer::written);
            let resume = (written > 0).then(|| (written, validators.clone()));
            // Dropped at the end of this iteration: neither the connection nor the request slot of the host is held
            // while nothing is read.
            let (mut opened, permits) = match self.ask(place, resume, silence).await {
                Ok(answer) => answer,
                Err(UpstreamError::Missing(what)) if written == 0 => {
                    return Err(FlightError::Missing(format!("{what} is not on the mirror")));
                }
                Err(error) => {
                    tries += 1;
                    self.pause(tries, error, silence).await?;
                    continue;
                }
            };
            promise.accepts_size(opened.size)?;
            size = agreed(path, size, opened.size, written)?;
            self.progress.send_modify(|p| p.size = size);
            validators = std::mem::take(&mut opened.validators);
            let writer = match previous.take() {
                Some(writer) => writer,
                None => self.begin().await?,
            };
            let skip = written.checked_sub(opened.offset).ok_or_else(|| {
                FlightError::Mismatch(format!("{path}: the mirror resumed at the wrong position"))
            })?;
            let left = size.unwrap_or(self.flights.patience.unsized_file).saturating_sub(written);
            let bounds = Bounds { left, silence, leaves_room: promise.size.is_none() };
            let writer = match size {
                Some(size) if bounds.leaves_room => {
                    let (fits, writer) = blocking(move || Ok((writer.leaves_room(size), writer))).await?;
                    if !fits {
                        return Err(crowded(path, &format!("{size} bytes according to the mirror")));
                    }
                    writer
                }
                _ => writer,
            };
            let host = self.flights.hosts.heard(place.mirror.host());
            let (writer, ended) = self.pump(opened.body, writer, skip, bounds, &host).await?;
            drop(permits);
            let now = writer.written();
            if now > written {
                tries = 0;
            }
            match ended {
                Pumped::Ended if size.is_none_or(|size| size == now) => return Ok(writer.finish()),
                Pumped::Overlong => {
                    let why = match size {
                        Some(size) => format!("{path} is longer than its {size} bytes"),
                        None => format!(
                            "{path} is longer than {} bytes, and neither the index nor the mirror declares its size",
                            self.flights.patience.unsized_file
                        ),
                    };
                    return Err(FlightError::Mismatch(why));
                }
                Pumped::Crowded => {
                    return Err(crowded(path, &format!("{now} bytes so far")));
                }
                Pumped::Deserted => {
                    self.await_passenger().await?;
                    *self.heard.lock() = Instant::now();
                }
                Pumped::Ended => {
                    tries += 1;
                    let reason = "the connection ended before the file did".to_owned();
                    let error =
                        UpstreamError::Unavailable { url: path.to_owned(), reason, retry_after: None };
                    self.pause(tries, error, silence).await?;
                }
                Pumped::Broken(error) => {
                    tries += 1;
                    self.pause(tries, error, silence).await?;
                }
            }
            previous = Some(writer);
        }
    }

    async fn ask(
        &self,
        place: &Place,
        resume: Option<(u64, Validators)>,
        silence: Duration,
    ) -> Result<(Opened, [Option<OwnedSemaphorePermit>; 2]), UpstreamError> {
        let host = place.mirror.host();
        // The slot of the host first: requests that wait for a slow host must not take the global slots.
        let hosts = &self.flights.hosts;
        let admitted = hosts.admit_in_time(host, &self.heard, silence).await;
        let of_host = admitted.unwrap_or_else(|| Err(silent(place, silence)))?;
        let queued = Instant::now();
        let of_all = self.flights.slots.clone().acquire_owned().await.ok();
        *self.heard.lock() += queued.elapsed();
        let answer = match timeout_at(self.deadline(silence), place.mirror.open(&place.path, resume)).await {
            Ok(answer) => answer,
            Err(_) => Err(silent(place, silence)),
        };
        hosts.note(host, self.ticket.file, answer.as_ref().err());
        Ok((answer?, [Some(of_host), of_all]))
    }

    /// Waits before the next try. Returns the error after too many tries, when upstream was silent for too long, or at
    /// once when a retry cannot help.
    async fn pause(&self, tries: u32, error: UpstreamError, silence: Duration) -> Result<(), FlightError> {
        let patience = &self.flights.patience;
        let wait = match &error {
            UpstreamError::Unavailable { retry_after, .. } if tries < patience.tries => {
                let planned = patience.pause * (1 << tries.min(10));
                Duration::from_secs(retry_after.unwrap_or(0)).max(planned)
            }
            _ => return Err(FlightError::Upstream(error)),
        };
        if wait > LONGEST_PAUSE || Instant::now() + wait >= self.deadline(silence) {
            return Err(FlightError::Upstream(error));
        }
        sleep(wait).await;
        Ok(())
    }

    async fn begin(&self) -> Result<Writer, FlightError> {
        let spool = match self.ticket.crew.state.storage.spool(self.ticket.class).await {
            Ok(spool) => Ok(spool),
            Err(error @ StorageError::Full(_)) => {
                self.flight.memory.disk_is_full(&error.to_string());
                Err(NotStored::because(&error))
            }
            // The reason is reported as an alert of the class.
            Err(error @ StorageError::Refused { .. }) => Err(NotStored::because(&error)),
            Err(error) => return Err(FlightError::Storage(error.to_string())),
        };
        let memory = self.flights.patience.memory;
        let writer = blocking(move || Writer::new(spool, memory)).await?;
        self.flight.tail.clear();
        *self.flight.spool.lock() = writer.file();
        Ok(writer)
    }

    /// Writes the received bytes; the first `skip` bytes were written before. A thread is taken only while there are
    /// bytes to write, so that slow mirrors do not occupy threads.
    async fn pump(
        &self,
        mut body: BoxStream<'static, Result<Bytes, UpstreamError>>,
        mut writer: Writer,
        mut skip: u64,
        bounds: Bounds,
        host: &Heard,
    ) -> Result<(Writer, Pumped), FlightError> {
        let Bounds { mut left, silence, leaves_room } = bounds;
        let deserted = self.deserted();
        tokio::pin!(deserted);
        loop {
            let mut next = tokio::select! {
                next = body.next() => Some(next),
                () = &mut deserted => return Ok((writer, Pumped::Deserted)),
                () = sleep_until(self.deadline(silence)) => {
                    let reason = format!("no data received for {} s", silence.as_secs_f32());
                    let url = self.ticket.promise.name.clone();
                    return Ok((writer, Pumped::Broken(UpstreamError::Unavailable { url, reason, retry_after: None })));
                }
            };
            let (mut batch, mut size, mut end) = (Vec::new(), 0, None);
            while let Some(item) = next.take() {
                let mut chunk = match item {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => {
                        end = Some(Pumped::Broken(error));
                        break;
                    }
                    None => {
                        end = Some(Pumped::Ended);
                        break;
                    }
                };
                let skipped = skip.min(chunk.len() as u64);
                skip -= skipped;
                chunk.advance(usize::try_from(skipped).unwrap_or(0));
                let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                    end = Some(Pumped::Overlong);
                    break;
                };
                left = rest;
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
                (*self.heard.lock(), *host.lock()) = (now, Some(now));
                let (flight, progress) = (self.flight.clone(), self.progress.clone());
                let work = blocking(move || {
                    writer.take(&batch, &flight, &progress)?;
                    let has_room = !leaves_room || writer.leaves_room(writer.written());
                    Ok((writer, has_room))
                });
                let has_room;
                (writer, has_room) = work.await?;
                if !has_room && end.is_none() {
                    end = Some(Pumped::Crowded);
                }
            }
            if let Some(end) = end {
                return Ok((writer, end));
            }
        }
    }

    /// Completes when no client has waited for a while and the file is neither small nor more than half received.
    async fn deserted(&self) {
        let (flight, patience) = (&self.flight, &self.flights.patience);
        loop {
            let change = flight.boarding.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            if flight.passengers.load(Ordering::SeqCst) > 0 {
                change.await;
                continue;
            }
            if timeout(patience.deserted, change).await.is_ok() {
                continue;
            }
            let (written, size) = {
                let progress = flight.progress.borrow();
                (progress.written, progress.size)
            };
            if size.is_none_or(|size| size > patience.small && written < size / 2) {
                return;
            }
        }
    }

    /// Keeps the spool until a client subscribes; fails when the time is up.
    async fn await_passenger(&self) -> Result<(), FlightError> {
        let flight = &self.flight;
        let somebody = async {
            loop {
                let change = flight.boarding.notified();
                tokio::pin!(change);
                change.as_mut().enable();
                if flight.passengers.load(Ordering::SeqCst) > 0 {
                    return;
                }
                change.await;
            }
        };
        if timeout(self.flights.patience.kept, somebody).await.is_err()
            && self.flights.over_if_deserted(self.ticket.file, flight)
        {
            return Err(FlightError::Deserted);
        }
        Ok(())
    }
}

fn silent(place: &Place, silence: Duration) -> UpstreamError {
    UpstreamError::Unavailable {
        url: format!("{}/{}", place.mirror.address(), place.path),
        reason: format!("no answer within {} s", silence.as_secs_f32()),
        retry_after: None,
    }
}

fn crowded(path: &str, size: &str) -> FlightError {
    FlightError::Storage(format!(
        "{path} has {size}, the index does not declare its size, and the disk has no room for as many again"
    ))
}

/// Merges the known size of the file with the one an answer declares.
fn agreed(
    path: &str,
    known: Option<u64>,
    declared: Option<u64>,
    written: u64,
) -> Result<Option<u64>, FlightError> {
    let changed = |why: String| Err(FlightError::Mismatch(format!("{path} on the mirror {why}")));
    match (known, declared) {
        (Some(known), Some(declared)) if known != declared => {
            changed(format!("had {known} bytes and has {declared} now"))
        }
        (None, Some(declared)) if declared < written => {
            changed(format!("has {declared} bytes, but {written} were received already"))
        }
        (None, Some(declared)) if declared > LARGEST => {
            changed(format!("declares {declared} bytes, more than the limit of {LARGEST}"))
        }
        (known, declared) => Ok(known.or(declared)),
    }
}

/// Runs file operations off the async threads. They complete even when the fetch is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FlightError> + Send + 'static,
) -> Result<T, FlightError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(FlightError::Storage(format!("a fetch task ended early: {e}"))))
}
