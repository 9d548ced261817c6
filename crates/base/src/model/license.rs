//! The licenses of a release, as SPDX identifiers (<https://spdx.org/licenses/>).

/// The type of a license that has no identifier.
pub const UNKNOWN: &str = "Unknown";

/// The part of an expression that stands for a license without an identifier (SPDX specification 2.3, annex D).
const REFERENCE: &str = "LicenseRef-Unknown";

/// The minimum similarity of a suggested identifier, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.8;
/// Minimum length of a text for which an identifier that begins with it is suggested, in bytes.
const MIN_PREFIX: usize = 3;
/// Maximum length of a text for which an identifier is suggested, in bytes: no identifier is as long.
const MAX_SUGGESTION_LENGTH: usize = 64;

/// The licenses of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licenses {
    /// The SPDX expression; `None` if no license has an identifier, or if their relation is not stated.
    expression: Option<String>,
    /// The distinct identifiers, sorted, without exceptions; [`UNKNOWN`] for licenses without one. Never empty.
    types: Vec<String>,
}

impl Default for Licenses {
    fn default() -> Licenses {
        Licenses { expression: None, types: vec![UNKNOWN.to_owned()] }
    }
}

impl Licenses {
    /// Creates the value for licenses among which the user may choose; `None` for one without an identifier.
    pub fn of_alternatives(alternatives: impl IntoIterator<Item = Option<String>>) -> Licenses {
        let mut words: Vec<Option<String>> = Vec::new();
        for alternative in alternatives {
            if !words.contains(&alternative) {
                words.push(alternative);
            }
        }
        let text = || words.iter().map(|id| id.as_deref().unwrap_or(REFERENCE)).collect::<Vec<_>>();
        let expression = words.iter().any(Option::is_some).then(|| text().join(" OR "));
        Licenses::new(expression, words.into_iter().map(|id| id.unwrap_or_else(|| UNKNOWN.to_owned())))
    }

    /// Creates the value for an expression with these identifiers; without one, their relation is unknown.
    pub fn new(expression: Option<String>, ids: impl IntoIterator<Item = String>) -> Licenses {
        let mut types: Vec<String> = ids.into_iter().collect();
        types.sort_unstable();
        types.dedup();
        if types.is_empty() { Licenses::default() } else { Licenses { expression, types } }
    }

    /// Returns the SPDX expression, if there is one.
    pub fn expression(&self) -> Option<&str> {
        self.expression.as_deref()
    }

    /// Returns the identifiers, sorted; [`UNKNOWN`] for licenses without one.
    pub fn types(&self) -> &[String] {
        &self.types
    }
}

/// Returns the identifier and name of every SPDX license that is not deprecated, sorted by identifier, ignoring case.
pub fn all() -> Vec<(&'static str, &'static str)> {
    let listed = |license: &&spdx::License| license.flags & spdx::flags::IS_DEPRECATED == 0;
    let is_license = |license: &&spdx::License| !matches!(license.name, "NOASSERTION" | "NONE");
    let licenses = spdx::identifiers::LICENSES.iter().filter(listed).filter(is_license);
    let mut rows: Vec<_> = licenses.map(|license| (license.name, license.full_name)).collect();
    rows.sort_unstable_by_key(|(id, _)| id.to_ascii_lowercase());
    rows
}

/// Returns the SPDX identifier that equals the text, ignoring case, in its SPDX spelling.
pub fn identifier(text: &str) -> Option<&'static str> {
    let found = spdx::identifiers::LICENSES.iter().find(|license| license.name.eq_ignore_ascii_case(text));
    found.map(|license| license.name).filter(|name| !matches!(*name, "NOASSERTION" | "NONE"))
}

/// Returns the shortest identifier that begins with a text, otherwise the most similar one, ignoring case; `None` if none
/// is similar enough. Only identifiers with the same first character that are not deprecated are compared.
pub fn similar_identifier(text: &str) -> Option<&'static str> {
    let first = text.chars().next().filter(|_| text.len() <= MAX_SUGGESTION_LENGTH)?;
    let text = text.to_ascii_lowercase();
    let is_candidate = |license: &&spdx::License| {
        license.flags & spdx::flags::IS_DEPRECATED == 0
            && license.name.starts_with(|other: char| other.eq_ignore_ascii_case(&first))
            && !matches!(license.name, "NOASSERTION" | "NONE")
    };
    let candidates = spdx::identifiers::LICENSES.iter().filter(is_candidate).map(|license| license.name);
    let candidates: Vec<&'static str> = candidates.collect();
    let begins = |name: &&str| name.get(..text.len()).is_some_and(|part| part.eq_ignore_ascii_case(&text));
    let longer = candidates.iter().copied().filter(|name| text.len() >= MIN_PREFIX && begins(name));
    if let Some(shortest) = longer.min_by_key(|name| (name.len(), *name)) {
        return Some(shortest);
    }
    let similarity = |name: &str| strsim::jaro_winkler(&text, &name.to_ascii_lowercase());
    let similar = candidates
        .into_iter()
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY);
    // Of equally similar names, the first one in alphabetical order.
    similar.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_an_expression_and_types() {
        let licenses = Licenses::of_alternatives([Some("MIT".to_owned()), None, Some("MIT".to_owned())]);
        assert_eq!(licenses.expression(), Some("MIT OR LicenseRef-Unknown"));
        assert_eq!(licenses.types(), ["MIT", "Unknown"]);
        let unknown = Licenses::of_alternatives([None, None]);
        assert_eq!((unknown.expression(), unknown.types()), (None, &["Unknown".to_owned()][..]));
        assert_eq!(Licenses::of_alternatives([]), Licenses::default());
    }

    #[test]
    fn a_misspelled_identifier_has_a_similar_one() {
        for (text, expected) in [
            ("MIT2", Some("MIT")),
            ("apache2.0", Some("Apache-2.0")),
            ("BSD-3", Some("BSD-3-Clause")),
            ("AGPL-3.0only", Some("AGPL-3.0-only")),
            ("MYOWN", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(similar_identifier(text), expected, "{text}");
        }
        assert_eq!(similar_identifier(&"MIT".repeat(100)), None);
    }

    #[test]
    fn the_list_has_current_identifiers_in_order() {
        let rows = all();
        assert!(rows.len() > 500, "{}", rows.len());
        assert!(
            rows.contains(&("MIT", "MIT License")) && rows.iter().any(|(id, _)| *id == "GPL-3.0-or-later")
        );
        assert!(rows.iter().all(|(id, _)| !matches!(*id, "GPL-3.0" | "NONE" | "NOASSERTION")));
        assert!(rows.is_sorted_by_key(|(id, _)| id.to_ascii_lowercase()));
        assert_eq!(
            (identifier("mit"), identifier("none"), identifier("MIT License")),
            (Some("MIT"), None, None)
        );
    }
}
