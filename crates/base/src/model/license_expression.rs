//! License expressions: SPDX, with identifiers in any case (PEP 639). The lists of identifiers and exceptions are those
//! of the crate `spdx`. Its parser is not used, because it accepts identifiers only in their exact case.

use std::fmt;
use std::str::FromStr;

use spdx::identifiers::{EXCEPTIONS, LICENSES};

/// Maximum length of an expression, in bytes.
const MAX_EXPRESSION: usize = 4096;
const MAX_DEPTH: u32 = 64;

/// A valid expression in canonical form: identifiers as in the SPDX list, operators in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseExpression {
    text: Box<str>,
    ids: Vec<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLicense {
    #[error("'{0}' is not a license identifier of SPDX; see spdx.org/licenses, or use LicenseRef-Name")]
    Identifier(String),
    #[error("'{0}' is not a license expression; write for example MIT OR Apache-2.0")]
    Form(String),
}

impl LicenseExpression {
    /// Returns the licenses in the expression, without exceptions and `+`, in canonical form.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(|id| &**id)
    }

    /// Returns whether a user may choose licenses of which all are accepted: of `A OR B` one, of `A AND B` both.
    pub fn may_choose(&self, is_accepted: impl Fn(&str) -> bool) -> bool {
        let spaced = self.text.replace('(', " ( ").replace(')', " ) ");
        // The values of the finished alternatives and of the current one, for each open parenthesis.
        let mut levels = vec![(false, true)];
        let mut words = spaced.split_whitespace();
        while let Some(word) = words.next() {
            let (any, all) = levels.last_mut().expect("parentheses are balanced");
            match word {
                "(" => levels.push((false, true)),
                ")" => {
                    let value = *any || *all;
                    levels.pop();
                    if let Some((_, all)) = levels.last_mut() {
                        *all &= value;
                    }
                }
                "OR" => (*any, *all) = (*any || *all, true),
                "AND" => {}
                "WITH" => {
                    words.next();
                }
                id => *all &= is_accepted(id.trim_end_matches('+')),
            }
        }
        levels.pop().is_some_and(|(any, all)| any || all)
    }
}

impl fmt::Display for LicenseExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for LicenseExpression {
    type Err = BadLicense;

    fn from_str(text: &str) -> Result<LicenseExpression, BadLicense> {
        let form_error = || BadLicense::Form(text.chars().take(120).collect());
        if text.len() > MAX_EXPRESSION {
            return Err(form_error());
        }
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let mut words = spaced.split_whitespace().peekable();
        let mut out = LicenseExpression { text: "".into(), ids: Vec::new() };
        let mut canonical_text = String::with_capacity(text.len());
        let mut depth = 0_u32;
        loop {
            // Reads a license after any number of opening parentheses.
            let mut word = words.next().ok_or_else(form_error)?;
            while word == "(" {
                canonical_text.push('(');
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(form_error());
                }
                word = words.next().ok_or_else(form_error)?;
            }
            let license = canonical_license(word)?;
            out.ids.push(license.trim_end_matches('+').into());
            canonical_text.push_str(&license);
            if words.next_if(|word| word.eq_ignore_ascii_case("with")).is_some() {
                let word = words.next().ok_or_else(form_error)?;
                canonical_text.push_str(" WITH ");
                canonical_text.push_str(canonical_exception(word)?);
            }
            while words.next_if_eq(&")").is_some() {
                depth = depth.checked_sub(1).ok_or_else(form_error)?;
                canonical_text.push(')');
            }
            match words.next() {
                None if depth == 0 => break,
                Some(word) if word.eq_ignore_ascii_case("and") => canonical_text.push_str(" AND "),
                Some(word) if word.eq_ignore_ascii_case("or") => canonical_text.push_str(" OR "),
                None | Some(_) => return Err(form_error()),
            }
        }
        out.text = canonical_text.into();
        Ok(out)
    }
}

fn canonical_license(word: &str) -> Result<String, BadLicense> {
    let unknown_identifier = || BadLicense::Identifier(word.chars().take(80).collect());
    let reference = word.split_once('-').filter(|(prefix, _)| prefix.eq_ignore_ascii_case("LicenseRef"));
    if let Some((_, reference)) = reference {
        let is_valid = !reference.is_empty()
            && reference.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        return if is_valid { Ok(format!("LicenseRef-{reference}")) } else { Err(unknown_identifier()) };
    }
    let (id, plus) = word.strip_suffix('+').map_or((word, ""), |id| (id, "+"));
    // The list of the crate contains two words that are not licenses.
    let is_license = |name: &str| !matches!(name, "NOASSERTION" | "NONE");
    let find = |id: &str| {
        LICENSES.iter().find(|license| license.name.eq_ignore_ascii_case(id) && is_license(license.name))
    };
    // Deprecated identifiers may end in `+` themselves.
    let exact = find(word).map(|license| license.name.to_owned());
    exact.or_else(|| find(id).map(|license| format!("{}{plus}", license.name))).ok_or_else(unknown_identifier)
}

