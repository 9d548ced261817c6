//! The first checks of `--check-config`: syntax, unknown names, and properties without effect. Pure.

use super::Loaded;
use super::problem::{ConfigError, Problem, ProblemCategory};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub title: &'static str,
    pub verdict: Verdict,
    pub findings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// `[FAIL]`; the command exits with an error.
    Fail,
    Info,
}

impl Check {
    /// Creates a check that fails when there are findings.
    pub fn from_findings(title: &'static str, findings: Vec<String>) -> Check {
        let verdict = if findings.is_empty() { Verdict::Pass } else { Verdict::Fail };
        Check { title, verdict, findings }
    }
}

/// Converts the result of [`super::load`] to checks: syntax and value types, unknown names, and, if there are any,
/// properties without effect ([`Verdict::Info`]).
///
/// Problems of [`ProblemCategory::Path`] and [`ProblemCategory::Settings`] belong to the checks of the machine, which
/// read them from [`ConfigError::errors`].
pub fn checks(loaded: &Result<Loaded, ConfigError>) -> Vec<Check> {
    let (errors, warnings): (&[Problem], &[Problem]) = match loaded {
        Ok(loaded) => (&[], &loaded.warnings),
        Err(ConfigError::Invalid { errors, warnings }) => (errors, warnings),
        Err(error @ ConfigError::Unreadable { .. }) => {
            return vec![
                Check::from_findings(SYNTAX, vec![error.to_string()]),
                Check::from_findings(NAMES, Vec::new()),
            ];
        }
    };
    let lines = |problems: &[Problem], category| -> Vec<String> {
        problems.iter().filter(|problem| problem.category == category).map(Problem::to_string).collect()
    };
    let mut checks = vec![
        Check::from_findings(SYNTAX, lines(errors, ProblemCategory::Syntax)),
        Check::from_findings(NAMES, lines(warnings, ProblemCategory::Name)),
    ];
    let without_effect = lines(warnings, ProblemCategory::Effect);
    if !without_effect.is_empty() {
        checks.push(Check {
            title: "Properties without effect",
            verdict: Verdict::Info,
            findings: without_effect,
        });
    }
    checks
}

const SYNTAX: &str = "Configuration file syntax";
const NAMES: &str = "Unknown sections and properties";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn verdicts(text: &str) -> Vec<(Verdict, usize)> {
        checks(&parse("f", text.as_bytes(), []))
            .iter()
            .map(|check| (check.verdict, check.findings.len()))
            .collect()
    }

    #[test]
    fn a_valid_file_passes() {
        assert_eq!(verdicts("[HTTP]\nListen = :4242\n"), [(Verdict::Pass, 0), (Verdict::Pass, 0)]);
    }

    #[test]
    fn syntax_errors_and_unknown_names_are_both_reported() {
        let results = verdicts("[HTTP]\nListen\n[Sever]\n[Server]\nX = 1\nPackageRewriteBufferSize = big\n");
        assert_eq!(results, [(Verdict::Fail, 2), (Verdict::Fail, 2)]);
    }

    #[test]
    fn unknown_names_fail_the_check_but_not_the_start() {
        assert!(parse("f", b"[Sever]\n", []).is_ok());
        assert_eq!(verdicts("[Sever]\n"), [(Verdict::Pass, 0), (Verdict::Fail, 1)]);
    }

    #[test]
    fn properties_without_effect_are_reported() {
        assert_eq!(verdicts("[Repos]\nCRAN = cran\n")[2], (Verdict::Info, 1));
    }

    #[test]
    fn a_missing_file_fails_the_first_check() {
        let results = checks(&crate::config::load(std::path::Path::new("/nonexistent/x.gcfg"), []));
        assert_eq!(results[0].verdict, Verdict::Fail);
    }
}
