//! Creates, changes and deletes block rules.

use std::collections::BTreeSet;

use super::{Actor, Write, apply};
use base::model::ids::{RepoId, SourceId};
use base::model::rule_effect::RuleEffect;
use base::model::time::Timestamp;
use content::serve::RepoError;
use formats::policy::Rule;
use runtime::catalog::{Catalog, rule_of_row};
use runtime::publish::edit::apply_edit;
use runtime::state::State;
use store::db::block_rule::{self, BlockRule};
use store::db::{Conn, DbError, audit, clock, repo, source};

const MAX_AUDITED_RULES: usize = 10;

/// Creates rules. Their ids are ignored; returns the new ids, in the order of `rules`.
pub async fn create(state: &State, rules: &[Rule], actor: &Actor) -> Result<Vec<i64>, RepoError> {
    create_validated(state, &state.catalog.get(), rules, actor).await
}

/// Like [`create`], for rules that were validated with a catalog: their sources and repositories that it has must still
/// exist. Others, which were deleted earlier, are those of rules without effect, as in a list of rules of this server.
///
/// # Errors
/// [`DbError::SourceDeleted`], [`DbError::NoRepo`].
pub async fn create_validated(
    state: &State,
    catalog: &Catalog,
    rules: &[Rule],
    actor: &Actor,
) -> Result<Vec<i64>, RepoError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let sources = rules.iter().filter_map(|rule| rule.criteria.source);
    let sources: BTreeSet<SourceId> =
        sources.filter(|source| catalog.source_by_id(*source).is_some()).collect();
    let repos = rules.iter().filter_map(|rule| rule.criteria.repo);
    let repos: BTreeSet<RepoId> = repos.filter(|repo| catalog.repo_by_id(*repo).is_some()).collect();
    let (rules, actor, now) = (rules.to_vec(), actor.clone(), (state.clock)());
    let count = rules.len();
    let write = apply_edit(state, move |c| {
        check_exist(c, &sources, &repos)?;
        write_new(c, &rules, &actor, now)
    });
    let first_id = write.await?;
    Ok((first_id..).take(count).collect())
}

/// Writes rules, at least one; returns the first of their ids.
pub(super) fn write_new(
    c: &mut dyn Conn,
    rules: &[Rule],
    actor: &Actor,
    now: Timestamp,
) -> Result<i64, DbError> {
    let new = |rule| BlockRule { created_by: actor.0.clone(), created_at: now, ..row(rule) };
    let rows: Vec<BlockRule> = rules.iter().map(new).collect();
    let first_id = block_rule::insert(c, &rows)?;
    let descriptions = rows.iter().take(MAX_AUDITED_RULES).map(describe).collect::<Vec<_>>().join("; ");
    let further_count = rows.len().saturating_sub(MAX_AUDITED_RULES);
    let rest = if further_count == 0 { String::new() } else { format!("; and {further_count} more") };
    let object = id_range(first_id, rows.len());
    audit::record(c, "create block rules", "block rule", &object, &(descriptions + &rest))?;
    Ok(first_id)
}

/// Checks that sources and repositories were not deleted, until the end of the transaction.
fn check_exist(
    c: &mut dyn Conn,
    sources: &BTreeSet<SourceId>,
    repos: &BTreeSet<RepoId>,
) -> Result<(), DbError> {
    if sources.is_empty() && repos.is_empty() {
        return Ok(());
    }
    clock::lock(c)?;
    source::check_exist(c, sources.iter().copied())?;
    for id in repos {
        if repo::get(c, *id)?.is_none() {
            return Err(DbError::NoRepo(*id));
        }
    }
    Ok(())
}

/// Returns `count` ids from `first` on as text: `5`, or `5-7`.
fn id_range(first: i64, count: usize) -> String {
    match i64::try_from(count) {
        Ok(1) | Err(_) => first.to_string(),
        Ok(count) => format!("{first}-{}", first + count - 1),
    }
}

/// Replaces the rule `known` by `new`, which has its id; the author and time of its creation remain.
///
/// # Errors
/// [`RepoError::NotFound`]; [`RepoError::Conflict`] if the stored rule is not `known` any more;
/// [`DbError::SourceDeleted`] and [`DbError::NoRepo`] for a new source or repository.
pub async fn update(state: &State, known: &Rule, new: &Rule) -> Result<(), RepoError> {
    let (known, row) = (known.clone(), row(new));
    // A rule of a deleted source or repository can be changed without a new one.
    let sources: BTreeSet<SourceId> =
        row.source.into_iter().filter(|source| known.criteria.source != Some(*source)).collect();
    let repos: BTreeSet<RepoId> =
        row.repo.into_iter().filter(|repo| known.criteria.repo != Some(*repo)).collect();
    apply(state, move |c| {
        let id = known.id;
        let stored = block_rule::range(c, id, id, 1)?.pop().ok_or_else(|| unknown(id))?;
        if rule_of_row(stored).ok().as_ref() != Some(&known) {
            let text =
                format!("block rule {id} was changed by another command in the meantime; repeat this one");
            return Err(RepoError::Conflict(text).into());
        }
        check_exist(c, &sources, &repos)?;
        block_rule::update(c, &row)?;
        Ok(audit::record(c, "change block rule", "block rule", &id.to_string(), &describe(&row))?)
    })
    .await
}

/// Deletes the rules with ids in these inclusive ranges; returns the number of deleted rules.
///
/// # Errors
/// [`RepoError::NotFound`] if a range that is a single id has no rule; nothing is deleted then.
pub async fn delete(state: &State, ranges: Vec<(i64, i64)>) -> Result<u64, RepoError> {
    apply(state, move |c| write_deletion(c, &ranges)).await
}

pub(super) fn write_deletion(c: &mut dyn Conn, ranges: &[(i64, i64)]) -> Write<u64> {
    if ranges.is_empty() {
        return Ok(0);
    }
    let mut audited = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        let rules = block_rule::range(c, *first, *last, MAX_AUDITED_RULES as i64)?;
        if rules.is_empty() && first == last {
            return Err(unknown(*first).into());
        }
        let detail = rules.iter().map(describe).collect::<Vec<_>>().join("; ");
        let object = if first == last { first.to_string() } else { format!("{first}-{last}") };
        audited.push(audit::row("delete block rules", "block rule", &object, &detail));
    }
    let deleted_count = block_rule::delete(c, ranges)?;
    audit::record_all(c, audited)?;
    Ok(deleted_count)
}

fn unknown(id: i64) -> RepoError {
    RepoError::NotFound(format!("there is no block rule {id}; rspm list blocklist-rules shows all"))
}

fn row(rule: &Rule) -> BlockRule {
    BlockRule {
        id: rule.id,
        priority: rule.priority,
        exception: rule.effect == RuleEffect::Allow,
        source: rule.criteria.source,
        repo: rule.criteria.repo,
        criteria: formats::policy::criteria_text(&rule.criteria, rule.effect),
        description: rule.description.clone(),
        created_by: String::new(),
        created_at: Timestamp(0),
    }
}

/// The text of a rule in the audit trail.
fn describe(row: &BlockRule) -> String {
    let kind = if row.exception { "exception" } else { "block" };
    let source = row.source.map(|SourceId(id)| format!(", source {id}")).unwrap_or_default();
    let repo = row.repo.map(|id| format!(", repository {id}")).unwrap_or_default();
    format!("{kind}, priority {}{source}{repo}, criteria {}", row.priority, row.criteria)
}
