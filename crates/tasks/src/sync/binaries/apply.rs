//! The transaction of the lists of binaries: writes the changes of each list, then publishes all of them.

use crate::sync::SyncError;
use crate::sync::run::{SyncContext, ValidatorUpdates, store_validators};
use base::model::ids::{FileId, PackageId, ReleaseId, Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use runtime::publish::transaction::{CHUNK, Rows, Transaction};
use store::db::binary_list::{self, BinaryChange};
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, binary, discovered_binary};

pub(super) struct BinaryTransaction<'a> {
    context: &'a SyncContext<'a>,
    pub(super) inner: Transaction<'a>,
    started_at: Timestamp,
    claimed_trees: Vec<ClaimedTree>,
}

/// A tree with a pending step of this transaction.
struct ClaimedTree {
    tree: TreeId,
    pending: Seq,
    label: String,
    new_count: usize,
}

/// A discovered binary: package, release, file and record.
pub(super) type DiscoveredRow = (PackageId, ReleaseId, FileId, Vec<u8>);

impl<'a> BinaryTransaction<'a> {
    pub(super) fn new(context: &'a SyncContext<'a>) -> BinaryTransaction<'a> {
        let SyncContext { state, lease, report, .. } = context;
        let transaction = Transaction::new(state, lease, report, Rows::Binaries);
        BinaryTransaction {
            context,
            inner: transaction,
            started_at: (state.clock)(),
            claimed_trees: Vec::new(),
        }
    }

    /// Writes the changes of one list.
    pub(super) async fn write(
        &mut self,
        label: &str,
        changes: Vec<BinaryChange>,
        new_count: usize,
    ) -> Result<(), SyncError> {
        if changes.is_empty() {
            return Ok(());
        }
        let (tree, pending) = self.claim(label, new_count).await?;
        let apply = move |c: &mut dyn Conn, chunk: &[_]| binary_list::apply(c, tree, pending, chunk);
        Ok(self.inner.write(&phase(label), changes, CHUNK, apply).await?)
    }

    /// Adds discovered binaries to a list.
    pub(super) async fn write_discovered(
        &mut self,
        label: &str,
        binaries: Vec<DiscoveredRow>,
    ) -> Result<(), SyncError> {
        let (tree, pending) = self.claim(label, binaries.len()).await?;
        let apply = move |c: &mut dyn Conn, chunk: &[_]| discovered_binary::list(c, tree, pending, chunk);
        Ok(self.inner.write(&phase(label), binaries, CHUNK, apply).await?)
    }

    /// Returns the tree with this label and its pending step; the first call claims it.
    async fn claim(&mut self, label: &str, new_count: usize) -> Result<(TreeId, Seq), SyncError> {
        if let Some(claimed_tree) =
            self.claimed_trees.iter_mut().find(|claimed_tree| claimed_tree.label == label)
        {
            claimed_tree.new_count += new_count;
            return Ok((claimed_tree.tree, claimed_tree.pending));
        }
        let name = label.to_owned();
        let find = move |c: &mut dyn Conn| binary::get_or_create_tree(c, SourceId::CRAN, &name);
        let (tree, pending) = self.inner.claim(self.started_at, find).await?;
        self.claimed_trees.push(ClaimedTree { tree, pending, label: label.to_owned(), new_count });
        Ok((tree, pending))
    }

    /// Publishes the written rows as one transaction. On an error they are removed.
    pub(super) async fn publish(self, validators: ValidatorUpdates) -> Result<TxId, SyncError> {
        let SyncContext { state, trigger, .. } = self.context;
        let lists: Vec<String> = self
            .claimed_trees
            .iter()
            .map(|claimed_tree| format!("{} of {}", claimed_tree.new_count, claimed_tree.label))
            .collect();
        let publish = Publish {
            source: Some(SourceId::CRAN),
            comment: format!("binaries: {}", lists.join(", ")),
            ..Publish::new(TxKind::Sync, (state.clock)(), self.started_at, trigger.actor())
        };
        let write = move |c: &mut dyn Conn| {
            store_validators(c, &validators)?;
            discovered_binary::clear_marker(c, SourceId::CRAN)
        };
        Ok(self.inner.publish(publish, write).await?)
    }
}

fn phase(label: &str) -> String {
    format!("writing binaries of {label}")
}
