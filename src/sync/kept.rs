//! What is fetched, kept in storage, and put in force again at the next start: rules of system requirements, and advisories.
//! What cannot be used is told, and the loss of half is refused, for both alike.

use super::SyncError;
use super::run::Cause;
use crate::db::DbError;

/// One of the two, in words for people.
pub(super) struct Kept {
    /// `rules of system requirements`.
    pub(super) all: &'static str,
    /// The same where a number stands before it.
    pub(super) counted: &'static str,
    /// As `rspm sync --type=` takes it.
    pub(super) kind: &'static str,
}

impl Kept {
    /// Logs that what is kept cannot be used, unless the server stops, or goes offline, as soon as it has begun.
    pub(super) fn tell(&self, loaded: Result<(), SyncError>) {
        match loaded {
            Ok(()) | Err(SyncError::Stopping | SyncError::Db(DbError::Closed)) => {}
            Err(error) => tracing::warn!(
                target: "sync", %error,
                "the {} cannot be used; fetch them again with rspm sync --type={}", self.all, self.kind
            ),
        }
    }

    /// Half of them gone is rather a mistake than a decision, unless an administrator asks for it.
    pub(super) fn guard(
        &self,
        now: usize,
        before: usize,
        cause: &Cause,
        address: &str,
    ) -> Result<(), SyncError> {
        match cause {
            Cause::Administrator(_) => Ok(()),
            Cause::Schedule | Cause::Mismatch if now * 2 >= before => Ok(()),
            Cause::Schedule | Cause::Mismatch => Err(SyncError::Refused(format!(
                "{address} has {now} {} where {before} are in force; if that is right, accept them with \
                 rspm sync --type={}",
                self.counted, self.kind
            ))),
        }
    }
}
