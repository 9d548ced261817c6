//! What the commands of `rspm backup` print: text for people, one JSON value for programs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::backup::error::BackupError;
use crate::backup::folder::Folder;
use crate::backup::manifest::Manifest;
use crate::backup::prune::Pruned;
use crate::backup::rehearse::Rehearsed;
use crate::backup::restore::Restored;
use crate::backup::verify::Verification;

/// The result of a command.
pub(super) struct Report {
    pub(super) text: String,
    pub(super) json: Value,
    /// Whether the program exits with code 0.
    pub(super) is_success: bool,
}

/// Formats a size in megabytes.
fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn rows(manifest: &Manifest) -> u64 {
    manifest.tables.iter().map(|table| table.rows).sum()
}

/// The backups of a folder.
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
                    manifest.version,
                );
                entries.push(json!({
                    "time": manifest.created.to_string(),
                    "name": name,
                    "transaction": manifest.transaction,
                    "rows": rows(&manifest),
                    "files": manifest.object_count,
                    "bytes": bytes,
                    "version": manifest.version,
                    "missing": manifest.missing.len(),
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
        text = format!("{} contains no backup.\n", folder.root().display());
    }
    Ok(Report { text, json: Value::Array(entries), is_success })
}

/// The result of verifying a backup, and the damaged manifests of its folder.
pub(super) fn verified(
    manifest: &Manifest,
    chain: Vec<String>,
    verified: &Verification,
    elapsed: Duration,
) -> Report {
    let problems: Vec<String> = chain.into_iter().chain(verified.problems.iter().cloned()).collect();
    let is_success = problems.is_empty();
    let mut text = String::new();
    for problem in &problems {
        let _ = writeln!(text, "Damaged: {problem}");
    }
    let more = verified.problem_count.saturating_sub(verified.problems.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "{more} further files are damaged.");
    }
    for missing in manifest.missing.iter().take(20) {
        let _ = writeln!(text, "Missing since the backup was made: {missing}");
    }
    let result = if is_success { "is undamaged" } else { "is damaged" };
    let _ = writeln!(
        text,
        "The backup {} {result}: {} rows, {} files, of which {} were read ({}). {:.1} s",
        manifest.created,
        rows(manifest),
        verified.files(),
        verified.read,
        megabytes(verified.read_bytes),
        elapsed.as_secs_f64()
    );
    let json = json!({
        "time": manifest.created.to_string(),
        "undamaged": is_success,
        "problems": problems,
        "missing": manifest.missing,
        "rows": rows(manifest),
        "files": verified.files(),
        "read": verified.read,
        "read_bytes": verified.read_bytes,
        "seconds": seconds(elapsed),
    });
    Report { text, json, is_success }
}

/// The result of a test.
pub(super) fn tested(manifest: &Manifest, tested: &Rehearsed) -> Report {
    let text = format!(
        "The backup {} was restored into a temporary directory: {} rows; {} documents are equal to those of the server, \
         and {} files have their digests. Restored in {:.1} s\n",
        manifest.created,
        rows(manifest),
        tested.documents,
        tested.files,
        tested.elapsed.as_secs_f64()
    );
    let json = json!({
        "time": manifest.created.to_string(),
        "rows": rows(manifest),
        "documents": tested.documents,
        "files": tested.files,
        "seconds": seconds(tested.elapsed),
    });
    Report { text, json, is_success: true }
}

/// The result of a restore, and what it changes for clients.
pub(super) fn restored(manifest: &Manifest, restored: &Restored) -> Report {
    let mut text = format!(
        "Restored the backup {}: {} rows, {} files ({}), and {} files that were in storage. {} documents are equal to \
         those of the server that was backed up. {:.1} s\n",
        manifest.created,
        restored.rows,
        restored.copied,
        megabytes(restored.copied_bytes),
        restored.present,
        restored.documents,
        restored.elapsed.as_secs_f64()
    );
    if let Some(aside) = &restored.aside {
        let _ = writeln!(text, "The previous database is in {}.", aside.display());
    }
    let _ = writeln!(
        text,
        "The newest transaction is {}, published until {}. Snapshots of later transactions and days do not exist any more: \
         their numbers are given again, and the days show the state of that transaction until something is published.",
        manifest.transaction, manifest.published
    );
    let next = ["sudo systemctl start rstudio-pm", "rspm storage list"];
    let _ = writeln!(
        text,
        "Next: {}, then: {}; where it shows a class as contested: rspm storage adopt",
        next[0], next[1]
    );
    let json = json!({
        "time": manifest.created.to_string(),
        "transaction": manifest.transaction,
        "published": manifest.published.to_string(),
        "rows": restored.rows,
        "copied": restored.copied,
        "copied_bytes": restored.copied_bytes,
        "present": restored.present,
        "documents": restored.documents,
        "aside": restored.aside,
        "seconds": seconds(restored.elapsed),
        "next": next,
    });
    Report { text, json, is_success: true }
}

/// The result of pruning.
pub(super) fn pruned(pruned: &Pruned, dry_run: bool) -> Report {
    let Pruned { removed, kept, files, bytes } = pruned;
    let verb = if dry_run { "would be removed" } else { "were removed" };
    let text = format!(
        "{} backups and {files} files ({}) {verb}; {} backups stay.\n",
        removed.len(),
        megabytes(*bytes),
        kept.len()
    );
    let json =
        json!({ "removed": removed, "kept": kept, "files": files, "bytes": bytes, "dry_run": dry_run });
    Report { text, json, is_success: true }
}
