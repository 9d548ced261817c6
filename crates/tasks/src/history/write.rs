//! The one writer of the log: entries and tiles in one write, then the copy, then the signed checkpoint.

use super::{History, entries, export, key, rows};
use content::serve::{RepoError, proofs};
use formats::tlog::note::{Checkpoint, Statement};
use store::db::tlog::{self, Head};

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
        history.state.db.write(move |c| rows::append(c, &head, &next)).await?;
    }
    Ok(())
}

/// Signs the checkpoint of the size that is committed, if the newest one is of another size, once the copy of the log has
/// its entries. Returns false if it contradicts the copy.
async fn sign(history: &History, head: &Head) -> Result<bool, RepoError> {
    let (log, size) = (head.id, head.size);
    if size != proofs::signed(head)?.map_or(0, |signed| signed.checkpoint.root.count) {
        if !export::add_tiles(history, head).await? {
            return Ok(false);
        }
        let root = history.state.db.read(move |c| rows::root(c, log, size)).await?;
        let text = Checkpoint { origin: head.origin.clone(), root }.to_string();
        let signers = key::signers(&history.state, head)?;
        let signatures = signers.iter().map(|signer| signer.sign(&text, Statement::Signed));
        let note = format!("{text}\n{}", signatures.collect::<String>());
        history.state.db.write(move |c| tlog::set_checkpoint(c, log, size, &note)).await?;
        history.files.forget_checkpoints();
        history.signed.send_replace(size);
    }
    export::add_checkpoint(history, log).await
}
