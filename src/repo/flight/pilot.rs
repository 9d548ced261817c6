//! The task of a flight: asks upstream, resumes when it dies, waits when nobody waits, verifies, stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::board::Ticket;
use super::spool::{Complete, Writer};
use super::{Flight, FlightError, Flights, Landed, Outcome, Progress};
use crate::config::StorageClass;
use crate::db;
use crate::db::file::FileState;
use crate::storage::Key;
use crate::upstream::{Opened, UpstreamError, Validators};

/// Failures in a row, without one byte between them, that end a flight.
const TRIES: u32 = 5;
/// A file of at most this size is fetched to its end, whoever leaves.
const SMALL: u64 = 8 << 20;
/// How long a flight goes on for nobody.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a spool is kept for somebody to come back.
const KEPT: Duration = Duration::from_secs(600);

/// How the reading of one upstream answer ended.
enum Pumped {
    /// Upstream said that this was all.
    Ended,
    /// Upstream died.
    Broken(UpstreamError),
    /// Nobody waits.
    Deserted,
    /// More bytes came than the file has.
    Overlong,
    /// The writer stopped; it says why.
    Stopped,
}

/// Flies to the end and says how it was.
pub(super) async fn fly(
    flights: Flights,
    flight: Arc<Flight>,
    progress: Arc<watch::Sender<Progress>>,
    ticket: Ticket,
) {
    let outcome = match attempt(&flights, &flight, &progress, &ticket).await {
        Ok((landed, learnt)) => {
            progress.send_modify(|p| p.outcome = Some(Outcome::Landed(landed)));
            if let Some(learnt) = learnt {
                // Until the row says so, those who come find the flight and through it the blob.
                ticket.learner.stored(learnt.0, learnt.1).await;
            }
            None
        }
        Err(error) => {
            match &error {
                FlightError::Missing(_) | FlightError::Mismatch(_) => {
                    ticket.learner.state(ticket.file, FileState::Lost).await;
                    (ticket.stale)();
                }
                FlightError::Upstream(_) | FlightError::Storage(_) => {}
            }
            tracing::warn!(file = %ticket.promise.name, reason = %error, "a package could not be fetched");
            Some(error)
        }
    };
    flights.over(ticket.file, outcome.as_ref());
    if let Some(error) = outcome {
        progress.send_modify(|p| p.outcome = Some(Outcome::Failed(error)));
    }
}

type Learnt = (crate::db::file::Learnt, crate::db::blob::Blob);

