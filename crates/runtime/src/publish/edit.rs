//! Edits: one write that claims trees, changes them and publishes, and that reads the new catalog.

use std::convert::Infallible;

use crate::state::State;
use base::model::change::{Change, Counts, FileChange};
use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;
use store::db::import::{self, ImportTarget};
use store::db::repo::{NewRepoStep, Subscription};
use store::db::tx::Publish;
use store::db::{Conn, DbError, WriteError, clock, project_write, tree};

use super::transaction::CHUNK;

/// The job that claims a tree during an edit. The claim ends in the same write, so it is never visible.
const EDIT_JOB: i64 = 0;

/// Runs `edit`, which changes data of the catalog, in one write, and installs the new catalog before it returns.
/// The catalog is read in the same write, so that the function does not wait for another connection.
pub async fn apply_edit<T, F>(state: &State, edit: F) -> Result<T, DbError>
where
    T: Send + 'static,
    F: Fn(&mut dyn Conn) -> Result<T, DbError> + Send + 'static,
{
    Ok(apply_unless_refused(state, move |c| edit(c).map_err(WriteError::<Infallible>::Db)).await?)
}

/// Like [`apply_edit`], for an edit that may be refused, which changes nothing then. Its reason may be a change by another
/// server, so the catalog is read then too, for the next attempt.
pub async fn apply_unless_refused<T, R, F>(state: &State, edit: F) -> Result<T, WriteError<R>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(&mut dyn Conn) -> Result<T, WriteError<R>> + Send + 'static,
{
    let catalog = state.catalog.clone();
    let write = state.db.write_unless_refused(move |c| {
        let result = edit(c)?;
        Ok((result, catalog.read_in_write(c)?))
    });
    let written = write.await;
    if let Err(WriteError::Refused(_)) = written {
        state.catalog.refresh(&state.db).await?;
    }
    let (result, new_catalog) = written?;
    if let Some(new_catalog) = new_catalog {
        state.catalog.install(new_catalog);
    }
    Ok(result)
}

#[derive(Debug, Default)]
pub struct ClaimedTrees(Vec<(TreeId, Seq)>);

impl ClaimedTrees {
    /// Returns the pending step of a tree; the first call claims it.
    pub fn claim(&mut self, c: &mut dyn Conn, tree: TreeId) -> Result<Seq, DbError> {
        if let Some((_, pending)) = self.0.iter().find(|(claimed, _)| *claimed == tree) {
            return Ok(*pending);
        }
        let pending = tree::begin(c, tree, EDIT_JOB)?;
        self.0.push((tree, pending));
        Ok(pending)
    }

    /// Publishes the pending steps as one transaction; `None` if no tree was claimed.
    pub fn publish(self, c: &mut dyn Conn, publish: &Publish) -> Result<Option<TxId>, DbError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let trees = self.0.into_iter().map(|(tree, _)| tree).collect();
        Ok(Some(clock::publish(c, &Publish { trees, ..publish.clone() })?.tx))
    }
}

pub trait TreeChange: Sized {
    /// Writes changes of a pending step; at most 2,000 in one call.
    fn apply(c: &mut dyn Conn, target: &ImportTarget, changes: &[Self]) -> Result<(), DbError>;

    /// Returns the name of the package that gets a new release or a new file; `None` for other changes.
    fn new_name(&self) -> Option<&str>;
}

impl TreeChange for Change {
    fn apply(c: &mut dyn Conn, target: &ImportTarget, changes: &[Change]) -> Result<(), DbError> {
        import::apply(c, target, changes).map(drop)
    }

    fn new_name(&self) -> Option<&str> {
        match self {
            Change::Introduce { release, .. } => Some(&release.package),
            Change::BeginLife { .. } | Change::Record { .. } | Change::EndLife(_) => None,
        }
    }
}

impl TreeChange for FileChange {
    fn apply(c: &mut dyn Conn, target: &ImportTarget, changes: &[FileChange]) -> Result<(), DbError> {
        project_write::apply(c, target, changes)
    }

    fn new_name(&self) -> Option<&str> {
        match self {
            FileChange::Introduce { file, .. } => Some(&file.project),
            FileChange::BeginLife { .. }
            | FileChange::Facts { .. }
            | FileChange::Attach { .. }
            | FileChange::EndLife(_) => None,
        }
    }
}

pub struct EditPlan<T, C = Change> {
    /// The changes of the tree; if there are none, nothing is published.
    pub changes: Vec<C>,
    pub counts: Counts,
    pub result: T,
}

/// Claims a tree of a local or git source, writes the changes that `plan` returns for the pending step, and publishes
/// them. The transaction is `None` when nothing changed.
pub fn publish_step<T, R, C: TreeChange>(
    c: &mut dyn Conn,
    source: SourceId,
    tree: TreeId,
    publish: &Publish,
    plan: impl FnOnce(&mut dyn Conn, Seq) -> Result<EditPlan<T, C>, WriteError<R>>,
) -> Result<(Option<TxId>, T), WriteError<R>> {
    let mut trees = ClaimedTrees::default();
    let pending = trees.claim(c, tree)?;
    let EditPlan { changes, counts, result } = plan(c, pending)?;
    if changes.is_empty() {
        tree::end_claim(c, tree)?;
        return Ok((None, result));
    }
    let target = ImportTarget { tree, pending, origin: source };
    for chunk in changes.chunks(CHUNK) {
        C::apply(c, &target, chunk)?;
    }
    let new_names = changes.iter().filter_map(C::new_name).map(str::to_owned).collect();
    let publish = Publish { source: Some(source), counts, new_names, ..publish.clone() };
    Ok((trees.publish(c, &publish)?, result))
}

/// Publishes a new subscription list without a pin: the repository serves the newest states of the sources.
pub fn publish_subscriptions(
    c: &mut dyn Conn,
    repo: RepoId,
    subscriptions: Vec<Subscription>,
    publish: &Publish,
) -> Result<(), DbError> {
    publish_list(c, NewRepoStep { repo, subscriptions, pinned_at: None, withheld: Vec::new() }, publish)
        .map(drop)
}

/// Publishes a complete new subscription list of a repository, optionally with a pin.
pub fn publish_list(c: &mut dyn Conn, step: NewRepoStep, publish: &Publish) -> Result<TxId, DbError> {
    Ok(clock::publish(c, &list_publish(step, publish))?.tx)
}

/// Returns the publish of a complete new subscription list of a repository.
pub fn list_publish(step: NewRepoStep, publish: &Publish) -> Publish {
    Publish { repo: Some(step.repo), repo_steps: vec![step], ..publish.clone() }
}

/// Makes the states up to `now` final: prevents further publishes at or before `now`. Returns the instant before which
/// all states are final: one microsecond after `now`, or later.
pub fn end_of_past(c: &mut dyn Conn, now: Timestamp) -> Result<Timestamp, DbError> {
    clock::close_day(c, now)?;
    Ok(Timestamp(clock::get(c)?.at.0.saturating_add(1)))
}
