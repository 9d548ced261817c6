//! The rules of core metadata for the values of fields: those of `packaging.metadata`, which is PyPI's validator and the
//! parser of pip. Its verdicts are compared in `tests/python/installers.rs`.

use std::collections::HashSet;

use super::header::{HeaderField, Headers};
use crate::python::name;
use crate::python::requirement::{Requirement, VersionsOrUrl};
use crate::python::specifier::Specifiers;
use base::model::license_expression::{BadLicense, LicenseExpression};

/// Maximum number of fields of new metadata. The largest packages on PyPI have 1,500.
pub const MAX_FIELDS: usize = 10_000;

/// The versions of core metadata.
const VERSIONS: [&str; 9] = ["1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6"];

/// How often a field may occur.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Once,
    Many,
}

use Use::{Many, Once};

/// The fields in lower case, with the version that introduced them.
const FIELDS: [(&str, &str, Use); 32] = [
    ("metadata-version", "1.0", Once),
    ("name", "1.0", Once),
    ("version", "1.0", Once),
    ("platform", "1.0", Many),
    ("summary", "1.0", Once),
    ("description", "1.0", Once),
    ("keywords", "1.0", Once),
    ("home-page", "1.0", Once),
    ("author", "1.0", Once),
    ("author-email", "1.0", Once),
    ("license", "1.0", Once),
    ("supported-platform", "1.1", Many),
    ("download-url", "1.1", Once),
    ("classifier", "1.1", Many),
    ("requires", "1.1", Many),
    ("provides", "1.1", Many),
    ("obsoletes", "1.1", Many),
    ("maintainer", "1.2", Once),
    ("maintainer-email", "1.2", Once),
    ("requires-dist", "1.2", Many),
    ("requires-python", "1.2", Once),
    ("requires-external", "1.2", Many),
    ("project-url", "1.2", Many),
    ("provides-dist", "1.2", Many),
    ("obsoletes-dist", "1.2", Many),
    ("provides-extra", "2.1", Many),
    ("description-content-type", "2.1", Once),
    ("dynamic", "2.2", Many),
    ("license-expression", "2.4", Once),
    ("license-file", "2.4", Many),
    ("import-name", "2.5", Many),
    ("import-namespace", "2.5", Many),
];

/// The words that are no identifiers in Python.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadField {
    #[error("the metadata has {0} fields, more than the {MAX_FIELDS} allowed")]
    TooMany(usize),
    /// pip and uv end with an error.
    #[error(
        "the metadata has the field Requires-Dist: {value}, so that pip and uv cannot install the package: {reason}; \
         correct the requirement, and build the package again"
    )]
    RequiresDist {
        /// The beginning of the value.
        value: String,
        reason: String,
    },
    /// uv ends with an error, and pip ignores the field.
    #[error(
        "the metadata has the field Requires-Python: {0}, which is not a version specifier (PEP 440), so that uv does not \
         install the package and pip ignores the field; write for example >=3.9"
    )]
    RequiresPython(String),
    #[error("the metadata has the field License-Expression: {0}")]
    License(#[from] BadLicense),
}

/// Checks every field of new metadata. Returns the defects that installers tolerate.
pub fn check(bytes: &[u8]) -> Result<Vec<String>, BadField> {
    let Headers { fields, body } = Headers::parse(bytes);
    if fields.len() > MAX_FIELDS {
        return Err(BadField::TooMany(fields.len()));
    }
    let mut defects = Vec::new();
    let format = fields.iter().find(|field| field.name.eq_ignore_ascii_case("metadata-version"));
    let age = VERSIONS.iter().position(|version| format.is_some_and(|format| format.value == *version));
    if age.is_none() {
        defects
            .push(format!("the metadata has an unknown Metadata-Version; known are {}", VERSIONS.join(", ")));
    }
    let (mut seen, mut labels) = (HashSet::new(), HashSet::new());
    for HeaderField { name, value } in &fields {
        let lower = name.to_ascii_lowercase();
        let Some((known, added, occurs)) = FIELDS.iter().find(|(known, ..)| *known == lower) else {
            defects.push(format!("the metadata has the unknown field {}", excerpt(name)));
            continue;
        };
        let is_new = VERSIONS.iter().position(|version| version == added) > age;
        if is_new && age.is_some() && seen.insert(*known) {
            defects.push(format!(
                "the metadata has the field {name}, which exists since Metadata-Version {added}"
            ));
        } else if !seen.insert(*known) && *occurs == Once {
            defects.push(format!("the metadata has the field {name} more than once"));
        }
        let label = value.split_once(',').map_or(&**value, |(label, _)| label).trim();
        let is_valid = match *known {
            "project-url" => labels.insert(label.to_owned()),
            "license-expression" if !value.is_empty() => {
                value.parse::<LicenseExpression>()?;
                true
            }
            "requires-dist" => {
                check_requirement(value)?;
                true
            }
            "requires-python" => check_python(value)?,
            known => is_valid(known, value),
        };
        if !is_valid {
            defects.push(format!("the metadata has an invalid field {name}: {}", excerpt(value)));
        }
    }
    if seen.contains("description") && !body.is_empty() {
        defects.push("the metadata has two descriptions: a field, and the text after the fields".to_owned());
    }
    Ok(defects)
}

