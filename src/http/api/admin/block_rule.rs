//! Block rules: list, create, change, delete, test.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use serde::Serializer;
use serde_json::{Map, Value};

use super::block_rule_form::{never_matches, rule_of_wire, wire_of_rule};
use super::call::{Answer, Call, Raw, WithStatus, read_row, version};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::response;
use crate::http::route::access::{change_blocklist, inspect_repository};
use api::block_rule as wire;
use api::error::Code;
use base::model::errors::refused_rows;
use base::model::rule_effect::RuleEffect;
use base::model::time::{Day, SECOND, Timestamp};
use content::serve::rule_matches::{RuleMatch, RuleMatches};
use content::serve::{block_rules, rule_matches};
use formats::policy::{Criteria, Rule};
use runtime::catalog::{Catalog, StoredRule};
use store::db::blocked_request;
use tasks::edit::block_rule;

/// Maximum number of rules in a request.
const MAX_RULES: usize = 200_000;

/// `GET /block-rules`: in the order of evaluation. Omits rules that this version cannot read; the log names them.
pub(super) async fn list(call: Call<'_>) -> Answer<Raw> {
    let catalog = call.app.state.catalog.get();
    // 100,000 rules take some tens of milliseconds: not on an async thread.
    match tokio::task::spawn_blocking(move || json_of_rules(&catalog)).await {
        Ok(Ok(text)) => Ok(Raw(response::json_bytes(StatusCode::OK, text.into()))),
        Ok(Err(error)) => {
            tracing::error!("could not serialize the block rules as JSON: {error}");
            Err(Failure::unavailable(
                "the list of block rules could not be written; the log states the reason",
                60,
            ))
        }
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Failure::unavailable("the server is stopping", 5)),
    }
}

/// Returns all rules as a JSON array. Each rule is serialized before the next one is converted, because as values of the
/// API, 100,000 rules take much more memory, and time to fill it, than their text.
fn json_of_rules(catalog: &Catalog) -> serde_json::Result<Vec<u8>> {
    // Rules of one file have the same creation time.
    let mut last = (Timestamp(i64::MIN), String::new());
    let wire = |stored: &StoredRule| {
        if stored.created_at != last.0 {
            last = (stored.created_at, stored.created_at.to_string());
        }
        wire::BlockRule {
            created_by: Some(stored.created_by.to_string()),
            created: Some(last.1.clone()),
            ..wire_of_rule(catalog, &stored.rule)
        }
    };
    let mut text = Vec::new();
    serde_json::Serializer::new(&mut text).collect_seq(catalog.rules.in_order().into_iter().map(wire))?;
    Ok(text)
}

pub(super) async fn create(
    call: Call<'_>,
    body: wire::CreateBlockRules,
) -> Answer<WithStatus<wire::CreatedBlockRules>> {
    let Call { app, actor, .. } = call;
    if body.rules.is_empty() || body.rules.len() > MAX_RULES {
        return Err(Failure::bad_request(format!("give at least one rule and at most {MAX_RULES}")));
    }
    let catalog = app.state.catalog.get();
    let count = body.rules.len();
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for (index, row) in body.rules.into_iter().enumerate() {
        let rule: Result<wire::BlockRule, String> = read_row(row);
        match rule.map_err(Failure::bad_request).and_then(|rule| rule_of_wire(&catalog, &rule)) {
            Ok(rule) => rules.push(rule),
            Err(failure) if count == 1 && failure.code == Code::Unconfirmed => return Err(failure),
            Err(failure) => refused.push(wire::RefusedBlockRule { index, error: failure.phrase }),
        }
    }
    match (&refused[..], count) {
        ([only], 1) => return Err(Failure::bad_request(only.error.clone())),
        ([_, ..], _) if body.fail_all => {
            let rows = refused.iter().map(|row| (row.index + 1, row.error.as_str()));
            return Err(Failure::bad_request(refused_rows("rule", rows)));
        }
        _ => {}
    }
    let mut counted = Vec::new();
    if count <= wire::MAX_COUNTED_RULES {
        for rule in &rules {
            counted.push(matches(app, rule).await?);
        }
    }
    if !body.dry_run {
        let ids = block_rule::create_validated(&app.state, &catalog, &rules, &actor).await?;
        rules.iter_mut().zip(ids).for_each(|(rule, id)| rule.id = id);
    }
    let matches = if count == 1 { counted.pop().unwrap_or_default() } else { Vec::new() };
    let counted = counted.into_iter().chain(std::iter::repeat_with(Vec::new));
    let wire = |(rule, matches): (&Rule, Vec<wire::BlockRuleMatches>)| {
        let rule = wire_of_rule(&catalog, rule);
        wire::BlockRule { id: rule.id.filter(|_| !body.dry_run), matches, ..rule }
    };
    let rules = rules.iter().zip(counted).map(wire).collect();
    let created = wire::CreatedBlockRules { rules, refused, matches };
    let status = if body.dry_run { StatusCode::OK } else { StatusCode::CREATED };
    Ok(WithStatus(status, created))
}

