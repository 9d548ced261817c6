//! The transaction of a sync: writes the plan of each tree, then publishes all of them with the validators of the
//! mirror. The rows are written in chunks of at most 2,000, with lower priority than interactive writes.

use super::SyncError;
use super::plan::Plan;
use base::model::change::Counts;
use base::model::ids::{SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use runtime::publish::transaction::{CHUNK, Transaction};
use store::db::import::{self, ImportTarget};
use store::db::tx::Publish;
use store::db::upstream::{self, StoredValidators};
use store::db::{Conn, DbError};

/// Validators to store by URL; `None` deletes the row.
pub(super) type ValidatorUpdates = Vec<(String, Option<StoredValidators>)>;

pub(super) fn store_validators(c: &mut dyn Conn, updates: &ValidatorUpdates) -> Result<(), DbError> {
    updates.iter().try_for_each(|(url, validators)| match validators {
        Some(validators) => upstream::put(c, url, validators),
        None => upstream::delete(c, url),
    })
}

/// A sync transaction: trees that are written one by one and published together.
pub(super) struct SyncTransaction<'a> {
    pub(super) inner: Transaction<'a>,
    pub(super) source: SourceId,
    pub(super) publish: Publish,
}

impl SyncTransaction<'_> {
    /// Claims a tree and writes the plan of its next step. On an error the caller must roll back.
    pub(super) async fn write(&mut self, tree: TreeId, plan: Plan) -> Result<(), SyncError> {
        let (_, pending) = self.inner.claim(self.publish.started_at, move |_| Ok(tree)).await?;
        let publish = &mut self.publish;
        publish.counts += plan.counts;
        publish.published_from = [publish.published_from, plan.published_from].into_iter().flatten().min();
        publish.published_to = publish.published_to.max(plan.published_to);
        let target = ImportTarget { tree, pending, origin: self.source };
        let apply = move |c: &mut dyn Conn, chunk: &[_]| import::apply(c, &target, chunk).map(drop);
        Ok(self.inner.write("writing releases", plan.changes, CHUNK, apply).await?)
    }

    /// Publishes the written rows as one transaction together with the validators of the mirror, so that a crash
    /// before the publish makes the next sync read the files again. On an error the written rows are removed.
    pub(super) async fn publish(
        self,
        validators: ValidatorUpdates,
        now: Timestamp,
    ) -> Result<(TxId, Counts), SyncError> {
        let publish = Publish { now, ..self.publish };
        let counts = publish.counts;
        Ok((self.inner.publish(publish, move |c| store_validators(c, &validators)).await?, counts))
    }
}