fn is_valid(field: &str, value: &str) -> bool {
    match field {
        "summary" => !value.contains(is_line_boundary),
        "description-content-type" => is_content_type(value),
        "dynamic" => {
            let lower = value.to_ascii_lowercase();
            !matches!(&*lower, "name" | "version" | "metadata-version")
                && FIELDS.iter().any(|(known, ..)| *known == lower)
        }
        "provides-extra" => name::is_valid(value),
        "license-file" => is_relative_path(value),
        "import-name" => value.is_empty() || is_import_name(value),
        "import-namespace" => is_import_name(value),
        "license-expression" => !value.is_empty(),
        _ => true,
    }
}

fn check_requirement(value: &str) -> Result<(), BadField> {
    let is_other_blank = |c: char| c.is_whitespace() && !matches!(c, ' ' | '\t');
    let reason = match Requirement::parse(value) {
        Err(error) => error.to_string(),
        Ok(_) if value.contains(is_other_blank) => "white space other than blanks and tabs".to_owned(),
        Ok(Requirement { constraint: VersionsOrUrl::Versions(versions), .. }) if !is_list(&versions) => {
            format!("'{versions}' is not a list of versions that follow PEP 440")
        }
        Ok(_) => return Ok(()),
    };
    Err(BadField::RequiresDist { value: excerpt(value), reason })
}

/// Returns whether clauses are not empty, apart from the last one, and have valid versions. The text after `===` ends at a
/// blank, also if it contains a comma.
fn is_list(versions: &Specifiers) -> bool {
    let text = versions.as_str();
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    let (plain, arbitrary) = inner.split_once("===").unwrap_or((inner, ""));
    let clauses = plain.rsplit_once(',').map_or("x", |(clauses, _)| clauses);
    let rest = arbitrary.trim_start().split_once([' ', '\t']).map_or("", |(_, rest)| rest.trim_start());
    versions.has_only_versions()
        && clauses.split(',').all(|clause| !clause.trim().is_empty())
        && (rest.is_empty() || rest.starts_with(','))
}

/// Returns false for a form of old metadata that installers understand, such as `>=3.6.*`.
fn check_python(value: &str) -> Result<bool, BadField> {
    if Specifiers::lenient(value).is_none_or(|specifiers| !specifiers.has_only_versions()) {
        return Err(BadField::RequiresPython(excerpt(value)));
    }
    Ok(!value.starts_with('(') && value.parse::<Specifiers>().is_ok())
}

