//! A block rule, its criteria, and their text in the table `block_rule`: JSON without absent criteria. Source, repository and the
//! flag of an exception are in columns of their own. A server does not apply a rule that has a key unknown to its version.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::language;
use base::model::ids::{RepoId, SourceId};
use base::model::kind::Language;
use base::model::rule_effect::RuleEffect;
use base::model::time::{DAY, SECOND};

/// Maximum of the age criterion, in microseconds: ten years.
pub const MAX_MIN_AGE: i64 = 3_650 * DAY;

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Criteria {
    /// The name of the package: exact for R, normalized for Python.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionRange>,
    /// The source that provides the package in the repository, or from which that source selects its packages.
    #[serde(skip)]
    pub source: Option<SourceId>,
    #[serde(skip)]
    pub repo: Option<RepoId>,
    /// A part of the text of the license, ignoring case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// SPDX identifiers, or `Unknown`; matches if each alternative of the license is among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub license_types: Vec<String>,
    /// SPDX identifiers, or `Unknown`; matches if no alternative of the license consists of them alone. May be empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub license_types_except: Vec<String>,
    /// Whether the release must have a known vulnerability.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub vulns: bool,
    /// The minimum base score of a vulnerability, from 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<f64>,
    /// Whether a vulnerability without a score also matches `min_severity`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub block_unscored: bool,
    /// Whether the rule matches only packages without a listed version.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted_packages: bool,
    /// The age below which a release matches, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<i64>,
    /// Whether a release that fixes a vulnerability is exempt from `min_age`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixes_pass: bool,
    /// Whether the rule does not apply to dated snapshots: days, transactions and fixed URLs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
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
}

/// Criteria and effect, as stored.
#[derive(Serialize)]
struct StoredCriteria<'a> {
    #[serde(flatten)]
    criteria: &'a Criteria,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warn: bool,
}

/// Returns the text of the criteria, except source and repository, and of the effect.
pub fn criteria_text(criteria: &Criteria, effect: RuleEffect) -> String {
    let stored = StoredCriteria { criteria, warn: effect == RuleEffect::Warn };
    serde_json::to_string(&stored).expect("the fields have JSON forms")
}

/// Reads the text of criteria, and determines the effect. Source and repository, which the text lacks, are `None`.
///
/// # Errors
/// The text is malformed, or has a criterion that this version does not support.
pub fn read_criteria(text: &str, exception: bool) -> Result<(Criteria, RuleEffect), BadRule> {
    let read = || {
        // serde does not refuse unknown keys of a flattened structure.
        let mut keys: Map<String, Value> = serde_json::from_str(text)?;
        let warn = keys.remove("warn").map_or(Ok(false), serde_json::from_value)?;
        Ok((Criteria::deserialize(Value::Object(keys))?, RuleEffect::of_flags(exception, warn)))
    };
    read().map_err(|error: serde_json::Error| BadRule(error.to_string()))
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
        let order = language::of(language).compare(version, &self.version);
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

impl Serialize for VersionRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VersionRange, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
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

    #[test]
    fn criteria_are_read_as_they_were_written() {
        let all = Criteria {
            package: Some("one".to_owned()),
            version: Some("<=1.0".parse().expect("a range")),
            license: Some("AGPL".to_owned()),
            license_types: vec!["MIT".to_owned()],
            license_types_except: vec!["ISC".to_owned(), "Unknown".to_owned()],
            vulns: true,
            min_severity: Some(7.5),
            block_unscored: true,
            deleted_packages: true,
            min_age: Some(5),
            fixes_pass: true,
            not_dated: true,
            ..Criteria::default()
        };
        for criteria in [all, Criteria::default()] {
            for effect in [RuleEffect::Allow, RuleEffect::Block, RuleEffect::Warn] {
                let text = criteria_text(&criteria, effect);
                let read = read_criteria(&text, effect == RuleEffect::Allow).expect("its own text");
                assert_eq!(read, (criteria.clone(), effect));
            }
        }
        assert_eq!(criteria_text(&Criteria::default(), RuleEffect::Block), "{}");
        assert!(read_criteria(r#"{"moon":1}"#, false).is_err() && read_criteria("x", false).is_err());
    }
}
