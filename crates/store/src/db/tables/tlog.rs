//! The log of what was published and served (RFC 6962): its head, its entries, and its tiles of 256 hashes. Only the leader
//! appends to it.

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{insert, row, select};
use base::model::ids::{Seq, TreeId, TxId};
use base::model::time::Timestamp;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Head from "tlog" {
        /// The number of the log, from 1.
        pub id: i64,
        /// The name of the log and of its key: `packages.example.org/__log__`.
        pub origin: String,
        /// The encrypted seed of the key.
        pub seed: String,
        /// The encrypted seed of the key before it, which signs too until `old_until`.
        pub old_seed: Option<String>,
        pub old_until: Timestamp,
        /// The number of entries.
        pub size: u64,
        /// The newest signed checkpoint; empty before the first one. It may be that of a smaller size.
        pub checkpoint: String,
        /// The newest transaction that has an entry.
        pub tx: TxId = "tx_id",
        /// The end of the last day whose states have entries.
        pub closed_until: Timestamp,
        /// `clock.history` at the newest entry.
        pub history: String,
        /// Why nothing is appended or signed; empty if the log is not paused.
        pub pause: String,
    }
}

pub struct NewLog<'a> {
    pub id: i64,
    pub origin: &'a str,
    /// The encrypted seed of its key.
    pub seed: &'a str,
    pub closed_until: Timestamp,
    pub history: &'a str,
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
    /// What the entry's digest of a row of the audit trail is salted with.
    pub salt: Option<Vec<u8>>,
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
    pub log: i64,
    /// The number of entries before them.
    pub old_size: u64,
    pub entries: Vec<NewEntry>,
    pub tiles: Vec<NewTile>,
    /// The numbers of the events that the entries contain, which are deleted.
    pub events: Vec<i64>,
    pub tx: TxId,
    pub closed_until: Timestamp,
}

/// Returns the head of the newest log; `None` if there is no log.
pub fn head(c: &mut dyn Conn) -> Result<Option<Head>, DbError> {
    c.first(select!(Head, "ORDER BY id DESC LIMIT 1"), &[])
}

pub fn exists(c: &mut dyn Conn) -> Result<bool, DbError> {
    c.finds("SELECT 1 FROM tlog LIMIT 1", &[])
}

pub fn by_id(c: &mut dyn Conn, log: i64) -> Result<Option<Head>, DbError> {
    c.first(select!(Head, "WHERE id = $1"), &[log.into()])
}

/// Creates an empty log. Returns false if there is one of its number.
pub fn create(c: &mut dyn Conn, log: &NewLog) -> Result<bool, DbError> {
    const CREATE: &str = "INSERT INTO tlog (id, origin, seed, old_until, size, checkpoint, tx_id, closed_until, history, pause) \
        VALUES ($1, $2, $3, 0, 0, '', 0, $4, $5, '') ON CONFLICT (id) DO NOTHING";
    let params =
        [log.id.into(), log.origin.into(), log.seed.into(), log.closed_until.0.into(), log.history.into()];
    Ok(c.execute(CREATE, &params)? == 1)
}

/// Appends entries. Returns false, and changes nothing, if the log is paused or has another size: another server appended
/// to it.
pub fn append(c: &mut dyn Conn, addition: &Addition) -> Result<bool, DbError> {
    const ADVANCE: &str = "UPDATE tlog SET size = $1, tx_id = $2, closed_until = $3 \
        WHERE id = $4 AND size = $5 AND pause = ''";
    const TILE: &str = "INSERT INTO tlog_tile (log, level, number, hashes) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (log, level, number) DO UPDATE SET hashes = excluded.hashes";
    const EVENT: &str = "DELETE FROM tlog_event WHERE id = $1";
    let old_size = integer(addition.old_size);
    let size = old_size.saturating_add(integer(addition.entries.len() as u64));
    let log = addition.log;
    let (tx, closed_until) = (addition.tx.into(), addition.closed_until.0.into());
    let params = [size.into(), tx, closed_until, log.into(), old_size.into()];
    if c.execute(ADVANCE, &params)? == 0 {
        return Ok(false);
    }
    insert!(c, "tlog_entry", (old_size..).zip(&addition.entries), |(id, entry)| {
        log: log,
        id: id,
        subject: entry.subject.as_str(),
        entry: entry.text.as_str(),
        salt: entry.salt.as_deref().map_or(Value::Null, Value::from),
    })?;
    let tiles = addition.tiles.iter().map(|tile| {
        let (level, number) = (i64::from(tile.level), integer(tile.number));
        vec![log.into(), level.into(), number.into(), tile.hashes.as_slice().into()]
    });
    c.execute_many(TILE, &tiles.collect::<Vec<_>>())?;
    c.execute_many(EVENT, &addition.events.iter().map(|id| vec![(*id).into()]).collect::<Vec<_>>())?;
    Ok(true)
}

