//! Definitions of curated sources of R packages: the requested packages with version constraints, as lines of a text
//! file or a lock file; the selection of releases of these and their dependencies; and the plan of an update.

mod line;
pub mod plan;
pub mod selection;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use super::closure::Kinds;
use super::dependency::{DependencyKind, Operator};
use super::{lock_file, version};
use base::model::errors::ErrorList;
use base::model::text::count_of;

/// Maximum length of a line, in bytes.
const MAX_LINE: usize = 4096;
/// Length from which the text about the lines that name a package names no further ones, in bytes.
const MAX_ORIGIN: usize = 200;
const MORE_ORIGINS: &str = " and further lines";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RDefinition {
    /// The requested packages by name.
    pub roots: BTreeMap<String, RootPackage>,
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootPackage {
    /// The version constraints, all of which apply.
    pub constraints: Vec<VersionConstraint>,
    /// Kinds of dependencies that are included for this package in addition to those of the source.
    pub extras: Kinds,
    /// The file and line that request it, for messages.
    pub origin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionConstraint {
    pub operator: Operator,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRDefinition {
    #[error("{file}, line {line}: {reason}")]
    Line {
        file: String,
        /// The number of the line, from 1.
        line: usize,
        /// The defect and its remedy.
        reason: String,
    },
    #[error("{file}: {reason}")]
    File {
        file: String,
        /// The defect and its remedy.
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a kind of dependency; write imports, depends, linking-to, suggests or enhances, separated by commas, or \
     none or all"
)]
pub struct BadInclude(String);

impl VersionConstraint {
    pub fn is_met_by(&self, candidate: &str) -> bool {
        self.operator.allows(version::compare(candidate, &self.version))
    }
}

impl RootPackage {
    pub fn allows(&self, candidate: &str) -> bool {
        self.constraints.iter().all(|constraint| constraint.is_met_by(candidate))
    }

    /// Returns the constraints as written in a line of a definition, such as `>=1.0, <2.0`; empty without constraints.
    pub fn constraint_text(&self) -> String {
        let text = |constraint: &VersionConstraint| {
            format!("{}{}", constraint.operator.as_str(), constraint.version)
        };
        self.constraints.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// Returns the line of a definition for the package, without the name; [`RootPackage::parse`] reads it.
    pub fn rule_text(&self) -> String {
        let mut text = self.constraint_text();
        if self.extras != Kinds::NONE {
            // Writing to a `String` cannot fail.
            let _ = write!(text, " [{}]", include_text(self.extras));
        }
        text.trim_start().to_owned()
    }

    /// Reads the text of [`RootPackage::rule_text`].
    pub fn parse(text: &str, origin: &str) -> Result<RootPackage, String> {
        line::constraints_and_extras(text).map(|(constraints, extras)| RootPackage {
            constraints,
            extras,
            origin: origin.to_owned(),
        })
    }
}

pub fn parse_include(text: &str) -> Result<Kinds, BadInclude> {
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.try_fold(Kinds::NONE, |kinds, word| Ok(kinds.union(word_kinds(word)?)))
}

fn word_kinds(word: &str) -> Result<Kinds, BadInclude> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "imports" => Kinds::NONE.with(DependencyKind::Imports),
        "depends" => Kinds::NONE.with(DependencyKind::Depends),
        "linking-to" | "linkingto" => Kinds::NONE.with(DependencyKind::LinkingTo),
        "suggests" => Kinds::NONE.with(DependencyKind::Suggests),
        "enhances" => Kinds::NONE.with(DependencyKind::Enhances),
        "none" => Kinds::NONE,
        "all" => Kinds::ALL,
        _ => return Err(BadInclude(word.chars().take(100).collect())),
    })
}

/// Returns the words of [`parse_include`] for a set of kinds.
pub fn include_text(kinds: Kinds) -> String {
    let word = |kind| match kind {
        DependencyKind::Imports => "imports",
        DependencyKind::Depends => "depends",
        DependencyKind::LinkingTo => "linking-to",
        DependencyKind::Suggests => "suggests",
        DependencyKind::Enhances => "enhances",
    };
    let words: Vec<&str> =
        DependencyKind::ALL.into_iter().filter(|kind| kinds.contains(*kind)).map(word).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(",") }
}

