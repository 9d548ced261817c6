//! The output of the commands of `rspm backup`: text for people, one JSON value for programs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use base::model::documentation::Page;
use base::model::text::{count_of, shell_word};
use tasks::backup::error::BackupError;
use tasks::backup::folder::Folder;
use tasks::backup::manifest::Manifest;
use tasks::backup::prune::PruneResult;
use tasks::backup::restore::{RestoreResult, TrialResult};
use tasks::backup::revocations::{LaterRevocations, Revocation};
use tasks::backup::verify::Verification;

pub(super) struct Report {
    pub(super) text: String,
    pub(super) json: Value,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// No file is damaged, but files were missing in storage when the backup was made.
    Incomplete,
}

impl Verdict {
    fn new(is_success: bool, manifest: &Manifest) -> Verdict {
        match (is_success, manifest.missing.is_empty()) {
            (false, _) => Verdict::Failure,
            (true, true) => Verdict::Success,
            (true, false) => Verdict::Incomplete,
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Returns a duration in seconds, rounded to milliseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn rows(manifest: &Manifest) -> u64 {
    manifest.tables.iter().map(|table| table.rows).sum()
}

/// Returns the original path of the configuration in a backup and that of its copy, as JSON; null if it has none.
fn configuration(manifest: &Manifest) -> Value {
    manifest
        .configuration
        .as_ref()
        .map_or(Value::Null, |file| json!({ "path": file.path, "copy": file.copy() }))
}

/// Escapes the control characters of a text in a manifest, which another program may have written.
fn escape(text: &str) -> String {
    let character = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(character).collect()
}

/// Adds the files that were missing in storage when the backup was made.
fn add_missing(text: &mut String, manifest: &Manifest) {
    for missing in manifest.missing.iter().take(20) {
        let _ = writeln!(text, "Missing since the backup was made: {}", escape(missing));
    }
    if manifest.missing.len() > 20 {
        let _ = writeln!(text, "and {} more", manifest.missing.len() - 20);
    }
}

pub(super) fn list(folder: &Folder) -> Result<Report, BackupError> {
    let (mut text, mut entries, mut is_success) = (String::new(), Vec::new(), true);
    let _ = writeln!(
        text,
        "{:<28}{:>12}{:>12}{:>10}{:>14}  Version",
        "Time", "Transaction", "Rows", "Files", "Size"
    );
    for name in folder.manifests()? {
        match Manifest::read(folder, &name) {
            Ok(manifest) => {
                let bytes = manifest.dump.size + manifest.object_bytes;
                let note = if manifest.missing.is_empty() { "" } else { "  incomplete" };
                let _ = writeln!(
                    text,
                    "{:<28}{:>12}{:>12}{:>10}{:>14}  {}{note}",
                    manifest.created.to_string(),
                    manifest.transaction,
                    rows(&manifest),
                    manifest.object_count,
                    megabytes(bytes),
                    escape(&manifest.version),
                );
                entries.push(json!({
                    "time": manifest.created.to_string(),
                    "name": name,
                    "transaction": manifest.transaction,
                    "rows": rows(&manifest),
                    "files": manifest.object_count,
                    "bytes": bytes,
                    "version": manifest.version,
                    "database": manifest.database,
                    "history": manifest.history,
                    "missing": manifest.missing.len(),
                    "configuration": configuration(&manifest),
                }));
            }
            Err(error) => {
                is_success = false;
                let _ = writeln!(text, "Damaged: {error}");
                entries.push(json!({ "name": name, "error": error.to_string() }));
            }
        }
    }
    if entries.is_empty() {
        text = format!("{folder} contains no backup.\n");
    }
    let verdict = if is_success { Verdict::Success } else { Verdict::Failure };
    Ok(Report { text, json: Value::Array(entries), verdict })
}

/// Formats the result of verifying a backup, and the damaged manifests of its folder.
pub(super) fn verify(
    manifest: &Manifest,
    chain: Vec<String>,
    verification: &Verification,
    elapsed: Duration,
) -> Report {
    let problems: Vec<String> = chain.into_iter().chain(verification.problems.iter().cloned()).collect();
    let is_success = problems.is_empty();
    let mut text = String::new();
    for problem in &problems {
        let _ = writeln!(text, "Damaged: {problem}");
    }
    let unlisted = verification.problem_count.saturating_sub(verification.problems.len() as u64);
    if unlisted > 0 {
        let _ = writeln!(text, "{unlisted} further files are damaged.");
    }
    add_missing(&mut text, manifest);
    if let Some(file) = &manifest.configuration {
        let _ = writeln!(text, "The configuration {} is in {}.", escape(&file.path), file.copy());
    }
    let result = if is_success { "is undamaged" } else { "is damaged" };
    let _ = writeln!(
        text,
        "The backup {} {result}: {} rows, {} files, of which {} were read ({}). {:.1} s",
        manifest.created,
        rows(manifest),
        verification.files(),
        verification.read,
        megabytes(verification.read_bytes),
        elapsed.as_secs_f64()
    );
    let json = json!({
        "time": manifest.created.to_string(),
        "undamaged": is_success,
        "problems": problems,
        "missing": manifest.missing,
        "configuration": configuration(manifest),
        "rows": rows(manifest),
        "files": verification.files(),
        "read": verification.read,
        "read_bytes": verification.read_bytes,
        "seconds": seconds(elapsed),
    });
    Report { text, json, verdict: Verdict::new(is_success, manifest) }
}

pub(super) fn test(manifest: &Manifest, result: &TrialResult) -> Report {
    let mut text = format!(
        "The backup {} was restored into a temporary directory: {} rows; {} documents are equal to those of the server, \
         and {} files have their digests. Restored in {:.1} s\n",
        manifest.created,
        rows(manifest),
        result.documents,
        result.files,
        result.elapsed.as_secs_f64()
    );
    add_missing(&mut text, manifest);
    let json = json!({
        "time": manifest.created.to_string(),
        "rows": rows(manifest),
        "documents": result.documents,
        "files": result.files,
        "missing": manifest.missing,
        "seconds": seconds(result.elapsed),
    });
    Report { text, json, verdict: Verdict::new(true, manifest) }
}

pub(super) fn restore(manifest: &Manifest, result: &RestoreResult) -> Report {
    let mut text = format!(
        "Restored the backup {}: {} rows, {} files ({}); {} files were already in storage. {} documents are equal to \
         those of the server that was backed up. {:.1} s\n",
        manifest.created,
        result.rows,
        result.copied,
        megabytes(result.copied_bytes),
        result.present,
        result.documents,
        result.elapsed.as_secs_f64()
    );
    if let Some(path) = &result.previous_database {
        let _ = writeln!(text, "The previous database is in {}.", path.display());
    }
    let _ = writeln!(
        text,
        "The newest transaction is {}, published at {}. Snapshots of later transactions and days no longer exist: \
         their numbers are used again, and the days show the state of that transaction until something is published.",
        manifest.transaction, manifest.published
    );
    add_revocations(&mut text, &result.revocations);
    add_missing(&mut text, manifest);
    for bad in &result.bad {
        let _ = writeln!(text, "Not restored: {}", escape(bad));
    }
    if result.bad_count > result.bad.len() as u64 {
        let _ = writeln!(text, "and {} more", result.bad_count - result.bad.len() as u64);
    }
    if nix::unistd::geteuid().is_root() {
        text += "The restored files belong to root, as Server.DataDir does. If the server has another user, make it the owner \
                 of Server.DataDir and of everything in it: chown -R\n";
    }
    let next = ["sudo systemctl start rstudio-pm", "rspm storage list"];
    let _ = writeln!(
        text,
        "Next: {}, then: {}; where it shows a class as contested or missing: rspm storage adopt",
        next[0], next[1]
    );
    text += "The folder of the backups continues with this copy of the database after: rspm backup create --adopt. If the \
             server that was backed up continues to work, give this one another folder instead.\n";
    let json = json!({
        "time": manifest.created.to_string(),
        "transaction": manifest.transaction,
        "published": manifest.published.to_string(),
        "rows": result.rows,
        "copied": result.copied,
        "copied_bytes": result.copied_bytes,
        "present": result.present,
        "documents": result.documents,
        "missing": manifest.missing,
        "bad": result.bad_count,
        "aside": result.previous_database,
        "revocations": revocations_json(&result.revocations),
        "seconds": seconds(result.elapsed),
        "next": next,
    });
    let verdict = if result.bad_count == 0 { Verdict::Success } else { Verdict::Incomplete };
    Report { text, json, verdict }
}

const MAX_REVOCATIONS: usize = 50;

/// Adds the commands that repeat the revocations which the restored database lacks.
fn add_revocations(text: &mut String, revocations: &LaterRevocations) {
    let LaterRevocations { origin, rows } = revocations;
    // Writing to a `String` cannot fail.
    let _ = match origin {
        None => writeln!(
            text,
            "Tokens that were revoked after this backup are valid again. Which these are is not known here: no previous \
             database and no file of Logging.AuditLog could be read. {} names the lists to take them from.",
            Page::ACCESS
        ),
        Some(origin) if rows.is_empty() => {
            writeln!(text, "{} has no revocation of tokens after this backup.", escape(origin))
        }
        Some(origin) => writeln!(
            text,
            "Tokens that were revoked after this backup are valid again. Repeat these revocations, which {} has, as soon as the \
             server runs:",
            escape(origin)
        ),
    };
    for row in rows.iter().take(MAX_REVOCATIONS) {
        let object = shell_word(&row.object);
        let flag = if row.kind == "user" { "--user" } else { "--guid" };
        let _ = writeln!(text, "  rspm revoke token {flag}={}  # {}", escape(&object), row.at);
    }
    if rows.len() > MAX_REVOCATIONS {
        let _ = writeln!(text, "  and {} more; -o json prints all", rows.len() - MAX_REVOCATIONS);
    }
}

fn revocations_json(revocations: &LaterRevocations) -> Value {
    let LaterRevocations { origin, rows } = revocations;
    let row = |row: &Revocation| json!({ "time": row.at.to_string(), "kind": row.kind, "name": row.object });
    json!({ "origin": origin, "newer": rows.iter().map(row).collect::<Vec<_>>() })
}

pub(super) fn prune(result: &PruneResult, dry_run: bool) -> Report {
    let PruneResult { removed, retained, files, bytes, missing } = result;
    let verb = if dry_run { "would be removed" } else { "were removed" };
    let mut text = format!(
        "{} and {} ({}) {verb}; {} left.\n",
        count_of(removed.len(), "backup", "backups"),
        count_of(*files, "file", "files"),
        megabytes(*bytes),
        count_of(retained.len(), "backup is", "backups are")
    );
    if *missing > 0 {
        let _ = writeln!(text, "Files that the remaining backups lack: {missing}; see rspm backup verify");
    }
    let json = json!({
        "removed": removed,
        "kept": retained,
        "files": files,
        "bytes": bytes,
        "missing": missing,
        "dry_run": dry_run,
    });
    Report { text, json, verdict: Verdict::Success }
}
