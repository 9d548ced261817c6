//! Fetches index records of archived releases from the first bytes of their archives, at a limited rate over all
//! connections, with pauses while the mirror is overloaded.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::files::{Origin, key};
use crate::sync::SyncError;
use base::model::ids::SourceId;
use formats::r::archive::{self, ArchiveError, ArchiveLimits};
use formats::r::description::{Description, metadata_stanza};
use formats::r::layout::PackageFile;
use formats::r::rds::archive_meta::MetaRow;
use formats::r::version;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use store::db::Db;
use store::db::backfill::{self, Archive, DescriptionResult};
use upstream::{FilePart, Mirror, UpstreamError};

/// Size of the first read: `DESCRIPTION` is among the first members of almost every archive.
pub(super) const FIRST_READ: u64 = 8 << 10;
/// Factor by which each further read extends the part of the archive that is read.
const READ_FACTOR: u64 = 8;
/// Maximum number of bytes read of an archive: 32 MiB.
const MAX_READ: u64 = 32 << 20;

/// Number of archives that are read in parallel.
pub(super) const CONNECTIONS: usize = 4;
/// Maximum number of results per write.
const MAX_GROUP: usize = 200;

/// Number of attempts to read a part from a mirror that is unavailable or rate limiting.
const MAX_ATTEMPTS: u32 = 6;
/// Pause after the first attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum `Retry-After`, in seconds, for which a run waits; after a longer one the next run retries.
const MAX_RETRY_AFTER: u64 = 15 * 60;

#[derive(Clone, Debug)]
pub(super) struct PendingArchive {
    pub(super) row: MetaRow<String>,
    pub(super) origin: Origin,
}

pub(super) struct DescriptionFetcher<'a> {
    pub(super) mirror: &'a Mirror,
    pub(super) rate_limit: RateLimit,
    pub(super) db: &'a Db,
    /// Checked with each write of a group of results.
    pub(super) lease: &'a Lease,
    pub(super) source: SourceId,
    pub(super) report: &'a Reporter,
}

impl DescriptionFetcher<'_> {
    /// Reads all archives and stores each result immediately, so that a resumed run does not read it again.
    pub(super) async fn fetch_all(&self, archives: Vec<PendingArchive>) -> Result<(), SyncError> {
        let total = archives.len() as u64;
        let (mut done, mut logged_at) = (0, tokio::time::Instant::now());
        let results =
            stream::iter(archives).map(|archive| self.fetch_one(archive)).buffer_unordered(CONNECTIONS);
        let mut groups = results.ready_chunks(MAX_GROUP);
        loop {
            self.report.progress("reading DESCRIPTION of archived releases", done, Some(total));
            let group = tokio::select! {
                group = groups.next() => group,
                () = self.report.wait_halted() => return Err(SyncError::Halted),
            };
            let Some(group) = group else { return Ok(()) };
            let mut failure = None;
            let mut descriptions = Vec::with_capacity(group.len());
            for result in group {
                match result {
                    Ok(result) => descriptions.push(result),
                    Err(error) => failure = Some(error),
                }
            }
            done += descriptions.len() as u64;
            let source = self.source;
            self.lease.bulk(self.db, move |c| backfill::put_descriptions(c, source, &descriptions)).await?;
            if let Some(error) = failure {
                return Err(error.into());
            }
            if logged_at.elapsed() >= Duration::from_secs(60) {
                logged_at = tokio::time::Instant::now();
                tracing::info!(target: "sync", source = "cran", done, total, "reading DESCRIPTION of archived releases");
            }
        }
    }

    async fn fetch_one(
        &self,
        pending: PendingArchive,
    ) -> Result<(Archive, DescriptionResult), UpstreamError> {
        let archive = key(&pending.row);
        let package = &pending.row.package;
        let archive_path = format!("src/contrib/Archive/{package}/{}", archive.file);
        let current_path = format!("src/contrib/{}", archive.file);
        let candidates = if pending.origin.is_archived {
            [archive_path, current_path]
        } else {
            [current_path, archive_path]
        };
        let mut error = None;
        for candidate in &candidates {
            match self.record(candidate, &pending).await? {
                Ok(stanza) => return Ok((archive, DescriptionResult::Record(stanza))),
                // The other path may have the file, or a different file of that name: the first error is reported.
                Err(reason) => error = error.or(Some(reason)),
            }
        }
        Ok((archive, DescriptionResult::Failure(error.unwrap_or_default())))
    }

    /// Returns the record of the archive at `path`, or why it has none. An error means that the mirror is unavailable.
    async fn record(
        &self,
        path: &str,
        pending: &PendingArchive,
    ) -> Result<Result<Vec<u8>, String>, UpstreamError> {
        let mut bytes = BytesMut::new();
        let mut end = FIRST_READ;
        loop {
            let start = bytes.len() as u64;
            let part = match self.read_part(path, start, end - start).await {
                Ok(part) => part,
                Err(error @ UpstreamError::Unavailable { .. }) => return Err(error),
                Err(UpstreamError::Missing(_)) => return Ok(Err("is not on the mirror".to_owned())),
                Err(UpstreamError::Refused { reason, .. }) => return Ok(Err(reason)),
            };
            if part.size.is_some_and(|size| size != pending.row.size) {
                return Ok(Err(format!(
                    "has {} bytes, but {} according to Meta/ of the mirror",
                    part.size.unwrap_or_default(),
                    pending.row.size
                )));
            }
            bytes.extend_from_slice(&part.bytes);
            match stanza(&bytes, &pending.row.file) {
                Err(ArchiveError::Truncated) if !part.is_last && end < MAX_READ => {
                    end = (end * READ_FACTOR).min(MAX_READ);
                }
                Err(error) => return Ok(Err(error.to_string())),
                Ok(record) => return Ok(record),
            }
        }
    }

    /// Reads a part of a file, with retries.
    async fn read_part(&self, path: &str, offset: u64, length: u64) -> Result<FilePart, UpstreamError> {
        let (mut attempts, mut pause) = (1, FIRST_PAUSE);
        loop {
            self.rate_limit.acquire().await;
            let part = self.mirror.read_part(path, offset, length).await;
            let Err(UpstreamError::Unavailable { retry_after, reason, .. }) = &part else { return part };
            if attempts == MAX_ATTEMPTS || retry_after.is_some_and(|seconds| seconds > MAX_RETRY_AFTER) {
                return part;
            }
            let wait = retry_after.map_or(pause, |seconds| Duration::from_secs(seconds).max(pause));
            tracing::info!(target: "sync", path, reason, ?wait, "the mirror is unavailable or rate limiting; retrying");
            // The mirror as a whole is overloaded: the other connections wait, too.
            self.rate_limit.pause_until(tokio::time::Instant::now() + wait).await;
            attempts += 1;
            pause *= 2;
        }
    }
}

