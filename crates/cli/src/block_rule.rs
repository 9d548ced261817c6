//! `rspm create|edit|delete|list|test blocklist-rule(s)`, `rspm list blocked`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::error::CliError;
use super::input;
use super::output::{Output, format_count, table};
use api::block_rule::{
    BlockRule, BlockRuleMatches, BlockedCount, BlockedRequests, CountBlocked, CreateBlockRules,
    CreatedBlockRules, DeleteBlockRules, EditBlockRule, MAX_COUNTED_RULES, RuleFlags, SCORES, TestBlockRules,
};
use api::operations::admin as operations;
use api::row::Row;
use base::model::errors::refused_rows;
use base::model::rule_effect::RuleEffect;
use base::model::text::count_of;

/// The effect of a rule about vulnerabilities on dated snapshots.
const DATED: &str =
    "affected, by the advisories of today: a version can disappear from them; --not-dated excludes them";
/// Maximum size of a file with rules, in bytes.
const MAX_INPUT: u64 = 64 << 20;

#[derive(Debug, Args)]
pub struct CreateRule {
    #[command(flatten)]
    pub rule: RuleFlags,
    /// Confirm a rule that matches all packages: one without a criterion other than --source and --repo
    #[arg(long)]
    pub all: bool,
    /// Show what the rule matches now, and create nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct EditRule {
    /// Number of the rule
    #[arg(long)]
    pub id: i64,
    #[command(flatten)]
    pub rule: RuleFlags,
    /// Confirm a change after which the rule matches all packages of its source, of its repository or of the server
    #[arg(long)]
    pub all: bool,
    /// Show what the changed rule would match now, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct CreateBulk {
    /// JSON file with an array of rules (default: standard input)
    #[arg(long, value_name = "FILE")]
    pub path: Option<PathBuf>,
    /// Create no rule if one of them is not valid
    #[arg(long)]
    pub fail_all: bool,
    /// Print an example of the file
    #[arg(long)]
    pub show_example: bool,
    /// Check the rules, and create nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `rspm test …`
#[derive(Debug, Subcommand)]
pub enum Test {
    /// Show whether a package is blocked in a repository, and by which rule
    BlocklistRules(TestBlockRules),
}

pub async fn create(client: &Client, output: &Output, args: CreateRule) -> Result<(), CliError> {
    if args.rule.min_severity.as_ref().is_some_and(Value::is_string) {
        return Err(CliError::refused(format!("--min-severity is empty: {SCORES}")));
    }
    let mut values = args.rule.changes()?;
    values.insert("all".to_owned(), args.all.into());
    let rules = vec![Value::Object(values).into()];
    let body = CreateBlockRules { rules, fail_all: true, dry_run: args.dry_run };
    let created = client.send::<operations::CreateBlockRules>([], &body).await?;
    output.print(&created, || {
        let mut lines: Vec<String> = created.rules.iter().map(describe).collect();
        lines.extend(created.rules.iter().flat_map(|rule| describe_matches(rule, &created.matches)));
        if args.dry_run {
            lines.push("Nothing was created: --dry-run".to_owned());
        }
        lines.join("\n")
    })
}

/// `rspm create bulk-blocklist-rules`.
///
/// # Errors
/// The file cannot be read, or the server refuses. Without `--fail-all`, the valid rules are created, and the command
/// fails if other rules are not valid.
pub async fn create_bulk(client: &Client, output: &Output, args: CreateBulk) -> Result<(), CliError> {
    let path = args.path.as_deref();
    let text = input::read(path, MAX_INPUT)?;
    let rules: Vec<Row> = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        CliError::refused(format!("{} is not an array of rules: {error}", input::name(path)))
    })?;
    let body = CreateBlockRules { rules, fail_all: args.fail_all, dry_run: args.dry_run };
    let created = client.send::<operations::CreateBlockRules>([], &body).await;
    let created: CreatedBlockRules = created.map_err(|error: CliError| match body.rules.as_slice() {
        // The server gives no number to the only row of a request.
        [_] => error.of_row("rule", 1),
        _ => error,
    })?;
    output.print(&created, || {
        let verb = if args.dry_run { "would be created" } else { "created" };
        let mut lines = vec![format!("{} {verb}.", count_of(created.rules.len(), "rule", "rules"))];
        lines.extend(describe_bulk_matches(&created, body.rules.len()));
        lines.join("\n")
    })?;
    if created.refused.is_empty() {
        return Ok(());
    }
    let count = count_of(created.refused.len(), "rule is", "rules are");
    let rows = created.refused.iter().map(|refused| (refused.index + 1, refused.error.as_str()));
    Err(CliError::refused(format!("{count} not valid\n{}", refused_rows("rule", rows))))
}

