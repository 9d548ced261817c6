//! Targets for configuration: `rstudio-pm.gcfg`, Bioconductor's `config.yaml`, the rules of system requirements.

use rstudio_pm::config;
use rstudio_pm::model::time::Timestamp;
use rstudio_pm::r::bioconductor::config::Config;
use rstudio_pm::r::sysreqs::{OsRelease, RuleBase, Rules};
use rstudio_pm::upstream::rule_base;

/// A valid configuration has no invalid part.
pub fn gcfg(data: &[u8]) {
    let parsed = config::parse("fuzz.gcfg", data, []);
    let (_, faults) = config::parse_valid_part("fuzz.gcfg", data);
    assert!(parsed.is_err() || faults.is_empty());
    let _ = config::checks(&parsed);
    if let Err(error) = parsed {
        let _ = error.to_string();
    }
    let _ = config::without_userinfo(&String::from_utf8_lossy(data));
}

/// A written configuration is read back unchanged, also as of every day.
pub fn bioconductor(data: &[u8]) {
    let Ok(config) = Config::parse(data) else { return };
    assert_eq!(Config::parse(config.render().as_bytes()).as_ref(), Ok(&config));
    for row in config.newest_first() {
        let _ = (config.status(row.version), config.last_update(row.version));
        let day = row.release_day.unwrap_or_else(|| Timestamp(0).day());
        let config_then = config.as_of(day);
        assert!(config_then.get(config_then.release).is_some());
    }
}

/// Rules in a single document.
pub fn sysreqs_rules(data: &[u8]) {
    let (requirement, document) = super::line(data);
    if let Ok(base) = RuleBase::from_document(document) {
        assert_eq!(RuleBase::from_document(&base.document()).as_ref(), Ok(&base));
        rules(base, &String::from_utf8_lossy(requirement));
    }
}

/// Rules in a file of any format.
pub fn sysreqs_file(data: &[u8]) {
    const NAMES: [&str; 3] = ["rules.tar.gz", "rules.json", "rules.json.zst"];
    let (variant, rest) = super::choice(data);
    if let Ok(base) = rule_base::parse_file(NAMES[usize::from(variant) % NAMES.len()], rest) {
        rules(base, "libcurl (>= 7.0), GNU make");
    }
}

fn rules(base: RuleBase, text: &str) {
    let Ok(rules) = Rules::new(base) else { return };
    for (distribution, release) in [("ubuntu", "24.04"), ("redhat", "9"), ("", "")] {
        let system = rules.resolve_system(&OsRelease::new(distribution, release));
        assert!(rules.requirements(text, &system).len() <= rules.len());
    }
    assert!(rules.matching_rules(text).count() <= rules.len());
}
