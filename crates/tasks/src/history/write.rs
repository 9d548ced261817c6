//! The one writer of the log: entries and tiles in one write, then the copy, then the signed checkpoint.

use std::cell::RefCell;

use super::entries::Entries;
use super::{History, entries, export, key};
use content::serve::{RepoError, proofs};
use formats::tlog::TlogError;
use formats::tlog::edge::Edge;
use formats::tlog::note::{Checkpoint, Statement};
use formats::tlog::tile::{Tile, TileNodes};
use formats::tlog::tree::{self, Hash, Root, consistency_path};
use store::db::tlog::{self, Addition, Head, NewTile};
use store::db::{Conn, DbError};

/// Writes all entries that are missing, and signs a checkpoint after each addition. Does nothing without a log, and while it
/// is paused.
pub async fn write_all(history: &History) -> Result<(), RepoError> {
    while let Some(head) = history.state.db.read(tlog::head).await? {
        let catalog = history.state.catalog.get();
        if head.history != catalog.history_id {
            history
                .pause(&head, "the database was restored from a backup, or copied from another one")
                .await?;
        }
        // A process that ended between the two may have left a size without a checkpoint.
        if !head.pause.is_empty() || head.history != catalog.history_id || !sign(history, &head).await? {
            return Ok(());
        }
        if key::end_old(history, &head).await? {
            continue;
        }
        let next = entries::next(history, &head).await?;
        if (next.tx, next.closed_until) == (head.tx, head.closed_until)
            && next.entries.is_empty()
            && next.events.is_empty()
        {
            return Ok(());
        }
        // Without effect if another server appended meanwhile, whose entries are read then.
        history.state.db.write(move |c| append(c, &head, &next)).await?;
    }
    Ok(())
}

/// Appends entries. Returns false, and changes nothing, if the log is paused or has another size than `head`.
pub(super) fn append(c: &mut dyn Conn, head: &Head, next: &Entries) -> Result<bool, DbError> {
    let tiles = edge(c, head.id, head.size)?.append(next.entries.iter().map(|entry| &entry.text)).into_iter();
    let tiles = tiles.map(|(place, hashes)| NewTile { level: place.level, number: place.index, hashes });
    let addition = Addition {
        log: head.id,
        old_size: head.size,
        entries: next.entries.clone(),
        tiles: tiles.collect(),
        events: next.events.clone(),
        tx: next.tx,
        closed_until: next.closed_until,
    };
    tlog::append(c, &addition)
}

pub(super) fn edge(c: &mut dyn Conn, log: i64, size: u64) -> Result<Edge, DbError> {
    Edge::read(size, |tile| proofs::tile_bytes(c, log, tile).map_err(EdgeError::Db)).map_err(|error| {
        match error {
            EdgeError::Db(error) => error,
            EdgeError::Bytes(error) => DbError::refuse(error),
        }
    })
}

enum EdgeError {
    Db(DbError),
    Bytes(TlogError),
}

impl From<TlogError> for EdgeError {
    fn from(error: TlogError) -> EdgeError {
        EdgeError::Bytes(error)
    }
}

/// Returns the root of the first `size` entries.
pub(super) fn root(c: &mut dyn Conn, log: i64, size: u64) -> Result<Root, DbError> {
    let c = RefCell::new(c);
    let nodes = TileNodes::new(size, |tile: Tile| proofs::tile_bytes(&mut **c.borrow_mut(), log, tile));
    tree::root(size, &nodes).map_err(DbError::refuse)
}

/// Returns the path that proves that the first `size` entries begin with the first `old`; `None` if `old` is greater.
pub(super) fn path(c: &mut dyn Conn, log: i64, old: u64, size: u64) -> Result<Option<Vec<Hash>>, DbError> {
    let c = RefCell::new(c);
    let nodes = TileNodes::new(size, |tile: Tile| proofs::tile_bytes(&mut **c.borrow_mut(), log, tile));
    consistency_path(old, size, &nodes).map_err(DbError::refuse)
}

/// Signs the checkpoint of the size that is committed, if the newest one is of another size, once the copy of the log has
/// its entries. Returns false if it contradicts the copy.
async fn sign(history: &History, head: &Head) -> Result<bool, RepoError> {
    let (log, size) = (head.id, head.size);
    if size != proofs::signed(head)?.map_or(0, |signed| signed.checkpoint.root.count) {
        if !export::add_tiles(history, head).await? {
            return Ok(false);
        }
        let root = history.state.db.read(move |c| root(c, log, size)).await?;
        let text = Checkpoint { origin: head.origin.clone(), root }.to_string();
        let signers = key::signers(&history.state, head)?;
        let signatures = signers.iter().map(|signer| signer.sign(&text, Statement::Signed));
        let note = format!("{text}\n{}", signatures.collect::<String>());
        history.state.db.write(move |c| tlog::set_checkpoint(c, log, size, &note)).await?;
        history.signed.send_replace(size);
    }
    export::add_checkpoint(history, log).await
}