/// Returns the packages that a rule matches, by repository; a new rule in addition to those in force.
pub(super) async fn matches(app: &App, rule: &Rule) -> Result<Vec<wire::BlockRuleMatches>, Failure> {
    let matches = rule_matches::of_rule(&app.repositories, rule).await?.into_iter();
    let is_block = rule.effect == RuleEffect::Block;
    let example = |found: &RuleMatch| {
        let version = if is_block { &found.before } else { &found.after };
        format!("{} {}", found.name, version.as_deref().unwrap_or_default())
    };
    let change = |found: RuleMatch| wire::ListedVersionChange {
        name: found.name,
        from_version: found.before,
        to_version: found.after,
    };
    let wire = |found: RuleMatches| wire::BlockRuleMatches {
        repo: found.repo,
        bioc_version: found.bioconductor.map(|version| version.to_string()),
        packages: found.packages,
        total: found.total,
        examples: found.examples.iter().map(example).collect(),
        changes: found.examples.into_iter().map(change).collect(),
        archived: found.archived,
        archived_examples: found.archived_examples,
    };
    Ok(matches.map(wire).collect())
}

pub(super) async fn edit(call: Call<'_>, id: &str, body: wire::EditBlockRule) -> Answer<wire::BlockRule> {
    let app = call.app;
    // Another server may just have created or changed the rule.
    app.state.catalog.refresh(&app.state.db).await?;
    let rule = find(&app.state.catalog.get(), id)?;
    let catalog = app.state.catalog.get();
    let current = wire_of_rule(&catalog, &rule);
    let is_confirmed = body.changes.get("all").and_then(Value::as_bool) == Some(true);
    let changed = changed(&current, body.changes)?;
    let new = Rule { id: rule.id, ..rule_of_wire(&catalog, &changed)? };
    // A rule that has no effect, because its source was deleted, can be changed, but must be able to match afterwards.
    let reason_of = |criteria: &Criteria| never_matches(&catalog, criteria);
    if let (known, Some(reason)) = (reason_of(&rule.criteria), reason_of(&new.criteria))
        && known.as_ref() != Some(&reason)
    {
        return Err(Failure::bad_request(reason));
    }
    if let (Some(reason), false) = (requires_confirmation(&rule, &new), is_confirmed) {
        return Err(Failure::unconfirmed(reason));
    }
    let matches = matches(app, &new).await?;
    if !body.dry_run {
        block_rule::update(&app.state, &rule, &new).await?;
    }
    Ok(wire::BlockRule { matches, ..wire_of_rule(&app.state.catalog.get(), &new) })
}

/// Returns the reason why a change of a rule without a criterion of packages must be confirmed by `all` again: the changed
/// rule would match all packages of a source, a repository or the server that it did not match before, or would block
/// packages that it did not block before. `None` if no confirmation is needed. The confirmation at the creation of such
/// a rule is a part of its form.
fn requires_confirmation(rule: &Rule, new: &Rule) -> Option<&'static str> {
    let (old, criteria) = (&rule.criteria, &new.criteria);
    if criteria.has_release_criterion() || old.has_release_criterion() {
        return None;
    }
    let has_others = (old.repo.is_some() && criteria.repo != old.repo)
        || (old.source.is_some() && criteria.source != old.source)
        || (rule.effect != RuleEffect::Block && new.effect == RuleEffect::Block);
    has_others.then_some(
        "the changed rule would match all packages of other repositories or sources, or block packages that it did not \
         block",
    )
}

