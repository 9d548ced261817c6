//! Verifies a received file by its size and the known digests. A source package without a known digest is
//! also read (gzip CRC, DESCRIPTION), and so is every binary.

use std::io::{self, Read, Seek};

use super::{FetchError, MAX_DECLARED_SIZE};
use base::model::digest::{Md5, Sha256};
use formats::r::description::Built;
use formats::r::layout::PackageFile;
use formats::r::name::SourceFileName;
use formats::r::platform::Platform;
use formats::r::{archive, binary};

#[derive(Clone, Debug)]
pub enum PackageForm {
    /// A source package, or a file of a Python package, whose digest is known.
    Source,
    Binary(Platform),
}

/// The properties of a file that the index, or an earlier fetch, declares.
#[derive(Clone, Debug)]
pub(super) struct ExpectedFile {
    pub(super) name: String,
    pub(super) form: PackageForm,
    /// Size in bytes.
    pub(super) size: Option<u64>,
    /// MD5 in the index.
    pub(super) md5: Option<Md5>,
    /// SHA-256 that a bundle declares, or that an earlier fetch of the file had.
    pub(super) sha256: Option<Sha256>,
}

#[derive(Clone, Debug)]
pub(super) struct ReceivedFile {
    /// Size in bytes.
    pub(super) size: u64,
    pub(super) md5: Md5,
    pub(super) sha256: Sha256,
}

impl ExpectedFile {
    /// Checks the size that upstream declares against the index, before any byte is received.
    pub(super) fn check_size(&self, declared_size: Option<u64>) -> Result<(), FetchError> {
        match (self.size, declared_size) {
            (Some(size), Some(declared_size)) if size != declared_size => {
                Err(self.mismatch(&format!("{declared_size} bytes, not {size}")))
            }
            _ => Ok(()),
        }
    }

    /// Checks size and digests, without reading the file. Returns true if they suffice, so that the archive is not read.
    pub(super) fn check_digests(&self, received: &ReceivedFile) -> Result<bool, FetchError> {
        self.check_size(Some(received.size))?;
        if let Some(md5) = self.md5.filter(|md5| *md5 != received.md5) {
            return Err(self.mismatch(&format!("MD5 {}, not {md5}", received.md5)));
        }
        if let Some(sha256) = self.sha256.filter(|sha256| *sha256 != received.sha256) {
            return Err(self.mismatch(&format!("SHA-256 {}, not {sha256}", received.sha256)));
        }
        // An index can be wrong about the platform of a binary, so a binary is always read.
        let is_source = matches!(self.form, PackageForm::Source);
        Ok(is_source && (self.md5.is_some() || self.sha256.is_some()))
    }

    /// Reads the whole archive and checks the gzip CRC, and name and version in DESCRIPTION. Blocking.
    pub(super) fn check_archive(&self, archive: impl Read) -> Result<(), FetchError> {
        let name = SourceFileName::parse_archived(&self.name).ok();
        archive::read_identity(archive, name, archive::ArchiveLimits::default())
            .map(drop)
            .map_err(|e| self.mismatch(&format!("an invalid archive: {e}")))
    }

    /// Reads a whole binary and checks form, name, version and platform; returns its `Built` field. Blocking.
    pub(super) fn check_binary<R: Read + Seek>(
        &self,
        platform: &Platform,
        open: impl Fn() -> io::Result<R>,
    ) -> Result<Built, FetchError> {
        let name = PackageFile::parse(&self.name).ok_or_else(|| {
            FetchError::Mismatch(format!("{} is not the name of a package file", self.name))
        })?;
        binary::check_file(open, name, platform, archive::ArchiveLimits::default()).map_err(|e| {
            FetchError::Mismatch(format!("upstream's {} for {platform} is refused: {e}", self.name))
        })
    }

    fn mismatch(&self, difference: &str) -> FetchError {
        FetchError::Mismatch(format!(
            "upstream's {} is not the file of the index: it has {difference}",
            self.name
        ))
    }
}

/// Returns the error for a file that would use more than half of the free disk space; `size` describes its size.
pub(super) fn no_space_error(path: &str, size: &str) -> FetchError {
    FetchError::Storage(format!(
        "{path} has {size}, the index does not declare its size, and it would use more than half of the free disk space"
    ))
}

/// Returns the size: the expected one, or the one that a response declares, if any. They must be equal, and in bounds.
pub(super) fn merge_size(
    path: &str,
    expected_size: Option<u64>,
    declared_size: Option<u64>,
    written_bytes: u64,
) -> Result<Option<u64>, FetchError> {
    let mismatch = |reason: String| Err(FetchError::Mismatch(format!("{path} on the mirror {reason}")));
    match (expected_size, declared_size) {
        (Some(expected_size), Some(declared_size)) if expected_size != declared_size => {
            mismatch(format!("has {declared_size} bytes, but {expected_size} were expected"))
        }
        (None, Some(declared_size)) if declared_size < written_bytes => {
            mismatch(format!("has {declared_size} bytes, but {written_bytes} were received already"))
        }
        (None, Some(declared_size)) if declared_size > MAX_DECLARED_SIZE => {
            mismatch(format!("declares {declared_size} bytes, more than the limit of {MAX_DECLARED_SIZE}"))
        }
        (expected_size, declared_size) => Ok(expected_size.or(declared_size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected_file() -> ExpectedFile {
        ExpectedFile {
            name: "a_1.0.tar.gz".to_owned(),
            form: PackageForm::Source,
            size: Some(3),
            md5: Some(Md5([1; 16])),
            sha256: None,
        }
    }

    fn received_file() -> ReceivedFile {
        ReceivedFile { size: 3, md5: Md5([1; 16]), sha256: Sha256([2; 32]) }
    }

    #[test]
    fn a_matching_md5_proves_the_bytes() {
        assert!(expected_file().check_digests(&received_file()).expect("the same"));
        let platform = Platform::parse("4.5-noble").expect("a tag");
        let binary = ExpectedFile { form: PackageForm::Binary(platform), ..expected_file() };
        assert!(
            !binary.check_digests(&received_file()).expect("the same"),
            "its platform must be checked, too"
        );
        let file_without_md5 = ExpectedFile { md5: None, ..expected_file() };
        assert!(!file_without_md5.check_digests(&received_file()).expect("nothing to compare"));
    }

    #[test]
    fn any_difference_is_an_error() {
        for other_file in [
            ReceivedFile { size: 4, ..received_file() },
            ReceivedFile { md5: Md5([9; 16]), ..received_file() },
        ] {
            let error = expected_file().check_digests(&other_file).expect_err("it differs").to_string();
            assert!(error.contains("a_1.0.tar.gz"), "{error}");
        }
        let expected = ExpectedFile { sha256: Some(Sha256([7; 32])), ..expected_file() };
        assert!(expected.check_digests(&received_file()).is_err());
        assert!(expected_file().check_size(Some(9)).is_err());
        assert!(expected_file().check_size(None).is_ok());
    }
}