/// Returns true for the characters at which Python's `str.splitlines` ends a line.
pub fn is_line_boundary(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_content_type(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_markdown = media == "text/markdown";
    (is_markdown || media == "text/plain" || media == "text/x-rst")
        && parts.all(|part| {
            let Some((name, value)) = part.split_once('=') else { return false };
            let value = value.trim().trim_matches('"');
            match &*name.trim().to_ascii_lowercase() {
                "charset" => value.eq_ignore_ascii_case("utf-8"),
                "variant" => !is_markdown || matches!(value, "GFM" | "CommonMark"),
                name => !name.is_empty(),
            }
        })
}

/// Returns true for a path with `/` between its parts that stays in its folder, on every system.
fn is_relative_path(path: &str) -> bool {
    let has_drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes().get(2) == Some(&b'/');
    !has_drive
        && !path.contains("..")
        && !path.contains(['*', '\\'])
        && path.split('/').all(|part| !matches!(part, "" | "."))
}

fn is_import_name(value: &str) -> bool {
    let (name, is_option_valid) = match value.split_once(';') {
        Some((name, option)) => (name.trim_end(), option.trim_start() == "private"),
        None => (value, true),
    };
    let is_start = |c: char| c.is_alphabetic() || c == '_';
    let is_identifier = |word: &str| {
        word.starts_with(is_start)
            && word.chars().all(|c| is_start(c) || c.is_alphanumeric())
            && !KEYWORDS.contains(&word)
    };
    is_option_valid && name.split('.').all(is_identifier)
}

pub(super) fn excerpt(text: &str) -> String {
    text.escape_debug().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_fields(version: &str, fields: &str) -> Result<Vec<String>, String> {
        let text = format!("Metadata-Version: {version}\nName: odd\nVersion: 1.0\n{fields}");
        check(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_that_installers_cannot_read_are_refused() {
        for value in [
            "foo bar baz",
            "foo (>=1",
            "foo >>> 1",
            "foo==2004d",
            "foo>=1,,<2",
            "foo === 1, <2",
            "foo>=1; x",
            "",
            "-e .",
            "foo[a",
        ] {
            let error = check_fields("2.1", &format!("Requires-Dist: {value}\n")).expect_err(value);
            assert!(error.starts_with("the metadata has the field Requires-Dist: "), "{error}");
        }
        for value in ["three", ">=three", "==three", ">=3 <4", "3", "UNKNOWN"] {
            let error = check_fields("2.1", &format!("Requires-Python: {value}\n")).expect_err(value);
            assert!(
                error.starts_with(&format!("the metadata has the field Requires-Python: {value}, ")),
                "{error}"
            );
        }
        assert!(check_fields("2.4", "License-Expression: free\n").is_err());
        let many = "Classifier: a\n".repeat(MAX_FIELDS);
        assert_eq!(
            check_fields("2.1", &many),
            Err("the metadata has 10003 fields, more than the 10000 allowed".to_owned())
        );
    }

    #[test]
    fn other_defects_are_stated() {
        for (version, fields, defect) in [
            ("2.1", "Requires-Python: >=3.8.*", "an invalid field Requires-Python: >=3.8.*"),
            ("2.1", "Requires-Python: (>=3)", "an invalid field Requires-Python: (>=3)"),
            ("2.1", "Provides-Extra: a b!", "an invalid field Provides-Extra: a b!"),
            ("2.2", "Dynamic: Name", "an invalid field Dynamic: Name"),
            ("2.2", "Dynamic: Nonsense", "an invalid field Dynamic: Nonsense"),
            ("2.5", "Import-Name: 1bad!", "an invalid field Import-Name: 1bad!"),
            ("2.5", "Import-Name: a.class", "an invalid field Import-Name: a.class"),
            ("2.5", "Import-Name: a; public", "an invalid field Import-Name: a; public"),
            ("2.4", "License-File: ../x", "an invalid field License-File: ../x"),
            ("2.4", "License-File: C:/x", "an invalid field License-File: C:/x"),
            ("2.1", "Summary: one\n two", "an invalid field Summary: one\\ntwo"),
            (
                "2.1",
                "Description-Content-Type: text/html",
                "an invalid field Description-Content-Type: text/html",
            ),
            ("2.1", "Dynamic: Summary", "the field Dynamic, which exists since Metadata-Version 2.2"),
            ("2.1", "Summary: a\nsummary: b", "the field summary more than once"),
            ("2.1", "X-New: a", "the unknown field X-New"),
            ("2.1", "Project-URL: a, b\nProject-URL: a, c", "an invalid field Project-URL: a, c"),
            ("2.1", "Description: a\n\nb", "two descriptions: a field, and the text after the fields"),
            ("2.9", "", "an unknown Metadata-Version; known are 1.0, 1.1, 1.2, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6"),
        ] {
            assert_eq!(
                check_fields(version, fields),
                Ok(vec![format!("the metadata has {defect}")]),
                "{fields}"
            );
        }
    }

    #[test]
    fn valid_fields_have_no_defects() {
        let fields = "Summary: one\nDynamic: requires-dist\nProvides-Extra: a_B\nLicense-File: a/LICENSE\n\
            Import-Name: a.b_1; private\nImport-Name: \nDescription-Content-Type: text/markdown; charset=UTF-8; variant=GFM\n\
            Requires-Python: >=3.8, !=3.9.*\nRequires-Dist: a[x] >=1,<2; os_name == 'nt'\nRequires-Dist: b===odd\nRequires-Dist: c >=1, ===a , <2\n\
            Project-URL: a, b\nProject-URL: c, b\nLicense-Expression: MIT\nKeywords: a\n\nText.\n";
        assert_eq!(check_fields("2.5", fields), Ok(Vec::new()));
    }
}
