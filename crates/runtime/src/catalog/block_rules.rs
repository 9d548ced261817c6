//! The block rules of a catalog. A new one reads only the rules changed since the previous one, and shares the others.
//!
//! A rule is a row of `block_rule`; `block_rule_change` has the ids of the changed ones. All rules are read if the
//! connection to PostgreSQL was opened again, because a promoted standby may reuse the numbers of lost changes.

use std::collections::HashMap;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::ReadExtent;
use base::model::time::Timestamp;
use formats::policy::{BadRule, Criteria, Rule, read_criteria};
use store::db::block_rule::{self, BlockRule};
use store::db::{Conn, DbError};

#[derive(Debug, Default)]
pub struct BlockRules {
    /// The number of changes so far.
    pub revision: i64,
    by_id: OrdMap<i64, StoredRule>,
    /// The number of rules that depend on the age of releases.
    aged_count: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StoredRule {
    /// The rule; catalogs share it while it does not change.
    pub rule: Arc<Rule>,
    pub created_by: Arc<str>,
    pub created_at: Timestamp,
}

/// The difference between the rules of two catalogs. A changed rule is in both lists.
#[derive(Debug, Default)]
pub struct RuleChanges {
    /// The rules that only the earlier catalog has.
    pub removed: Vec<Arc<Rule>>,
    /// The rules that only the later catalog has.
    pub added: Vec<Arc<Rule>>,
}

impl RuleChanges {
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}

impl BlockRules {
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn get(&self, id: i64) -> Option<&StoredRule> {
        self.by_id.get(&id)
    }

    /// Returns the rules by id.
    pub fn iter(&self) -> impl Iterator<Item = &StoredRule> {
        self.by_id.values()
    }

    /// Returns the rules in the order of evaluation ([`Rule::order`]).
    pub fn in_order(&self) -> Vec<&StoredRule> {
        let mut rules: Vec<&StoredRule> = self.iter().collect();
        rules.sort_by_key(|stored| stored.rule.order());
        rules
    }

    /// Returns whether a rule depends on the age of releases.
    pub fn has_age(&self) -> bool {
        self.aged_count > 0
    }

