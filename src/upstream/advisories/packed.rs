//! Unpacks advisories from one file: a tar archive, a zip file, JSON lines.

use std::io::Cursor;

use super::UNPACK_LIMITS;
use crate::advisory::{Batch, Format};
use crate::r::archive::{ArchiveError, Limits};
use crate::r::zip::{Zip, ZipFormat};
use crate::upstream::transport::decompress;

/// The format of a file of advisories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// A tar archive with one file per advisory.
    Tar,
    /// A zip file with one file per advisory.
    Zip,
    /// One advisory per line.
    Lines,
    /// One advisory per line, compressed.
    CompressedLines,
}

impl Packing {
    /// Returns the format for a file name, by its extension.
    pub(super) fn of(file: &str) -> Option<Packing> {
        let file = file.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| file.ends_with(ending));
        if ends(&[".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst"]) {
            Some(Packing::Tar)
        } else if ends(&[".ndjson.zst", ".jsonl.zst"]) {
            Some(Packing::CompressedLines)
        } else if ends(&[".ndjson", ".jsonl"]) {
            Some(Packing::Lines)
        } else {
            ends(&[".zip"]).then_some(Packing::Zip)
        }
    }
}

/// Reads all advisories of a file; `name` is for messages.
pub(super) fn unpack(packing: Packing, name: &str, bytes: &[u8]) -> Result<Batch, String> {
    let mut batch = Batch::default();
    match packing {
        Packing::Tar => {
            let is_advisory = |path: &str| Format::from_path(path).is_some();
            decompress::tar(bytes, UNPACK_LIMITS, is_advisory, |path, bytes| {
                add_if_advisory(&mut batch, &path, &bytes)
            })
            .map_err(|error| error.to_string())?;
        }
        Packing::Zip => zip(&mut batch, bytes).map_err(|error| match error {
            // The hints in the error concern packages, and do not apply here.
            ArchiveError::InvalidZip { offset, defect } => {
                format!("it is not a valid zip file at byte {offset}: {defect}")
            }
            other => other.to_string(),
        })?,
        Packing::Lines => batch.add_lines(name, bytes),
        Packing::CompressedLines => {
            batch.add_lines(name, &decompress::zstd(bytes, UNPACK_LIMITS.total_size)?)
        }
    }
    Ok(batch)
}

/// Parses a file if its name is that of an advisory.
pub(super) fn add_if_advisory(batch: &mut Batch, path: &str, bytes: &[u8]) {
    if let Some(format) = Format::from_path(path) {
        batch.add_file(path, format, bytes);
    }
}

fn zip(batch: &mut Batch, bytes: &[u8]) -> Result<(), ArchiveError> {
    let mut file = Cursor::new(bytes);
    let limits =
        Limits { inflated: UNPACK_LIMITS.total_size, members: UNPACK_LIMITS.file_count, ..Limits::default() };
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
        for (file, packing) in [
            ("main.tar.gz", Some(Packing::Tar)),
            ("DB.TGZ", Some(Packing::Tar)),
            ("all.zip", Some(Packing::Zip)),
            ("cran-0a1b.ndjson.zst", Some(Packing::CompressedLines)),
            ("own.jsonl", Some(Packing::Lines)),
            ("head.json", None),
            ("vulns", None),
            ("", None),
        ] {
            assert_eq!(Packing::of(file), packing, "{file}");
        }
    }
}
