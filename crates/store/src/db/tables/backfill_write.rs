//! Writes steps below a tree's first one: invisible rows, then one short publish that lowers the first step.
//!
//! A life written here ends at the first step at the latest, and no query reads steps below the first one, so that
//! earlier responses stay valid.

use std::collections::HashSet;

use super::clock::{self, Change};
use super::import::{ImportTarget, LIFE_COLUMNS, insert_releases};
use super::tx::{Tx, TxKind};
use super::{Conn, DbError, Value, audit, tree, tx};
use crate::db::engine::author::{self, Author};
use crate::db::engine::columns::{row, select};
use base::model::change::{Counts, LifeState, NewRelease};
use base::model::ids::{PackageId, ReleaseId, Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;

/// The number of the index record that a back-fill adds to a known release without a record. Syncs number records 0,
/// -1, -2 …, so that they do not reach this number.
pub const BACKFILL_VARIANT: i64 = -(1 << 40);

row! {
    /// A release of a source, with or without a current life, to be matched with files that the mirror had in the past.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredRelease from "release r JOIN package p ON p.id = r.package_id JOIN file f ON f.release_id = r.id \
        AND f.role = 'source' AND f.platform = ''" {
        pub release: ReleaseId = "r.id",
        pub package: PackageId = "r.package_id",
        pub name: String = "p.name",
        pub version: String = "r.version",
        pub revision: i64 = "r.revision",
        /// Publication time upstream, if known.
        pub published_at: Option<Timestamp> = "r.published_at",
        pub file: String = "f.name",
        /// Size in bytes, if known.
        pub size: Option<i64> = "f.size",
        /// The number of its first index record (they are numbered 0, -1, -2 …), if it has one.
        pub variant: Option<i64> = "(SELECT max(c.variant) FROM record c WHERE c.release_id = r.id AND c.variant <= 0)",
    }
}

/// Calls `each` for every release of a source, in unspecified order.
pub fn releases(
    c: &mut dyn Conn,
    origin: SourceId,
    each: &mut dyn FnMut(StoredRelease) -> Result<(), DbError>,
) -> Result<(), DbError> {
    const ALL: &str = select!(StoredRelease, "WHERE r.origin_id = $1");
    c.each(ALL, &[origin.into()], &mut |row| each(row.decode()?))
}

row! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LiveRelease from "life" {
        pub release: ReleaseId = "release_id",
        pub state: LifeState,
        /// Number of the record that is served.
        pub variant: i64,
    }
}

/// Returns the releases with a life in a tree at a step, except those listed in a subdirectory.
pub fn live_releases(c: &mut dyn Conn, tree: TreeId, seq: Seq) -> Result<Vec<LiveRelease>, DbError> {
    const SELECT: &str = select!(
        LiveRelease,
        "WHERE tree_id = $1 AND state IN (0, 1) AND from_seq <= $2 AND to_seq > $2 AND path = ''"
    );
    c.all(SELECT, &[tree.into(), seq.into()])
}

/// A release and its lives before the first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseHistory {
    pub release: PastRelease,
    /// Its lives, which do not overlap.
    pub lives: Vec<PastLife>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "the values are held only while they are written")]