fn canonical_exception(word: &str) -> Result<&'static str, BadLicense> {
    let exception_row = EXCEPTIONS.iter().find(|exception| exception.name.eq_ignore_ascii_case(word));
    exception_row
        .map(|exception| exception.name)
        .ok_or_else(|| BadLicense::Identifier(word.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, BadLicense> {
        text.parse::<LicenseExpression>().map(|expression| expression.to_string())
    }

    #[test]
    fn one_alternative_with_all_its_licenses_may_be_chosen() {
        let may_choose = |text: &str, accepted: &[&str]| {
            text.parse::<LicenseExpression>().expect("an expression").may_choose(|id| accepted.contains(&id))
        };
        for (text, accepted, expected) in [
            ("MIT", &["MIT"][..], true),
            ("MIT", &["ISC"], false),
            ("MIT OR ISC", &["ISC"], true),
            ("MIT AND ISC", &["ISC"], false),
            ("MIT AND ISC", &["ISC", "MIT"], true),
            ("MIT OR ISC AND Zlib", &["ISC"], false),
            ("MIT OR ISC AND Zlib", &["ISC", "Zlib"], true),
            ("(MIT OR ISC) AND Zlib", &["ISC"], false),
            ("(MIT OR ISC) AND Zlib", &["ISC", "Zlib"], true),
            ("Zlib AND (MIT OR (ISC AND Apache-2.0))", &["Zlib", "ISC", "Apache-2.0"], true),
            ("Zlib AND (MIT OR (ISC AND Apache-2.0))", &["Zlib", "ISC"], false),
            ("((MIT)) OR GPL-2.0-only", &["MIT"], true),
            ("Apache-2.0+ OR GPL-2.0-only WITH LLVM-exception", &["Apache-2.0"], true),
            ("Apache-2.0+ OR GPL-2.0-only WITH LLVM-exception", &["GPL-2.0-only"], true),
            ("Apache-2.0+ OR GPL-2.0-only WITH LLVM-exception", &[], false),
        ] {
            assert_eq!(may_choose(text, accepted), expected, "{text} {accepted:?}");
        }
    }

    #[test]
    fn expressions_are_made_canonical() {
        for (text, expected) in [
            ("mit", "MIT"),
            ("mit or APACHE-2.0 with llvm-exception", "MIT OR Apache-2.0 WITH LLVM-exception"),
            ("( mit AND (Bsd-3-Clause or isc) )", "(MIT AND (BSD-3-Clause OR ISC))"),
            ("LICENSEREF-My.Own-1", "LicenseRef-My.Own-1"),
            ("gpl-2.0-or-later", "GPL-2.0-or-later"),
            ("Apache-2.0+", "Apache-2.0+"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
        let expression: LicenseExpression = "MIT AND (ISC OR Apache-2.0+)".parse().expect("valid");
        assert_eq!(expression.ids().collect::<Vec<_>>(), ["MIT", "ISC", "Apache-2.0"]);
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for text in ["", "MIT MIT", "MIT License", "MIT OR", "(MIT", "MIT)", "MIT WITH", &"(".repeat(100)] {
            assert!(matches!(canonical(text), Err(BadLicense::Form(_))), "{text}");
        }
        for text in
            ["BSD", "MIT WITH MIT", "LicenseRef-", "LicenseRef-a_b", "OR", "()", "MIT/ISC", "NOASSERTION"]
        {
            assert!(matches!(canonical(text), Err(BadLicense::Identifier(_))), "{text}");
        }
        assert!(canonical(&"MIT OR ".repeat(2000)).is_err());
    }

    proptest! {
        #[test]
        fn canonical_expressions_are_read_back(text in "(mit|isc|\\(|\\)| |or|and|with|zlib|[a-z]){0,12}") {
            if let Ok(canonical_text) = canonical(&text) {
                prop_assert_eq!(canonical(&canonical_text), Ok(canonical_text));
            }
        }
    }
}