pub fn show_example(output: &Output) -> Result<(), CliError> {
    let example = json!([
        { "package_name": "ggplot2", "version": "<4.0.0", "description": "colors differ" },
        { "license": "AGPL", "priority": 200 },
        { "license": "AGPL", "priority": 200, "source_name": "internal", "exception": true },
        { "min_severity": 7.0, "block_unscored": false, "repo": "prod" },
        { "min_age": "7d", "source_type": "cran" },
        { "vulns": true, "warn": true, "description": "ask security@example.org" }
    ]);
    output.print(&example, || serde_json::to_string_pretty(&example).unwrap_or_default())
}

pub async fn edit(client: &Client, output: &Output, args: EditRule) -> Result<(), CliError> {
    let mut changes = args.rule.changes()?;
    if changes.is_empty() {
        return Err(CliError::refused("nothing to change: give a new value, such as --priority=50"));
    }
    if args.all {
        changes.insert("all".to_owned(), true.into());
    }
    let body = EditBlockRule { dry_run: args.dry_run, changes };
    let rule = client.send::<operations::EditBlockRule>([&args.id.to_string()], &body).await?;
    output.print(&rule, || {
        let mut lines = vec![describe(&rule)];
        lines.extend(describe_matches(&rule, &rule.matches));
        if args.dry_run {
            lines.push("Nothing was changed: --dry-run".to_owned());
        }
        lines.join("\n")
    })
}

pub async fn delete(client: &Client, output: &Output, args: DeleteBlockRules) -> Result<(), CliError> {
    let deleted = client.send::<operations::DeleteBlockRules>([], &args).await?;
    output.print(&deleted, || format!("Deleted {}.", count_of(deleted.deleted, "rule", "rules")))
}

pub async fn list(client: &Client, output: &Output) -> Result<(), CliError> {
    let rules = client.call::<operations::BlockRules>([], &()).await?;
    output.print(&rules, || {
        if rules.is_empty() {
            return "There is no rule. Create one: rspm create blocklist-rule".to_owned();
        }
        let described: Vec<String> = rules.iter().map(describe).collect();
        format!("Rules are printed in order of execution\n\n{}", described.join("\n\n"))
    })
}

/// `rspm test blocklist-rules`.
///
/// # Errors
/// The server refuses; exit code 1 also if the version is blocked.
pub async fn test(client: &Client, output: &Output, args: TestBlockRules) -> Result<(), CliError> {
    let test = client.send::<operations::TestBlockRules>([], &args).await?;
    let repo = &args.repo;
    let subject = format!("{} {}", test.package_name, test.version);
    output.print(&test, || {
        let result = match (&test.rule, test.blocked) {
            (Some(rule), false) if rule.warn => {
                format!("{subject} is available in {repo} with a warning of {}.", test.reason)
            }
            (_, true) => format!("{subject} is blocked in {repo} by {}.", test.reason),
            (Some(_), false) => format!("{subject} is allowed in {repo} by the exception {}.", test.reason),
            (None, false) if test.reason.is_empty() => {
                format!("{subject} is allowed in {repo}: no rule matches.")
            }
            (None, false) => format!("{subject} is allowed in {repo}: {}.", test.reason),
        };
        let rule = test.rule.as_ref().map(|rule| format!("\n{}", describe(rule))).unwrap_or_default();
        let allowed = match (&test.allowed, test.allowed_is_listed) {
            (None, _) => "none".to_owned(),
            (Some(version), true) => version.clone(),
            (Some(version), false) => format!(
                "{version}, in the archive only; the index does not list it, because its record was never read (rspm \
                 backfill reads records)"
            ),
        };
        let compared: Vec<String> = test.compared.iter().map(ToString::to_string).collect();
        let compared = if compared.is_empty() { "none".to_owned() } else { compared.join(", ") };
        format!(
            "{result}{rule}\nHighest allowed version: {allowed}\nRules compared: {compared}\nEvaluation time: {} µs",
            test.microseconds
        )
    })?;
    if test.blocked {
        return Err(CliError::refused(format!("{subject} is blocked")));
    }
    Ok(())
}

/// Returns a line for each rule of a file and each repository in which it matches packages, with the number of the rule.
fn describe_bulk_matches(created: &CreatedBlockRules, row_count: usize) -> Vec<String> {
    if row_count > MAX_COUNTED_RULES {
        return vec![format!(
            "Matches are counted for at most {MAX_COUNTED_RULES} rules; for one rule: rspm create blocklist-rule --dry-run"
        )];
    }
    let numbers =
        (0..row_count).filter(|index| !created.refused.iter().any(|refused| refused.index == *index));
    let describe = |(index, rule): (usize, &BlockRule)| {
        let matches = if row_count == 1 { &created.matches } else { &rule.matches };
        let lines = describe_matches(rule, matches);
        lines.into_iter().map(move |line| format!("rule {}: {line}", index + 1))
    };
    numbers.zip(&created.rules).flat_map(describe).collect()
}