/// Stores a signed checkpoint, unless the log is paused or has more entries.
pub fn set_checkpoint(c: &mut dyn Conn, log: i64, size: u64, checkpoint: &str) -> Result<(), DbError> {
    const SET: &str = "UPDATE tlog SET checkpoint = $1 WHERE id = $2 AND size = $3 AND pause = ''";
    c.execute(SET, &[checkpoint.into(), log.into(), integer(size).into()]).map(drop)
}

/// Replaces a checkpoint, wherever it is stored, by the same one with another cosignature.
pub fn replace_checkpoint(c: &mut dyn Conn, log: i64, old: &str, new: &str) -> Result<(), DbError> {
    const NEWEST: &str = "UPDATE tlog SET checkpoint = $1 WHERE id = $2 AND checkpoint = $3";
    const COSIGNED: &str = "UPDATE tlog_cosigned SET checkpoint = $1 WHERE log = $2 AND checkpoint = $3";
    [NEWEST, COSIGNED].into_iter().try_for_each(|sql| {
        c.execute(sql, &[new.into(), log.into(), old.into()])?;
        Ok(())
    })
}

row! {
    /// The newest checkpoint that a witness cosigned.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Cosigned from "tlog_cosigned" {
        /// The key of the witness, `NAME+ID+KEY`.
        pub witness: String,
        pub size: u64,
        pub checkpoint: String,
    }
}

/// Returns the newest checkpoint that each witness of a log cosigned.
pub fn cosigned(c: &mut dyn Conn, log: i64) -> Result<Vec<Cosigned>, DbError> {
    c.all(select!(Cosigned, "WHERE log = $1 ORDER BY witness"), &[log.into()])
}

/// Stores a checkpoint that a witness cosigned, unless it cosigned one of more entries.
pub fn set_cosigned(c: &mut dyn Conn, log: i64, cosigned: &Cosigned) -> Result<(), DbError> {
    const SET: &str = "INSERT INTO tlog_cosigned (log, witness, size, checkpoint) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (log, witness) DO UPDATE SET size = excluded.size, checkpoint = excluded.checkpoint \
        WHERE tlog_cosigned.size <= excluded.size";
    let Cosigned { witness, size, checkpoint } = cosigned;
    let params = [log.into(), witness.as_str().into(), integer(*size).into(), checkpoint.as_str().into()];
    c.execute(SET, &params).map(drop)
}

/// Deletes the checkpoints that witnesses cosigned, which a key signed that has ended.
pub fn forget_cosigned(c: &mut dyn Conn, log: i64) -> Result<(), DbError> {
    c.execute("DELETE FROM tlog_cosigned WHERE log = $1", &[log.into()]).map(drop)
}

/// Pauses the log. Returns false if it is paused already: the first reason stays.
pub fn pause(c: &mut dyn Conn, log: i64, reason: &str) -> Result<bool, DbError> {
    const PAUSE: &str = "UPDATE tlog SET pause = $1 WHERE id = $2 AND pause = ''";
    Ok(c.execute(PAUSE, &[reason.into(), log.into()])? == 1)
}

/// Ends the pause of the log, whose next entry is of this history of transactions.
pub fn end_pause(c: &mut dyn Conn, log: i64, history: &str) -> Result<(), DbError> {
    const END: &str = "UPDATE tlog SET pause = '', history = $1 WHERE id = $2";
    c.execute(END, &[history.into(), log.into()]).map(drop)
}

/// Sets the encrypted seeds of the key, and of the key before it with the end of its validity.
pub fn set_seeds(
    c: &mut dyn Conn,
    log: i64,
    seed: &str,
    old_seed: Option<&str>,
    old_until: Timestamp,
) -> Result<(), DbError> {
    const SET: &str = "UPDATE tlog SET seed = $1, old_seed = $2, old_until = $3 WHERE id = $4";
    let old_seed = Value::opt_text(old_seed);
    c.execute(SET, &[seed.into(), old_seed, old_until.0.into(), log.into()]).map(drop)
}