fn find(catalog: &Catalog, id: &str) -> Result<Arc<Rule>, Failure> {
    let unknown = || {
        let id: String = id.chars().take(40).collect();
        Failure::not_found(format!("there is no block rule {id}; rspm list blocklist-rules shows all"))
    };
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let stored = catalog.rules.get(number);
    stored.map(|stored| Arc::clone(&stored.rule)).ok_or_else(unknown)
}

/// Criteria with an option that applies only with them.
const OPTIONS: [(&str, &str); 2] = [("min_severity", "block_unscored"), ("min_age", "min_age_fixes")];

/// Applies changes to the JSON form of a rule. A new source (by number, name or type) replaces the old one, and a new
/// repository the old one. A criterion is removed with its option.
fn changed(current: &wire::BlockRule, changes: Map<String, Value>) -> Result<wire::BlockRule, Failure> {
    let bad = |error: serde_json::Error| Failure::bad_request(error.to_string());
    let mut form = match serde_json::to_value(current).map_err(bad)? {
        Value::Object(form) => form,
        _ => Map::new(),
    };
    for keys in [&["source_id", "source_name", "source_type"][..], &["repo_id", "repo"]] {
        if keys.iter().any(|key| changes.contains_key(*key)) {
            keys.iter().for_each(|key| drop(form.remove(*key)));
        }
    }
    let options = OPTIONS.into_iter().filter(|(_, option)| !changes.contains_key(*option));
    let options: Vec<(&str, &str)> = options.collect();
    for (key, value) in changes {
        match value {
            Value::Null => drop(form.remove(&key)),
            Value::String(text) if text.is_empty() => drop(form.remove(&key)),
            value => drop(form.insert(key, value)),
        }
    }
    for (criterion, option) in options {
        if !form.contains_key(criterion) {
            form.remove(option);
        }
    }
    serde_json::from_value(Value::Object(form)).map_err(bad)
}

pub(super) async fn delete(call: Call<'_>, body: wire::DeleteBlockRules) -> Answer<wire::DeletedBlockRules> {
    let app = call.app;
    let deleted = block_rule::delete(&app.state, ranges(&body.id)?).await?;
    Ok(wire::DeletedBlockRules { deleted })
}

/// Parses `5`, `2-77`, `3,4,9` and `all` to inclusive ranges.
fn ranges(text: &str) -> Result<Vec<(i64, i64)>, Failure> {
    let bad = || {
        Failure::bad_request(
            "name the rules by their numbers: --id 5, --id 2-77, --id 3,4,9 or --id all; rspm list blocklist-rules shows them",
        )
    };
    if text.trim() == "all" {
        return Ok(vec![(1, i64::MAX)]);
    }
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<i64>().ok().filter(|id| *id > 0).ok_or_else(bad);
        let (first, last) = (number(first)?, number(last)?);
        if first <= last { Ok((first, last)) } else { Err(bad()) }
    };
    text.split(',').map(range).collect()
}

pub(super) async fn test(call: Call<'_>, body: wire::TestBlockRules) -> Answer<wire::BlockRulesTest> {
    let Call { app, principal, .. } = call;
    let catalog = app.state.catalog.get();
    // SECURITY: the response contains versions of the repository, so the client must be permitted to read it.
    if principal.require(&catalog, change_blocklist()).is_err() {
        principal.require(&catalog, inspect_repository(&body.repo))?;
    }
    let bioconductor = body.bioc_version.as_deref().map(version).transpose()?;
    let begin = Instant::now();
    let test = block_rules::test(
        &app.repositories,
        &body.repo,
        bioconductor,
        &body.package_name,
        body.version.as_deref(),
    );
    let result = test.await?;
    let duration = begin.elapsed();
    let catalog = app.state.catalog.get();
    Ok(wire::BlockRulesTest {
        package_name: body.package_name,
        version: result.version,
        blocked: result.is_blocked,
        rule: result.rule.map(|rule| wire_of_rule(&catalog, &rule)),
        reason: result.reason,
        compared: result.compared,
        allowed_is_listed: result.allowed.as_ref().is_some_and(|allowed| allowed.is_listed),
        allowed: result.allowed.map(|allowed| allowed.version),
        microseconds: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
    })
}

/// Default number of days of a report, if the parameter `since` is absent.
const DEFAULT_DAYS: i64 = 7;