    /// Returns the changes from `previous` to these rules. What both share is not visited.
    pub fn changes_since(&self, previous: &BlockRules) -> RuleChanges {
        let mut changes = RuleChanges::default();
        // The usual case: a catalog of a publish shares the rules with the previous one.
        if std::ptr::eq(self, previous) {
            return changes;
        }
        for item in previous.by_id.diff(&self.by_id) {
            let (removed, added) = match item {
                DiffItem::Remove(_, old) => (Some(old), None),
                DiffItem::Update { old: (_, old), new: (_, new) } if Arc::ptr_eq(&old.rule, &new.rule) => {
                    continue;
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
                DiffItem::Add(_, new) => (None, Some(new)),
            };
            changes.removed.extend(removed.map(|stored| Arc::clone(&stored.rule)));
            changes.added.extend(added.map(|stored| Arc::clone(&stored.rule)));
        }
        changes
    }

    fn insert(&mut self, stored: StoredRule) {
        self.aged_count += usize::from(is_aged(&stored));
        self.by_id.insert(stored.rule.id, stored);
    }

    fn remove(&mut self, id: i64) -> Option<StoredRule> {
        let removed = self.by_id.remove(&id)?;
        self.aged_count -= usize::from(is_aged(&removed));
        Some(removed)
    }
}

fn is_aged(stored: &StoredRule) -> bool {
    stored.rule.criteria.min_age.is_some()
}

impl FromIterator<StoredRule> for BlockRules {
    fn from_iter<I: IntoIterator<Item = StoredRule>>(rules: I) -> BlockRules {
        let mut all = BlockRules::default();
        rules.into_iter().for_each(|stored| all.insert(stored));
        all
    }
}

/// Reads the rules that changed since `previous`, or all of them. Rules that did not change are shared with `previous`.
pub(super) fn read(
    c: &mut dyn Conn,
    previous: Option<&Arc<BlockRules>>,
    extent: ReadExtent,
) -> Result<Arc<BlockRules>, DbError> {
    const ALL: (i64, i64) = (i64::MIN, i64::MAX);
    let revision = block_rule::revision(c)?;
    let changed = match (previous, extent) {
        (Some(previous), ReadExtent::Changes) if previous.revision == revision => {
            return Ok(Arc::clone(previous));
        }
        (Some(previous), ReadExtent::Changes) => block_rule::changed_ids(c, previous.revision, revision)?,
        (Some(_), ReadExtent::All) | (None, _) => None,
    };
    let mut rules = BlockRules { revision, ..BlockRules::default() };
    if let Some(previous) = previous {
        (rules.by_id, rules.aged_count) = (previous.by_id.clone(), previous.aged_count);
    }
    let mut last_author: Arc<str> = Arc::from("");
    for (first, last) in changed.map_or_else(|| vec![ALL], merged_ranges) {
        let ids: Vec<i64> = rules.by_id.range(first..=last).map(|(id, _)| *id).collect();
        let replaced: HashMap<i64, StoredRule> =
            ids.into_iter().filter_map(|id| Some((id, rules.remove(id)?))).collect();
        for row in block_rule::range(c, first, last, i64::MAX)? {
            if *last_author != *row.created_by {
                last_author = Arc::from(row.created_by.as_str());
            }
            let (created_by, created_at) = (Arc::clone(&last_author), row.created_at);
            let known = replaced.get(&row.id).map(|known| &known.rule);
            if let Some(rule) = rule(row, known) {
                rules.insert(StoredRule { rule, created_by, created_at });
            }
        }
    }
    Ok(Arc::new(rules))
}

/// Returns the rule of a row.
///
/// # Errors
/// This version cannot read the row.
pub fn rule_of_row(row: BlockRule) -> Result<Rule, BadRule> {
    let (criteria, effect) = read_criteria(&row.criteria, row.exception)?;
    Ok(Rule {
        id: row.id,
        priority: row.priority,
        effect,
        criteria: Criteria { source: row.source, repo: row.repo, ..criteria },
        description: row.description,
    })
}

/// Returns the rule of a row; `known` if unchanged. `None`, with a log line, if this version cannot read the row.
fn rule(row: BlockRule, known: Option<&Arc<Rule>>) -> Option<Arc<Rule>> {
    let id = row.id;
    let rule = match rule_of_row(row) {
        Ok(rule) => rule,
        Err(error) => {
            tracing::error!(
                "block rule {id} is not applied, because this version of the server cannot read it: {error}"
            );
            return None;
        }
    };
    Some(match known {
        Some(known) if **known == rule => Arc::clone(known),
        Some(_) | None => Arc::new(rule),
    })
}

/// Merges ranges that overlap or follow each other; returns them in ascending order.
pub fn merged_ranges(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::rule_effect::RuleEffect;

    fn stored(id: i64, priority: i64) -> StoredRule {
        let (effect, criteria) = (RuleEffect::Block, Criteria::default());
        let rule = Rule { id, priority, effect, criteria, description: String::new() };
        StoredRule { rule: Arc::new(rule), created_by: "a".into(), created_at: Timestamp(0) }
    }

    fn rules(rules: &[&StoredRule]) -> BlockRules {
        rules.iter().copied().cloned().collect()
    }

    #[test]
    fn the_changes_are_the_rules_that_are_not_shared() {
        let [a, b, c, d] = [(4, 10), (1, 100), (2, 100), (3, 100)].map(|(id, priority)| stored(id, priority));
        let (mut changed, moved) = (stored(2, 100), stored(1, 5));
        Arc::make_mut(&mut changed.rule).description = "another".to_owned();
        let ids = |rules: &[Arc<Rule>]| rules.iter().map(|rule| rule.id).collect::<Vec<_>>();
        for (before, now, removed, added) in [
            (vec![&a, &b, &c], vec![&a, &b, &c], vec![], vec![]),
            (vec![&a, &c], vec![&a, &b, &c, &d], vec![], vec![1, 3]),
            (vec![&a, &b, &c, &d], vec![&b, &d], vec![2, 4], vec![]),
            (vec![&a, &b, &c, &d], vec![&a, &b, &changed, &d], vec![2], vec![2]),
            (vec![&a, &b, &c], vec![&moved, &a, &c], vec![1], vec![1]),
            (vec![], vec![&a], vec![], vec![4]),
            (vec![&d], vec![], vec![3], vec![]),
        ] {
            let changes = rules(&now).changes_since(&rules(&before));
            assert_eq!((ids(&changes.removed), ids(&changes.added)), (removed, added), "{before:?} {now:?}");
        }
    }

    #[test]
    fn ranges_are_merged() {
        let ranges = merged_ranges(vec![(7, 9), (1, 2), (3, 3), (8, 20), (30, i64::MAX), (40, 41)]);
        assert_eq!(ranges, [(1, 3), (7, 20), (30, i64::MAX)]);
    }
}
