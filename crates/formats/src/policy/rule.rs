//! A block rule and its criteria.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::{python, r};
use base::model::ids::{RepoId, SourceId};
use base::model::kind::Language;
use base::model::rule_effect::RuleEffect;
use base::model::time::SECOND;

/// Maximum of the age criterion, in microseconds: ten years.
pub const MAX_MIN_AGE: i64 = 3_650 * 86_400 * SECOND;

/// A rule. In the order of [`Rule::order`], the first rule that matches a release decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub id: i64,
    /// Rules with a lower priority number come first.
    pub priority: i64,
    pub effect: RuleEffect,
    pub criteria: Criteria,
    /// Free text that is sent to clients.
    pub description: String,
}

/// The criteria of a rule, all of which must match. A rule without criteria matches every release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// The name of the package: exact for R, normalized for Python.
    pub package: Option<String>,
    pub version: Option<VersionRange>,
    /// The source that provides the package in the repository, or from which that source selects its packages.
    pub source: Option<SourceId>,
    pub repo: Option<RepoId>,
    /// A part of the text of the license, ignoring case.
    pub license: Option<String>,
    /// SPDX identifiers, or `Unknown`; matches if each alternative of the license is among them.
    pub license_types: Vec<String>,
    /// SPDX identifiers, or `Unknown`; matches if no alternative of the license consists of them alone. May be empty.
    pub license_types_except: Vec<String>,
    /// Whether the release must have a known vulnerability.
    pub vulns: bool,
    /// The minimum base score of a vulnerability, from 0 to 10.
    pub min_severity: Option<f64>,
    /// Whether a vulnerability without a score also matches `min_severity`.
    pub block_unscored: bool,
    /// Whether the rule matches only packages without a listed version.
    pub deleted_packages: bool,
    /// The age below which a release matches, in microseconds.
    pub min_age: Option<i64>,
    /// Whether a release that fixes a vulnerability is exempt from `min_age`.
    pub fixes_pass: bool,
    /// Whether the rule does not apply to dated snapshots: days, transactions and fixed URLs.
    pub not_dated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOperator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// No operator.
    Equal,
}

/// A range of versions with one bound, or a single version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub operator: RangeOperator,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub String);

impl Rule {
    /// Returns the key by which rules are sorted: priority, effect, id.
    pub fn order(&self) -> (i64, RuleEffect, i64) {
        (self.priority, self.effect, self.id)
    }

    /// Returns a label, such as `rule 7 (the description)`, or `rule 7` without a description.
    pub fn label(&self) -> String {
        match self.description.as_str() {
            "" => format!("rule {}", self.id),
            description => format!("rule {} ({description})", self.id),
        }
    }
}

impl Criteria {
    /// Returns whether there is a criterion other than the source and the repository. A rule without one matches every
    /// release of its source, of its repository, or of the server.
    pub fn has_release_criterion(&self) -> bool {
        self.package.is_some()
            || self.version.is_some()
            || self.license.is_some()
            || !self.license_types.is_empty()
            || !self.license_types_except.is_empty()
            || self.needs_advisories()
            || self.deleted_packages
            || self.min_age.is_some()
    }

    pub fn needs_advisories(&self) -> bool {
        self.vulns || self.min_severity.is_some()
    }

    pub fn needs_license(&self) -> bool {
        self.license.is_some() || !self.license_types.is_empty() || !self.license_types_except.is_empty()
    }

    /// Returns the criteria as lines for `rspm list blocklist-rules`, except source and repository, whose names are
    /// unknown here.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.package.as_ref().map(|name| format!("Package name: {name}")));
        lines.extend(self.version.as_ref().map(|range| format!("Versions: {range}")));
        lines.extend(self.license.as_ref().map(|text| format!("License: {text}")));
        if !self.license_types.is_empty() {
            lines.push(format!("License types: {}", self.license_types.join(", ")));
        }
        if !self.license_types_except.is_empty() {
            lines.push(format!("License types except: {}", self.license_types_except.join(", ")));
        }
        match self.min_severity {
            Some(score) => {
                let unscored = if self.block_unscored { "or without a score" } else { "with a score" };
                lines.push(format!("Vulnerabilities: severity of at least {score:.1}, {unscored}"));
            }
            None if self.vulns => lines.push("Vulnerabilities: any".to_owned()),
            None => {}
        }
        if self.deleted_packages {
            lines.push("Deleted packages: yes".to_owned());
        }
        if let Some(age) = self.min_age {
            let fixes = if self.fixes_pass { ", except fixes of vulnerabilities" } else { "" };
            lines.push(format!("Younger than: {}{fixes}", age_text(age)));
        }
        lines
    }
}

