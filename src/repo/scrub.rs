//! The nightly comparison of stored packages with their digests, at a limited rate.

use std::time::{Duration, Instant};

use super::proof::Proof;
use super::{Repo, RepoError, sweep};
use crate::db;
use crate::jobs::lease::Lease;
use crate::model::digest::Sha256;
use crate::storage::{Key, StorageError};

/// Rows read at a time.
const PAGE: i64 = 500;

/// How much is compared in one night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a second, on average.
    pub rate: u64,
    /// When it ends at the latest; the next night goes on from there.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { rate: 16 << 20, longest: Duration::from_secs(3600) }
    }
}

/// What a night's comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Packages whose bytes have their digest.
    pub sound: u64,
    /// Packages set aside.
    pub damaged: u64,
    /// Packages that a row names and that are not in storage.
    pub missing: u64,
}

impl Repo {
    /// Compares stored packages with their digests, from where the last time ended.
    ///
    /// # Errors
    /// The stores. [`RepoError::Conflict`] while another server that uses this database does it.
    pub async fn scrub(&self, pace: Pace) -> Result<Compared, RepoError> {
        let lease = self.lease("scrub", "compares stored packages").await?;
        let mut compared = Compared::default();
        let outcome = self.scrub_alone(pace, &lease, &mut compared).await;
        lease.release(&self.state.db).await;
        outcome?;
        let Compared { sound, damaged, missing } = compared;
        if damaged + missing > 0 {
            tracing::error!(sound, damaged, missing, "compared stored packages with their digests");
        } else {
            tracing::debug!(sound, "compared stored packages with their digests");
        }
        Ok(compared)
    }

    async fn scrub_alone(&self, pace: Pace, lease: &Lease, compared: &mut Compared) -> Result<(), RepoError> {
        let begun = Instant::now();
        let first = *self.scrubbed.lock();
        let (mut after, mut around) = (first, first.is_none());
        loop {
            lease.renew(&self.state.db).await?;
            let page = self.state.db.read(move |c| db::blob::page(c, after, PAGE)).await?;
            if page.is_empty() {
                if around {
                    return Ok(());
                }
                (after, around) = (None, true);
                continue;
            }
            for blob in page {
                if around && first.is_some_and(|first| blob.sha256 > first) {
                    return Ok(());
                }
                after = Some(blob.sha256);
                let key = sweep::key(&blob.class, blob.sha256);
                if let Some(key @ Key::Package(class, _)) = key
                    && self.state.storage.is_own(class)
                {
                    let one = Instant::now();
                    self.compare(&key, compared).await?;
                    let size = u64::try_from(blob.size).unwrap_or(0);
                    let due = Duration::from_secs_f64(size as f64 / pace.rate.max(1) as f64);
                    tokio::time::sleep(due.saturating_sub(one.elapsed())).await;
                }
                *self.scrubbed.lock() = after;
                if begun.elapsed() > pace.longest {
                    return Ok(());
                }
            }
        }
    }

    async fn compare(&self, key: &Key, compared: &mut Compared) -> Result<(), RepoError> {
        match self.read_through(key).await {
            Ok(Proof::Sound) => compared.sound += 1,
            Ok(damaged @ Proof::Damaged(_)) => {
                self.proofs.insert(*key, damaged);
                compared.damaged += 1;
            }
            Err(StorageError::NotFound(_)) => {
                let sha256 = *key.digest();
                let referenced = self.state.db.read(move |c| db::blob::references(c, sha256)).await? > 0;
                if referenced {
                    compared.missing += 1;
                    if self.has_no_mirror(key).await? {
                        self.state.storage.note_lost(key);
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Where the first comparison of a process begins: a server that is restarted every day compares all in the end.
pub(super) fn anywhere() -> Option<Sha256> {
    Some(Sha256(rand::random()))
}
