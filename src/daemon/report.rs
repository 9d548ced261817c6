//! Output formats of `--check-config`: text lines or one JSON object.

use std::fmt::Write as _;
use std::path::Path;

use base::config::{Check, Verdict};

/// Formats one line per check, followed by its findings, and a summary line.
pub(super) fn human(file: &Path, checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Pass => "[PASS]",
            Verdict::Fail => "[FAIL]",
            Verdict::Info => "[INFO]",
        };
        match check.findings.as_slice() {
            // A single finding without file and line is on the line of its check.
            [finding] if check.verdict == Verdict::Info && !finding.contains(": [") => {
                let _ = writeln!(text, "{mark} {}: {finding}", check.title);
            }
            findings => {
                let _ = writeln!(text, "{mark} {}", check.title);
                for finding in findings {
                    let _ = writeln!(text, "       {finding}");
                }
            }
        }
    }
    let failed_count = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    let _ = match failed_count {
        0 => writeln!(text, "{}: no check failed", file.display()),
        1 => writeln!(text, "{}: 1 check failed", file.display()),
        n => writeln!(text, "{}: {n} checks failed", file.display()),
    };
    text
}

/// Formats `{"config", "passed", "checks": [{"check", "result", "findings"}]}`.
pub(super) fn json(file: &Path, checks: &[Check]) -> serde_json::Value {
    let rows = checks.iter().map(|check| {
        let result = match check.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Info => "info",
        };
        serde_json::json!({ "check": check.title, "result": result, "findings": check.findings })
    });
    serde_json::json!({
        "config": file.display().to_string(),
        "passed": checks.iter().all(|check| check.verdict != Verdict::Fail),
        "checks": rows.collect::<Vec<_>>(),
    })
}
