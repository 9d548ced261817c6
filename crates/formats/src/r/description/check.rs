//! R's own rules for DESCRIPTION and for the records of an index.
//!
//! `R CMD build` and `R CMD INSTALL` refuse a DESCRIPTION by `tools:::.check_package_description`, and
//! `available.packages()` evaluates the requirements on R of every record, so that one record that it cannot read makes
//! a whole repository unavailable.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use super::{encoding_by_name, is_encoding_of_r};
use crate::r::dcf::{self, DcfError};
use crate::r::dependency::{self, DependencyKind, Operator};
use crate::r::packages::SOURCE_FIELDS;
use crate::r::{name, version};

/// Why R refuses a DESCRIPTION. The texts are those that R prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A byte order mark, which R reads as a part of the first field's name.
    #[error(
        "the file begins with a byte order mark, so that R finds no 'Package' field; save it as UTF-8 without one"
    )]
    ByteOrderMark,
    #[error("the file is not in valid DCF format: {0}")]
    Dcf(DcfError),
    #[error("contains a blank line: it must be one record, and has {0}")]
    Records(usize),
    /// A field that every package has, also if there is a blank between its name and the colon.
    #[error("Required field missing or empty: '{0}'")]
    Missing(&'static str),
    #[error("Unknown encoding '{0}'; save the file as UTF-8 and write 'Encoding: UTF-8'")]
    UnknownEncoding(String),
    #[error("Fields with non-ASCII tags: {0}. All field tags must be ASCII.")]
    Tags(String),
    #[error("Fields with non-ASCII values: {0}. These fields must have ASCII values.")]
    Values(String),
    /// Text that is not ISO 8859, such as most UTF-8, without an `Encoding`.
    #[error("Unknown encoding: {0} is not ASCII; add the field 'Encoding: UTF-8'")]
    Encoding(String),
    #[error("Invalid package name. This is the name of a base package.")]
    BasePackage,
    /// A version with a number that R cannot represent.
    #[error(
        "the version '{0}' has a number above {max}, which R cannot compare: it reads NA; use smaller numbers, such as \
         a date and a counter",
        max = version::MAX_COMPONENT
    )]
    Version(String),
    #[error("Malformed maintainer field.")]
    Maintainer,
    /// Items of the fields that declare dependencies.
    #[error(
        "Malformed Depends or Suggests or Imports or Enhances field. Offending entries: {0}. Entries must be names of \
         packages optionally followed by '<=' or '>=', white space, and a valid version number in parentheses."
    )]
    Dependencies(String),
    #[error("Depends: R cannot compare its version with '{0}'; write a requirement such as R (>= 4.1.0)")]
    Requirement(String),
    #[error("LinkingTo: invalid version specification in '{0}'")]
    LinkingTo(String),
    /// `Priority` of a package of R itself.
    #[error(
        "Invalid Priority field. Packages with priorities 'base' or 'recommended' or 'defunct-base' must already be known \
         to R."
    )]
    Priority,
}

/// Every reason for which R refuses a DESCRIPTION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Vec<Problem>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal(problems) = self;
        let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
        write!(f, "R refuses its DESCRIPTION: {}", texts.join(" "))
    }
}

impl std::error::Error for Refusal {}

/// The packages of R itself (`tools:::.get_standard_package_names()`), without `translations`.
const RECOMMENDED: [&str; 15] = [
    "KernSmooth",
    "MASS",
    "Matrix",
    "boot",
    "class",
    "cluster",
    "codetools",
    "foreign",
    "lattice",
    "mgcv",
    "nlme",
    "nnet",
    "rpart",
    "spatial",
    "survival",
];

fn is_base(package: &str) -> bool {
    name::is_base(package) && package != "translations"
}

