//! The text of criteria in the table `block_rule`: JSON without absent criteria. Source, repository and the flag of an
//! exception are in columns of their own. A server does not apply a rule that has a key unknown to its version.

use serde::{Deserialize, Serialize};

use super::rule::{BadRule, Criteria};
use base::model::rule_effect::RuleEffect;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoredCriteria {
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    license_types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    license_types_except: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    vulns: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_severity: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    block_unscored: bool,
    #[serde(skip_serializing_if = "is_false")]
    deleted_packages: bool,
    /// In microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_age: Option<i64>,
    #[serde(skip_serializing_if = "is_false")]
    fixes_pass: bool,
    #[serde(skip_serializing_if = "is_false")]
    not_dated: bool,
    #[serde(skip_serializing_if = "is_false")]
    warn: bool,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// Returns the text of the criteria, except source and repository, and of the effect.
pub fn criteria_text(criteria: &Criteria, effect: RuleEffect) -> String {
    let stored = StoredCriteria {
        package: criteria.package.clone(),
        version: criteria.version.as_ref().map(ToString::to_string),
        license: criteria.license.clone(),
        license_types: criteria.license_types.clone(),
        license_types_except: criteria.license_types_except.clone(),
        vulns: criteria.vulns,
        min_severity: criteria.min_severity,
        block_unscored: criteria.block_unscored,
        deleted_packages: criteria.deleted_packages,
        min_age: criteria.min_age,
        fixes_pass: criteria.fixes_pass,
        not_dated: criteria.not_dated,
        warn: effect == RuleEffect::Warn,
    };
    serde_json::to_string(&stored).expect("the fields have JSON forms")
}

/// Reads the text of criteria, and determines the effect. Source and repository are `None`, because the text does not
/// contain them.
pub fn read_criteria(text: &str, exception: bool) -> Result<(Criteria, RuleEffect), BadRule> {
    let stored: StoredCriteria = serde_json::from_str(text).map_err(|error| BadRule(error.to_string()))?;
    let effect = RuleEffect::of_flags(exception, stored.warn);
    let criteria = Criteria {
        package: stored.package,
        version: stored.version.map(|text| text.parse()).transpose()?,
        source: None,
        repo: None,
        license: stored.license,
        license_types: stored.license_types,
        license_types_except: stored.license_types_except,
        vulns: stored.vulns,
        min_severity: stored.min_severity,
        block_unscored: stored.block_unscored,
        deleted_packages: stored.deleted_packages,
        min_age: stored.min_age,
        fixes_pass: stored.fixes_pass,
        not_dated: stored.not_dated,
    };
    Ok((criteria, effect))
}

#[cfg(test)]
mod tests {
    use super::*;

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