/// Returns a duration in words, such as `7 days` or `36 hours`.
pub(super) fn age_text(micros: i64) -> String {
    let hours = micros / (3600 * SECOND);
    match (hours % 24, hours / 24) {
        (0, 1) => "1 day".to_owned(),
        (0, days) => format!("{days} days"),
        _ => format!("{hours} hours"),
    }
}

impl VersionRange {
    /// Returns whether the range contains a version, in the order of the language.
    pub fn contains(&self, language: Language, version: &str) -> bool {
        let order = match language {
            Language::R => r::version::compare(version, &self.version),
            Language::Python => python::version::Pep440Version::lenient(version)
                .cmp(&python::version::Pep440Version::lenient(&self.version)),
        };
        match self.operator {
            RangeOperator::Less => order == Ordering::Less,
            RangeOperator::LessOrEqual => order != Ordering::Greater,
            RangeOperator::Greater => order == Ordering::Greater,
            RangeOperator::GreaterOrEqual => order != Ordering::Less,
            RangeOperator::Equal => order == Ordering::Equal,
        }
    }
}

impl FromStr for VersionRange {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<VersionRange, BadRule> {
        let trimmed = text.trim();
        let operators = [
            ("<=", RangeOperator::LessOrEqual),
            (">=", RangeOperator::GreaterOrEqual),
            ("==", RangeOperator::Equal),
            ("<", RangeOperator::Less),
            (">", RangeOperator::Greater),
            ("=", RangeOperator::Equal),
        ];
        let found =
            operators.iter().find_map(|(sign, operator)| Some((*operator, trimmed.strip_prefix(sign)?)));
        let (operator, version) = found.unwrap_or((RangeOperator::Equal, trimmed));
        let version = version.trim();
        let is_version = !version.is_empty()
            && version.len() <= 128
            && version.starts_with(|c: char| c.is_ascii_alphanumeric())
            && version.chars().all(|c| c.is_ascii_alphanumeric() || "._-+!".contains(c));
        if !is_version {
            let excerpt: String = text.chars().take(80).collect();
            return Err(BadRule(format!(
                "'{excerpt}' is not a version with at most one of the operators <, <=, > and >=; write for example '<4.0.0', \
                 and two rules for a range with two ends"
            )));
        }
        Ok(VersionRange { operator, version: version.to_owned() })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.operator {
            RangeOperator::Less => "<",
            RangeOperator::LessOrEqual => "<=",
            RangeOperator::Greater => ">",
            RangeOperator::GreaterOrEqual => ">=",
            RangeOperator::Equal => "",
        };
        write!(f, "{sign}{}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_order_of_their_language() {
        let contains = |range: &str, language, version| {
            range.parse::<VersionRange>().expect("a range").contains(language, version)
        };
        for (version, expected) in
            [("4.0.0-1", false), ("4.0", true), ("3.9.9.9000", true), ("4.0.0", false), ("10.0.0", false)]
        {
            assert_eq!(contains("<4.0.0", Language::R, version), expected, "{version}");
        }
        for (version, expected) in
            [("4.0.0rc1", true), ("4.0.0.post1", false), ("1!3.0", false), ("4.0", false)]
        {
            assert_eq!(contains("<4.0.0", Language::Python, version), expected, "{version}");
        }
        assert!(contains("1.0-1", Language::R, "1.0.1") && contains("==1.0", Language::Python, "1.0.0"));
        assert!(contains(">= 2.0", Language::R, "2.0") && !contains(">2.0", Language::R, "2.0"));
        assert!(contains("<=2.0", Language::R, "2.0"));
    }

    #[test]
    fn a_range_has_one_operator() {
        for bad in ["", "<", "<>1.0", "<1.0,>2.0", "~=1.0", "!=1.0", ">=1.0 <2", "1.*", "a b"] {
            assert!(bad.parse::<VersionRange>().is_err(), "{bad}");
        }
        for (text, expected) in [("<4.0.0", "<4.0.0"), (" = 1.2-3 ", "1.2-3"), (">=1!2.0+x", ">=1!2.0+x")] {
            assert_eq!(text.parse::<VersionRange>().expect("a range").to_string(), expected);
        }
    }

    #[test]
    fn exceptions_precede_blocks_and_blocks_precede_warnings_of_the_same_priority() {
        let rule = |id, priority, effect| Rule {
            id,
            priority,
            effect,
            criteria: Criteria::default(),
            description: String::new(),
        };
        let mut rules = [
            rule(1, 100, RuleEffect::Warn),
            rule(2, 100, RuleEffect::Block),
            rule(3, 100, RuleEffect::Allow),
            rule(4, 50, RuleEffect::Warn),
        ];
        rules.sort_by_key(Rule::order);
        assert_eq!(rules.map(|rule| rule.id), [4, 3, 2, 1]);
    }
}
