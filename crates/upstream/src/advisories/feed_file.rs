//! Unpacks advisories from one file: a tar archive, a zip file, or JSON lines.

use std::io::Cursor;

use super::UNPACK_LIMITS;
use crate::transport::decompress;
use formats::advisory::{Batch, Format};
use formats::r::archive::{ArchiveError, ArchiveLimits};
use formats::r::zip::{Zip, ZipFormat};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedFileFormat {
    /// A tar archive with one file per advisory.
    Tar,
    /// A zip file with one file per advisory.
    Zip,
    Lines,
    /// One advisory per line, compressed with zstd.
    CompressedLines,
}

impl FeedFileFormat {
    pub(super) fn of(file: &str) -> Option<FeedFileFormat> {
        let file = file.to_ascii_lowercase();
        let has_extension =
            |extensions: &[&str]| extensions.iter().any(|extension| file.ends_with(extension));
        if has_extension(&[".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst"]) {
            Some(FeedFileFormat::Tar)
        } else if has_extension(&[".ndjson.zst", ".jsonl.zst"]) {
            Some(FeedFileFormat::CompressedLines)
        } else if has_extension(&[".ndjson", ".jsonl"]) {
            Some(FeedFileFormat::Lines)
        } else {
            has_extension(&[".zip"]).then_some(FeedFileFormat::Zip)
        }
    }
}

/// Reads all advisories of a file; `name` is for messages.
pub(super) fn unpack(format: FeedFileFormat, name: &str, bytes: &[u8]) -> Result<Batch, String> {
    let mut batch = Batch::default();
    match format {
        FeedFileFormat::Tar => {
            let is_advisory = |path: &str| Format::from_path(path).is_some();
            decompress::tar(bytes, UNPACK_LIMITS, is_advisory, |path, bytes| {
                add_if_advisory(&mut batch, &path, &bytes)
            })
            .map_err(|error| error.to_string())?;
        }
        FeedFileFormat::Zip => zip(&mut batch, bytes).map_err(|error| match error {
            // The hints in the error concern packages, and do not apply here.
            ArchiveError::InvalidZip { offset, defect } => {
                format!("it is not a valid zip file at byte {offset}: {defect}")
            }
            other => other.to_string(),
        })?,
        FeedFileFormat::Lines => batch.add_lines(name, bytes),
        FeedFileFormat::CompressedLines => {
            batch.add_lines(name, &decompress::zstd(bytes, UNPACK_LIMITS.total_size)?)
        }
    }
    Ok(batch)
}

pub(super) fn add_if_advisory(batch: &mut Batch, path: &str, bytes: &[u8]) {
    if let Some(format) = Format::from_path(path) {
        batch.add_file(path, format, bytes);
    }
}

fn zip(batch: &mut Batch, bytes: &[u8]) -> Result<(), ArchiveError> {
    let mut file = Cursor::new(bytes);
    let limits = ArchiveLimits {
        inflated: UNPACK_LIMITS.total_size,
        members: UNPACK_LIMITS.file_count,
        ..ArchiveLimits::default()
    };
    let zip = Zip::open(&mut file, ZipFormat::Streamed, limits)?;
    for member in zip.members.iter().filter(|member| Format::from_path(&member.name).is_some()) {
        if member.size > UNPACK_LIMITS.file_size {
            batch.skip(
                &member.name,
                format!("it has {} bytes, more than the limit of {}", member.size, UNPACK_LIMITS.file_size),
            );
        } else {
            add_if_advisory(batch, &member.name, &member.read(&mut file, UNPACK_LIMITS.file_size)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_extension_determines_the_format_of_advisories() {
        for (file, format) in [
            ("main.tar.gz", Some(FeedFileFormat::Tar)),
            ("DB.TGZ", Some(FeedFileFormat::Tar)),
            ("all.zip", Some(FeedFileFormat::Zip)),
            ("cran-0a1b.ndjson.zst", Some(FeedFileFormat::CompressedLines)),
            ("own.jsonl", Some(FeedFileFormat::Lines)),
            ("head.json", None),
            ("vulns", None),
            ("", None),
        ] {
            assert_eq!(FeedFileFormat::of(file), format, "{file}");
        }
    }
}
