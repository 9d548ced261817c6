//! Builds a package whose `configure` script is hostile.

use super::attempts::{Targets, attempts, check, script};
use super::job::{build, member, package};
use rstudio_pm::builder::message::Limits;
use rstudio_pm::builder::sandbox::Sandbox;

/// Runs all attempts in the sandbox; each must fail.
pub(super) fn all_attempts_fail(sandbox: &Sandbox, targets: &Targets) {
    let attempts = attempts(targets);
    // A help page that is computed at build time makes R install the package, which runs `configure`.
    let page = "\\name{f}\\title{t}\\description{\\Sexpr[stage=build,results=text]{1+1}}\n";
    let script = script(&attempts);
    let tar =
        package(&[("configure", 0o755, &script), ("R/f.R", 0o644, "f <- 1\n"), ("man/f.Rd", 0o644, page)]);
    let outcome = build(sandbox, &tar, Limits::default());
    outcome.success();
    check(&attempts, &member(&outcome.content, "tested/attempts.txt"));
}