/// Checks the bytes of a DESCRIPTION as R does before it builds or installs a package. Not checked: `Authors@R`, which
/// is R code. The form of `Package` and `Version` is checked by the caller.
pub fn check(raw: &[u8]) -> Result<(), Refusal> {
    if raw.starts_with(b"\xef\xbb\xbf") {
        return Err(Refusal(vec![Problem::ByteOrderMark]));
    }
    let records = dcf::records(raw).collect::<Result<Vec<_>, _>>();
    let records = records.map_err(|error| Refusal(vec![Problem::Dcf(error)]))?;
    let [record] = &records[..] else { return Err(Refusal(vec![Problem::Records(records.len())])) };
    let mut problems = Vec::new();
    let fields = UniqueFields::new(record);
    problems.extend(
        ["Package", "Version"].into_iter().filter(|tag| fields.get(tag).is_none()).map(Problem::Missing),
    );
    fields.check_encoding(&mut problems);
    fields.check_names(&mut problems);
    fields.check_dependencies(&mut problems);
    if problems.is_empty() { Ok(()) } else { Err(Refusal(problems)) }
}

/// The fields of a record, the last of each name.
struct UniqueFields<'a> {
    fields: Vec<(&'a [u8], Cow<'a, [u8]>)>,
}

impl<'a> UniqueFields<'a> {
    fn new(record: &dcf::DcfRecord<'a>) -> UniqueFields<'a> {
        let mut fields: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let value = field.value.fold();
            match fields.iter_mut().find(|(tag, _)| *tag == field.tag) {
                Some((_, earlier)) => *earlier = value,
                None => fields.push((field.tag, value)),
            }
        }
        UniqueFields { fields }
    }

    fn get(&self, tag: &str) -> Option<Cow<'_, str>> {
        let value = self.fields.iter().find(|(other, _)| *other == tag.as_bytes());
        value.map(|(_, value)| String::from_utf8_lossy(value))
    }

    fn tags(&self, is_bad: impl Fn(&[u8], &[u8]) -> bool) -> Option<String> {
        let bad = self.fields.iter().filter(|(tag, value)| is_bad(tag, value));
        let tags: Vec<_> = bad.map(|(tag, _)| String::from_utf8_lossy(tag)).collect();
        (!tags.is_empty()).then(|| excerpt(&tags.join(", ")))
    }

    fn check_encoding(&self, problems: &mut Vec<Problem>) {
        let encoding = self.get("Encoding");
        let is_ascii_field = |tag: &[u8]| {
            let tags = SOURCE_FIELDS.iter().chain(&["Encoding"]);
            tags.into_iter().any(|other| other.as_bytes() == tag)
        };
        if let Some(unknown) = encoding.as_deref().filter(|name| !is_encoding_of_r(name)) {
            problems.push(Problem::UnknownEncoding(excerpt(unknown)));
        }
        problems.extend(self.tags(|tag, _| !tag.is_ascii()).map(Problem::Tags));
        let has_text = |value: &[u8]| !value.is_ascii() && has_text(value, encoding.as_deref());
        problems.extend(self.tags(|tag, value| is_ascii_field(tag) && has_text(value)).map(Problem::Values));
        if encoding.is_none() {
            let is_unknown = |value: &[u8]| value.iter().any(|b| (0x80..0xa0).contains(b));
            problems.extend(self.tags(|_, value| is_unknown(value)).map(Problem::Encoding));
        }
    }

    fn check_names(&self, problems: &mut Vec<Problem>) {
        let package = self.get("Package").unwrap_or_default();
        let priority = self.get("Priority");
        if is_base(&package) && priority.as_deref() != Some("base") {
            problems.push(Problem::BasePackage);
        }
        if let Some(version) = self
            .get("Version")
            .filter(|version| version::is_package_version(version) && !version::is_comparable(version))
        {
            problems.push(Problem::Version(excerpt(&version)));
        }
        if self.get("Maintainer").is_some_and(|value| !MAINTAINER.is_match(&value)) {
            problems.push(Problem::Maintainer);
        }
        let is_reserved = |priority: &str| matches!(priority, "base" | "recommended" | "defunct-base");
        let is_known = is_base(&package) || RECOMMENDED.contains(&&*package);
        if priority.is_some_and(|priority| is_reserved(&priority.to_lowercase())) && !is_known {
            problems.push(Problem::Priority);
        }
    }

    fn check_dependencies(&self, problems: &mut Vec<Problem>) {
        let mut malformed = Vec::new();
        for kind in DependencyKind::ALL.into_iter().filter(|kind| *kind != DependencyKind::LinkingTo) {
            let Some(value) = self.get(kind.field()) else { continue };
            malformed.extend(items(&value).filter(|item| !is_well_formed(item)).map(quoted));
        }
        if !malformed.is_empty() {
            problems.push(Problem::Dependencies(excerpt(&malformed.join(", "))));
        } else if let Some(item) = self.get("Depends").as_deref().and_then(unreadable_requirement) {
            problems.push(Problem::Requirement(excerpt(item)));
        }
        if let Some(value) = self.get("LinkingTo")
            && let Some(item) = items(&value).find(|item| !is_valid_linking(item))
        {
            problems.push(Problem::LinkingTo(excerpt(item)));
        }
    }
}

