//! Fetches index records of archived releases from the first bytes of their archives.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{StreamExt, stream};

use super::files::{Origin, key};
use super::rate_limit::RateLimit;
use crate::sync::SyncError;
use base::model::ids::SourceId;
use formats::r::archive::{self, ArchiveError, Limits};
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

/// Reads the descriptions of archives of a mirror.
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
    let (_, raw) = archive::read_description(beginning, Limits::default())?;
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
}
