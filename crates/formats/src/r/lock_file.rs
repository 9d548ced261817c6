//! Lock files and other lists of installed R packages with their versions: `renv.lock`, `rv.lock`, and the text that
//! `sessionInfo()` prints. The format is recognized by the content.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{name, version};
use base::model::members::Members;

/// Maximum size of a lock file, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// Maximum length of a quoted part of the file in an error, in characters.
const MAX_EXCERPT: usize = 100;

/// The format of a list of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RLockKind {
    /// `renv.lock`.
    Renv,
    /// `rv.lock`.
    Rv,
    /// The output of `sessionInfo()`.
    SessionInfo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RLockFile {
    pub kind: RLockKind,
    /// The version of R, as written, if the file states it.
    pub r_version: Option<String>,
    /// The versions, by package. Base packages of R are omitted.
    pub packages: BTreeMap<String, String>,
    /// The names of packages that are not from a repository, such as git checkouts, in alphabetical order.
    pub skipped: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRLockFile {
    #[error("the file has {0} bytes, more than the {MAX_FILE} allowed")]
    TooLarge(usize),
    #[error("the file is not UTF-8 text; save it as UTF-8")]
    NotUtf8,
    /// The text is not JSON or TOML, or a value has the wrong type.
    #[error("the file cannot be read: {0}; write it again with its tool")]
    Syntax(String),
    #[error("this is neither renv.lock nor rv.lock nor the output of sessionInfo() with packages")]
    Unknown,
    #[error("'{0}' is not the name of an R package")]
    Name(String),
    #[error("the package '{package}' has the version '{version}', which is not a version of an R package")]
    Version { package: String, version: String },
    #[error(
        "entry {position} of 'Packages' has the key '{key}', but is about the package '{package}'; write the file again with \
         renv::snapshot()"
    )]
    Contradiction {
        /// The number of the entry, from 1.
        position: usize,
        key: String,
        /// The field `Package` of the entry.
        package: String,
    },
    #[error("the package '{0}' has two versions in the file; a library contains one, so remove the other")]
    TwoVersions(String),
}

#[derive(Deserialize)]
struct Renv {
    #[serde(rename = "R")]
    r: Option<RenvR>,
    #[serde(rename = "Packages")]
    packages: Members<RenvPackage>,
}

#[derive(Deserialize)]
struct RenvR {
    #[serde(rename = "Version")]
    version: Option<String>,
}

#[derive(Deserialize)]
struct RenvPackage {
    #[serde(rename = "Package")]
    package: Option<String>,
    #[serde(rename = "Version")]
    version: Option<String>,
    #[serde(rename = "Source")]
    source: Option<String>,
}

#[derive(Deserialize)]
struct Rv {
    r_version: Option<String>,
    packages: Vec<RvPackage>,
}

#[derive(Deserialize)]
struct RvPackage {
    name: String,
    version: String,
    source: BTreeMap<String, IgnoredAny>,
}

