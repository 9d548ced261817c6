//! A line of a definition: `name [constraints] [[extras]]`.

use super::{VersionConstraint, parse_include};
use crate::r::closure::Kinds;
use crate::r::dependency::Operator;
use crate::r::{name, version};

/// Maximum length of a quoted text in an error, in characters.
const MAX_EXCERPT: usize = 100;

/// Operators; each is before the operators that are its prefixes.
const OPERATORS: [(&str, Operator); 7] = [
    ("==", Operator::Equal),
    (">=", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("!=", Operator::NotEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).collect()
}

/// Splits a line after the name of the package, and checks the name.
pub(super) fn name_and_rest(line: &str) -> Result<(&str, &str), String> {
    if line.starts_with('-') {
        let option = line.split_whitespace().next().unwrap_or_default();
        return Err(format!("'{}' is an option of pip; write one package on each line", excerpt(option)));
    }
    if line.contains("://") && (line.contains(" @ ") || line.starts_with("git+") || line.starts_with("http"))
    {
        return Err(
            "an address of a package cannot be selected; write the name of a package of CRAN, or add the file to a local \
             source"
                .to_owned(),
        );
    }
    let end = line.find(|c: char| c.is_whitespace() || "<>=!~[(@;,".contains(c)).unwrap_or(line.len());
    let (package, rest) = line.split_at(end);
    if !name::is_package(package) {
        let text = if package.is_empty() { line } else { package };
        return Err(format!(
            "'{}' is not the name of an R package: two or more ASCII letters, digits and dots, beginning with a letter",
            excerpt(text)
        ));
    }
    if name::is_base(package) {
        return Err(format!("'{package}' is part of R and in no repository; remove the line"));
    }
    Ok((package, rest))
}

/// Reads the rest of a line: `>=1.0, <2 [suggests]`, also in parentheses as in DESCRIPTION; `@1.0` means `==1.0`.
pub(super) fn constraints_and_extras(rest: &str) -> Result<(Vec<VersionConstraint>, Kinds), String> {
    let (constraints, extras) = match rest.split_once('[') {
        Some((constraints, extras)) => {
            let extras =
                extras.trim_end().strip_suffix(']').ok_or("']' is missing at the end of the line")?;
            (constraints, parse_include(extras).map_err(|error| error.to_string())?)
        }
        None => (rest, Kinds::NONE),
    };
    let constraints = constraints.trim();
    let constraints = match constraints.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')').ok_or("')' is missing after the version")?,
        None => constraints,
    };
    let items = constraints.split(',').map(str::trim).filter(|item| !item.is_empty());
    Ok((items.map(constraint).collect::<Result<_, _>>()?, extras))
}

fn constraint(text: &str) -> Result<VersionConstraint, String> {
    let (operator, version) = match text.strip_prefix('@') {
        Some(version) => (Operator::Equal, version),
        None => OPERATORS
            .iter()
            .find_map(|(word, operator)| Some((*operator, text.strip_prefix(word)?)))
            .ok_or_else(|| {
                format!(
                    "'{}' is not a constraint; write one of ==, >=, <=, >, <, != and a version",
                    excerpt(text)
                )
            })?,
    };
    let version = version.trim();
    if !version::is_numeric(version) {
        return Err(format!("'{}' is not a version of an R package, such as 1.0 or 0.9-2", excerpt(version)));
    }
    Ok(VersionConstraint { operator, version: version.to_owned() })
}
