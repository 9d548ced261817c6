//! Repairs the clock row, the times of transactions and the states of indexes after a clock was wrong. The sequence numbers
//! of the trees of indexes are times, so a state in the future is the newest one until that time.

use std::time::Duration;

use super::{Conn, DbError, audit, clock, tlog_event};
use crate::db::engine::columns::{or_default, row, select};
use crate::db::engine::skew::{Skew, TOLERANCE, between};
use base::model::ids::{FileId, Seq, SourceId, TreeId, TxId};
use base::model::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    pub skew: Skew,
    pub row: Timestamp,
    /// Transactions that get another time, by id: the id, the time before, the time afterwards.
    pub transactions: Vec<(TxId, Timestamp, Timestamp)>,
    /// The indexes whose newest state was in the future. It is that of `now` afterwards.
    pub indexes: Vec<FutureTree>,
}

impl Repair {
    /// Returns the newest state of an index that was in the future.
    pub fn index_state(&self) -> Option<Timestamp> {
        newest(&self.indexes).map(|index| index.head)
    }
}

fn newest(indexes: &[FutureTree]) -> Option<FutureTree> {
    indexes.iter().copied().max_by_key(|index| index.head)
}

/// Sets the clock row to `now`, which an administrator or another clock has confirmed. Returns `None` if the row
/// and the states of all indexes agree with it already.
///
/// Transactions later than `now` get the last microseconds up to `now`, in their order and after all other
/// transactions: every past day is served unchanged. Indexes with a state in the future are reset, see
/// [`reset`]. With `dry_run` nothing is changed.
///
/// # Errors
/// [`DbError::ClockAhead`] if `now` is too far ahead of the clock of the database's host.
pub fn repair(c: &mut dyn Conn, now: Timestamp, dry_run: bool) -> Result<Option<Repair>, DbError> {
    const ROW: &str = "UPDATE clock SET at = $1, catalog = catalog + 1 WHERE id = 1";
    clock::check_host_time(c, now)?;
    clock::lock(c)?;
    let row = clock::get(c)?.at;
    let skew = between(row, now);
    let tolerance = if skew.is_some() { Duration::ZERO } else { TOLERANCE };
    let indexes = future_trees(c, now + tolerance)?;
    let (row, mut transactions) = match skew {
        Some(_) => {
            let transactions = future_transactions(c, now)?;
            (transactions.last().map_or(now, |(_, _, to)| now.max(*to)), transactions)
        }
        None => (row, Vec::new()),
    };
    let index_skew =
        newest(&indexes).map(|FutureTree { source: index, head, .. }| Skew::IndexAhead { index, now, head });
    let Some(skew) = skew.or(index_skew) else { return Ok(None) };
    if !dry_run {
        let mut events = Vec::new();
        for (id, from, to) in &transactions {
            set_time(c, *id, *to)?;
            events.push(format!("transaction {id}\nold {from}\nnew {to}\n"));
        }
        if events.is_empty() && !matches!(skew, Skew::IndexAhead { .. }) {
            // Days that the clock ended are not over.
            events.push(format!("transaction 0\nold {}\nnew {row}\n", clock::get(c)?.at));
        }
        tlog_event::add(c, "clock", &events)?;
        // Otherwise a cut-off time in the future is that of a server whose clock is ahead by seconds.
        if !matches!(skew, Skew::IndexAhead { .. }) {
            set_pins(c, now, &transactions)?;
        }
        reset_future_times(c, now)?;
        indexes.iter().try_for_each(|index| reset(c, *index, now))?;
        c.execute(ROW, &[row.into()])?;
        let detail = format!("{skew}; transactions with another time: {}", transactions.len());
        audit::record(c, "repair clock", "server", "", &detail)?;
        c.announce()?;
    }
    transactions.sort_unstable_by_key(|(id, ..)| *id);
    Ok(Some(Repair { skew, row, transactions, indexes }))
}

/// Returns the transactions later than `now` in the order of their times, with their new ones.
fn future_transactions(
    c: &mut dyn Conn,
    now: Timestamp,
) -> Result<Vec<(TxId, Timestamp, Timestamp)>, DbError> {
    const FUTURE: &str = "SELECT id, at FROM tx WHERE at > $1 ORDER BY at";
    const LAST: &str = "SELECT COALESCE(MAX(at), 0) FROM tx WHERE at <= $1";
    let rows: Vec<(TxId, Timestamp)> = c.all(FUTURE, &[now.into()])?;
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let last = c.first(LAST, &[now.into()])?.unwrap_or(0);
    let first = (now.0 - count + 1).max(last + 1);
    Ok((first..).zip(rows).map(|(new, (id, old))| (id, old, Timestamp(new))).collect())
}

