//! The last day on which each stored package file was requested, and the transfers in progress, for evictions.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use base::model::digest::Sha256;
use base::model::time::Timestamp;
use store::db::{Db, DbError, blob_access};
use store::storage::Key;

const SHARDS: usize = 16;
/// Maximum number of files per shard whose access is recorded on one day, 40 bytes each; further ones are not recorded.
const MAX_FILES: usize = 20_000;
/// Interval of the writes; a killed process loses the accesses of this interval.
const INTERVAL: Duration = Duration::from_secs(60);
const CHUNK: usize = 1000;

pub struct Accesses {
    shards: [Mutex<Shard>; SHARDS],
    /// Number of transfers in progress of each object.
    transfers: Mutex<HashMap<Key, usize>>,
}

#[derive(Default)]
struct Shard {
    /// Days since the epoch.
    day: i64,
    /// The files that were accessed on this day.
    files: HashSet<Sha256>,
    unwritten: Vec<(Sha256, i64)>,
}

impl Accesses {
    pub(super) fn new() -> Accesses {
        Accesses { shards: Default::default(), transfers: Mutex::default() }
    }

    /// Records that a client requested an object: an allocation at the first access of a day, else a hash lookup.
    pub fn record(&self, key: &Key, now: Timestamp) {
        let (digest, day) = (*key.digest(), now.day_number());
        let shard = usize::from(digest.0[0]) % SHARDS;
        let mut shard = self.shards[shard].lock();
        if shard.day != day {
            shard.day = day;
            shard.files.clear();
        }
        if shard.files.contains(&digest) || shard.unwritten.len().max(shard.files.len()) >= MAX_FILES {
            return;
        }
        shard.files.insert(digest);
        shard.unwritten.push((digest, day));
    }

    /// Marks an object as being transferred until the returned value is dropped.
    pub fn begin_transfer(self: &Arc<Self>, key: Key) -> Transfer {
        *self.transfers.lock().entry(key).or_default() += 1;
        Transfer { accesses: Arc::clone(self), key }
    }

    pub fn is_transferred(&self, key: &Key) -> bool {
        self.transfers.lock().contains_key(key)
    }

    /// Writes the accesses since the last write; after an error, the next call writes them.
    pub async fn write(&self, db: &Db) -> Result<(), DbError> {
        let mut rows: Vec<(Sha256, i64)> = Vec::new();
        for shard in &self.shards {
            rows.append(&mut shard.lock().unwritten);
        }
        // All servers write in this order, so that two transactions cannot deadlock.
        rows.sort_unstable();
        let mut written = 0;
        for chunk in rows.chunks(CHUNK) {
            let chunk: Arc<[(Sha256, i64)]> = chunk.into();
            let count = chunk.len();
            if let Err(error) = db.bulk(move |c| blob_access::record(c, &chunk)).await {
                self.put_back(&rows[written..]);
                return Err(error);
            }
            written += count;
        }
        Ok(())
    }

    /// Adds accesses that could not be written again, as far as there is space.
    fn put_back(&self, rows: &[(Sha256, i64)]) {
        for (digest, day) in rows {
            let mut shard = self.shards[usize::from(digest.0[0]) % SHARDS].lock();
            if shard.unwritten.len() < MAX_FILES {
                shard.unwritten.push((*digest, *day));
            }
        }
    }
}

/// Writes the accesses periodically until the registry is dropped or the database is closed.
pub(super) async fn write_periodically(accesses: Weak<Accesses>, db: Db) {
    let mut is_failing = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(accesses) = accesses.upgrade() else { return };
        match accesses.write(&db).await {
            Ok(()) => is_failing = false,
            Err(DbError::Closed) => return,
            // Logged once: a retry follows every minute.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "could not record the days on which package files were requested; trying again");
            }
            Err(_) => {}
        }
    }
}

pub struct Transfer {
    accesses: Arc<Accesses>,
    key: Key,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut transfers = self.accesses.transfers.lock();
        if let Some(count) = transfers.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                transfers.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::kind::StorageClass;
    use base::model::time::DAY;

    fn key(number: u8) -> Key {
        Key::Package(StorageClass::Cran, Sha256([number; 32]))
    }

    fn unwritten(accesses: &Accesses) -> Vec<(Sha256, i64)> {
        let mut rows: Vec<_> =
            accesses.shards.iter().flat_map(|shard| shard.lock().unwritten.clone()).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn an_object_is_recorded_once_a_day() {
        let accesses = Accesses::new();
        for at in [3 * DAY, 3 * DAY + 1, 4 * DAY - 1] {
            accesses.record(&key(1), Timestamp(at));
        }
        accesses.record(&key(2), Timestamp(3 * DAY));
        accesses.record(&key(1), Timestamp(4 * DAY));
        let digest = |number| Sha256([number; 32]);
        assert_eq!(unwritten(&accesses), [(digest(1), 3), (digest(1), 4), (digest(2), 3)]);
    }

    #[test]
    fn the_number_of_recorded_objects_is_bounded() {
        let accesses = Accesses::new();
        for number in 0..2 * u64::try_from(MAX_FILES).expect("fits") {
            let mut digest = [0; 32];
            digest[1..9].copy_from_slice(&number.to_be_bytes());
            accesses.record(&Key::Package(StorageClass::Cran, Sha256(digest)), Timestamp(0));
        }
        assert_eq!(unwritten(&accesses).len(), MAX_FILES);
        accesses.put_back(&[(Sha256([0; 32]), 0)]);
        assert_eq!(unwritten(&accesses).len(), MAX_FILES);
    }

    #[test]
    fn an_object_is_transferred_until_the_last_transfer_ends() {
        let accesses = Arc::new(Accesses::new());
        let transfers = [accesses.begin_transfer(key(1)), accesses.begin_transfer(key(1))];
        let [first, second] = transfers;
        drop(first);
        assert!(accesses.is_transferred(&key(1)) && !accesses.is_transferred(&key(2)));
        drop(second);
        assert!(!accesses.is_transferred(&key(1)) && accesses.transfers.lock().is_empty());
    }
}