/// Returns the newest checkpoint of another log that this server cosigned.
pub fn witnessed(c: &mut dyn Conn, origin: &str) -> Result<Option<String>, DbError> {
    c.first("SELECT note FROM tlog_witnessed WHERE origin = $1", &[origin.into()])
}

/// Stores the newest cosigned checkpoint of another log. Returns false if it is no longer `old` that is stored.
pub fn set_witnessed(
    c: &mut dyn Conn,
    origin: &str,
    old: Option<&str>,
    size: u64,
    note: &str,
) -> Result<bool, DbError> {
    const INSERT: &str = "INSERT INTO tlog_witnessed (origin, size, note) VALUES ($1, $2, $3) \
        ON CONFLICT (origin) DO NOTHING";
    const UPDATE: &str = "UPDATE tlog_witnessed SET size = $1, note = $2 WHERE origin = $3 AND note = $4";
    let size = integer(size).into();
    Ok(match old {
        None => c.execute(INSERT, &[origin.into(), size, note.into()])?,
        Some(old) => c.execute(UPDATE, &[size, note.into(), origin.into(), old.into()])?,
    } == 1)
}

/// Returns the size of the newest checkpoint of a log that has a time stamp.
pub fn stamped_size(c: &mut dyn Conn, log: i64) -> Result<Option<u64>, DbError> {
    c.first("SELECT size FROM tlog_timestamp WHERE log = $1 ORDER BY size DESC LIMIT 1", &[log.into()])
}

/// Stores the answer of an authority for time stamps.
pub fn insert_timestamp(c: &mut dyn Conn, log: i64, size: u64, answer: &[u8]) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO tlog_timestamp (log, size, answer) VALUES ($1, $2, $3) \
        ON CONFLICT (log, size) DO NOTHING";
    c.execute(INSERT, &[log.into(), integer(size).into(), answer.into()]).map(drop)
}

/// Returns the sizes of the checkpoints of a log with time stamps, and the stamps.
pub fn timestamps(c: &mut dyn Conn, log: i64) -> Result<Vec<(u64, Vec<u8>)>, DbError> {
    c.all("SELECT size, answer FROM tlog_timestamp WHERE log = $1 ORDER BY size", &[log.into()])
}

/// Returns the texts of `count` entries from the number `first` on; fewer at the end of the log.
pub fn entries(c: &mut dyn Conn, log: i64, first: u64, count: u64) -> Result<Vec<String>, DbError> {
    const ENTRIES: &str = "SELECT entry FROM tlog_entry WHERE log = $1 AND id >= $2 AND id < $3 ORDER BY id";
    let end = first.saturating_add(count);
    c.all(ENTRIES, &[log.into(), integer(first).into(), integer(end).into()])
}

row! {
    /// An entry that names a row of the audit trail by a salted digest.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Salted from "tlog_entry" {
        pub id: u64,
        pub entry: String,
        pub salt: Vec<u8>,
    }
}

/// Returns at most `count` entries with a salt from the number `first` on, in their order.
pub fn salted(c: &mut dyn Conn, log: i64, first: u64, count: i64) -> Result<Vec<Salted>, DbError> {
    const SALTED: &str =
        select!(Salted, "WHERE log = $1 AND id >= $2 AND salt IS NOT NULL ORDER BY id LIMIT $3");
    c.all(SALTED, &[log.into(), integer(first).into(), count.into()])
}

/// Returns the newest entry of a subject, with the number of its log and its own.
pub fn find(c: &mut dyn Conn, subject: &str) -> Result<Option<(i64, u64, String)>, DbError> {
    // Without the second condition, SQLite does not use the index, which has it, and reads the whole table.
    const FIND: &str = "SELECT log, id, entry FROM tlog_entry WHERE subject = $1 AND subject <> '' \
        ORDER BY log DESC, id DESC LIMIT 1";
    c.first(FIND, &[subject.into()])
}

/// Returns the hashes of a tile, up to 256 of 32 bytes each.
pub fn tile(c: &mut dyn Conn, log: i64, level: u8, number: u64) -> Result<Option<Vec<u8>>, DbError> {
    const TILE: &str = "SELECT hashes FROM tlog_tile WHERE log = $1 AND level = $2 AND number = $3";
    c.first(TILE, &[log.into(), i64::from(level).into(), integer(number).into()])
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