/// Returns the record of the archive that begins with these bytes, or why it has none; `file` is its name on the
/// mirror. An error is [`ArchiveError::Truncated`] if more bytes are needed.
fn stanza(beginning: &[u8], file: &str) -> Result<Result<Vec<u8>, String>, ArchiveError> {
    let (_, raw) = archive::read_description(beginning, ArchiveLimits::default())?;
    let description = Description::from_bytes(&raw)?;
    let Some(name) = PackageFile::parse(file) else {
        return Ok(Err("does not have the name of a package file".to_owned()));
    };
    let name_and_version =
        (description.package().unwrap_or_default(), description.version().unwrap_or_default());
    if name_and_version.0 != name.package || version::compare(name_and_version.1, name.version).is_ne() {
        let shorten = |text: &str| text.chars().take(80).collect::<String>();
        return Ok(Err(format!(
            "is {} {} according to its DESCRIPTION",
            shorten(name_and_version.0),
            shorten(name_and_version.1)
        )));
    }
    if !description.has_valid_version() {
        return Ok(Err("has a version that R does not accept".to_owned()));
    }
    Ok(Ok(metadata_stanza(&description)))
}

/// The highest rate that can be requested, per second.
pub(super) const MAX_RATE: u32 = 1000;

/// Admits requests with a minimum interval between their starts.
pub(super) struct RateLimit {
    interval: Duration,
    times: Mutex<Times>,
}

struct Times {
    /// Earliest start of the next request.
    next_start: Instant,
    pause_end: Instant,
}

impl RateLimit {
    /// Creates a limiter for `rate` requests per second; `None` means no limit.
    pub(super) fn new(rate: Option<u32>) -> RateLimit {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        let now = Instant::now();
        RateLimit { interval, times: Mutex::new(Times { next_start: now, pause_end: now }) }
    }

    /// Waits until the caller may send a request.
    pub(super) async fn acquire(&self) {
        loop {
            let at = self.reserve(Instant::now()).await;
            tokio::time::sleep_until(at).await;
            // A pause that began in the meantime applies to this request, too.
            if self.times.lock().await.pause_end <= Instant::now() {
                return;
            }
        }
    }

