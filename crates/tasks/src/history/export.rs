//! Copies of the log in a directory or a bucket, with the paths of C2SP tlog-tiles: first tiles and entries, and once the
//! database has the signature of that size, the checkpoint.

use std::path::PathBuf;
use std::sync::Arc;

use super::{History, key, rows};
use base::config::BackupPlace;
use content::serve::{RepoError, proofs};
use formats::tlog::tile::{Content, Tile, WIDTH, encode_entries, tiles};
use store::db::tlog::{self, Head};
use store::db::{Conn, DbError};

use crate::backup::destination;
use crate::backup::error::BackupError;
use crate::backup::folder::Folder;

/// Maximum number of tiles that are in memory at once.
const GROUP: usize = 256;
/// Maximum size of a file of a copy in bytes: a bundle of the longest entries.
pub(super) const MAX_FILE: u64 = WIDTH as u64 * (2 + u16::MAX as u64);
const CHECKPOINT: &str = "checkpoint";

/// Returns the bytes of a tile of hashes, or of a bundle of entries.
pub(super) fn tile_bytes(c: &mut dyn Conn, log: i64, tile: Tile) -> Result<Vec<u8>, DbError> {
    match tile.content {
        Content::Hashes(_) => proofs::tile_bytes(c, log, tile),
        Content::Entries => {
            let first = tile.index.saturating_mul(WIDTH.into());
            let entries = tlog::entries(c, log, first, u64::from(tile.width))?;
            encode_entries(&entries).map_err(DbError::refuse)
        }
    }
}

/// The copy of a log. The first log is in the folder itself, each later one in a directory with its number.
pub(super) struct LogCopy {
    folder: Arc<Folder>,
    prefix: String,
}

impl LogCopy {
    /// Opens a copy to read it, or to write it; then a missing directory is created.
    pub(super) async fn open(
        history: &History,
        place: BackupPlace,
        log: i64,
        writes: bool,
    ) -> Result<LogCopy, RepoError> {
        let (config, runtime) = (history.state.config.load_full(), tokio::runtime::Handle::current());
        let open = if writes { Folder::create_plain } else { Folder::open };
        let folder = blocking(move || open(&place, &config, &runtime)).await?;
        let prefix = if log == 1 { String::new() } else { format!("{log}/") };
        Ok(LogCopy { folder: Arc::new(folder), prefix })
    }

