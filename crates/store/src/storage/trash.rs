//! Moves removed objects to the trash and damaged objects to the directory `damaged` of their class, restores and
//! deletes them; reads and writes the markers of classes.

use super::{Area, Backend, Key, Marker, MarkerContent, MarkerKey, Storage, StorageError, blocking};
use base::model::kind::StorageClass;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time during which a removed object can be restored.
pub const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The grace period of removed objects, by the clock and by days with sweeps, so that no jump of the clock ends it.
#[derive(Clone, Debug)]
pub struct GracePeriod {
    /// By the clock, the period is over for objects removed before this time.
    cutoff: Option<SystemTime>,
    /// Minimum number of days with a sweep since the removal.
    min_days: usize,
    /// Days, counted from the epoch, on which sweeps ran.
    days: Vec<i64>,
}

impl GracePeriod {
    /// Creates a grace period of this length, evaluated at the current time. `days` are the days on which sweeps ran.
    pub fn new(period: Duration, days: Vec<i64>) -> GracePeriod {
        let min_days = usize::try_from(period.as_secs() / DAY).unwrap_or(usize::MAX);
        GracePeriod { cutoff: SystemTime::now().checked_sub(period), min_days, days }
    }

    /// Returns whether the period is over for an object removed at `at`.
    pub fn is_over(&self, at: SystemTime) -> bool {
        let days = self.days.iter().filter(|day| **day > day_of(at)).count();
        self.cutoff.is_some_and(|cutoff| at < cutoff) && days >= self.min_days
    }
}

const DAY: u64 = 86_400;

/// Returns the day of a time, counted from the epoch; times before the epoch have day 0.
pub fn day_of(at: SystemTime) -> i64 {
    let elapsed = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs() / DAY).unwrap_or(i64::MAX)
}

impl Storage {
    /// Moves an object to the trash; returns false if it does not exist.
    pub async fn move_to_trash(&self, key: &Key) -> Result<bool, StorageError> {
        self.move_to(key, Area::Trash).await
    }

    /// Moves an object whose bytes do not have its digest to the directory `damaged`, which is never served; returns
    /// false if the object does not exist.
    pub async fn move_to_damaged(&self, key: &Key) -> Result<bool, StorageError> {
        let is_moved = self.move_to(key, Area::Damaged).await?;
        if is_moved {
            self.0.condition.lock().record_damaged(key);
        }
        Ok(is_moved)
    }

    async fn move_to(&self, key: &Key, to: Area) -> Result<bool, StorageError> {
        let key = *key;
        let is_moved = match self.backend(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.move_to(&key, to)).await?,
            Backend::S3(s3) => s3.transfer(&key, Area::Live, to).await?,
        };
        self.0.cache.remove(&key);
        Ok(is_moved)
    }

    /// Restores an object from the trash; returns false if it is not there, or if it is in the live area.
    pub async fn restore(&self, key: &Key) -> Result<bool, StorageError> {
        self.restore_from(key, Area::Trash).await
    }

    /// Restores an object from the directory `damaged` if its bytes there have its digest: the reads that showed damage
    /// were wrong, or an administrator has replaced it. Returns false if it is damaged or not there, or if the live area
    /// already has it.
    pub async fn restore_undamaged(&self, key: &Key) -> Result<bool, StorageError> {
        let object = *key;
        let content = match self.backend(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.content_in(Area::Damaged, &object)).await,
            Backend::S3(s3) => s3.content_in(Area::Damaged, &object).await,
        };
        let digest = match content {
            Ok(content) => content.digest(|_| Ok(())).await,
            Err(error) => Err(error),
        };
        match digest {
            Ok(digest) if digest.sha256 == *key.digest() => self.restore_from(key, Area::Damaged).await,
            // The disk cannot read it, which may be why it was moved there.
            Ok(_) | Err(StorageError::NotFound(_) | StorageError::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn restore_from(&self, key: &Key, area: Area) -> Result<bool, StorageError> {
        let key = *key;
        let is_restored = match self.backend(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.restore(&key, area)).await?,
            Backend::S3(s3) if s3.size(&key).await?.is_some() => false,
            Backend::S3(s3) => s3.transfer(&key, area, Area::Live).await?,
        };
        if is_restored {
            self.invalidate(&key);
        }
        Ok(is_restored)
    }

    /// Deletes an object from an area; a missing one is not an error.
    pub async fn delete_from(&self, area: Area, key: &Key) -> Result<(), StorageError> {
        let key = *key;
        match self.backend(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.delete(area, &key)).await?,
            Backend::S3(s3) => s3.delete(area, &key).await?,
        }
        if area == Area::Live {
            self.0.cache.remove(&key);
        }
        Ok(())
    }

    /// Returns the location of a class for messages: its directory, or `s3://bucket/prefix`.
    pub fn location_name(&self, class: StorageClass) -> String {
        match self.backend(class) {
            Backend::Disk(disk) => disk.location_name(),
            Backend::S3(s3) => s3.location_name(),
        }
    }

    pub async fn marker(&self, class: StorageClass) -> Result<Marker, StorageError> {
        let key = MarkerKey(class);
        let bytes = match self.backend(class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.read_marker(key)).await?,
            Backend::S3(s3) => s3.read_marker(key).await?.map(|bytes| bytes.to_vec()),
        };
        Ok(bytes.map_or(Marker::None, |bytes| Marker::parse(&bytes)))
    }

    /// Writes the marker of a class, and reads it again: of two servers that write concurrently, one succeeds. Unless
    /// `replaces` is set, an existing marker is not replaced.
    pub async fn write_marker(
        &self,
        class: StorageClass,
        content: &MarkerContent,
        replaces: bool,
    ) -> Result<Marker, StorageError> {
        let (key, bytes) = (MarkerKey(class), content.to_string().into_bytes());
        match self.backend(class) {
            Backend::Disk(disk) => {
                blocking(disk, move |disk| disk.write_marker(key, &bytes, replaces)).await?
            }
            Backend::S3(s3) => s3.write_marker(key, bytes.into(), replaces).await?,
        }
        self.marker(class).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_ends_by_the_clock_and_by_days_with_sweeps() {
        let now = SystemTime::now();
        let (today, days_ago) = (day_of(now), |days: u64| now - Duration::from_secs(days * DAY + 1));
        let daily_sweeps = GracePeriod::new(GRACE, (today - 20..=today).collect());
        assert!(
            daily_sweeps.is_over(days_ago(7))
                && !daily_sweeps.is_over(days_ago(6))
                && !daily_sweeps.is_over(now)
        );
        // The clock jumped by ten days: a sweep before it, and one after it.
        let sweeps_around_a_jump = GracePeriod::new(GRACE, vec![today - 10, today]);
        assert!(!sweeps_around_a_jump.is_over(days_ago(10)));
        assert!(GracePeriod::new(Duration::ZERO, Vec::new()).is_over(days_ago(0)));
    }
}
