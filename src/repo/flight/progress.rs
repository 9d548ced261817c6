//! How far a flight is, as its readers see it.

use super::verify::{Expected, Promise};
use super::{FlightError, HELD_BACK, Landed};

/// How far a flight is.
#[derive(Clone, Debug, Default)]
pub(in crate::repo) struct Progress {
    /// Bytes written to the spool, or kept beside it.
    pub(in crate::repo) written: u64,
    /// Of those, bytes in the spool; fewer only when the disk is full.
    pub(super) spooled: u64,
    /// Size of the file, once upstream or the index has told it.
    pub(in crate::repo) size: Option<u64>,
    /// Set when the flight ends.
    pub(in crate::repo) outcome: Option<Outcome>,
    /// True once size and checksum are right.
    pub(super) verified: bool,
    /// Nothing is released before that: something else can be served when it is wrong.
    pub(super) whole: bool,
}

/// How a flight ended.
#[derive(Clone, Debug)]
pub(in crate::repo) enum Outcome {
    /// Verified, and stored where possible.
    Landed(Landed),
    /// Not.
    Failed(FlightError),
}

impl Progress {
    /// Before the first byte.
    pub(super) fn begin(promise: &Promise) -> Progress {
        // In place of a build its source can be served, as long as no byte of the build was.
        let whole = matches!(promise.expected, Expected::Build(_));
        Progress { whole, ..Progress::default() }
    }

    /// True when a client can be answered: bytes are released, or it is known how the flight ended. Small files are
    /// answered only when they are verified, so that a wrong one is an error and not a broken connection.
    pub(in crate::repo) fn can_answer(&self) -> bool {
        self.released() > 0 || self.outcome.is_some()
    }

    /// Bytes that clients may have by now.
    pub(super) fn released(&self) -> u64 {
        match (self.verified, self.whole) {
            (true, _) => self.written,
            (false, true) => 0,
            (false, false) => self.written.saturating_sub(HELD_BACK),
        }
    }

    /// Why there will be no more bytes, when it failed.
    pub(super) fn failure(&self) -> Option<&FlightError> {
        match &self.outcome {
            Some(Outcome::Failed(error)) => Some(error),
            Some(Outcome::Landed(_)) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_held_back_until_it_is_right() {
        let mut progress = Progress { written: 100 << 10, ..Progress::default() };
        assert_eq!(progress.released(), 36 << 10);
        progress.verified = true;
        assert_eq!(progress.released(), 100 << 10);
        assert_eq!(Progress { written: 10, ..Progress::default() }.released(), 0);
        let mut whole = Progress { written: 100 << 20, whole: true, ..Progress::default() };
        assert_eq!(whole.released(), 0);
        whole.verified = true;
        assert_eq!(whole.released(), 100 << 20);
    }
}