/// Sets the time of a transaction and of everything it published.
fn set_time(c: &mut dyn Conn, id: TxId, at: Timestamp) -> Result<(), DbError> {
    const STATEMENTS: [&str; 6] = [
        "UPDATE tx SET at = $1 WHERE id = $2",
        "UPDATE tx SET started_at = $1 WHERE started_at > $1 AND id = $2",
        "UPDATE tx SET published_from = $1 WHERE published_from > $1 AND id = $2",
        "UPDATE tx SET published_to = $1 WHERE published_to > $1 AND id = $2",
        "UPDATE step SET at = $1 WHERE tx_id = $2",
        "UPDATE repo_step SET at = $1 WHERE tx_id = $2",
    ];
    STATEMENTS.iter().try_for_each(|sql| c.execute(sql, &[at.into(), id.into()]).map(drop))
}

row! {
    /// Facts of a file of a project that a transaction listed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListedFacts {
        pub file: FileId,
        /// The variant of the facts; 0 for those of the upload.
        pub variant: i64,
        pub facts: Vec<u8> => or_default,
        /// As in `package.language`.
        pub language: String,
    }
}

/// Returns the facts of the files of projects whose listing a transaction of a local source began.
pub fn listed_facts(c: &mut dyn Conn, tx: TxId) -> Result<Vec<ListedFacts>, DbError> {
    const FILES: &str = "SELECT f.id, CAST(0 AS BIGINT), f.facts, o.language FROM step s JOIN tree t ON t.id = s.tree_id \
        JOIN source o ON o.id = t.source_id \
        JOIN life l ON l.tree_id = s.tree_id AND l.from_seq = s.seq \
        JOIN file f ON f.id = l.file_id AND f.role = 'python' WHERE s.tx_id = $1 AND o.language <> 'r'";
    const VARIANTS: &str = "SELECT v.file_id, v.variant, v.facts, o.language FROM step s JOIN tree t ON t.id = s.tree_id \
        JOIN source o ON o.id = t.source_id \
        JOIN life l ON l.tree_id = s.tree_id AND l.from_seq = s.seq \
        JOIN file_fact v ON v.file_id = l.file_id WHERE s.tx_id = $1 AND o.language <> 'r'";
    let mut listed = c.all(FILES, &[tx.into()])?;
    listed.extend(c.all::<ListedFacts>(VARIANTS, &[tx.into()])?);
    Ok(listed)
}

pub fn set_facts(c: &mut dyn Conn, listed: &ListedFacts) -> Result<(), DbError> {
    const FILE: &str = "UPDATE file SET facts = $1 WHERE id = $2";
    const VARIANT: &str = "UPDATE file_fact SET facts = $1 WHERE file_id = $2 AND variant = $3";
    let ListedFacts { file, variant, facts, .. } = listed;
    let facts = facts.as_slice().into();
    match variant {
        0 => c.execute(FILE, &[facts, (*file).into()]),
        variant => c.execute(VARIANT, &[facts, (*file).into(), (*variant).into()]),
    }
    .map(drop)
}

/// Moves pins that are later than `now` (the cut-off times of promotions), so that each remains after the same
/// transactions. `transactions` are in the order of their times.
fn set_pins(
    c: &mut dyn Conn,
    now: Timestamp,
    transactions: &[(TxId, Timestamp, Timestamp)],
) -> Result<(), DbError> {
    const FUTURE: &str = "SELECT pinned_at FROM repo_step WHERE pinned_at > $1 UNION SELECT pinned_at FROM promotion \
        WHERE pinned_at > $1 ORDER BY pinned_at";
    const STATEMENTS: [&str; 2] = [
        "UPDATE repo_step SET pinned_at = $1 WHERE pinned_at = $2",
        "UPDATE promotion SET pinned_at = $1 WHERE pinned_at = $2",
    ];
    for old in c.all::<Timestamp>(FUTURE, &[now.into()])? {
        let last = transactions.iter().take_while(|(_, from, _)| *from < old).last();
        let new = last.map_or(now, |(_, _, to)| Timestamp(to.0 + 1));
        STATEMENTS.iter().try_for_each(|sql| c.execute(sql, &[new.into(), old.into()]).map(drop))?;
    }
    Ok(())
}