pub(super) async fn blocked(call: Call<'_>, query: wire::CountBlocked) -> Answer<wire::BlockedRequests> {
    let app = call.app;
    let since: Day = match query.since {
        Some(text) => text.parse().map_err(|_| {
            let excerpt: String = text.chars().take(60).collect();
            Failure::bad_request(format!("'{excerpt}' is not a day (YYYY-MM-DD)"))
        })?,
        None => Timestamp((app.state.clock)().0 - (DEFAULT_DAYS - 1) * 86_400 * SECOND).day(),
    };
    let report = app.usage.blocked(since).await.map_err(|error| {
        tracing::warn!(%error, "could not read the counts of refused requests");
        Failure::unavailable("the database of usage data is not available", 10)
    })?;
    let report = report.ok_or_else(|| {
        Failure::not_found("refused requests are not counted, because Server.UsageDataEnabled is false")
    })?;
    let row = |count: blocked_request::BlockedCount| wire::BlockedCount {
        rule: count.rule,
        package: count.package,
        version: count.version,
        client: count.client,
        count: count.count,
        last: Timestamp(count.day.saturating_mul(86_400 * SECOND)).day().to_string(),
    };
    Ok(wire::BlockedRequests {
        since: since.to_string(),
        total: report.total,
        requests: report.totals.into_iter().map(row).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_rules_is_an_array_in_the_order_of_evaluation() {
        let mut catalog = Catalog::default();
        assert_eq!(json_of_rules(&catalog).expect("JSON"), b"[]");
        let stored = |id, created_at| {
            let criteria = Criteria { package: Some(format!("p{id}")), ..Criteria::default() };
            let (effect, description) = (RuleEffect::Block, String::new());
            let rule = Arc::new(Rule { id, priority: 100, effect, criteria, description });
            StoredRule { rule, created_by: "a".into(), created_at: Timestamp(created_at) }
        };
        let rules = vec![stored(1, 0), stored(2, 0), stored(5, 1_500_000), stored(7, 0)];
        catalog.rules = Arc::new(rules.into_iter().collect());
        let text = String::from_utf8(json_of_rules(&catalog).expect("JSON")).expect("UTF-8");
        let rule = |id: i64, created: &str| {
            format!(
                r#"{{"id":{id},"priority":100,"package_name":"p{id}","created_by":"a","created":"1970-01-01T00:00:{created}Z"}}"#
            )
        };
        let expected = [rule(1, "00"), rule(2, "00"), rule(5, "01.500000"), rule(7, "00")];
        assert_eq!(text, format!("[{}]", expected.join(",")));
    }

    #[test]
    fn rules_are_named_by_numbers_and_ranges() {
        assert_eq!(ranges("5").expect("a number"), [(5, 5)]);
        assert_eq!(ranges("2-77, 9").expect("a list"), [(2, 77), (9, 9)]);
        assert_eq!(ranges("all").expect("all"), [(1, i64::MAX)]);
        for bad in ["", "0", "-1", "7-2", "a", "1,,2", "1-2-3"] {
            assert!(ranges(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_replaces_or_removes_a_criterion() {
        let current = wire::BlockRule {
            source_id: Some(3),
            source_name: Some("internal".to_owned()),
            license: Some("GPL".to_owned()),
            ..wire::BlockRule::default()
        };
        let change = |text: &str| {
            let changes = serde_json::from_str(text).expect("an object");
            changed(&current, changes)
        };
        let new = change(r#"{"source_name":"other","license":null,"priority":5}"#).expect("a rule");
        assert_eq!((new.source_id, new.source_name.as_deref()), (None, Some("other")));
        assert_eq!((new.license, new.priority), (None, Some(5)));
        assert!(change(r#"{"moon":1}"#).is_err());
        let current = wire::BlockRule {
            min_severity: Some(7.0),
            block_unscored: Some(false),
            min_age: Some("7d".to_owned()),
            min_age_fixes: Some("wait".to_owned()),
            ..wire::BlockRule::default()
        };
        let change =
            |text: &str| changed(&current, serde_json::from_str(text).expect("an object")).expect("a rule");
        let new = change(r#"{"min_severity":null,"min_age":""}"#);
        assert_eq!(new, wire::BlockRule::default(), "a criterion is removed with its option");
        let new = change(r#"{"min_severity":null,"block_unscored":true}"#);
        assert_eq!((new.min_severity, new.block_unscored), (None, Some(true)), "which is refused");
    }
}
