//! Wheels and source distributions, checked and read without unpacking and with bounded memory. `read` does all checks
//! of an upload; `read_metadata` reads only the metadata, for published files.

mod data_folder;
mod error;
mod record;
mod scripts;
pub mod sdist;
pub mod wheel;
mod wheel_file;

pub use error::PackageError;

use std::io::{Read, Seek};

use super::facts::FileFacts;
use super::file_name::{FileKind, FileName};
use super::metadata::{MAX_METADATA, Metadata, installers, validity};
use super::version::{BadPep440Version, Pep440Version};
use crate::r::archive::ArchiveLimits;
use base::model::errors::error_chain;
use base::model::project_page::CheckedFile;

/// The limits of wheels: 16 GiB of content, 50 times the compressed size, and 400,000 members.
pub const WHEEL_LIMITS: ArchiveLimits =
    ArchiveLimits { inflated: 16 << 30, ratio: 50, members: 400_000, description: MAX_METADATA };

/// The limits of source distributions, which may contain data that compresses well.
pub const SDIST_LIMITS: ArchiveLimits = ArchiveLimits { ratio: 250, ..WHEEL_LIMITS };

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionArchive {
    pub metadata: Metadata,
    /// The unchanged bytes of METADATA or PKG-INFO.
    pub metadata_raw: Vec<u8>,
    /// Defects that installers tolerate, at most [`MAX_NOTICES`].
    pub notices: Vec<String>,
}

/// A distribution that has passed all checks of an upload.
pub struct CheckedDistribution {
    pub file: CheckedFile,
    /// As its metadata states it.
    pub version: Pep440Version,
}

/// Reads and checks a distribution. The error is the reason of the refusal.
pub fn check(source: &mut (impl Read + Seek), name: &FileName) -> Result<CheckedDistribution, String> {
    let archive = match name.kind() {
        FileKind::Wheel => wheel::read(source, name.as_str(), WHEEL_LIMITS),
        FileKind::Sdist => sdist::read(source, name, SDIST_LIMITS),
        FileKind::Egg
        | FileKind::WindowsInstaller
        | FileKind::Msi
        | FileKind::Rpm
        | FileKind::Deb
        | FileKind::Dmg => {
            return Err("installers use wheels (.whl) and source distributions (.tar.gz) only".to_owned());
        }
    };
    let DistributionArchive { metadata, metadata_raw, notices } =
        archive.map_err(|error| error_chain(&error))?;
    let project = metadata.project().map_err(|error| error_chain(&error))?;
    let version: Pep440Version =
        metadata.version.parse().map_err(|error: BadPep440Version| error_chain(&error))?;
    let file = CheckedFile {
        project,
        version: version.normalized(),
        facts: FileFacts::of_metadata(&metadata).write(),
        // Clients use only METADATA of wheels: that of a source distribution may differ from the built wheel (PEP 658).
        metadata: (name.kind() == FileKind::Wheel).then_some(metadata_raw),
        notices,
    };
    Ok(CheckedDistribution { file, version })
}

pub const MAX_NOTICES: usize = 20;

/// Maximum length of the name of a file, in bytes: that of file systems.
const MAX_NAME: usize = 255;

/// Adds a notice unless there are already [`MAX_NOTICES`].
fn notice(notices: &mut Vec<String>, text: impl FnOnce() -> String) {
    if notices.len() < MAX_NOTICES {
        notices.push(text());
    }
}

/// Returns the beginning of a text of the archive, escaped, for a message.
fn excerpt(text: &str) -> String {
    text.escape_debug().take(200).collect()
}

/// Checks the encoding and every field of the metadata, the member `path` of the archive.
fn check_metadata(
    metadata: &Metadata,
    raw: &[u8],
    path: &str,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    check_encoding(metadata, raw, path, notices)?;
    for defect in validity::check(raw)?.into_iter().chain(installers::defects(metadata)) {
        notice(notices, || defect);
    }
    Ok(())
}

/// Checks that the metadata, the member `path` of the archive, is UTF-8 without a byte order mark: pip ends with an error
/// when it reads other metadata, even if it would install another version. Metadata before version 2.0 gets a notice,
/// because tools that wrote it used other encodings.
fn check_encoding(
    metadata: &Metadata,
    raw: &[u8],
    path: &str,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    let Some(error) = encoding_error(raw, path) else { return Ok(()) };
    if metadata.metadata_version >= (2, 0) {
        return Err(error);
    }
    notice(notices, || error.to_string());
    Ok(())
}

/// Returns an error for a text, the member `path`, that is not UTF-8 or begins with a byte order mark.
fn encoding_error(raw: &[u8], path: &str) -> Option<PackageError> {
    if raw.starts_with(b"\xef\xbb\xbf") {
        return Some(PackageError::ByteOrderMark(excerpt(path)));
    }
    let error = std::str::from_utf8(raw).err()?;
    let (before, rest) = raw.split_at(error.valid_up_to());
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
    let byte = rest.first().copied().unwrap_or_default();
    Some(PackageError::NotUtf8 { path: excerpt(path), line, byte })
}

/// Checks that metadata and file name declare the same project and version.
fn check_identity(
    metadata: &Metadata,
    distribution: &str,
    version: &str,
    file: &str,
) -> Result<(), PackageError> {
    use super::name::normalize;
    if normalize(&metadata.name) != normalize(distribution) {
        return Err(PackageError::OtherName { metadata: metadata.name.clone(), file: file.to_owned() });
    }
    if Pep440Version::lenient(&metadata.version) != Pep440Version::lenient(version) {
        return Err(PackageError::OtherVersion { metadata: metadata.version.clone(), file: file.to_owned() });
    }
    Ok(())
}
