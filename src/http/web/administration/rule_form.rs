//! The block rule that a form describes. Pure.

use crate::http::target::Query;
use api::block_rule::BlockRule;

/// Returns the rule that a form describes; an empty field adds no criterion.
///
/// # Errors
/// The name of a field that is not a valid number, and the expected value.
pub(super) fn rule(form: &Query) -> Result<BlockRule, (&'static str, &'static str)> {
    let text = |name: &str| form.get(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let is = |name: &str| form.get(name) == Some("true");
    let min_severity = match text("min_severity").map(|text| text.parse::<f64>()) {
        None => None,
        Some(Ok(score)) if (0.0..=10.0).contains(&score) => Some(score),
        Some(_) => return Err(("min_severity", "the severity is a number from 0 to 10, such as 7.0")),
    };
    let priority = text("priority").map(|text| text.parse::<i64>()).transpose();
    let priority = priority.map_err(|_| ("priority", "the priority is a whole number, such as 100"))?;
    Ok(BlockRule {
        priority,
        package_name: text("package_name"),
        version: text("version"),
        source_name: text("source_name"),
        repo: text("repo"),
        license: text("license"),
        license_types: form.all("license_types").collect(),
        license_types_except: form.all("license_types_except").collect(),
        vulns: is("vulns"),
        min_severity,
        deleted_packages: is("deleted_packages"),
        min_age: text("min_age"),
        not_dated: is("not_dated"),
        exception: form.get("effect") == Some("allow"),
        warn: form.get("effect") == Some("warn"),
        all: is("all"),
        description: text("description").unwrap_or_default(),
        ..BlockRule::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str) -> Result<BlockRule, &'static str> {
        rule(&Query::parse(Some(form), 4096).expect("a form")).map_err(|(field, _)| field)
    }

    #[test]
    fn empty_fields_are_no_criteria() {
        assert_eq!(read("package_name=&version=+&license_types=,&min_severity="), Ok(BlockRule::default()));
        let rule = read("license_types=MIT,+GPL-3.0-only&min_severity=7&vulns=true&effect=allow&priority=5")
            .expect("a rule");
        assert_eq!(rule.license_types, ["MIT", "GPL-3.0-only"]);
        assert_eq!((rule.min_severity, rule.priority), (Some(7.0), Some(5)));
        assert!(rule.vulns && rule.exception && !rule.warn && !rule.deleted_packages);
        assert!(
            read("effect=warn&not_dated=true")
                .is_ok_and(|rule| rule.warn && rule.not_dated && !rule.exception && !rule.all)
        );
        assert!(read("repo=prod&all=true").is_ok_and(|rule| rule.all));
    }

    #[test]
    fn numbers_are_checked() {
        for (form, field) in [
            ("min_severity=high", "min_severity"),
            ("min_severity=NaN", "min_severity"),
            ("min_severity=11", "min_severity"),
            ("priority=1.5", "priority"),
        ] {
            assert_eq!(read(form), Err(field), "{form}");
        }
    }
}