pub enum PastRelease {
    /// A new release; the record in [`NewRelease`] applies to its listed lives.
    New(NewRelease),
    Known {
        package: PackageId,
        release: ReleaseId,
        /// Number of the record of its listed lives.
        variant: i64,
        /// Text of that record if the back-fill adds it, with the number [`BACKFILL_VARIANT`]; `None` if it is stored.
        record: Option<Vec<u8>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastLife {
    pub state: LifeState,
    pub from: Seq,
    /// The first step after the life.
    pub to: Seq,
}

/// Writes releases with their lives, at most 2,000 per call. `target.pending` is the tree's first step.
///
/// # Errors
/// [`DbError::Conflict`] if a [`PastRelease::New`] already exists.
pub fn write(c: &mut dyn Conn, target: &ImportTarget, histories: &[ReleaseHistory]) -> Result<(), DbError> {
    // An existing record was written by an earlier call, with the same content.
    const RECORD: &str = "INSERT INTO record (release_id, variant, stanza) VALUES ($1, $2, $3) \
        ON CONFLICT (release_id, variant) DO NOTHING";
    let new_releases: Vec<&NewRelease> = histories
        .iter()
        .filter_map(|history| match &history.release {
            PastRelease::New(release) => Some(release),
            PastRelease::Known { .. } => None,
        })
        .collect();
    let mut new_ids = insert_releases(c, target, &new_releases)?.into_iter();
    let (mut lives, mut records): (Vec<Vec<Value>>, Vec<Vec<Value>>) = (Vec::new(), Vec::new());
    for history in histories {
        let (package, release, variant) = match &history.release {
            PastRelease::New(_) => {
                let ids = new_ids.next().ok_or(DbError::Shape {
                    column: 0,
                    found: "no row",
                    expected: "the release just written",
                })?;
                (ids.package, ids.release, 0)
            }
            PastRelease::Known { package, release, variant, record } => {
                if let Some(stanza) = record {
                    records.push(vec![(*release).into(), BACKFILL_VARIANT.into(), stanza.as_slice().into()]);
                }
                (*package, *release, *variant)
            }
        };
        for life in &history.lives {
            lives.push(vec![
                target.tree.into(),
                life.state.as_i64().into(),
                package.into(),
                "".into(),
                life.from.into(),
                life.to.into(),
                release.into(),
                variant.into(),
                0.into(),
                0.into(),
            ]);
        }
    }
    c.execute_many(RECORD, &records)?;
    c.batch_insert("life", &LIFE_COLUMNS, &lives)
}

/// Deletes the lives below a tree's first step that an interrupted back-fill has written, for up to `packages`
/// packages with ids above `after`. Returns the highest of these ids, to be passed as `after` in the next call;
/// `None` if there are no further packages.
pub fn abandon(
    c: &mut dyn Conn,
    tree: TreeId,
    after: PackageId,
    packages: i64,
) -> Result<Option<PackageId>, DbError> {
    const PAGE: &str = "SELECT id FROM package WHERE id > $1 ORDER BY id LIMIT $2";
    const DELETE: &str = "DELETE FROM life WHERE tree_id = $1 AND state = $2 AND package_id > $3 \
        AND package_id <= $4 AND from_seq < $5";
    let Some(first) = tree::get(c, tree)?.and_then(|tree| tree.first) else { return Ok(None) };
    let Some(last) = c.all::<PackageId>(PAGE, &[after.into(), packages.into()])?.pop() else {
        return Ok(None);
    };
    for state in [LifeState::Listed, LifeState::Archived] {
        c.execute(DELETE, &[tree.into(), state.as_i64().into(), after.into(), last.into(), first.into()])?;
    }
    Ok(Some(last))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastStep {
    /// The instant of the step, within the day.
    pub at: Timestamp,
    pub published_from: Option<Timestamp>,
    pub published_to: Option<Timestamp>,
    pub counts: Counts,
    pub comment: String,
}

/// A publish of prepended steps: one transaction for each step.
#[derive(Clone, Debug)]
pub struct BackfillPublish {
    /// The time of the publisher's clock.
    pub now: Timestamp,
    pub source: SourceId,
    pub tree: TreeId,
    /// The tree's first step, before which the steps are inserted.
    pub first: Seq,
    pub started_at: Timestamp,
    pub actor: String,
    /// The steps, oldest first.
    pub steps: Vec<PastStep>,
}

/// Publishes steps before the first one, each with a new transaction, whose id is higher than all others. The instant
/// of the transaction is that of its step, so that a snapshot named by its id has the state of the step. Call it last
/// in the closure of a write: it blocks other publishers. Returns the first and the last transaction.
///
/// # Errors
/// [`DbError::ClockAhead`], [`DbError::Skew`]; [`DbError::Conflict`] if the tree's first step has changed meanwhile, or
/// a new step is not earlier than the first one.
pub fn publish(c: &mut dyn Conn, publish: &BackfillPublish) -> Result<(TxId, TxId), DbError> {
    const SET_FIRST: &str = "UPDATE tree SET first = $1 WHERE id = $2 AND first = $3";
    let count = i64::try_from(publish.steps.len()).unwrap_or(i64::MAX);
    let (last, _) = clock::advance(c, publish.now, count, &[Change::Nothing])?;
    c.announce()?;
    let used_instants = instants_before_first(c, publish)?;
    let (first_tx, lowest) = (last.0 - count + 1, publish.first.0 - count);
    let (mut txs, mut steps) =
        (Vec::with_capacity(publish.steps.len()), Vec::with_capacity(publish.steps.len()));
    for (number, step) in (0..).zip(&publish.steps) {
        let id = first_tx + number;
        // Every transaction has a distinct instant.
        let mut at = step.at;
        while used_instants.contains(&at) {
            at.0 -= 1;
        }
        txs.push(Tx {
            id: TxId(id),
            at,
            source: Some(publish.source),
            repo: None,
            kind: TxKind::Backfill,
            started_at: publish.started_at,
            published_from: step.published_from,
            published_to: step.published_to,
            counts: step.counts,
            actor: publish.actor.clone(),
            comment: step.comment.clone(),
        });
        steps.push(vec![publish.tree.into(), (lowest + number).into(), at.into(), id.into()]);
    }
    tx::insert(c, &txs)?;
    c.batch_insert("step", &["tree_id", "seq", "at", "tx_id"], &steps)?;
    let updated_rows =
        c.execute(SET_FIRST, &[Seq(lowest).into(), publish.tree.into(), publish.first.into()])?;
    let in_order = publish.steps.windows(2).all(|pair| pair[0].at < pair[1].at);
    if updated_rows != 1 || !in_order || !is_before(c, publish)? {
        return Err(DbError::Conflict(format!(
            "the first step of tree {} has changed, or a new step is not earlier than it",
            publish.tree
        )));
    }
    let author = author::of_write().unwrap_or_else(|| Author::job(&publish.actor, publish.now));
    let detail = format!("transactions {first_tx} to {last}");
    let source =
        super::source::get(c, publish.source)?.map(|source| source.name.to_string()).unwrap_or_default();
    audit::record_by(c, &author, "backfill", "source", &source, audit::SUCCESS, &detail)?;
    Ok((TxId(first_tx), last))
}

/// Returns the instants of the transactions before the first step. They changed other sources, or repositories.
fn instants_before_first(c: &mut dyn Conn, publish: &BackfillPublish) -> Result<HashSet<Timestamp>, DbError> {
    let Some(first) = tree::step(c, publish.tree, publish.first)? else { return Ok(HashSet::new()) };
    Ok(c.all("SELECT at FROM tx WHERE at < $1", &[first.at.into()])?.into_iter().collect())
}

/// Returns whether the last new step is earlier than the previous first step.
fn is_before(c: &mut dyn Conn, publish: &BackfillPublish) -> Result<bool, DbError> {
    let first = tree::step(c, publish.tree, publish.first)?;
    Ok(first.zip(publish.steps.last()).is_some_and(|(first, last)| last.at < first.at))
}
