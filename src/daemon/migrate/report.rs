//! Output of `migrate`: a table for people, or one JSON object for programs.

use std::fmt::Write;
use std::path::Path;

use indicatif::HumanCount;
use serde_json::{Value, json};

use super::OutputFormat;
use base::config::{Config, Provider};
use store::db::transfer::reading::Problem;
use store::db::transfer::source::place;
use store::db::transfer::tables::Table;
use tasks::backup::dry_run::DryRunResult;
use tasks::backup::dump::RowDigest;
use tasks::backup::migrate::MigrationResult;

pub(super) struct Direction {
    source: String,
    target: String,
    /// The new value of `Database.Provider`.
    provider: &'static str,
    gcfg: String,
}

impl Direction {
    pub(super) fn new(config: &Config, source: Provider, target: Provider, gcfg: &Path) -> Direction {
        let provider = target.as_str();
        let (source, target) = (place(config, source), place(config, target));
        Direction { source, target, provider, gcfg: gcfg.display().to_string() }
    }
}

/// Formats a size in megabytes: `1.2 MB`.
fn format_size(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", HumanCount(tenths / 10), tenths % 10)
}

type Rows = [(&'static Table, RowDigest)];

fn table(rows: &Rows) -> String {
    let mut text = format!("{:<18}{:>13}{:>14}  {}\n", "Table", "Rows", "Size", "Digest");
    for (table, digest) in rows {
        let (count, size) = (HumanCount(digest.rows).to_string(), format_size(digest.bytes));
        let _ = writeln!(text, "{:<18}{count:>13}{size:>14}  {digest}", table.name);
    }
    let (count, size) = totals(rows);
    let _ = writeln!(text, "{:<18}{:>13}{:>14}", "All", HumanCount(count).to_string(), format_size(size));
    text
}

fn totals(rows: &Rows) -> (u64, u64) {
    let count = rows.iter().map(|(_, digest)| digest.rows).sum();
    (count, rows.iter().map(|(_, digest)| digest.bytes).sum())
}

fn tables_json(rows: &Rows) -> Value {
    let row = |(table, digest): &(&'static Table, RowDigest)| {
        json!({
            "schema": table.schema.as_str(),
            "table": table.name,
            "rows": digest.rows,
            "bytes": digest.bytes,
            "digest": digest.to_string(),
        })
    };
    rows.iter().map(row).collect()
}

fn line(value: &Value) -> String {
    format!("{value:#}\n")
}

pub(super) fn migration(direction: &Direction, result: &MigrationResult, format: OutputFormat) -> String {
    let Direction { source, target, provider, gcfg } = direction;
    let rows: Vec<_> = result.tables.iter().map(|summary| (summary.table, summary.digest)).collect();
    let next = [
        format!("set [Database] Provider = {provider} in {gcfg}"),
        "sudo systemctl start rstudio-pm".to_owned(),
    ];
    let seconds = result.elapsed.as_secs_f64();
    if format == OutputFormat::Json {
        return line(&json!({
            "from": source,
            "to": target,
            "dry_run": false,
            "tables": tables_json(&rows),
            "documents": result.documents.iter().map(|document| {
                json!({ "name": document.name, "sha256": document.content.to_string() })
            }).collect::<Value>(),
            "usage_was_there": result.usage_exists,
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "provider": provider,
            "next": next,
        }));
    }
    let mut text = format!("From {source}\nTo   {target}\n\n{}\n", table(&rows));
    if result.usage_exists {
        text.push_str("The usage data was already there, from an interrupted run, and is equal.\n");
    }
    let _ = write!(
        text,
        "Both databases have the same rows, and {} indexes rendered from both are identical. {seconds:.1} s\n\
         Next: {}, then: {}\n\
         The original database is unchanged. Keep it as a backup, but do not use it with a server again.\n",
        result.documents.len(),
        next[0],
        next[1],
    );
    text
}

pub(super) fn dry_run(direction: &Direction, result: &DryRunResult, format: OutputFormat) -> String {
    let Direction { source, target, provider, .. } = direction;
    let is_possible = result.is_possible();
    if format == OutputFormat::Json {
        let problem = |problem: &Problem| {
            json!({
                "table": problem.table, "row": problem.row, "column": problem.column, "reason": problem.reason,
            })
        };
        return line(&json!({
            "from": source,
            "to": target,
            "dry_run": true,
            "tables": tables_json(&result.tables),
            "problems": result.problems.iter().map(problem).collect::<Value>(),
            "problem_count": result.problem_count,
            "existing_objects": result.existing_objects,
            "estimated_seconds": result.estimate.as_secs(),
            "possible": is_possible,
            "provider": provider,
        }));
    }
    let mut text = format!("From {source}\nTo   {target}\n\n{}\n", table(&result.tables));
    for object in &result.existing_objects {
        let _ = writeln!(text, "The database to fill is not blank: {object}");
    }
    for problem in &result.problems {
        let _ = writeln!(text, "Cannot be copied: {problem}");
    }
    let unlisted = result.problem_count.saturating_sub(result.problems.len() as u64);
    if unlisted > 0 {
        let _ = writeln!(text, "{unlisted} further values cannot be copied.");
    }
    text.push_str(&if is_possible {
        format!(
            "A migration is possible and takes about {} s. Nothing was written.\n",
            result.estimate.as_secs()
        )
    } else {
        "A migration is not possible. Nothing was written.\n".to_owned()
    });
    text
}