pub fn parse(bytes: &[u8]) -> Result<RLockFile, BadRLockFile> {
    if bytes.len() > MAX_FILE {
        return Err(BadRLockFile::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadRLockFile::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        return renv(text);
    }
    if text.lines().any(|line| line.trim_end() == "[[packages]]") {
        return rv(text);
    }
    session_info(text)
}

fn renv(text: &str) -> Result<RLockFile, BadRLockFile> {
    let raw: Renv =
        serde_json::from_str(text).map_err(|error| BadRLockFile::Syntax(excerpt(&error.to_string())))?;
    let mut lock = RLockFile::new(RLockKind::Renv, raw.r.and_then(|r| r.version));
    for (index, (package, entry)) in raw.packages.0.into_iter().enumerate() {
        if let Some(stated) = entry.package.filter(|stated| *stated != package) {
            let (key, package) = (excerpt(&package), excerpt(&stated));
            return Err(BadRLockFile::Contradiction { position: index + 1, key, package });
        }
        let from_repository =
            matches!(entry.source.as_deref(), None | Some("Repository" | "Bioconductor" | "CRAN"));
        lock.insert(&package, entry.version.as_deref().unwrap_or_default(), from_repository)?;
    }
    lock.skipped.sort_unstable();
    Ok(lock)
}

fn rv(text: &str) -> Result<RLockFile, BadRLockFile> {
    let raw: Rv =
        toml_edit::de::from_str(text).map_err(|error| BadRLockFile::Syntax(excerpt(error.message())))?;
    let mut lock = RLockFile::new(RLockKind::Rv, raw.r_version);
    for package in &raw.packages {
        lock.insert(&package.name, &package.version, package.source.contains_key("repository"))?;
    }
    lock.skipped.sort_unstable();
    Ok(lock)
}

/// Parses lines such as `[1] ggplot2_3.5.2 dplyr_1.1.4`. Elements without `_` are base packages of R.
fn session_info(text: &str) -> Result<RLockFile, BadRLockFile> {
    let r_version = text.lines().find_map(|line| line.trim_start().strip_prefix("R version "));
    let r_version = r_version.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
    let mut lock = RLockFile::new(RLockKind::SessionInfo, r_version);
    for line in text.lines() {
        let Some((index, elements)) =
            line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'))
        else {
            continue;
        };
        if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // The locale is printed in the same form, as in `[1] LC_CTYPE=en_US.UTF-8`.
        for element in elements.split_whitespace().filter(|element| !element.contains('=')) {
            if let Some((package, version)) = element.split_once('_')
                && name::is_package(package)
                && version::is_package_version(version)
            {
                lock.insert(package, version, true)?;
            }
        }
    }
    if lock.packages.is_empty() { Err(BadRLockFile::Unknown) } else { Ok(lock) }
}

impl RLockFile {
    fn new(kind: RLockKind, r_version: Option<String>) -> RLockFile {
        RLockFile { kind, r_version, packages: BTreeMap::new(), skipped: Vec::new() }
    }

    fn insert(&mut self, package: &str, version: &str, from_repository: bool) -> Result<(), BadRLockFile> {
        if !name::is_package(package) {
            return Err(BadRLockFile::Name(excerpt(package)));
        }
        if name::is_base(package) {
            return Ok(());
        }
        if !from_repository {
            self.skipped.push(package.to_owned());
            return Ok(());
        }
        if !version::is_package_version(version) {
            return Err(BadRLockFile::Version { package: excerpt(package), version: excerpt(version) });
        }
        match self.packages.entry(package.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(version.to_owned());
                Ok(())
            }
            Entry::Occupied(entry) if entry.get() == version => Ok(()),
            Entry::Occupied(_) => Err(BadRLockFile::TwoVersions(package.to_owned())),
        }
    }
}