/// Returns whether a decoded value is more than ASCII: R replaces bytes that it cannot decode by their numbers.
fn has_text(value: &[u8], encoding_name: Option<&str>) -> bool {
    match encoding_name {
        Some("UTF-8") => value.utf8_chunks().any(|chunk| !chunk.valid().is_ascii()),
        None | Some("latin1") => true,
        Some(other) => match encoding_by_name(other) {
            Some(encoding) => {
                let text = encoding.decode_without_bom_handling(value).0;
                text.chars().any(|c| !c.is_ascii() && c != char::REPLACEMENT_CHARACTER)
            }
            None => true,
        },
    }
}

/// R's pattern for `Maintainer` (`tools:::.valid_maintainer_field_regexp`): `Name <address>`, or `ORPHANED`.
static MAINTAINER: LazyLock<Regex> = LazyLock::new(|| {
    let atom = "[A-Za-z0-9!#$%*/?|^{}`~&'+=_-]+";
    let domain = "([A-Za-z0-9-]+\\.)*[A-Za-z0-9-]+";
    let address = format!("(\".+\"|({atom}\\.)*{atom})@{domain}");
    pattern(&format!("(?s)^{BLANK}*(.*<{address}>|ORPHANED){BLANK}*$"))
});

/// R's pattern for an item of a dependency field; captures operator and version.
static ITEM: LazyLock<Regex> = LazyLock::new(|| {
    let name = "(?:R|[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9])";
    pattern(&format!("^{BLANK}*{name}(?:{BLANK}*\\(([^) ]+){BLANK}+([^) ]+)\\))?{BLANK}*$"))
});

/// The form of an item of `LinkingTo` that has a version; captures what is in parentheses.
static LINKING: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!("(?s)^[^(\\\\ \\t\\n\\x0b\\x0c\\r]+{BLANK}*\\(([^)\\\\]+)\\)")));

/// White space in R's patterns.
const BLANK: &str = "[ \\t\\n\\x0b\\x0c\\r]";

/// The characters of [`BLANK`].
const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is valid")
}

/// Splits a dependency field as R does: an empty item after others is none, and a comma alone is an empty item.
fn items(value: &str) -> impl Iterator<Item = &str> {
    let is_empty = value.is_empty();
    let value = value.strip_suffix(',').unwrap_or(value);
    value.split(',').map(trim).filter(move |_| !is_empty)
}

fn trim(item: &str) -> &str {
    item.trim_matches([' ', '\t', '\n', '\r'])
}

fn quoted(item: &str) -> String {
    format!("'{item}'")
}

/// Returns whether `R CMD build` accepts an item of `Depends`, `Imports`, `Suggests` or `Enhances`.
fn is_well_formed(item: &str) -> bool {
    let Some(parts) = ITEM.captures(item) else { return false };
    let (Some(operator), Some(required)) = (parts.get(1), parts.get(2)) else { return true };
    // A Subversion revision is meant for R, and R's pattern accepts it for every name that begins with R.
    let revision = required.as_str().strip_prefix('r').filter(|_| item.starts_with('R'));
    is_operator(operator.as_str())
        && (version::is_package_version(required.as_str())
            || revision
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())))
}

fn is_operator(text: &str) -> bool {
    matches!(text, "<=" | ">=" | "<" | ">" | "==" | "!=")
}

