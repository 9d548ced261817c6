//! The files of a log that clients read: its checkpoint, tiles of hashes, bundles of entries.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::History;
use super::export::tile_bytes;
use content::serve::{RepoError, proofs};
use formats::tlog::tile::{Content, Tile, WIDTH};
use store::db::tlog::{self, Head};
use store::db::{Conn, DbError};
use store::storage::memory_cache::MemoryCache;

/// How long a checkpoint is in memory: another server of the cluster may have signed a newer one.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Bytes of tiles in memory.
const MAX_TILES: u64 = 2 << 20;

/// The files in memory.
pub(super) struct LogFiles {
    checkpoints: Mutex<Checkpoints>,
    /// Full tiles of hashes of signed trees, which never change.
    tiles: MemoryCache<(i64, Tile), Bytes>,
}

#[derive(Default)]
struct Checkpoints {
    /// The number of changes by this process.
    changes: u64,
    by_log: HashMap<i64, (Instant, Bytes)>,
}

impl LogFiles {
    pub(super) fn new() -> LogFiles {
        LogFiles { checkpoints: Mutex::default(), tiles: MemoryCache::with_capacity(MAX_TILES) }
    }

    /// Must be called after each change of a checkpoint in the database.
    pub(super) fn forget_checkpoints(&self) {
        let mut checkpoints = self.checkpoints.lock();
        checkpoints.changes += 1;
        checkpoints.by_log.clear();
    }
}

/// Returns the newest signed checkpoint of a log.
///
/// # Errors
/// [`RepoError::NotFound`] without a log of this number, and before its first checkpoint.
pub async fn checkpoint(history: &History, log: i64) -> Result<Bytes, RepoError> {
    let changes = {
        let checkpoints = history.files.checkpoints.lock();
        if let Some((read_at, bytes)) = checkpoints.by_log.get(&log)
            && read_at.elapsed() < MAX_AGE
        {
            return Ok(bytes.clone());
        }
        checkpoints.changes
    };
    let read_at = Instant::now();
    let (head, _) = history.state.db.read(move |c| signed(c, log)).await?.ok_or_else(no_log)?;
    let bytes = Bytes::from(head.checkpoint);
    let mut checkpoints = history.files.checkpoints.lock();
    // Otherwise what was read may be older than the change.
    if checkpoints.changes == changes {
        checkpoints.by_log.insert(log, (read_at, bytes.clone()));
    }
    Ok(bytes)
}

/// Returns a tile of hashes, or a bundle of entries, of the tree that the newest checkpoint of a log signs.
///
/// # Errors
/// [`RepoError::NotFound`] if the tree does not have it.
pub async fn tile(history: &History, log: i64, tile: Tile) -> Result<Bytes, RepoError> {
    if let Some(bytes) = history.files.tiles.get(&(log, tile)) {
        return Ok(bytes);
    }
    let read = move |c: &mut dyn Conn| {
        let Some((_, size)) = signed(c, log)? else { return Ok(None) };
        let bytes = tile.is_in(size).then(|| tile_bytes(c, log, tile)).transpose()?;
        Ok::<_, DbError>(Some((size, bytes)))
    };
    let (size, bytes) = history.state.db.read(read).await?.ok_or_else(no_log)?;
    let no_tile = || RepoError::NotFound(format!("the log has {size} entries, and no {tile}"));
    let bytes = Bytes::from(bytes.ok_or_else(no_tile)?);
    if tile.width == WIDTH && matches!(tile.content, Content::Hashes(_)) {
        history.files.tiles.insert((log, tile), bytes.clone());
    }
    Ok(bytes)
}

/// Returns the head of a log that has a signed checkpoint, and the number of entries of this.
fn signed(c: &mut dyn Conn, log: i64) -> Result<Option<(Head, u64)>, DbError> {
    let Some(head) = tlog::by_id(c, log)? else { return Ok(None) };
    let size = proofs::signed(&head)?.map(|signed| signed.checkpoint.root.count);
    Ok(size.map(|size| (head, size)))
}

fn no_log() -> RepoError {
    RepoError::NotFound(
        "this server has no such log; an administrator begins it with rspm history init".to_owned(),
    )
}