    /// Reserves the next free instant from `now` on.
    async fn reserve(&self, now: Instant) -> Instant {
        let mut times = self.times.lock().await;
        let at = times.next_start.max(now);
        times.next_start = at + self.interval;
        at
    }

    /// Admits no request before `until`.
    pub(super) async fn pause_until(&self, until: Instant) {
        let mut times = self.times.lock().await;
        times.next_start = times.next_start.max(until);
        times.pause_end = times.pause_end.max(until);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        let mut tar = tar::Builder::new(gz);
        for (path, bytes) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_entry_type(tar::EntryType::Regular);
            tar.append_data(&mut header, path, *bytes).expect("writing to a Vec cannot fail");
        }
        let mut gz = tar.into_inner().expect("writing to a Vec cannot fail");
        gz.flush().expect("writing to a Vec cannot fail");
        gz.finish().expect("writing to a Vec cannot fail")
    }

    #[test]
    fn a_record_is_read_from_the_beginning_of_an_archive() {
        let description =
            b"Package: a\nVersion: 1.0\nDepends: R (>= 3.5)\nLicense: MIT\nNeedsCompilation: yes\n\
            SystemRequirements: GNU make\nTitle: T\n";
        let large = vec![7_u8; 100_000];
        let content = tar(&[("a/DESCRIPTION", description), ("a/data.bin", &large)]);
        let record =
            stanza(&content[..4096], "a_1.0.tar.gz").expect("a DESCRIPTION").expect("a valid record");
        assert_eq!(
            String::from_utf8(record).expect("text"),
            "Package: a\nVersion: 1.0\nDepends: R (>= 3.5)\nLicense: MIT\nNeedsCompilation: yes\n\
             SystemRequirements: GNU make\n"
        );
        let description_at_end = tar(&[("a/data.bin", &large), ("a/DESCRIPTION", description)]);
        assert!(matches!(stanza(&description_at_end[..8192], "a_1.0.tar.gz"), Err(ArchiveError::Truncated)));
        assert!(stanza(&description_at_end, "a_1.0.tar.gz").expect("a DESCRIPTION").is_ok());
    }

    #[test]
    fn an_archive_of_another_package_is_an_error() {
        let content = tar(&[("a/DESCRIPTION", b"Package: a\nVersion: 1.0-2\n")]);
        assert!(
            stanza(&content, "a_1.0.2.tar.gz").expect("a DESCRIPTION").is_ok(),
            "versions are equal by value"
        );
        for (file, expected) in [("b_1.0.2.tar.gz", "is a 1.0-2"), ("a_1.0.3.tar.gz", "is a 1.0-2")] {
            let error = stanza(&content, file).expect("a DESCRIPTION").expect_err(file);
            assert!(error.contains(expected), "{error}");
        }
        assert!(stanza(b"<html>", "a_1.0.tar.gz").is_err());
        assert!(stanza(&tar(&[("a/R/a.R", b"1")]), "a_1.0.tar.gz").is_err());
    }

    #[tokio::test]
    async fn requests_are_sent_one_by_one_after_a_pause() {
        let (limit, now) = (RateLimit::new(Some(4)), Instant::now() + Duration::from_secs(10));
        let mut send_time = now;
        for _ in 0..9 {
            send_time = limit.reserve(now).await;
        }
        assert_eq!(send_time - now, Duration::from_secs(2));
        limit.pause_until(now + Duration::from_secs(30)).await;
        assert_eq!(limit.reserve(now).await - now, Duration::from_secs(30));
        limit.pause_until(now).await;
        assert_eq!(
            limit.reserve(now).await - now,
            Duration::from_millis(30_250),
            "an earlier end does not shorten a pause"
        );
    }

    #[tokio::test]
    async fn a_pause_applies_to_requests_that_wait_for_their_instant() {
        let limit = std::sync::Arc::new(RateLimit::new(Some(20)));
        limit.acquire().await;
        let waiter = tokio::spawn({
            let limit = limit.clone();
            async move { limit.acquire().await }
        });
        tokio::task::yield_now().await;
        let until = Instant::now() + Duration::from_millis(200);
        limit.pause_until(until).await;
        waiter.await.expect("acquired");
        assert!(Instant::now() >= until);
    }

    #[tokio::test]
    async fn a_directory_has_no_rate_limit() {
        let (limit, now) = (RateLimit::new(None), Instant::now() + Duration::from_secs(10));
        for _ in 0..1000 {
            assert_eq!(limit.reserve(now).await, now);
        }
    }
}