/// Reads the files of a definition: each is a list of lines, `renv.lock`, `rv.lock` or the output of `sessionInfo()`.
///
/// # Errors
/// All defects of all files, also if the files request no package.
pub fn read(files: &[(&str, &[u8])]) -> Result<RDefinition, ErrorList<BadRDefinition>> {
    let (mut definition, mut errors) = (RDefinition::default(), ErrorList::default());
    for (name, bytes) in files {
        if let Err(reason) = add_file(&mut definition, &mut errors, name, bytes) {
            errors.push(BadRDefinition::File { file: (*name).to_owned(), reason });
        }
    }
    remove_repeated(&mut definition);
    if definition.roots.is_empty() && errors.is_empty() {
        let file = files.first().map_or("the definition", |(name, _)| name).to_owned();
        let reason = "no line names a package; write one package on each line, such as: ggplot2 >=3.4.0";
        errors.push(BadRDefinition::File { file, reason: reason.to_owned() });
    }
    errors.or_value(definition)
}

/// Adds the packages of a file, and the defects of its lines. Returns a defect of the whole file.
fn add_file(
    definition: &mut RDefinition,
    errors: &mut ErrorList<BadRDefinition>,
    name: &str,
    bytes: &[u8],
) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let position = error.valid_up_to();
        format!("the bytes after position {position} are not UTF-8; save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_lock_file(text) {
        let lock = lock_file::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        add_lock_file(definition, name, lock);
    } else {
        add_lines(definition, errors, name, text);
    }
    Ok(())
}

fn is_lock_file(text: &str) -> bool {
    text.trim_start().starts_with('{')
        || text.trim_start().starts_with("R version ")
        || text.lines().any(|line| line.trim() == "[[packages]]")
}

fn add_lock_file(definition: &mut RDefinition, file: &str, lock: lock_file::RLockFile) {
    for (package, version) in lock.packages {
        let constraint = VersionConstraint { operator: Operator::Equal, version };
        let root =
            RootPackage { constraints: vec![constraint], extras: Kinds::NONE, origin: file.to_owned() };
        add_root(definition, package, root);
    }
    if !lock.skipped.is_empty() {
        let omitted = count_of(
            lock.skipped.len(),
            "package that is not from a repository was omitted",
            "packages that are not from a repository were omitted",
        );
        definition.notices.push(format!("{file}: {omitted}: {}", lock.skipped.join(", ")));
    }
}

fn add_lines(definition: &mut RDefinition, errors: &mut ErrorList<BadRDefinition>, file: &str, text: &str) {
    for (number, line) in (1..).zip(text.lines()) {
        match read_line(line) {
            Ok(Some((name, root))) => {
                let origin = format!("{file}, line {number}");
                add_root(definition, name, RootPackage { origin, ..root });
            }
            Ok(None) => {}
            Err(reason) => {
                errors.push(BadRDefinition::Line { file: file.to_owned(), line: number, reason });
            }
        }
    }
}

/// Reads a line; returns `None` if it names no package.
fn read_line(line: &str) -> Result<Option<(String, RootPackage)>, String> {
    if line.len() > MAX_LINE {
        return Err(format!("the line has {} bytes, more than the {MAX_LINE} allowed", line.len()));
    }
    let line = line.split('#').next().unwrap_or_default().trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (name, rest) = line::name_and_rest(line)?;
    let (constraints, extras) = line::constraints_and_extras(rest)?;
    Ok(Some((name.to_owned(), RootPackage { constraints, extras, origin: String::new() })))
}

