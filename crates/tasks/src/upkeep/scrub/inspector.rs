//! Inspects an object that may be bad: reads it again, moves it to `damaged`, and stores it again or reports it.

use std::io;
use std::time::Instant;

use super::finding::{Fault, Finding, RepairOutcome};
use super::repair;
use crate::backup::stored_again::BackupFiles;
use crate::upkeep::Upkeep;
use crate::upkeep::missing::{self, MissingObject};
use content::fetch::integrity::IntegrityCheck;
use content::serve::{RepoError, stored_again};
use store::storage::{BackgroundReader, Key, ObjectRead, StorageError};

pub(super) struct Inspector<'a> {
    pub(super) upkeep: &'a Upkeep,
    /// Whether bad objects are stored again.
    pub(super) repair: bool,
    /// The backup that is tried first when a bad object is stored again.
    pub(super) backup: Option<BackupFiles>,
    pub(super) sample: u32,
}

impl Inspector<'_> {
    /// Compares the result of reading an object with its key.
    pub(super) async fn inspect(&self, key: Key, read: &ObjectRead) -> Result<Option<Finding>, RepoError> {
        match read {
            ObjectRead::Digest(digest) if digest.sha256 == *key.digest() => {
                self.upkeep.fetches.integrity.remove_damage(&key);
                self.compare_facts(key).await
            }
            ObjectRead::Digest(_) | ObjectRead::Unreadable(_) => self.inspect_again(key).await,
            ObjectRead::Missing => self.inspect_missing(key).await,
        }
    }

    async fn inspect_missing(&self, key: Key) -> Result<Option<Finding>, RepoError> {
        if !self.upkeep.state.storage.is_own(key.class()) {
            let class = key.class().as_str();
            return Err(RepoError::Conflict(format!(
                "the objects of storage class {class} are missing, and it may not be mounted; rspm storage list shows \
                 its state"
            )));
        }
        let (fault, detail) = match missing::examine(self.upkeep, &key).await? {
            MissingObject::NotMissing => return Ok(None),
            MissingObject::Undamaged => {
                let detail = "it was in the directory 'damaged' with the right bytes, and was moved back";
                let state = &self.upkeep.state;
                let (fault, outcome) = (Fault::Missing, RepairOutcome::Repaired);
                return Finding::of_object(state, key, fault, detail.to_owned(), outcome).await.map(Some);
            }
            MissingObject::Damaged => {
                (Fault::Damaged, "it was moved to the directory 'damaged', and was not stored again")
            }
            MissingObject::OnMirror => (Fault::Missing, "it is not in storage"),
            MissingObject::Lost => {
                if matches!(key, Key::Package(..) | Key::Readme(_)) {
                    self.upkeep.state.storage.add_lost(&key);
                }
                (Fault::Missing, "it is not in storage")
            }
        };
        self.report(key, fault, detail.to_owned()).await.map(Some)
    }

    /// Examines an object that is not listed, unreadable, or of another size or digest: reads it twice and, if it is
    /// bad, moves it to the directory `damaged`. Nothing is stored meanwhile, so that no replacement is moved.
    pub(super) async fn inspect_again(&self, key: Key) -> Result<Option<Finding>, RepoError> {
        let (state, integrity) = (&self.upkeep.state, &self.upkeep.fetches.integrity);
        let guard = self.upkeep.fetches.blob_lock.write().await;
        let reader = started(BackgroundReader::start_unlimited())?;
        let started_at = Instant::now();
        let reads = state.storage.digests(&[key, key], &reader).await?;
        let (fault, detail) = match reads.as_slice() {
            [ObjectRead::Digest(actual), _] if actual.sha256 == *key.digest() => {
                integrity.remove_damage(&key);
                return Ok(None);
            }
            [ObjectRead::Digest(actual), ObjectRead::Digest(again)] => {
                let detail = format!("its {} bytes have the SHA-256 {}", actual.size, actual.sha256);
                let check = match integrity.compare(&key, [*actual, *again], started_at).await {
                    Err(error @ StorageError::UnstableRead(_)) => {
                        drop(guard);
                        return self.report_unstable(key, error.to_string()).await.map(Some);
                    }
                    Err(error @ StorageError::Io { .. }) => {
                        drop(guard);
                        return self.report_unmoved(key, Fault::Damaged, &detail, &error).await.map(Some);
                    }
                    check => check?,
                };
                if matches!(check, IntegrityCheck::Intact) {
                    integrity.remove_damage(&key);
                    return Ok(None);
                }
                integrity.insert(key, check);
                (Fault::Damaged, detail)
            }
            [ObjectRead::Unreadable(_), ObjectRead::Unreadable(reason)] => {
                match integrity.move_unreadable(&key, reason).await {
                    Err(error @ StorageError::Io { .. }) => {
                        drop(guard);
                        return self.report_unmoved(key, Fault::Unreadable, reason, &error).await.map(Some);
                    }
                    result => result?,
                }
                integrity.remove(&key);
                (Fault::Unreadable, reason.clone())
            }
            [ObjectRead::Unreadable(reason), ObjectRead::Digest(_)]
            | [ObjectRead::Digest(_), ObjectRead::Unreadable(reason)] => {
                drop(guard);
                return self.report_unstable(key, reason.clone()).await.map(Some);
            }
            _ => {
                drop(guard);
                return self.inspect_missing(key).await;
            }
        };
        // A repair stores the object, which requires the lock.
        drop(guard);
        self.report(key, fault, detail).await.map(Some)
    }

    /// Reports an object of which two reads had different results; it stays in place.
    async fn report_unstable(&self, key: Key, detail: String) -> Result<Finding, RepoError> {
        let (fault, outcome) = (Fault::Unreadable, RepairOutcome::Obtainable);
        Finding::of_object(&self.upkeep.state, key, fault, detail, outcome).await
    }

    /// Reports an object of another user or on a read-only file system, which cannot be moved. A repair may replace it.
    async fn report_unmoved(
        &self,
        key: Key,
        fault: Fault,
        detail: &str,
        error: &StorageError,
    ) -> Result<Finding, RepoError> {
        let detail = format!(
            "{detail}; it was not moved to the directory 'damaged': {error}; if it belongs to another user, \
             run chown -R rstudio-pm on the location of its class"
        );
        let finding = self.report(key, fault, detail).await?;
        // The bad object is still in place, so it is not generated again.
        let outcome = match finding.outcome {
            RepairOutcome::Generated => RepairOutcome::Obtainable,
            outcome => outcome,
        };
        Ok(Finding { outcome, ..finding })
    }

    async fn report(&self, key: Key, fault: Fault, detail: String) -> Result<Finding, RepoError> {
        let state = &self.upkeep.state;
        let finding = Finding::of_object(state, key, fault, detail, RepairOutcome::Obtainable).await?;
        let (outcome, failure) = match self.repair {
            true => repair::repair(self.upkeep, self.backup.as_ref(), &key).await?,
            false => (repair::expected_outcome(state, &key).await?, None),
        };
        let detail = match failure {
            Some(reason) => format!("{}; {reason}", finding.detail),
            None => finding.detail,
        };
        Ok(Finding { detail, outcome, ..finding })
    }

    /// Compares the DESCRIPTION of some packages with their rows.
    async fn compare_facts(&self, key: Key) -> Result<Option<Finding>, RepoError> {
        if !matches!(key, Key::Package(..)) || self.sample == 0 || rand::random_range(0..self.sample) > 0 {
            return Ok(None);
        }
        match stored_again::differing_facts(&self.upkeep.repositories, &key).await {
            Ok(None) | Err(RepoError::Storage(StorageError::NotFound(_))) => Ok(None),
            Ok(Some(difference)) => {
                let state = &self.upkeep.state;
                Finding::of_object(state, key, Fault::Facts, difference, RepairOutcome::Lost).await.map(Some)
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn started(reader: io::Result<BackgroundReader>) -> Result<BackgroundReader, RepoError> {
    reader.map_err(|error| StorageError::Other(format!("could not start a thread: {error}")).into())
}
