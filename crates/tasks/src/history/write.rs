//! The one writer of the log: entries and tiles in one write, then the signed checkpoint.

use super::{History, entries, signer};
use content::serve::{RepoError, proofs};
use formats::tlog::TlogError;
use formats::tlog::edge::Edge;
use formats::tlog::note::{Checkpoint, Statement};
use store::db::tlog::{self, Addition, Head, NewTile};
use store::db::{Conn, DbError};

/// Writes all entries that are missing, and signs a checkpoint after each addition. Does nothing without a log.
pub async fn write_all(history: &History) -> Result<(), RepoError> {
    while let Some(head) = history.state.db.read(tlog::head).await? {
        // A process that ended between the two may have left a size without a checkpoint.
        sign(history, &head).await?;
        let next = entries::next(history, &head).await?;
        let (tx, closed_until) = (next.tx, next.closed_until);
        if (tx, closed_until) == (head.tx, head.closed_until) && next.entries.is_empty() {
            return Ok(());
        }
        let (log, old_size) = (head.id, head.size);
        let write = move |c: &mut dyn Conn| {
            let tiles = edge(c, log, old_size)?.append(next.entries.iter().map(|entry| &entry.text));
            let tiles = tiles.into_iter().map(|(place, hashes)| NewTile {
                level: place.level,
                number: place.index,
                hashes,
            });
            let entries = next.entries.clone();
            // Without effect if another server appended meanwhile, whose entries are read then.
            tlog::append(
                c,
                &Addition {
                    log,
                    old_size,
                    entries,
                    tiles: tiles.collect(),
                    events: next.events.clone(),
                    tx,
                    closed_until,
                },
            )
        };
        history.state.db.write(write).await?;
    }
    Ok(())
}

fn edge(c: &mut dyn Conn, log: i64, size: u64) -> Result<Edge, DbError> {
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

/// Signs the checkpoint of the size that is committed, if the newest one is of another size.
async fn sign(history: &History, head: &Head) -> Result<(), RepoError> {
    let (log, size) = (head.id, head.size);
    if size == proofs::signed(head)?.map_or(0, |signed| signed.checkpoint.root.count) {
        return Ok(());
    }
    let root = history.state.db.read(move |c| edge(c, log, size)?.root().map_err(DbError::refuse)).await?;
    let text = Checkpoint { origin: head.origin.clone(), root }.to_string();
    let signature = signer(&history.state, head)?.sign(&text, Statement::Signed);
    let note = format!("{text}\n{signature}");
    Ok(history.state.db.write(move |c| tlog::set_checkpoint(c, log, size, &note)).await?)
}
