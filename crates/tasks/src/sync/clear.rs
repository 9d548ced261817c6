//! Clears CRAN: its newest state lists nothing until the next sync. Earlier snapshots stay.

use std::sync::Arc;

use super::SyncError;
use super::task::Task;
use base::model::change::{Change, Counts, LifeState};
use base::model::ids::SourceId;
use base::model::text::count_of;
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::publish::transaction::{CHUNK, Rows, Transaction, abandon};
use runtime::state::State;
use store::db::import::{self, ImportTarget};
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, DbError, life, tree, upstream};

/// Ends the listing of all packages of CRAN in one transaction, and deletes the recorded state of its mirror, so that
/// the next sync reads the whole list. Returns a message about the result.
pub(super) async fn run(state: &Arc<State>, actor: &str, report: &Reporter) -> Result<String, SyncError> {
    let lease = Lease::claim(&state.db, state.node, "sync:cran").await?;
    let result = clear(state, actor, &lease, report).await;
    lease.release().await;
    result
}

async fn clear(
    state: &Arc<State>,
    actor: &str,
    lease: &Lease,
    report: &Reporter,
) -> Result<String, SyncError> {
    report.progress("reading the list", 0, None);
    let started_at = (state.clock)();
    let rows = Rows::Releases(SourceId::CRAN);
    let tree = state.db.read(|c| tree::built_in(c, SourceId::CRAN)).await?;
    // The rows of a sync that was killed.
    abandon(&state.db, lease, rows, &[tree.id]).await?;
    let Some(head) = tree.head else { return Ok("cran was never synced; nothing to clear.".to_owned()) };
    let id = tree.id;
    let read = state.db.read(move |c| {
        let (mut changes, mut counts) = (Vec::new(), Counts::default());
        life::current(c, id, head, &mut |life| {
            counts.removed += i64::from(life.key.state == LifeState::Listed && life.key.path.is_empty());
            changes.push(Change::EndLife(life.key));
            Ok(())
        })?;
        Ok((changes, counts))
    });
    let (changes, counts) = read.await?;
    if changes.is_empty() {
        return Ok("cran lists no package; nothing to clear.".to_owned());
    }
    let publish = Publish {
        source: Some(SourceId::CRAN),
        counts,
        subject: "all packages".to_owned(),
        ..Publish::new(TxKind::Remove, (state.clock)(), started_at, actor)
    };
    let mut transaction = Transaction::new(state, lease, report, rows);
    let (_, pending) = transaction.claim(started_at, move |_| Ok(id)).await?;
    let target = ImportTarget { tree: id, pending, origin: SourceId::CRAN };
    let apply = move |c: &mut dyn Conn, chunk: &[Change]| import::apply(c, &target, chunk).map(drop);
    if let Err(error) = transaction.write("ending releases", changes, CHUNK, apply).await {
        transaction.roll_back().await;
        return Err(error.into());
    }
    let publish = Publish { now: (state.clock)(), ..publish };
    let tx = transaction.publish(publish, delete_success_row).await?;
    Ok(format!(
        "cran was cleared (transaction {tx}): {} removed from its newest state; earlier snapshots still serve them.",
        count_of(counts.removed, "package", "packages")
    ))
}

/// Deletes the row of the last success, without which a sync ignores the validators of files.
fn delete_success_row(c: &mut dyn Conn) -> Result<(), DbError> {
    upstream::delete(c, &Task::Cran.success_key())
}
