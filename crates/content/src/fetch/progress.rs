//! The progress of a fetch, for its readers.

use super::verify::{ExpectedFile, PackageForm};
use super::{Delivery, FetchError, UNRELEASED_END};

/// The progress of a fetch.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Bytes written to the spool or its overflow.
    pub written_bytes: u64,
    /// Number of written bytes that are in the spool; lower than `written_bytes` only if the file cannot be
    /// stored.
    pub(super) spooled_bytes: u64,
    /// Size of the file, once upstream or the index has declared it.
    pub size: Option<u64>,
    /// Set when the fetch ends.
    pub outcome: Option<FetchOutcome>,
    /// True once size and checksum are verified.
    pub(super) is_verified: bool,
    /// True when nothing is released before verification: if the file is wrong, another one can still be served.
    pub(super) is_held_until_verified: bool,
}

/// The end of a fetch.
#[derive(Clone, Debug)]
pub enum FetchOutcome {
    /// Verified, and stored where possible.
    Done(Delivery),
    Failed(FetchError),
}

impl Progress {
    /// The progress before the first byte.
    pub(super) fn begin(expected: &ExpectedFile) -> Progress {
        // The source package can be served instead of a binary, unless a byte of the binary was sent.
        let is_held_until_verified = matches!(expected.form, PackageForm::Binary(_));
        Progress { is_held_until_verified, ..Progress::default() }
    }

    /// Returns true if a client can be answered: bytes are released, or the fetch has ended. Small files are
    /// answered only once verified, so that a wrong one is an error and not a broken connection.
    pub fn can_answer(&self) -> bool {
        self.released_bytes() > 0 || self.outcome.is_some()
    }

    /// The number of bytes that may be sent to clients.
    pub(super) fn released_bytes(&self) -> u64 {
        match (self.is_verified, self.is_held_until_verified) {
            (true, _) => self.written_bytes,
            (false, true) => 0,
            (false, false) => self.written_bytes.saturating_sub(UNRELEASED_END),
        }
    }

    /// The error of a failed fetch.
    pub(super) fn failure(&self) -> Option<&FetchError> {
        match &self.outcome {
            Some(FetchOutcome::Failed(error)) => Some(error),
            Some(FetchOutcome::Done(_)) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_not_released_until_it_is_verified() {
        let mut progress = Progress { written_bytes: 100 << 10, ..Progress::default() };
        assert_eq!(progress.released_bytes(), 36 << 10);
        progress.is_verified = true;
        assert_eq!(progress.released_bytes(), 100 << 10);
        assert_eq!(Progress { written_bytes: 10, ..Progress::default() }.released_bytes(), 0);
        let mut binary =
            Progress { written_bytes: 100 << 20, is_held_until_verified: true, ..Progress::default() };
        assert_eq!(binary.released_bytes(), 0);
        binary.is_verified = true;
        assert_eq!(binary.released_bytes(), 100 << 20);
    }
}
