//! Rules that block packages. Every change is announced, so that all servers apply it at once.

use super::ids::{self, Sequence};
use super::{Conn, DbError, Row, Value, clock};
use crate::model::ids::{RepoId, SourceId};
use crate::model::time::Timestamp;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRule {
    /// Its id; 0 before it is inserted.
    pub id: i64,
    /// Rules with a lower number come first.
    pub priority: i64,
    /// Whether it is an exception, which allows what it matches.
    pub exception: bool,
    /// The only source that the rule applies to; it may be deleted.
    pub source: Option<SourceId>,
    /// The only repository that the rule applies to; it may be deleted.
    pub repo: Option<RepoId>,
    /// The other criteria, in the format of the room `policy`.
    pub criteria: String,
    /// Free text.
    pub description: String,
    /// The user who created it.
    pub created_by: String,
    /// Creation time.
    pub created_at: Timestamp,
}

fn decode(mut row: Row) -> Result<BlockRule, DbError> {
    Ok(BlockRule {
        id: row.int(0)?,
        priority: row.int(1)?,
        exception: row.int(2)? != 0,
        source: row.opt_int(3)?.map(SourceId),
        repo: row.opt_int(4)?.map(RepoId),
        criteria: row.text(5)?,
        description: row.text(6)?,
        created_by: row.text(7)?,
        created_at: row.time(8)?,
    })
}

/// Returns all rules, by id.
pub fn list(c: &mut dyn Conn) -> Result<Vec<BlockRule>, DbError> {
    const LIST: &str = "SELECT id, priority, exception, source_id, repo_id, criteria, description, created_by, created_at \
        FROM block_rule ORDER BY id";
    c.query(LIST, &[])?.into_iter().map(decode).collect()
}

/// The creation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The id of the rule.
    pub id: i64,
    /// The user who created it.
    pub by: String,
    /// The time.
    pub at: Timestamp,
}

/// Returns the creations of all rules, by id.
pub fn creations(c: &mut dyn Conn) -> Result<Vec<Creation>, DbError> {
    const LIST: &str = "SELECT id, created_by, created_at FROM block_rule ORDER BY id";
    let decode = |mut row: Row| Ok(Creation { id: row.int(0)?, by: row.text(1)?, at: row.time(2)? });
    c.query(LIST, &[])?.into_iter().map(decode).collect()
}

/// Returns the number of changes of the rules so far.
pub fn revision(c: &mut dyn Conn) -> Result<i64, DbError> {
    const FIND: &str = "SELECT next FROM sequence WHERE name = 'block_rule_change'";
    c.query(FIND, &[])?.first().map_or(Ok(0), |row| row.int(0))
}

/// Inserts rules, with the next ids in their order; returns the first id.
pub fn insert(c: &mut dyn Conn, rules: &[BlockRule]) -> Result<i64, DbError> {
    const COLUMNS: [&str; 9] = [
        "id",
        "priority",
        "exception",
        "source_id",
        "repo_id",
        "criteria",
        "description",
        "created_by",
        "created_at",
    ];
    let count = i64::try_from(rules.len()).unwrap_or(i64::MAX);
    announce(c)?;
    let first = ids::reserve(c, Sequence::BlockRule, count)?;
    let row = |(id, rule): (i64, &BlockRule)| -> Vec<Value> {
        vec![
            id.into(),
            rule.priority.into(),
            rule.exception.into(),
            rule.source.map(|source| source.0).into(),
            rule.repo.map(|repo| repo.0).into(),
            rule.criteria.as_str().into(),
            rule.description.as_str().into(),
            rule.created_by.as_str().into(),
            rule.created_at.into(),
        ]
    };
    let rows: Vec<Vec<Value>> = (first..).zip(rules).map(row).collect();
    c.batch_insert("block_rule", &COLUMNS, &rows)?;
    Ok(first)
}

/// Replaces the values of a rule, except its creator and creation time. Returns false if there is no such rule.
pub fn update(c: &mut dyn Conn, rule: &BlockRule) -> Result<bool, DbError> {
    const UPDATE: &str = "UPDATE block_rule SET priority = CAST($1 AS BIGINT), exception = CAST($2 AS BIGINT), \
        source_id = CAST($3 AS BIGINT), repo_id = CAST($4 AS BIGINT), criteria = $5, description = $6 \
        WHERE id = CAST($7 AS BIGINT)";
    let params: [Value; 7] = [
        rule.priority.into(),
        rule.exception.into(),
        rule.source.map(|source| source.0).into(),
        rule.repo.map(|repo| repo.0).into(),
        rule.criteria.as_str().into(),
        rule.description.as_str().into(),
        rule.id.into(),
    ];
    announce(c)?;
    Ok(c.execute(UPDATE, &params)? == 1)
}

/// Deletes the rules with ids from `first` to `last`; returns their number.
pub fn delete(c: &mut dyn Conn, first: i64, last: i64) -> Result<u64, DbError> {
    announce(c)?;
    c.execute("DELETE FROM block_rule WHERE id >= $1 AND id <= $2", &[first.into(), last.into()])
}

/// Counts a change, and makes every server read the rules.
fn announce(c: &mut dyn Conn) -> Result<(), DbError> {
    clock::bump_catalog(c)?;
    ids::reserve(c, Sequence::BlockRuleChange, 1).map(drop)
}