/// Returns a line for each repository in which a rule matches packages.
fn describe_matches(rule: &BlockRule, matches: &[BlockRuleMatches]) -> Vec<String> {
    if matches.is_empty() {
        let line = match rule.language_without_counts() {
            Some(language) => format!(
                "Matches only {} packages, which are not counted; rspm explain states its effect on a package.",
                language.label()
            ),
            None => {
                "Matches no listed version of an R package now; packages of other languages are not counted."
                    .to_owned()
            }
        };
        return vec![line];
    }
    let line = |found: &BlockRuleMatches| {
        let mut line = found.describe(rule.effect());
        if let Some(first) = line.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        line
    };
    matches.iter().map(line).collect()
}

/// Formats a rule as Posit Package Manager lists it.
fn describe(rule: &BlockRule) -> String {
    let id = rule.id.map_or_else(|| "new".to_owned(), |id| id.to_string());
    let kind = match rule.effect() {
        RuleEffect::Allow => "  Exception",
        RuleEffect::Warn => "  Warning",
        RuleEffect::Block => "",
    };
    let mut lines = vec![
        format!("ID: {id}  Priority: {}{kind}", rule.priority.unwrap_or(100)),
        " -- Match criteria:".to_owned(),
    ];
    let id = |id: i64| format!("id {id}");
    let criteria =
        rule.criteria(id).into_iter().filter_map(|criterion| Some((criterion.name, criterion.value?)));
    let all = rule.all.then(|| ("All packages", "yes".to_owned()));
    lines.extend(criteria.chain(all).map(|(name, value)| format!("  - {name}: {value}")));
    let needs_advisories = rule.vulns || rule.min_severity.is_some();
    match (rule.not_dated, needs_advisories) {
        (true, _) => lines.push(" -- Dated snapshots: not affected".to_owned()),
        (false, true) => lines.push(format!(" -- Dated snapshots: {DATED}")),
        (false, false) => {}
    }
    if !rule.description.is_empty() {
        lines.push(format!(" -- Description: {}", rule.description));
    }
    lines.extend(rule.without_effect.as_ref().map(|reason| format!(" -- Without effect: {reason}")));
    lines.join("\n")
}

/// Maximum number of counts in the table.
const MAX_COUNTS: usize = 200;

pub async fn list_blocked(client: &Client, output: &Output, args: CountBlocked) -> Result<(), CliError> {
    let blocked = client.call::<operations::BlockedRequests>([], &args).await?;
    output.print(&blocked, || describe_blocked(&blocked))
}

fn describe_blocked(blocked: &BlockedRequests) -> String {
    let BlockedRequests { since, total, requests } = blocked;
    if requests.is_empty() {
        return format!("No request was refused by a block rule since {since}.");
    }
    let row = |count: &BlockedCount| {
        let BlockedCount { rule, package, version, client, count, last } = count;
        let (rule, count) = (rule.to_string(), format_count(*count));
        vec![rule, package.clone(), version.clone(), client.clone(), count, last.clone()]
    };
    let rows: Vec<Vec<String>> = requests.iter().take(MAX_COUNTS).map(row).collect();
    let header = ["Rule", "Package", "Version", "Client", "Requests", "Last"];
    let rest = requests.len().saturating_sub(MAX_COUNTS);
    let more =
        if rest > 0 { format!("and {rest} more; -o json lists up to 10,000\n") } else { String::new() };
    format!("{}\n{more}Refused since {since}: {}", table(&header, rows), format_count(*total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_state_the_listed_versions_and_those_that_only_the_archive_has() {
        let found = |packages: usize, archived: usize| BlockRuleMatches {
            repo: "prod".to_owned(),
            packages,
            total: 9,
            examples: ["one 2.0"].iter().take(packages).map(|it| (*it).to_owned()).collect(),
            archived,
            archived_examples: ["two 1.0", "two 1.1"]
                .iter()
                .take(archived)
                .map(|it| (*it).to_owned())
                .collect(),
            ..BlockRuleMatches::default()
        };
        let lines = describe_matches(&BlockRule::default(), &[found(0, 2), found(1, 1), found(1, 0)]);
        assert_eq!(
            lines,
            [
                "Blocks the listed version of 0 of 9 packages in prod; and 2 versions that only the archive has: two 1.0, two 1.1",
                "Blocks the listed version of 1 of 9 packages in prod: one 2.0; and 1 version that only the archive has: two 1.0",
                "Blocks the listed version of 1 of 9 packages in prod: one 2.0",
            ]
        );
    }

    #[test]
    fn a_rule_is_listed_as_in_posit_package_manager() {
        let rule = BlockRule {
            id: Some(1),
            priority: Some(100),
            package_name: Some("ggplot2".to_owned()),
            version: Some("<4.0.0".to_owned()),
            license: Some("AGPL".to_owned()),
            ..BlockRule::default()
        };
        assert_eq!(
            describe(&rule),
            "ID: 1  Priority: 100\n -- Match criteria:\n  - Package name: ggplot2\n  - Versions: <4.0.0\n  - License: AGPL"
        );
    }
}
