//! Objects out of service: moved aside within their class, brought back, deleted for good.

use super::{Area, Backend, Key, Mark, Marker, Owner, Storage, StorageError, blocking};
use crate::config::StorageClass;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a removed object can be brought back.
pub const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which removed objects have been aside for the grace period: by the clock, and by the days on which clean-ups ran, so that
/// a clock that jumps ends no grace period.
#[derive(Clone, Debug)]
pub struct Grace {
    /// What was removed before this has been aside for long enough by the clock.
    before: Option<SystemTime>,
    /// As many days with a clean-up must have begun since.
    least: usize,
    /// Days, counted from the epoch, on which clean-ups ran.
    days: Vec<i64>,
}

impl Grace {
    /// A period that ends now; `days`: on which clean-ups ran.
    #[must_use]
    pub fn new(period: Duration, days: Vec<i64>) -> Grace {
        let least = usize::try_from(period.as_secs() / DAY).unwrap_or(usize::MAX);
        Grace { before: SystemTime::now().checked_sub(period), least, days }
    }

    /// Whether it is over for what was removed at `at`.
    #[must_use]
    pub fn is_over(&self, at: SystemTime) -> bool {
        let since = self.days.iter().filter(|day| **day > day_of(at)).count();
        self.before.is_some_and(|before| at < before) && since >= self.least
    }
}

const DAY: u64 = 86_400;

/// The day of a time, counted from the epoch; times before it are of its first day.
#[must_use]
pub fn day_of(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / DAY).unwrap_or(i64::MAX)
}

impl Storage {
    /// Moves an object to the trash; false when it is not there.
    pub async fn discard(&self, key: &Key) -> Result<bool, StorageError> {
        self.withdraw(key, Area::Trash).await
    }

    /// Moves an object whose bytes are not those of its digest to where it is never served from; false when it is not
    /// there.
    pub async fn set_aside(&self, key: &Key) -> Result<bool, StorageError> {
        let moved = self.withdraw(key, Area::Damaged).await?;
        if moved {
            self.0.condition.lock().damaged.insert(*key);
        }
        Ok(moved)
    }

    async fn withdraw(&self, key: &Key, to: Area) -> Result<bool, StorageError> {
        let key = *key;
        let moved = match self.place(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.withdraw(&key, to)).await?,
            Backend::S3(s3) => s3.transfer(&key, Area::Live, to).await?,
        };
        self.0.hot.forget(&key);
        Ok(moved)
    }

    /// Brings an object back from the trash; false when it is not there, or one is in service.
    pub async fn restore(&self, key: &Key) -> Result<bool, StorageError> {
        let key = *key;
        let restored = match self.place(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.restore(&key, Area::Trash)).await?,
            Backend::S3(s3) if s3.size(&key).await?.is_some() => false,
            Backend::S3(s3) => s3.transfer(&key, Area::Trash, Area::Live).await?,
        };
        if restored {
            self.changed(&key);
        }
        Ok(restored)
    }

    /// Removes an object from an area for good; one that is not there is no error.
    pub async fn delete_from(&self, area: Area, key: &Key) -> Result<(), StorageError> {
        let key = *key;
        match self.place(key.class()) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.delete(area, &key)).await?,
            Backend::S3(s3) => s3.delete(area, &key).await?,
        }
        if area == Area::Live {
            self.0.hot.forget(&key);
        }
        Ok(())
    }

    /// The place of a class as messages name it: its directory, or `s3://bucket/prefix`.
    #[must_use]
    pub fn place_name(&self, class: StorageClass) -> String {
        match self.place(class) {
            Backend::Disk(disk) => disk.place_name(),
            Backend::S3(s3) => s3.place_name(),
        }
    }

    /// The marker of a class, as it is now.
    pub async fn marker(&self, class: StorageClass) -> Result<Marker, StorageError> {
        let owner = Owner(class);
        let bytes = match self.place(class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.owner(owner)).await?,
            Backend::S3(s3) => s3.owner(owner).await?.map(|bytes| bytes.to_vec()),
        };
        Ok(bytes.map_or(Marker::None, |bytes| Marker::read(&bytes)))
    }

    /// Writes the marker of a class, and reads it again: of two servers that write at once, one is named. Unless it
    /// `replaces`, a marker that is there stays.
    pub async fn mark(
        &self,
        class: StorageClass,
        mark: &Mark,
        replaces: bool,
    ) -> Result<Marker, StorageError> {
        let (owner, bytes) = (Owner(class), mark.to_string().into_bytes());
        match self.place(class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.mark(owner, &bytes, replaces)).await?,
            Backend::S3(s3) => s3.mark(owner, bytes.into(), replaces).await?,
        }
        self.marker(class).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_ends_by_the_clock_and_by_the_days_of_clean_ups() {
        let now = SystemTime::now();
        let (today, ago) = (day_of(now), |days: u64| now - Duration::from_secs(days * DAY + 1));
        let nightly = Grace::new(GRACE, (today - 20..=today).collect());
        assert!(nightly.is_over(ago(7)) && !nightly.is_over(ago(6)) && !nightly.is_over(now));
        // The clock jumped by ten days: a clean-up before it, and one after it.
        let jumped = Grace::new(GRACE, vec![today - 10, today]);
        assert!(!jumped.is_over(ago(10)));
        assert!(Grace::new(Duration::ZERO, Vec::new()).is_over(ago(0)));
    }
}