/// Adds a package. The constraints of all its lines apply; [`remove_repeated`] removes equal ones at the end.
pub fn add_root(definition: &mut RDefinition, package: String, root: RootPackage) {
    match definition.roots.entry(package) {
        Entry::Vacant(entry) => {
            entry.insert(root);
        }
        Entry::Occupied(mut entry) => {
            let known = entry.get_mut();
            known.extras = known.extras.union(root.extras);
            // Once the text is long, further lines are not named.
            if root.origin != known.origin && !known.origin.ends_with(MORE_ORIGINS) {
                let is_long = known.origin.len() > MAX_ORIGIN;
                known.origin += if is_long { MORE_ORIGINS } else { " and " };
                known.origin += if is_long { "" } else { &root.origin };
            }
            known.constraints.extend(root.constraints);
        }
    }
}

pub fn remove_repeated(definition: &mut RDefinition) {
    for root in definition.roots.values_mut() {
        let mut known = HashSet::new();
        root.constraints.retain(|constraint| known.insert(constraint.clone()));
    }
}

/// Writes packages as the text of a definition, one on each line.
pub fn text(roots: &BTreeMap<String, RootPackage>) -> String {
    let line = |(name, root): (&String, &RootPackage)| {
        let rule = root.rule_text();
        if rule.is_empty() { format!("{name}\n") } else { format!("{name} {rule}\n") }
    };
    roots.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roots(text: &str) -> Vec<(String, String)> {
        let definition = read(&[("packages.txt", text.as_bytes())]).expect("a definition");
        definition.roots.iter().map(|(name, root)| (name.clone(), root.rule_text())).collect()
    }

    fn refused(text: &[u8]) -> String {
        read(&[("packages.txt", text)]).expect_err("a defect").to_string()
    }

    fn pair(name: &str, rule: &str) -> (String, String) {
        (name.to_owned(), rule.to_owned())
    }

    #[test]
    fn lines_have_constraints_extras_and_comments() {
        let text = "\u{feff}# tools\r\nggplot2\r\n\r\ndplyr>=1.1.0,<2  # pinned\nshiny == 1.8.0 [suggests]\nR6 [Suggests, enhances]\n\
                    digest (>= 0.6.30)\nxml2@1.3.6\n";
        let expected = [
            pair("R6", "[suggests,enhances]"),
            pair("digest", ">=0.6.30"),
            pair("dplyr", ">=1.1.0, <2"),
            pair("ggplot2", ""),
            pair("shiny", "==1.8.0 [suggests]"),
            pair("xml2", "==1.3.6"),
        ];
        assert_eq!(roots(text), expected);
    }

    #[test]
    fn all_constraints_of_repeated_lines_apply() {
        assert_eq!(roots("a1 >=1.0\na1 <2.0 [suggests]\na1 >=1.0\n"), [pair("a1", ">=1.0, <2.0 [suggests]")]);
    }

    #[test]
    fn repeated_lines_are_named_up_to_a_limit() {
        let definition =
            read(&[("p.txt", "a1 >=1.0\na1 <2.0\n".repeat(50_000).as_bytes())]).expect("a definition");
        let root = &definition.roots["a1"];
        assert_eq!(root.constraints.len(), 2);
        assert!(root.origin.starts_with("p.txt, line 1 and p.txt, line 2 and "), "{}", root.origin);
        assert!(root.origin.ends_with(MORE_ORIGINS) && root.origin.len() < 2 * MAX_ORIGIN, "{}", root.origin);
    }

    #[test]
    fn lock_files_pin_versions() {
        let renv = br#"{"R":{"Version":"4.3.1"},"Packages":{"digest":{"Package":"digest","Version":"0.6.33","Source":"Repository"}}}"#;
        let definition = read(&[("renv.lock", renv)]).expect("a definition");
        assert_eq!(text(&definition.roots), "digest ==0.6.33\n");
        let rv = b"version = 2\nr_version = \"4.3\"\n\n[[packages]]\nname = \"R6\"\nversion = \"2.5.1\"\nsource = { repository = \"https://cran.example\" }\n";
        assert_eq!(text(&read(&[("rv.lock", rv)]).expect("a definition").roots), "R6 ==2.5.1\n");
    }

    #[test]
    fn defects_name_file_line_and_remedy() {
        assert!(refused(b"").contains("no line names a package"));
        assert!(refused(b"# only a comment\n").contains("no line names a package"));
        assert!(refused(b"ok1\n1bad\n").starts_with("packages.txt, line 2: '1bad' is not the name"));
        assert!(refused(b"a1 @ https://host.example/a1.tar.gz").contains("line 1: an address"));
        assert!(refused(b"a1 >= https://x").contains("line 1: 'https://x' is not a version"));
        assert!(refused(b"a1 ~> 1.0").contains("line 1"));
        assert!(refused(b"a1 [everything]").contains("'everything' is not a kind of dependency"));
        assert!(refused(b"-r other.txt").contains("line 1: '-r' "));
        assert!(refused(b"a1 [suggests").contains("']' is missing"));
        assert!(refused(b"caf\xe9\n").contains("not UTF-8"));
        assert!(refused("пакет\n".as_bytes()).contains("is not the name of an R package"));
        assert!(refused(&vec![b'a'; 1 << 20]).contains("more than the 4096 allowed"));
        assert!(refused(b"base\n").contains("part of R"));
        assert!(refused(b"{\"Packages\": 7}").starts_with("packages.txt: "));
    }

    #[test]
    fn all_defects_are_reported_up_to_a_limit() {
        let defects = refused(b"base\nok1\n-e .\nstats\n--index-url=x\n");
        let lines: Vec<&str> = defects.lines().collect();
        for (line, begin) in lines.iter().zip([
            "packages.txt, line 1: 'base' is part of R",
            "packages.txt, line 3: '-e' is an option",
            "packages.txt, line 4: 'stats' is part of R",
            "packages.txt, line 5: '--index-url=x' is an option",
        ]) {
            assert!(line.starts_with(begin), "{line}");
        }
        assert_eq!(lines.len(), 4, "{defects}");
        let many = refused("1\n".repeat(50).as_bytes());
        assert!(many.lines().count() == 21 && many.ends_with("\nand 30 more"), "{many}");
        let files = [("a.txt", &b"1\n"[..]), ("b.lock", &b"{"[..])];
        let more = [("c.txt", &b"\xff"[..]), ("d.txt", &b"ok1\n2\n"[..])];
        let files: Vec<(&str, &[u8])> = files.into_iter().chain(more).collect();
        let defects = read(&files).expect_err("defects").to_string();
        let files: Vec<&str> = defects.lines().map(|line| &line[..5]).collect();
        assert_eq!(files, ["a.txt", "b.loc", "c.txt", "d.txt"], "{defects}");
    }

    #[test]
    fn include_words() {
        assert_eq!(parse_include("imports,depends,linking-to"), Ok(Kinds::STRONG));
        assert_eq!(parse_include("none"), Ok(Kinds::NONE));
        assert_eq!(parse_include("all"), Ok(Kinds::ALL));
        assert_eq!(include_text(Kinds::STRONG), "imports,depends,linking-to");
        assert!(parse_include("imports,everything").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&[("f", &bytes)]);
        }

        #[test]
        fn written_definitions_are_read_again(
            packages in proptest::collection::btree_map("[a-z][a-z0-9]{1,5}", ("[0-9]{1,2}\\.[0-9]{1,2}", 0..6_usize, 0..4_usize), 1..5)
        ) {
            let operators = ["==", ">", ">=", "<", "<=", "!="];
            let extras = ["", " [suggests]", " [enhances]", " [all]"];
            let lines: String = packages.iter().filter(|(name, _)| !crate::r::name::is_base(name))
                .map(|(name, (version, operator, extra))| format!("{name} {}{version}{}\n", operators[*operator], extras[*extra])).collect();
            prop_assume!(!lines.is_empty());
            let definition = read(&[("f", lines.as_bytes())]).expect("a definition");
            let again = read(&[("f", text(&definition.roots).as_bytes())]).expect("a definition");
            let rules = |definition: &RDefinition| -> Vec<(String, String)> {
                definition.roots.iter().map(|(name, root)| (name.clone(), root.rule_text())).collect()
            };
            prop_assert_eq!(rules(&definition), rules(&again));
        }
    }
}