    pub(super) fn location(&self, path: &str) -> PathBuf {
        self.folder.location(&format!("{}{path}", self.prefix))
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RepoError> {
        let (folder, path) = (Arc::clone(&self.folder), format!("{}{path}", self.prefix));
        blocking(move || folder.read(&path, MAX_FILE)).await
    }

    async fn write(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), RepoError> {
        let (folder, prefix) = (Arc::clone(&self.folder), self.prefix.clone());
        let files = files.into_iter().map(move |(path, bytes)| Ok((format!("{prefix}{path}"), bytes)));
        blocking(move || folder.write_all(files)).await
    }

    /// Returns the number of entries that the copy has, or why it contradicts the log.
    async fn compare(&self, history: &History, head: &Head) -> Result<Result<u64, String>, RepoError> {
        let Some(bytes) = self.read(CHECKPOINT).await? else { return Ok(Ok(0)) };
        let place = self.location(CHECKPOINT).display().to_string();
        let in_place = |error| match error {
            RepoError::Conflict(reason) => RepoError::Conflict(format!("{place}: {reason}")),
            error => error,
        };
        let copied = key::verify(&history.state, head, &bytes).map_err(in_place)?.root;
        let log = head.id;
        if copied.count > head.size {
            // Another server may have written it since the head was read.
            let newest = history.state.db.read(move |c| tlog::by_id(c, log)).await?;
            let size = newest.map_or(0, |newest| newest.size);
            if copied.count > size {
                let count = copied.count;
                return Ok(Err(format!("{place} has {count} entries, and the database {size}")));
            }
        }
        let own = history.state.db.read(move |c| rows::root(c, log, copied.count)).await?;
        Ok(if own == copied {
            Ok(copied.count)
        } else {
            Err(format!("{place} has the root {copied}, and the database {own}"))
        })
    }

    /// Writes what a copy of `old` entries lacks, except the checkpoint.
    async fn add(&self, history: &History, head: &Head, old: u64) -> Result<(), RepoError> {
        let log = head.id;
        let new: Vec<Tile> = tiles(old, head.size).collect();
        for group in new.chunks(GROUP) {
            let group = group.to_vec();
            let read = move |c: &mut dyn Conn| {
                let file = |tile: &Tile| Ok((tile.to_string(), tile_bytes(c, log, *tile)?));
                group.iter().map(file).collect::<Result<Vec<_>, DbError>>()
            };
            self.write(history.state.db.read(read).await?).await?;
        }
        let stamps = history.state.db.read(move |c| tlog::timestamps(c, log)).await?.into_iter();
        let stamps = stamps.filter(|(size, _)| *size >= old);
        self.write(stamps.map(|(size, answer)| (format!("timestamps/{size}.tsr"), answer)).collect()).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, RepoError> {
    let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(BackupError::of_task);
    result.map_err(|error| RepoError::Conflict(error.to_string()))
}

/// Writes to the copy of `History.ExportPath` what it lacks of the log, except the checkpoint. Returns false, and pauses the
/// log, if they contradict each other.
pub(super) async fn add_tiles(history: &History, head: &Head) -> Result<bool, RepoError> {
    let Some(place) = history.state.config.load().history.export.clone() else { return Ok(true) };
    let copy = LogCopy::open(history, place, head.id, true).await?;
    match copy.compare(history, head).await? {
        Ok(old) => copy.add(history, head, old).await.map(|()| true),
        Err(reason) => history.pause(head, &reason).await.map(|()| false),
    }
}

/// Writes the newest checkpoint to the copy of `History.ExportPath`. Returns false as [`add_tiles`].
pub(super) async fn add_checkpoint(history: &History, log: i64) -> Result<bool, RepoError> {
    let Some(place) = history.state.config.load().history.export.clone() else { return Ok(true) };
    loop {
        let Some(head) = history.state.db.read(move |c| tlog::by_id(c, log)).await? else { return Ok(true) };
        // After the write it is read again: this process may have been suspended, and another have written a newer one.
        if head.checkpoint.is_empty() || *history.exported.lock() == head.checkpoint {
            return Ok(true);
        }
        let copy = LogCopy::open(history, place.clone(), log, true).await?;
        if let Err(reason) = copy.compare(history, &head).await? {
            return history.pause(&head, &reason).await.map(|()| false);
        }
        copy.write(vec![(CHECKPOINT.to_owned(), head.checkpoint.clone().into_bytes())]).await?;
        *history.exported.lock() = head.checkpoint;
    }
}

/// Copies all logs to a folder, which may have a part of them. Returns the number of entries of the newest one.
///
/// # Errors
/// [`RepoError::Conflict`] for a folder that `Server.BackupPaths` does not allow, or that contradicts the log.
pub async fn export_to(history: &History, place: &BackupPlace) -> Result<u64, RepoError> {
    let config = history.state.config.load_full();
    let refused = |error: BackupError| RepoError::Conflict(error.to_string());
    let place = match config.history.export.as_ref() == Some(place) {
        true => place.clone(),
        false => destination::choose(&config, Some(place)).map_err(refused)?,
    };
    let newest = history.head().await?.id;
    let mut size = 0;
    for log in 1..=newest {
        let Some(mut head) = history.state.db.read(move |c| tlog::by_id(c, log)).await? else { continue };
        let Some(signed) = proofs::signed(&head)? else { continue };
        // Later entries are not signed yet.
        (head.size, size) = (signed.checkpoint.root.count, signed.checkpoint.root.count);
        let copy = LogCopy::open(history, place.clone(), log, true).await?;
        let old = copy.compare(history, &head).await?.map_err(RepoError::Conflict)?;
        if old <= head.size {
            copy.add(history, &head, old).await?;
            copy.write(vec![(CHECKPOINT.to_owned(), head.checkpoint.into_bytes())]).await?;
        }
    }
    Ok(size)
}
