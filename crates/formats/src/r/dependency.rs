//! Dependency lists, `Depends` to `Enhances`, parsed leniently enough for every package on CRAN.

use super::version;
use std::cmp::Ordering;
use std::fmt;

/// The field that declares a dependency. The numbers are the values of `links[].type` in the public API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyKind {
    /// `Imports`: 0.
    Imports,
    /// `Depends`: 1.
    Depends,
    /// `Suggests`: 2.
    Suggests,
    /// `LinkingTo`: 3.
    LinkingTo,
    /// `Enhances`: 4.
    Enhances,
}

impl DependencyKind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [DependencyKind; 5] = [
        DependencyKind::Imports,
        DependencyKind::Depends,
        DependencyKind::Suggests,
        DependencyKind::LinkingTo,
        DependencyKind::Enhances,
    ];

    pub fn field(self) -> &'static str {
        match self {
            DependencyKind::Imports => "Imports",
            DependencyKind::Depends => "Depends",
            DependencyKind::Suggests => "Suggests",
            DependencyKind::LinkingTo => "LinkingTo",
            DependencyKind::Enhances => "Enhances",
        }
    }

    pub fn code(self) -> u8 {
        match self {
            DependencyKind::Imports => 0,
            DependencyKind::Depends => 1,
            DependencyKind::Suggests => 2,
            DependencyKind::LinkingTo => 3,
            DependencyKind::Enhances => 4,
        }
    }
}

/// A comparison operator of a version requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    NotEqual,
}

impl Operator {
    /// Returns the operator as written in DESCRIPTION.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::Greater => ">",
            Operator::GreaterEqual => ">=",
            Operator::Less => "<",
            Operator::LessEqual => "<=",
            Operator::NotEqual => "!=",
        }
    }

    /// Returns the value of `links[].operator` in the public API: 0 to 4 as in Posit Package Manager, and 5 for `!=`,
    /// whose number there is unknown.
    pub fn code(self) -> u8 {
        match self {
            Operator::Equal => 0,
            Operator::Greater => 1,
            Operator::GreaterEqual => 2,
            Operator::Less => 3,
            Operator::LessEqual => 4,
            Operator::NotEqual => 5,
        }
    }

    /// Returns whether the operator allows a version; `order` is its comparison with the required one.
    pub fn allows(self, order: Ordering) -> bool {
        match self {
            Operator::Equal => order.is_eq(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterEqual => order.is_ge(),
            Operator::Less => order.is_lt(),
            Operator::LessEqual => order.is_le(),
            Operator::NotEqual => order.is_ne(),
        }
    }
}

/// A version requirement, as in `(>= 1.2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRequirement<'a> {
    pub operator: Operator,
    /// The required version, as written; `r1234` (a Subversion revision) occurs for `R`.
    pub version: &'a str,
}

impl VersionRequirement<'_> {
    /// Returns whether a version meets the requirement. If the required version is not a version number, such as a
    /// Subversion revision, every version meets it.
    pub fn is_met_by(&self, candidate: &str) -> bool {
        !version::is_numeric(self.version) || self.operator.allows(version::compare(candidate, self.version))
    }
}

/// One item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency<'a> {
    /// The package, or `R`, as written; check with [`super::name::is_package`] before using it in a path.
    pub name: &'a str,
    /// The version requirement; `None` also if it could not be parsed.
    pub requirement: Option<VersionRequirement<'a>>,
}

impl fmt::Display for Dependency<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requirement {
            None => f.write_str(self.name),
            Some(r) => write!(f, "{} ({} {})", self.name, r.operator.as_str(), r.version),
        }
    }
}

/// Iterates over the items of a list in order; empty items are skipped. White space is optional everywhere.
pub fn parse_list(text: &str) -> impl Iterator<Item = Dependency<'_>> {
    text.split(',').filter_map(parse_item)
}

/// Returns the version requirements on R in a `Depends` field.
pub fn r_requirements(depends: &str) -> impl Iterator<Item = VersionRequirement<'_>> {
    parse_list(depends).filter(|d| d.name == "R").filter_map(|d| d.requirement)
}

fn parse_item(text: &str) -> Option<Dependency<'_>> {
    let text = text.trim();
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let name = name.trim_end();
    (!name.is_empty()).then(|| Dependency { name, requirement: parse_requirement(rest) })
}

fn parse_requirement(text: &str) -> Option<VersionRequirement<'_>> {
    let (requirement, _) = text.split_once(')')?;
    let requirement = requirement.trim();
    let end = requirement.find(|c: char| !matches!(c, '<' | '>' | '=' | '!'))?;
    let operator = match &requirement[..end] {
        "==" | "=" => Operator::Equal,
        ">" | ">>" => Operator::Greater,
        ">=" => Operator::GreaterEqual,
        "<" | "<<" => Operator::Less,
        "<=" => Operator::LessEqual,
        "!=" => Operator::NotEqual,
        _ => return None,
    };
    let version = requirement[end..].trim();
    (!version.is_empty()).then_some(VersionRequirement { operator, version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(text: &str) -> Vec<String> {
        parse_list(text).map(|d| d.to_string()).collect()
    }

    #[test]
    fn white_space_is_optional_everywhere() {
        let expected = ["R (>= 3.5)", "boot (>= 1.3)", "stats", "a.b (== 1-2)"];
        assert_eq!(items("R (>= 3.5), boot(>= 1.3), stats, a.b (== 1-2)"), expected);
        assert_eq!(items("\n R(>=3.5),boot (>=1.3),\n\tstats\n,a.b( ==1-2 )"), expected);
    }

    #[test]
    fn empty_items_and_trailing_commas_are_skipped() {
        assert_eq!(items(", methods,, utils ,"), ["methods", "utils"]);
        assert_eq!(items(" \n"), [""; 0]);
    }

    #[test]
    fn every_operator_is_known() {
        for (text, operator) in [
            ("<", Operator::Less),
            ("<=", Operator::LessEqual),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            (">=", Operator::GreaterEqual),
            (">", Operator::Greater),
        ] {
            let item = format!("a1 ({text} 1.0)");
            let requirement = parse_list(&item).next().and_then(|d| d.requirement).expect("a requirement");
            assert_eq!((requirement.operator, requirement.version), (operator, "1.0"));
            assert_eq!(requirement.operator.as_str(), text);
        }
    }

    #[test]
    fn invalid_requirements_are_ignored() {
        assert_eq!(items("a1 (recent), b2 (=> 1), c3 (>= ), d4 (>= 1"), ["a1", "b2", "c3", "d4"]);
    }

    #[test]
    fn all_requirements_on_r_apply_and_svn_revisions_are_ignored() {
        let requirements: Vec<_> = r_requirements("R (>= 2.10), methods, R (< 4.0), R (>= r56550)").collect();
        assert_eq!(requirements.len(), 3);
        assert!(requirements.iter().all(|r| r.is_met_by("3.6.1")));
        assert!(!requirements.iter().all(|r| r.is_met_by("4.2.2")));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            for dependency in parse_list(&text) {
                prop_assert!(!dependency.name.is_empty());
            }
        }

        #[test]
        fn a_written_list_is_read_back(names in proptest::collection::vec("[a-zA-Z][a-z.]{1,6}", 0..8)) {
            let text = names.iter().map(|n| format!("{n} (>= 1.0)")).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(items(&text).join(", "), text);
        }
    }
}
