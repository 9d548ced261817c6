//! Rules that block packages. Every change is announced, so that all servers apply it at once, and recorded, so that they
//! read only the changed rules.

use super::ids::{self, Sequence};
use super::{Conn, DbError, Value, clock};
use crate::db::engine::columns::{insert, row, select};
use base::model::ids::{RepoId, SourceId};
use base::model::time::Timestamp;

/// Number of changes whose records are stored. A server that missed more of them reads all rules.
const STORED_CHANGES: i64 = 1000;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct BlockRule from "block_rule" {
        /// Its id; 0 before it is inserted.
        pub id: i64,
        /// Rules with a lower number come first.
        pub priority: i64,
        /// Whether it is an exception, which allows what it matches.
        pub exception: bool,
        /// The only source that the rule applies to; it may be deleted.
        pub source: Option<SourceId> = "source_id",
        /// The only repository that the rule applies to; it may be deleted.
        pub repo: Option<RepoId> = "repo_id",
        /// The other criteria, in the format of the room `policy`.
        pub criteria: String,
        pub description: String,
        pub created_by: String,
        pub created_at: Timestamp,
    }
}

/// Returns the rules with ids from `first` to `last`, by id; at most `limit` of them.
pub fn range(c: &mut dyn Conn, first: i64, last: i64, limit: i64) -> Result<Vec<BlockRule>, DbError> {
    const LIST: &str = select!(BlockRule, "WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT $3");
    c.all(LIST, &[first.into(), last.into(), limit.into()])
}

/// Returns the number of changes of the rules so far.
pub fn revision(c: &mut dyn Conn) -> Result<i64, DbError> {
    const FIND: &str = "SELECT next FROM sequence WHERE name = 'block_rule_change'";
    Ok(c.first(FIND, &[])?.unwrap_or_default())
}

/// Returns the ids of the rules that changed after the change number `from`, up to the change number `to`: inclusive
/// ranges in unspecified order. Returns `None` if the record of one of these changes is missing, because it is too old.
pub fn changed_ids(c: &mut dyn Conn, from: i64, to: i64) -> Result<Option<Vec<(i64, i64)>>, DbError> {
    const LIST: &str =
        "SELECT first_id, last_id FROM block_rule_change WHERE revision > $1 AND revision <= $2";
    let ids: Vec<(i64, i64)> = c.all(LIST, &[from.into(), to.into()])?;
    let is_complete = i64::try_from(ids.len()).ok() == to.checked_sub(from);
    Ok(is_complete.then_some(ids))
}

/// Inserts rules, with the next ids in their order; returns the first id.
pub fn insert(c: &mut dyn Conn, rules: &[BlockRule]) -> Result<i64, DbError> {
    let count = i64::try_from(rules.len()).unwrap_or(i64::MAX);
    clock::bump_catalog(c, clock::Change::Nothing)?;
    let first = ids::reserve(c, Sequence::BlockRule, rules.len())?;
    record_changes(c, &[(first, first.saturating_add(count).saturating_sub(1))])?;
    insert!(c, "block_rule", (first..).zip(rules), |(id, rule)| {
        id: id,
        priority: rule.priority,
        exception: rule.exception,
        source_id: rule.source,
        repo_id: rule.repo,
        criteria: rule.criteria.as_str(),
        description: rule.description.as_str(),
        created_by: rule.created_by.as_str(),
        created_at: rule.created_at,
    })?;
    Ok(first)
}

/// Replaces the values of a rule, except its creator and creation time. Returns false if there is no such rule.
pub fn update(c: &mut dyn Conn, rule: &BlockRule) -> Result<bool, DbError> {
    const UPDATE: &str = "UPDATE block_rule SET priority = $1, exception = $2, source_id = $3, repo_id = $4, \
        criteria = $5, description = $6 WHERE id = $7";
    let params: [Value; 7] = [
        rule.priority.into(),
        rule.exception.into(),
        rule.source.map(|source| source.0).into(),
        rule.repo.map(|repo| repo.0).into(),
        rule.criteria.as_str().into(),
        rule.description.as_str().into(),
        rule.id.into(),
    ];
    clock::bump_catalog(c, clock::Change::Nothing)?;
    record_changes(c, &[(rule.id, rule.id)])?;
    Ok(c.execute(UPDATE, &params)? == 1)
}

/// Deletes the rules with ids in these inclusive ranges; returns their number.
pub fn delete(c: &mut dyn Conn, ranges: &[(i64, i64)]) -> Result<u64, DbError> {
    clock::bump_catalog(c, clock::Change::Nothing)?;
    record_changes(c, ranges)?;
    let params: Vec<Vec<Value>> =
        ranges.iter().map(|(first, last)| vec![(*first).into(), (*last).into()]).collect();
    c.execute_many("DELETE FROM block_rule WHERE id >= $1 AND id <= $2", &params)
}

/// Counts a change of the rules of each of these ranges of ids, and records it.
fn record_changes(c: &mut dyn Conn, ranges: &[(i64, i64)]) -> Result<(), DbError> {
    const EXPIRE: &str = "DELETE FROM block_rule_change WHERE revision <= $1";
    let before = ids::reserve(c, Sequence::BlockRuleChange, ranges.len())?;
    insert!(c, "block_rule_change", (before + 1..).zip(ranges), |(revision, (first, last))| {
        revision: revision,
        first_id: *first,
        last_id: *last,
    })?;
    let last = before.saturating_add(i64::try_from(ranges.len()).unwrap_or(i64::MAX));
    c.execute(EXPIRE, &[(last - STORED_CHANGES).into()]).map(drop)
}
