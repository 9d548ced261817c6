//! The rows of the log: entries are appended with the tiles that they change; roots and paths are computed from tiles.

use std::cell::RefCell;

use super::entries::Entries;
use content::serve::proofs;
use formats::tlog::TlogError;
use formats::tlog::edge::Edge;
use formats::tlog::tile::{Tile, TileNodes};
use formats::tlog::tree::{self, Hash, Root, consistency_path};
use store::db::tlog::{self, Addition, Head, NewTile};
use store::db::{Conn, DbError};

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