/// Returns whether `R CMD INSTALL` can read an item of `LinkingTo`, which `R CMD build` does not check.
fn is_valid_linking(item: &str) -> bool {
    let Some(parts) = LINKING.captures(item) else { return true };
    let requirement = parts[1].trim_start_matches(BLANKS);
    let rest = requirement.trim_start_matches(['[', '<', '>', '=', '!']);
    let required = rest.trim_start_matches(BLANKS);
    let is_separated = rest.len() < requirement.len() && required.len() < rest.len();
    // Without operator and blank, R takes the whole text for the version.
    let required = if is_separated { required } else { &parts[1] };
    required.starts_with('r') || version::is_package_version(required)
}

/// Returns the first requirement on R in a `Depends` field that `available.packages()` cannot evaluate.
pub fn unreadable_requirement(depends: &str) -> Option<&str> {
    let is_unreadable = |item: &&str| is_requirement(item.trim()) && !is_readable(item.trim_matches(BLANKS));
    depends.split(',').find(is_unreadable).map(str::trim)
}

/// Returns whether an item requires a version of R: `R`, then a parenthesis.
fn is_requirement(item: &str) -> bool {
    item.strip_prefix('R').is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Returns whether `available.packages()` can evaluate a requirement on R.
fn is_readable(item: &str) -> bool {
    let inner = item.strip_prefix('R').map(|rest| rest.trim_start_matches(BLANKS));
    let Some(inner) = inner.and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')')) else { return false };
    let Some((operator, required)) = inner.split_once(BLANKS) else { return false };
    let required = required.trim_start_matches(BLANKS);
    is_operator(operator) && version::is_numeric(required) && version::is_comparable(required)
}

/// Returns whether R can compare the version of a package with others. Otherwise `available.packages()` fails for
/// clients with two repositories that list the package.
pub fn is_comparable_version(text: &str) -> bool {
    version::is_package_version(text) && version::is_comparable(text)
}

/// The form in which an index contains a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServedRecord {
    Unchanged,
    /// Another text, which R can read.
    Rewritten(Vec<u8>),
    /// Left out: R cannot compare its version.
    Omitted,
}

/// Returns the form of a record in an index that R can read. Records of packages that were added are checked before; this is for
/// requirements and line ends in the index of a mirror.
pub fn served_record(stanza: &[u8]) -> ServedRecord {
    let record = match dcf::records(stanza).next() {
        None => return ServedRecord::Unchanged,
        Some(Err(_)) => return ServedRecord::Omitted,
        Some(Ok(record)) => record,
    };
    let version = record.get("Version").map(dcf::DcfValue::fold);
    if version.is_some_and(|version| !is_comparable_version(&String::from_utf8_lossy(&version))) {
        return ServedRecord::Omitted;
    }
    mended(stanza, &record).map_or(ServedRecord::Unchanged, ServedRecord::Rewritten)
}

/// Returns the item of a record's `Depends` with which it would make `available.packages()` fail for the whole index.
pub fn unreadable_item(stanza: &[u8]) -> Option<String> {
    item_of(&dcf::records(stanza).next()?.ok()?)
}

fn item_of(record: &dcf::DcfRecord<'_>) -> Option<String> {
    let depends = record.get("Depends")?.fold();
    unreadable_requirement(&String::from_utf8_lossy(&depends)).map(excerpt)
}

/// Returns an index record that `available.packages()` can read, if it cannot read `stanza`: a requirement on R is
/// written in R's form, such as `R (>= 3.5)` for `R (>=3.5)`, or without its version if it has none that R can compare.
/// A CR alone, which only some clients take for a line end, as R does, becomes an LF.
fn mended(stanza: &[u8], record: &dcf::DcfRecord<'_>) -> Option<Vec<u8>> {
    let is_unreadable = item_of(record).is_some();
    if !is_unreadable && !memchr::memchr_iter(b'\r', stanza).any(|i| stanza.get(i + 1) != Some(&b'\n')) {
        return None;
    }
    let mut out = Vec::with_capacity(stanza.len());
    for field in &record.fields {
        if is_unreadable && field.tag == b"Depends" {
            let value = field.value.fold();
            let items: Vec<String> = String::from_utf8_lossy(&value).split(',').map(readable_item).collect();
            dcf::write_field(&mut out, "Depends", &items.join(", ")).expect("writing to a Vec succeeds");
        } else {
            dcf::copy_lines(&mut out, field);
        }
    }
    Some(out)
}