async fn attempt(
    flights: &Flights,
    flight: &Arc<Flight>,
    progress: &Arc<watch::Sender<Progress>>,
    ticket: &Ticket,
) -> Result<(Landed, Option<Learnt>), FlightError> {
    let _slot = flights.slots.acquire().await;
    let mut last = FlightError::Missing(format!("{} is not on the mirror", ticket.promise.name));
    for path in &ticket.paths {
        let result = match carry(flights, flight, progress, ticket, path).await {
            Ok(complete) => land(progress, ticket, complete).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(landed) => return Ok(landed),
            // Another place may have the right file, as long as nobody was given bytes of this one.
            Err(error @ (FlightError::Missing(_) | FlightError::Mismatch(_)))
                if progress.borrow().released() == 0 =>
            {
                // That the index's own place has other bytes says more than that the archive has none.
                if !matches!((&last, &error), (FlightError::Mismatch(_), FlightError::Missing(_))) {
                    last = error;
                }
                progress.send_modify(|p| *p = Progress::default());
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Brings the file at `path` into a spool, however often upstream has to be asked.
async fn carry(
    flights: &Flights,
    flight: &Arc<Flight>,
    progress: &Arc<watch::Sender<Progress>>,
    ticket: &Ticket,
    path: &str,
) -> Result<Complete, FlightError> {
    let mut validators = Validators::default();
    let mut writer: Option<Writer> = None;
    let mut tries = 0;
    loop {
        let written = writer.as_ref().map_or(0, Writer::written);
        let resume = (written > 0).then(|| (written, validators.clone()));
        let (mut opened, _permit) = match ask(flights, ticket, path, resume).await {
            Ok(answer) => answer,
            Err(UpstreamError::Missing(what)) if written == 0 => {
                return Err(FlightError::Missing(format!("{what} is not on the mirror")));
            }
            Err(error) => {
                tries += 1;
                pause(tries, error).await?;
                continue;
            }
        };
        ticket.promise.accepts_size(opened.size)?;
        let size = ticket.promise.size.or(opened.size);
        progress.send_modify(|p| p.size = size);
        validators = opened.validators.clone();
        let pen = match writer.take() {
            Some(pen) => pen,
            None => begin(flight, ticket).await?,
        };
        let Some(skip) = written.checked_sub(opened.offset) else {
            return Err(FlightError::Mismatch(format!("{path}: upstream resumed at the wrong place")));
        };
        let (chunks, inbox) = mpsc::channel(16);
        let (writing, reporting) = (flight.clone(), progress.clone());
        let pen = tokio::task::spawn_blocking(move || pen.take(inbox, &writing, &reporting));
        let ended = pump(flight, &mut opened.body, skip, size.map(|s| s - written), chunks).await;
        let pen =
            pen.await.map_err(|e| FlightError::Storage(format!("the writer of a spool ended: {e}")))??;
        let now = pen.written();
        if now > written {
            tries = 0;
        }
        match ended {
            Pumped::Ended if size.is_none_or(|size| size == now) => return Ok(pen.finish()),
            Pumped::Overlong => {
                return Err(FlightError::Mismatch(format!(
                    "{path} is longer on the mirror than in the index"
                )));
            }
            Pumped::Deserted => await_passenger(flight).await?,
            Pumped::Ended | Pumped::Stopped => {
                tries += 1;
                let reason = "the connection ended before the file did".to_owned();
                pause(tries, UpstreamError::Unavailable { url: path.to_owned(), reason, retry_after: None })
                    .await?;
            }
            Pumped::Broken(error) => {
                tries += 1;
                pause(tries, error).await?;
            }
        }
        writer = Some(pen);
    }
}

async fn ask(
    flights: &Flights,
    ticket: &Ticket,
    path: &str,
    resume: Option<(u64, Validators)>,
) -> Result<(Opened, tokio::sync::OwnedSemaphorePermit), UpstreamError> {
    let host = ticket.mirror.host();
    let permit = flights.hosts.admit(host).await?;
    let answer = ticket.mirror.open(path, resume).await;
    flights.hosts.note(host, answer.as_ref().err());
    Ok((answer?, permit))
}

/// Waits before the next try; gives up after [`TRIES`], or at once where trying again cannot help.
async fn pause(tries: u32, error: UpstreamError) -> Result<(), FlightError> {
    let wait = match &error {
        UpstreamError::Unavailable { retry_after, .. } if tries < TRIES => {
            Duration::from_secs(retry_after.unwrap_or(0)).max(Duration::from_millis(100 << tries))
        }
        _ => return Err(FlightError::Upstream(error)),
    };
    // A mirror that wants to be left alone for long: the clients are told, and may come back.
    if wait > Duration::from_secs(15) {
        return Err(FlightError::Upstream(error));
    }
    sleep(wait).await;
    Ok(())
}

async fn begin(flight: &Arc<Flight>, ticket: &Ticket) -> Result<Writer, FlightError> {
    let storage = |e: crate::storage::StorageError| FlightError::Storage(e.to_string());
    let spool = ticket.state.storage.spool(ticket.class).await.map_err(storage)?;
    let writer = tokio::task::spawn_blocking(move || Writer::new(spool))
        .await
        .map_err(|e| FlightError::Storage(e.to_string()))??;
    *flight.spool.lock() = Some(writer.file.clone());
    Ok(writer)
}

/// Hands chunks to the writer: the first `skip` bytes are there already, at most `left` may still come.
async fn pump(
    flight: &Flight,
    body: &mut BoxStream<'static, Result<Bytes, UpstreamError>>,
    mut skip: u64,
    mut left: Option<u64>,
    chunks: mpsc::Sender<Bytes>,
) -> Pumped {
    let deserted = deserted(flight);
    tokio::pin!(deserted);
    loop {
        let next = tokio::select! {
            next = body.next() => next,
            () = &mut deserted => return Pumped::Deserted,
        };
        let mut chunk = match next {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => return Pumped::Broken(error),
            None => return Pumped::Ended,
        };
        let known = skip.min(chunk.len() as u64);
        skip -= known;
        chunk.advance(usize::try_from(known).unwrap_or(0));
        if chunk.is_empty() {
            continue;
        }
        if let Some(left) = &mut left {
            match left.checked_sub(chunk.len() as u64) {
                Some(rest) => *left = rest,
                None => return Pumped::Overlong,
            }
        }
        if chunks.send(chunk).await.is_err() {
            return Pumped::Stopped;
        }
    }
}

/// Ends when nobody has waited for a while and the file is neither small nor more than half here.
async fn deserted(flight: &Flight) {
    loop {
        let change = flight.boarding.notified();
        tokio::pin!(change);
        change.as_mut().enable();
        if flight.passengers.load(Ordering::SeqCst) > 0 {
            change.await;
            continue;
        }
        if timeout(PATIENCE, change).await.is_ok() {
            continue;
        }
        let (written, size) = {
            let progress = flight.progress.borrow();
            (progress.written, progress.size)
        };
        if size.is_none_or(|size| size > SMALL && written < size / 2) {
            return;
        }
    }
}

/// Keeps the spool until somebody comes.
async fn await_passenger(flight: &Flight) -> Result<(), FlightError> {
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
    let nobody = |_| FlightError::Storage("nobody waits for the file any more".to_owned());
    timeout(KEPT, somebody).await.map_err(nobody)
}

/// Verifies, lets go of the end, and stores: the blob first, the row later.
async fn land(
    progress: &watch::Sender<Progress>,
    ticket: &Ticket,
    complete: Complete,
) -> Result<(Landed, Option<Learnt>), FlightError> {
    let Complete { brought, spool, file } = complete;
    if !ticket.promise.accepts(&brought)? && spool.is_some() {
        let promise = ticket.promise.clone();
        tokio::task::spawn_blocking(move || promise.accepts_archive(&file))
            .await
            .map_err(|e| FlightError::Storage(e.to_string()))??;
    }
    progress.send_modify(|p| {
        p.verified = true;
        p.size = Some(brought.size);
    });
    let Some(spool) = spool else { return Ok((Landed::Passed, None)) };
    let digest = brought.sha256;
    let known = ticket.state.db.read(move |c| db::blob::get(c, digest)).await;
    let class = match known {
        // One digest is one blob, whichever source brought it first.
        Ok(Some(blob)) => StorageClass::ALL.into_iter().find(|class| class.as_str() == blob.class),
        Ok(None) => None,
        Err(error) => {
            tracing::error!(%error, "a fetched package is not stored: the database does not answer");
            return Ok((Landed::Passed, None));
        }
    };
    let key = Key::Package(class.unwrap_or(ticket.class), digest);
    if class.is_none()
        && let Err(error) = ticket.state.storage.commit(spool, &key).await
    {
        tracing::error!(file = %ticket.promise.name, %error, "a fetched package is passed on but not stored");
        return Ok((Landed::Passed, None));
    }
    let size = i64::try_from(brought.size).unwrap_or(i64::MAX);
    let learnt = db::file::Learnt {
        file: ticket.file,
        sha256: Some(digest),
        size: Some(size),
        state: FileState::Stored,
    };
    let blob = db::blob::Blob {
        sha256: digest,
        class: key.class().as_str().to_owned(),
        size,
        created_at: (ticket.state.clock)(),
    };
    Ok((Landed::Stored(key), Some((learnt, blob))))
}