/// Returns the beginning of a text, as one line.
fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(lock: &RLockFile) -> Vec<(&str, &str)> {
        lock.packages.iter().map(|(package, version)| (package.as_str(), version.as_str())).collect()
    }

    #[test]
    fn renv_lock() {
        let text = r#"{"R": {"Version": "4.4.1"}, "Packages": {
            "R6": {"Package": "R6", "Version": "2.5.1", "Source": "Repository"},
            "limma": {"Package": "limma", "Version": "3.60.0", "Source": "Bioconductor"},
            "mine": {"Package": "mine", "Version": "0.1", "Source": "GitHub"}}}"#;
        let lock = parse(text.as_bytes()).unwrap();
        assert_eq!(lock.kind, RLockKind::Renv);
        assert_eq!(lock.r_version.as_deref(), Some("4.4.1"));
        assert_eq!(versions(&lock), [("R6", "2.5.1"), ("limma", "3.60.0")]);
        assert_eq!(lock.skipped, ["mine"]);
    }

    #[test]
    fn rv_lock() {
        let text = "version = 2\nr_version = \"4.4\"\n\n[[packages]]\nname = \"R6\"\nversion = \"2.5.1\"\n\
                    source = { repository = \"https://example.org\" }\n\n[[packages]]\nname = \"mine\"\n\
                    version = \"0.1\"\nsource = { git = \"https://example.org/mine\", sha = \"12\" }\n";
        let lock = parse(text.as_bytes()).unwrap();
        assert_eq!(lock.kind, RLockKind::Rv);
        assert_eq!(versions(&lock), [("R6", "2.5.1")]);
        assert_eq!(lock.skipped, ["mine"]);
    }

    #[test]
    fn session_info() {
        let text = "R version 4.4.1 (2024-06-14)\nlocale:\n[1] LC_CTYPE=en_US.UTF-8 LC_NUMERIC=C\n\n\
                    attached base packages:\n[1] stats     graphics\n\nother attached packages:\n\
                    [1] ggplot2_3.5.2 dplyr_1.1.4\n\nloaded via a namespace (and not attached):\n \
                    [1] cli_3.6.3      MASS_7.3-61   \n[10] compiler_4.4.1\n";
        let lock = parse(text.as_bytes()).unwrap();
        assert_eq!(lock.kind, RLockKind::SessionInfo);
        assert_eq!(lock.r_version.as_deref(), Some("4.4.1"));
        let expected = [("MASS", "7.3-61"), ("cli", "3.6.3"), ("dplyr", "1.1.4"), ("ggplot2", "3.5.2")];
        assert_eq!(versions(&lock), expected);
    }

    #[test]
    fn the_limit_is_one_mebibyte() {
        assert_eq!(parse(&vec![b' '; MAX_FILE]), Err(BadRLockFile::Unknown));
        assert_eq!(parse(&vec![b' '; MAX_FILE + 1]), Err(BadRLockFile::TooLarge(MAX_FILE + 1)));
    }

    #[test]
    fn an_entry_of_another_package_is_refused_with_its_position() {
        let text = r#"{"Packages": {
            "R6": {"Package": "R6", "Version": "2.5.1"},
            "cli": {"Package": "dplyr", "Version": "1.1.4", "Source": "GitHub"},
            "MASS": {"Package": "mass", "Version": "7.3-61"}}}"#;
        let error = parse(text.as_bytes()).expect_err("a contradiction");
        assert_eq!(
            error.to_string(),
            "entry 2 of 'Packages' has the key 'cli', but is about the package 'dplyr'; write the file again with \
             renv::snapshot()"
        );
    }

    #[test]
    fn invalid_files_are_refused() {
        assert_eq!(parse(b"\xff"), Err(BadRLockFile::NotUtf8));
        assert_eq!(parse(b"<html></html>"), Err(BadRLockFile::Unknown));
        assert!(matches!(parse(b"{\"Packages\": 1}"), Err(BadRLockFile::Syntax(_))));
        assert!(matches!(parse("[".repeat(10_000).as_bytes()), Err(BadRLockFile::Unknown)));
        let nested = format!("{{\"Packages\": {}", "[".repeat(10_000));
        assert!(matches!(parse(nested.as_bytes()), Err(BadRLockFile::Syntax(_))));
        let name = r#"{"Packages": {"../x": {"Version": "1.0"}}}"#;
        assert_eq!(parse(name.as_bytes()), Err(BadRLockFile::Name("../x".to_owned())));
        let version = r#"{"Packages": {"R6": {}}}"#;
        let expected = BadRLockFile::Version { package: "R6".to_owned(), version: String::new() };
        assert_eq!(parse(version.as_bytes()), Err(expected));
        let repeated = r#"{"Packages": {"R6": {"Version": "2.5.1"}, "R6": {"Version": "2.5.0"}}}"#;
        assert_eq!(parse(repeated.as_bytes()), Err(BadRLockFile::TwoVersions("R6".to_owned())));
        let entry = |version: &str| {
            format!(
                "[[packages]]\nname = \"R6\"\nversion = \"{version}\"\nsource = {{ repository = \"x\" }}\n"
            )
        };
        let two = entry("2.5.1") + &entry("2.5.0");
        assert_eq!(parse(two.as_bytes()), Err(BadRLockFile::TwoVersions("R6".to_owned())));
    }
}
