//! The log of what was published and served (RFC 6962): its head, its entries, and its tiles of 256 hashes. Only the leader
//! appends to it.

use super::{Conn, DbError};
use crate::db::engine::columns::{insert, row, select};
use base::model::ids::{Seq, TreeId, TxId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Head from "tlog" {
        /// The name of the log and of its key: `packages.example.org/__log__`.
        pub origin: String,
        /// The encrypted seed of the key.
        pub seed: String,
        /// The number of entries.
        pub size: u64,
        /// The newest signed checkpoint; empty before the first one. It may be that of a smaller size.
        pub checkpoint: String,
        /// The newest transaction that has an entry.
        pub tx: TxId = "tx_id",
        /// The end of the last day whose states have entries.
        pub closed_until: Timestamp,
    }
}

row! {
    /// A step of a tree that a transaction published.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PublishedStep from "step" {
        pub tx: TxId = "tx_id",
        pub tree: TreeId = "tree_id",
        pub seq: Seq,
    }
}

#[derive(Clone, Debug)]
pub struct NewEntry {
    /// What is found by [`find`]; empty for entries that are not.
    pub subject: String,
    pub text: String,
}

/// A tile with the hashes that it has from now on.
#[derive(Clone, Debug)]
pub struct NewTile {
    pub level: u8,
    pub number: u64,
    pub hashes: Vec<u8>,
}

/// Entries that follow each other, and the state of the log after them.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The number of entries before them.
    pub old_size: u64,
    pub entries: Vec<NewEntry>,
    pub tiles: Vec<NewTile>,
    pub tx: TxId,
    pub closed_until: Timestamp,
}

/// Returns the head of the log; `None` if there is no log.
pub fn head(c: &mut dyn Conn) -> Result<Option<Head>, DbError> {
    c.first(select!(Head, "WHERE id = 1"), &[])
}

/// Creates the empty log. Returns false if there is one.
pub fn create(c: &mut dyn Conn, origin: &str, seed: &str, closed_until: Timestamp) -> Result<bool, DbError> {
    const CREATE: &str = "INSERT INTO tlog (id, origin, seed, size, checkpoint, tx_id, closed_until) \
        VALUES (1, $1, $2, 0, '', 0, $3) ON CONFLICT (id) DO NOTHING";
    Ok(c.execute(CREATE, &[origin.into(), seed.into(), closed_until.0.into()])? == 1)
}

/// Appends entries. Returns false, and changes nothing, if the log has another size: another server appended to it.
pub fn append(c: &mut dyn Conn, addition: &Addition) -> Result<bool, DbError> {
    const ADVANCE: &str =
        "UPDATE tlog SET size = $1, tx_id = $2, closed_until = $3 WHERE id = 1 AND size = $4";
    const TILE: &str = "INSERT INTO tlog_tile (level, number, hashes) VALUES ($1, $2, $3) \
        ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes";
    let old_size = integer(addition.old_size);
    let size = old_size.saturating_add(integer(addition.entries.len() as u64));
    let params = [size.into(), addition.tx.into(), addition.closed_until.0.into(), old_size.into()];
    if c.execute(ADVANCE, &params)? == 0 {
        return Ok(false);
    }
    insert!(c, "tlog_entry", (old_size..).zip(&addition.entries), |(id, entry)| {
        id: id,
        subject: entry.subject.as_str(),
        entry: entry.text.as_str(),
    })?;
    let tiles = addition.tiles.iter().map(|tile| {
        vec![i64::from(tile.level).into(), integer(tile.number).into(), tile.hashes.as_slice().into()]
    });
    c.execute_many(TILE, &tiles.collect::<Vec<_>>())?;
    Ok(true)
}

/// Stores a signed checkpoint, unless the log has a newer one, of more entries.
pub fn set_checkpoint(c: &mut dyn Conn, size: u64, checkpoint: &str) -> Result<(), DbError> {
    const SET: &str = "UPDATE tlog SET checkpoint = $1 WHERE id = 1 AND size = $2";
    c.execute(SET, &[checkpoint.into(), integer(size).into()]).map(drop)
}

/// Returns the texts of `count` entries from the number `first` on; fewer at the end of the log.
pub fn entries(c: &mut dyn Conn, first: u64, count: u64) -> Result<Vec<String>, DbError> {
    const ENTRIES: &str = "SELECT entry FROM tlog_entry WHERE id >= $1 AND id < $2 ORDER BY id";
    c.all(ENTRIES, &[integer(first).into(), integer(first.saturating_add(count)).into()])
}

/// Returns the newest entry of a subject before the number `end`, with its number.
pub fn find(c: &mut dyn Conn, subject: &str, end: u64) -> Result<Option<(u64, String)>, DbError> {
    const FIND: &str =
        "SELECT id, entry FROM tlog_entry WHERE subject = $1 AND id < $2 ORDER BY id DESC LIMIT 1";
    c.first(FIND, &[subject.into(), integer(end).into()])
}

/// Returns the hashes of a tile, up to 256 of 32 bytes each.
pub fn tile(c: &mut dyn Conn, level: u8, number: u64) -> Result<Option<Vec<u8>>, DbError> {
    const TILE: &str = "SELECT hashes FROM tlog_tile WHERE level = $1 AND number = $2";
    c.first(TILE, &[i64::from(level).into(), integer(number).into()])
}

/// Returns the steps that transactions after `tx` published, up to the transaction `last`, in order.
pub fn steps(c: &mut dyn Conn, tx: TxId, last: TxId) -> Result<Vec<PublishedStep>, DbError> {
    const STEPS: &str =
        select!(PublishedStep, "WHERE tx_id > $1 AND tx_id <= $2 ORDER BY tx_id, tree_id, seq");
    c.all(STEPS, &[tx.into(), last.into()])
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
