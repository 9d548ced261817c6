//! The block rules of a catalog. A new one reads only the rules changed since the previous one, and shares the others.
//!
//! A rule is a row of `block_rule`; `block_rule_change` has the ids of the changed ones. All rules are read if the
//! connection to PostgreSQL was opened again, because a promoted standby may reuse the numbers of lost changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::ReadExtent;
use base::model::time::Timestamp;
use formats::policy::{BadRule, Criteria, Rule, read_criteria};
use store::db::block_rule::{self, BlockRule};
use store::db::{Conn, DbError};

#[derive(Debug, Default)]
pub struct BlockRules {
    /// The number of changes so far.
    pub revision: i64,
    /// The rules, in the order of evaluation ([`Rule::order`]).
    pub rules: Vec<StoredRule>,
    /// Whether a rule depends on the age of releases.
    pub has_age: bool,
}

#[derive(Clone, Debug)]
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
    /// Returns the changes from `previous` to these rules. Shared rules are compared by address only.
    pub fn changes_since(&self, previous: &BlockRules) -> RuleChanges {
        let mut changes = RuleChanges::default();
        // The usual case: a catalog of a publish shares the rules with the previous one.
        if std::ptr::eq(self, previous) {
            return changes;
        }
        let (mut before, mut now) = (previous.rules.iter().peekable(), self.rules.iter().peekable());
        loop {
            match (before.peek(), now.peek()) {
                (Some(a), Some(b)) if Arc::ptr_eq(&a.rule, &b.rule) => {
                    before.next();
                    now.next();
                }
                (Some(a), Some(b)) if a.rule.order() > b.rule.order() => {
                    changes.added.extend(now.next().map(|it| Arc::clone(&it.rule)));
                }
                (Some(_), _) => changes.removed.extend(before.next().map(|it| Arc::clone(&it.rule))),
                (None, Some(_)) => changes.added.extend(now.next().map(|it| Arc::clone(&it.rule))),
                (None, None) => return changes,
            }
        }
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
    let (known, changed): (&[StoredRule], _) = match (previous, extent) {
        (None, _) => (&[], None),
        (Some(previous), ReadExtent::All) => (&previous.rules, None),
        (Some(previous), ReadExtent::Changes) if previous.revision == revision => {
            return Ok(Arc::clone(previous));
        }
        (Some(previous), ReadExtent::Changes) => {
            (&previous.rules, block_rule::changed_ids(c, previous.revision, revision)?)
        }
    };
    let changed = changed.map_or_else(|| vec![ALL], merged);
    let is_changed = |rule: &&StoredRule| contains(&changed, rule.rule.id);
    let mut rules: Vec<StoredRule> = known.iter().filter(|rule| !is_changed(rule)).cloned().collect();
    let replaced: HashMap<i64, &StoredRule> =
        known.iter().filter(is_changed).map(|rule| (rule.rule.id, rule)).collect();
    for (first, last) in &changed {
        for row in block_rule::range(c, *first, *last, i64::MAX)? {
            let created_by = match rules.last() {
                Some(last) if *last.created_by == row.created_by => Arc::clone(&last.created_by),
                _ => Arc::from(row.created_by.as_str()),
            };
            let (created_at, known) = (row.created_at, replaced.get(&row.id).map(|known| &known.rule));
            if let Some(rule) = rule(row, known) {
                rules.push(StoredRule { rule, created_by, created_at });
            }
        }
    }
    rules.sort_by_key(|rule| rule.rule.order());
    let has_age = rules.iter().any(|rule| rule.rule.criteria.min_age.is_some());
    Ok(Arc::new(BlockRules { revision, rules, has_age }))
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
fn merged(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
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

/// Returns whether one of these ranges, which are in ascending order, contains a number.
fn contains(ranges: &[(i64, i64)], number: i64) -> bool {
    let end = ranges.partition_point(|(first, _)| *first <= number);
    ranges[..end].last().is_some_and(|(_, last)| number <= *last)
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
        BlockRules { revision: 1, rules: rules.iter().copied().cloned().collect(), has_age: false }
    }

    #[test]
    fn the_changes_are_the_rules_that_are_not_shared() {
        let [a, b, c, d] = [(4, 10), (1, 100), (2, 100), (3, 100)].map(|(id, priority)| stored(id, priority));
        let (changed, moved) = (stored(2, 100), stored(1, 5));
        let ids = |rules: &[Arc<Rule>]| rules.iter().map(|rule| rule.id).collect::<Vec<_>>();
        for (before, now, removed, added) in [
            (vec![&a, &b, &c], vec![&a, &b, &c], vec![], vec![]),
            (vec![&a, &c], vec![&a, &b, &c, &d], vec![], vec![1, 3]),
            (vec![&a, &b, &c, &d], vec![&b, &d], vec![4, 2], vec![]),
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
    fn ranges_are_merged_and_searched() {
        let ranges = merged(vec![(7, 9), (1, 2), (3, 3), (8, 20), (30, i64::MAX), (40, 41)]);
        assert_eq!(ranges, [(1, 3), (7, 20), (30, i64::MAX)]);
        for (number, expected) in [(0, false), (1, true), (3, true), (4, false), (20, true), (i64::MAX, true)]
        {
            assert_eq!(contains(&ranges, number), expected, "{number}");
        }
        assert!(!contains(&[], 1) && contains(&[(i64::MIN, i64::MAX)], 1));
    }
}