/// Resets times in the future: of leases and holds that end more than a day from now, longer than any lasts; of the last
/// success, which would delay schedules; of stored objects, which would delay their removal; of name guards and of names that
/// a mirror lists, because a name would count as published before its guard; and of readings of pages, because a reading
/// replaces only an earlier one, and block rules measure the age of a file from its reading.
fn reset_future_times(c: &mut dyn Conn, now: Timestamp) -> Result<(), DbError> {
    const LEASES: &str = "UPDATE lease SET until = 0, holder = '' WHERE until > $1";
    const FETCHED: &str = "UPDATE upstream SET fetched_at = $1 WHERE fetched_at > $1";
    let tomorrow = now + Duration::from_secs(86_400);
    const BLOBS: &str = "UPDATE blob SET created_at = $1 WHERE created_at > $1";
    const GUARDS: &str = "UPDATE name_guard SET created_at = $1 WHERE created_at > $1";
    const OVERLAPS: &str = "UPDATE name_overlap SET seen_at = $1 WHERE seen_at > $1";
    c.execute(LEASES, &[tomorrow.into()])?;
    c.execute("DELETE FROM hold WHERE until > $1", &[tomorrow.into()])?;
    const LOOKS: &str = "UPDATE reading SET fetched_at = $1 WHERE fetched_at > $1";
    const READINGS: &str = "UPDATE file_reading SET read_at = $1 WHERE read_at > $1";
    let statements = [FETCHED, BLOBS, GUARDS, OVERLAPS, LOOKS, READINGS];
    statements.into_iter().try_for_each(|sql| c.execute(sql, &[now.into()]).map(drop))
}

row! {
    /// A tree of an index whose newest state is in the future.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FutureTree from "tree" {
        pub tree: TreeId = "id",
        pub source: SourceId = "source_id",
        pub head: Timestamp,
    }
}

/// Returns the trees of indexes whose head is later than `limit`, by id.
pub fn future_trees(c: &mut dyn Conn, limit: Timestamp) -> Result<Vec<FutureTree>, DbError> {
    const FIND: &str = select!(FutureTree, "WHERE axis = 'time' AND head > $1 ORDER BY id");
    c.all(FIND, &[limit.into()])
}

/// Sets the head of a tree to `now`, and moves all rows of its index with it: a time from `now` on becomes the last
/// microsecond before `now` if it was before the head, and `now` otherwise. The newest state is the same as before, because
/// its sequence number is one less than the head, and so is every earlier state up to `now`. A row that was valid only
/// between two moved times is deleted.
pub fn reset(c: &mut dyn Conn, future: FutureTree, now: Timestamp) -> Result<(), DbError> {
    const OF_TREE: [&str; 3] = [
        "UPDATE life SET to_seq = $1 WHERE tree_id = $2 AND to_seq >= $3 AND to_seq < $4",
        "UPDATE life SET from_seq = $1 WHERE tree_id = $2 AND from_seq >= $3 AND from_seq < $4",
        "UPDATE curation SET base_seq = $1 WHERE base_tree_id = $2 AND base_seq >= $3 AND base_seq < $4",
    ];
    const OF_SOURCE: [&str; 4] = [
        "UPDATE reading SET valid_at = $1 WHERE source_id = $2 AND valid_at >= $3 AND valid_at < $4",
        "UPDATE project SET changed_at = $1 WHERE source_id = $2 AND changed_at >= $3 AND changed_at < $4",
        "UPDATE project SET to_at = $1 WHERE source_id = $2 AND to_at >= $3 AND to_at < $4",
        "UPDATE project SET from_at = $1 WHERE source_id = $2 AND from_at >= $3 AND from_at < $4",
    ];
    const HEAD: &str = "UPDATE tree SET head = $1 WHERE id = $2";
    let FutureTree { tree, source, head } = future;
    delete_empty(c, future, now)?;
    let before = Timestamp(now.0 - 1);
    // In this order, because `now` is before the head.
    for (to, low, high) in [(before, now.0, head.0), (now, head.0, Seq::OPEN.0)] {
        for sql in OF_TREE {
            c.execute(sql, &[to.into(), tree.into(), low.into(), high.into()])?;
        }
        for sql in OF_SOURCE {
            c.execute(sql, &[to.into(), source.into(), low.into(), high.into()])?;
        }
    }
    c.execute(HEAD, &[now.into(), tree.into()]).map(drop)
}

/// Deletes the periods that would be empty after [`reset`].
fn delete_empty(c: &mut dyn Conn, future: FutureTree, now: Timestamp) -> Result<(), DbError> {
    const LIVES: &str = "DELETE FROM life WHERE tree_id = $1 AND from_seq >= $2 AND to_seq >= $3 AND to_seq < $4 \
        AND (to_seq < $5 OR from_seq >= $5)";
    const PROJECTS: &str = "DELETE FROM project WHERE source_id = $1 AND from_at >= $2 AND to_at >= $3 AND to_at < $4 \
        AND (to_at < $5 OR from_at >= $5)";
    let FutureTree { tree, source, head } = future;
    let before = Timestamp(now.0 - 1);
    let open = Seq::OPEN;
    c.execute(LIVES, &[tree.into(), before.into(), now.into(), open.into(), head.into()])?;
    c.execute(PROJECTS, &[source.into(), before.into(), now.into(), open.into(), head.into()]).map(drop)
}
