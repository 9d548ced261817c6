//! The files of the rule base: `rules/{name}.json` and `systems.json`, or all of them in one document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Every rule by its name, and the systems they are made for. Fields that nobody here reads are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// By name, which is the file's without `.json`: the order of every answer.
    pub rules: BTreeMap<String, Rule>,
    /// Systems the rules know.
    pub systems: Vec<Systems>,
}

/// What one library or program is called where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Regular expressions; one that is found in a text, in any case of letters, is enough.
    pub patterns: Vec<String>,
    /// The first that is meant for a system counts.
    pub dependencies: Vec<Block>,
}

/// What to install on some systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Packages of the operating system.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The systems.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
    /// To be done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_install: Vec<Action>,
    /// To be done after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_install: Vec<Action>,
}

/// Something to be run: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Action {
    /// A line for the shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The address of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// A system a block is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// `linux`, `windows`.
    pub os: String,
    /// `ubuntu`; all of that `os` when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// `22.04`; all of them when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<String>>,
}

/// A row of `systems.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Systems {
    /// `linux`, `windows`.
    pub os: String,
    /// `ubuntu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// `22.04`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
}

/// Files that are no rule base; nothing of them is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} of the system requirements cannot be used: {reason}")]
pub struct BadBase {
    /// Which file.
    pub file: String,
    /// Why.
    pub reason: String,
}

impl BadBase {
    pub(super) fn new(file: &str, reason: impl std::fmt::Display) -> BadBase {
        BadBase { file: file.chars().take(200).collect(), reason: reason.to_string() }
    }
}

/// The name of the file that lists systems.
const SYSTEMS: &str = "systems.json";

impl Base {
    /// Whether a file of a folder or an archive belongs to a rule base: `rules/*.json` or `systems.json`, at the top or
    /// below one folder (archives of a repository have one).
    #[must_use]
    pub fn takes(path: &str) -> bool {
        path_of(path).is_some()
    }

    /// From the files [`Base::takes`], each with its path; others are passed over.
    ///
    /// # Errors
    /// A file that is not what it should be, or none where one must be.
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Base, BadBase> {
        let mut base = Base::default();
        for (path, bytes) in files {
            let wrong = |error: serde_json::Error| BadBase::new(path, error);
            match path_of(path) {
                Some(Path::Systems) => base.systems = serde_json::from_slice(bytes).map_err(wrong)?,
                Some(Path::Rule(name)) => {
                    let rule = serde_json::from_slice(bytes).map_err(wrong)?;
                    base.rules.insert(name.to_owned(), rule);
                }
                None => {}
            }
        }
        base.checked()
    }

    /// From one document: `{"rules": {"libcurl": {…}}, "systems": […]}`.
    ///
    /// # Errors
    /// It is none.
    pub fn from_document(bytes: &[u8]) -> Result<Base, BadBase> {
        let base: Base = serde_json::from_slice(bytes).map_err(|e| BadBase::new("the document", e))?;
        base.checked()
    }

    /// As one document; the same base gives the same bytes.
    #[must_use]
    pub fn document(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps have names for keys")
    }

    fn checked(self) -> Result<Base, BadBase> {
        if self.rules.is_empty() {
            return Err(BadBase::new("rules/", "there is no rule"));
        }
        if self.systems.is_empty() {
            return Err(BadBase::new(SYSTEMS, "there is no system"));
        }
        Ok(self)
    }
}

enum Path<'a> {
    Systems,
    Rule(&'a str),
}

fn path_of(path: &str) -> Option<Path<'_>> {
    let segments: Vec<&str> = path.trim_start_matches("./").split('/').collect();
    match segments.as_slice() {
        [SYSTEMS] | [_, SYSTEMS] => Some(Path::Systems),
        ["rules", file] | [_, "rules", file] => {
            file.strip_suffix(".json").filter(|n| !n.is_empty()).map(Path::Rule)
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
        let base = Base::from_files(files).expect("a base");
        assert_eq!(Base::from_document(&base.document()), Ok(base.clone()));
        assert_eq!(base.document(), base.clone().document());
        assert_eq!((base.rules.len(), base.systems.len()), (1, 2));
        assert_eq!(base, Base::from_files([("rules/geos.json", RULE), ("systems.json", LIST)]).expect("one"));
    }

    #[test]
    fn only_the_files_of_a_base_are_taken() {
        for good in ["rules/a.json", "./rules/a.json", "x/rules/a.json", "systems.json", "x/systems.json"] {
            assert!(Base::takes(good), "{good}");
        }
        for other in
            ["rules/a.txt", "rules/.json", "a/b/rules/c.json", "test/sysreqs.json", "a/b/systems.json"]
        {
            assert!(!Base::takes(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_base_is_refused_with_the_file() {
        let told =
            |files: &[(&str, &[u8])]| Base::from_files(files.iter().copied()).expect_err("bad").to_string();
        assert!(told(&[("systems.json", LIST)]).contains("rules/"));
        assert!(told(&[("rules/a.json", RULE)]).contains("systems.json"));
        assert!(told(&[("rules/a.json", b"<html>"), ("systems.json", LIST)]).contains("rules/a.json"));
        assert!(told(&[("rules/a.json", b"{}"), ("systems.json", LIST)]).contains("patterns"));
        assert!(Base::from_document(b"{}").is_err());
    }
}
