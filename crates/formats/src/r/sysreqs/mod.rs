//! System requirements: translates the `SystemRequirements` field of a package to packages of an operating system, by
//! an open rule base that is fetched while the server runs (`docs/admin/system-requirements.md`).

pub mod matching;
pub mod system;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use matching::{MatchedRule, Rules};
pub use system::{OsRelease, SystemCandidate};

/// The rules, and the systems for which there are rules. Unknown fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleBase {
    /// The rules by name (the file name without `.json`); responses list rules in this order.
    pub rules: BTreeMap<String, SystemRule>,
    pub systems: Vec<SystemRow>,
}

/// The packages of operating systems that provide a library or program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRule {
    /// Case-insensitive regular expressions. The rule applies to a text if one of them matches it.
    pub patterns: Vec<String>,
    /// The packages, by system. The first block with the system applies.
    pub dependencies: Vec<Block>,
}

/// The packages to install on some systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Packages of the operating system.
    #[serde(default)]
    pub packages: Vec<String>,
    #[serde(default)]
    pub constraints: Vec<SystemConstraint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_install: Vec<Action>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_install: Vec<Action>,
}

/// A command or a script to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Action {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The URL of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// A system to which a block applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemConstraint {
    /// The operating system: `linux` or `windows`.
    pub os: String,
    /// The distribution, such as `ubuntu`; if missing, all distributions of the `os`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// The versions of the distribution, such as `22.04`; if missing, all versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<String>>,
}

/// A row of `systems.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRow {
    /// The operating system: `linux` or `windows`.
    pub os: String,
    /// The distribution, such as `ubuntu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// The versions of the distribution, such as `22.04`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
}

/// The files are not a valid rule base; none of them is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} of the system requirements is invalid: {reason}")]
pub struct BadRuleBase {
    pub file: String,
    pub reason: String,
}

impl BadRuleBase {
    pub(super) fn new(file: &str, reason: impl std::fmt::Display) -> BadRuleBase {
        BadRuleBase { file: file.chars().take(200).collect(), reason: reason.to_string() }
    }
}

/// The name of the file that lists systems.
const SYSTEMS: &str = "systems.json";

impl RuleBase {
    /// Returns whether a file belongs to a rule base: `rules/*.json` or `systems.json`, at the top level or in one
    /// directory (as in archives of a repository).
    pub fn accepts(path: &str) -> bool {
        parse_path(path).is_some()
    }

    /// Parses files, given by path and content. Files that [`RuleBase::accepts`] does not accept are ignored.
    pub fn from_files<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<RuleBase, BadRuleBase> {
        let mut base = RuleBase::default();
        for (path, bytes) in files {
            let invalid_file = |error: serde_json::Error| BadRuleBase::new(path, error);
            match parse_path(path) {
                Some(BasePath::Systems) => {
                    base.systems = serde_json::from_slice(bytes).map_err(invalid_file)?
                }
                Some(BasePath::Rule(name)) => {
                    let rule = serde_json::from_slice(bytes).map_err(invalid_file)?;
                    base.rules.insert(name.to_owned(), rule);
                }
                None => {}
            }
        }
        base.validate()
    }

    /// Parses a single document, of the form `{"rules": {"libcurl": {…}}, "systems": […]}`.
    pub fn from_document(bytes: &[u8]) -> Result<RuleBase, BadRuleBase> {
        let base: RuleBase =
            serde_json::from_slice(bytes).map_err(|e| BadRuleBase::new("the document", e))?;
        base.validate()
    }

    /// Serializes the rule base to a single document; equal rule bases produce equal bytes.
    pub fn document(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("keys of maps are strings")
    }

    fn validate(self) -> Result<RuleBase, BadRuleBase> {
        if self.rules.is_empty() {
            return Err(BadRuleBase::new("rules/", "no rules found"));
        }
        if self.systems.is_empty() {
            return Err(BadRuleBase::new(SYSTEMS, "no systems found"));
        }
        Ok(self)
    }
}

enum BasePath<'a> {
    Systems,
    Rule(&'a str),
}

fn parse_path(path: &str) -> Option<BasePath<'_>> {
    let segments: Vec<&str> = path.trim_start_matches("./").split('/').collect();
    match segments.as_slice() {
        [SYSTEMS] | [_, SYSTEMS] => Some(BasePath::Systems),
        ["rules", file] | [_, "rules", file] => {
            file.strip_suffix(".json").filter(|n| !n.is_empty()).map(BasePath::Rule)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &[u8] =
        br#"{"patterns":["\\bgeos\\b"],"dependencies":[{"packages":["libgeos-dev"],"apt_satisfy":["x"],
        "constraints":[{"os":"linux","distribution":"ubuntu"}]}]}"#;
    const LIST: &[u8] = br#"[{"os":"linux","distribution":"ubuntu","versions":["22.04"]},{"os":"windows"}]"#;

    #[test]
    fn files_and_one_document_are_the_same_base() {
        let files = [("top/rules/geos.json", RULE), ("top/systems.json", LIST), ("top/README.md", b"#")];
        let base = RuleBase::from_files(files).expect("a base");
        assert_eq!(RuleBase::from_document(&base.document()), Ok(base.clone()));
        assert_eq!(base.document(), base.clone().document());
        assert_eq!((base.rules.len(), base.systems.len()), (1, 2));
        assert_eq!(
            base,
            RuleBase::from_files([("rules/geos.json", RULE), ("systems.json", LIST)]).expect("one")
        );
    }

    #[test]
    fn only_the_files_of_a_base_are_read() {
        for good in ["rules/a.json", "./rules/a.json", "x/rules/a.json", "systems.json", "x/systems.json"] {
            assert!(RuleBase::accepts(good), "{good}");
        }
        for other in
            ["rules/a.txt", "rules/.json", "a/b/rules/c.json", "test/sysreqs.json", "a/b/systems.json"]
        {
            assert!(!RuleBase::accepts(other), "{other}");
        }
    }

    #[test]
    fn an_invalid_base_is_refused_with_the_file() {
        let message = |files: &[(&str, &[u8])]| {
            RuleBase::from_files(files.iter().copied()).expect_err("bad").to_string()
        };
        assert!(message(&[("systems.json", LIST)]).contains("rules/"));
        assert!(message(&[("rules/a.json", RULE)]).contains("systems.json"));
        assert!(message(&[("rules/a.json", b"<html>"), ("systems.json", LIST)]).contains("rules/a.json"));
        assert!(message(&[("rules/a.json", b"{}"), ("systems.json", LIST)]).contains("patterns"));
        assert!(RuleBase::from_document(b"{}").is_err());
    }
}