fn readable_item(item: &str) -> String {
    let item = item.trim();
    if !is_requirement(item) || is_readable(item) {
        return item.to_owned();
    }
    let requirement = dependency::parse_list(item).next().and_then(|dependency| dependency.requirement);
    let requirement = requirement
        .filter(|required| version::is_numeric(required.version) && version::is_comparable(required.version));
    match requirement {
        Some(required) => format!("R ({} {})", Operator::as_str(required.operator), required.version),
        None => "R".to_owned(),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(lines: &str) -> String {
        match check(format!("Package: a1\nVersion: 1.0\n{lines}\n").as_bytes()) {
            Ok(()) => String::new(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn requirements_of_the_index_reader_are_written_in_its_form() {
        for (item, readable) in [
            ("R (>=3.5.0)", "R (>= 3.5.0)"),
            ("R(>=3.5)", "R (>= 3.5)"),
            ("R (>= 3.5 )", "R (>= 3.5)"),
            ("R ( >= 3.5)", "R (>= 3.5)"),
            ("R (= 3.5)", "R (== 3.5)"),
            ("R (>= 4.x)", "R"),
            ("R (>= r56550)", "R"),
            ("R (>= 20240115123456)", "R"),
            ("R (>= 3.5", "R"),
            ("R()", "R"),
        ] {
            let stanza = format!("Package: a1\nDepends: utils, {item},\n  methods\nLicense: MIT");
            assert_eq!(unreadable_item(stanza.as_bytes()).as_deref(), Some(item));
            let ServedRecord::Rewritten(record) = served_record(stanza.as_bytes()) else { panic!("{item}") };
            let expected = format!("Package: a1\nDepends: utils, {readable}, methods\nLicense: MIT\n");
            assert_eq!(String::from_utf8_lossy(&record), expected);
            assert_eq!(served_record(&record), ServedRecord::Unchanged);
        }
    }

    #[test]
    fn records_that_r_can_read_are_not_changed() {
        for depends in [
            "R (>= 3)",
            "R >= 3.5",
            "R",
            "R(>= 3.5)",
            "R (>=\t3.5)",
            "R2 (>=3)",
            "Rcpp (>=1)",
            "utils (>=1)",
            "",
        ] {
            let stanza = format!("Package: a1\nDepends: {depends}\nSuggests: R (>=3)");
            assert_eq!(served_record(stanza.as_bytes()), ServedRecord::Unchanged, "{depends}");
        }
        assert_eq!(served_record(b"Package: a1\nVersion: 1.0"), ServedRecord::Unchanged);
        assert_eq!(served_record(b"Package: a1\nVersion: 1.4294967296\nLicense: x"), ServedRecord::Omitted);
        assert_eq!(served_record(b"Package: a1\nX-Depends: R (>=3)\n"), ServedRecord::Unchanged);
    }

    #[test]
    fn every_problem_is_named() {
        let both = problem("Depends: R (>=3.5), utils\nPriority: recommended");
        assert!(both.contains("Malformed Depends") && both.contains("'R (>=3.5)'. Entries must"), "{both}");
        assert!(both.contains("Invalid Priority field."), "{both}");
        assert!(problem("Title: a\u{200b}b").contains("Unknown encoding"));
        assert!(problem("Imports: a\u{a0}b\nEncoding: UTF-8").contains("non-ASCII values: Imports"));
        assert_eq!(problem("Title: a\u{200b}b\nEncoding: UTF-8"), "");
        assert!(problem("\nPackage: b2").contains("contains a blank line"));
        assert!(problem("# a comment").contains("not in valid DCF format"));
        assert!(problem("Version: 1.2147483648").contains("above 2147483647"));
        assert!(problem("Maintainer: nobody").contains("Malformed maintainer"));
        assert!(problem("LinkingTo: Rcpp (>=1.0)").contains("LinkingTo"));
        assert!(problem("Depends: R (>= r56550)").contains("R cannot compare its version"));
    }
}
