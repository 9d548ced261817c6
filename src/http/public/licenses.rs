//! Licenses of packages, individually and by family, for `POST /filter/packages`.

/// Returns the alternative licenses of a `License` field of R ("Writing R Extensions", 1.1.2), separated by `|`;
/// `+ file LICENSE` belongs to the license before it.
pub(super) fn alternatives(license: &str) -> Vec<String> {
    let parts = license.split('|').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    parts.filter(|part| !part.is_empty()).collect()
}

/// Returns the families of licenses, sorted, each once.
pub(super) fn families(licenses: &[String]) -> Vec<String> {
    let mut families: Vec<String> = licenses.iter().map(|license| family(license)).collect();
    families.sort_unstable();
    families.dedup();
    families
}

/// Returns the family of a license, without its version: `GPL` of `GPL (>= 2)` and `GPL-3`, `MIT` of
/// `MIT + file LICENSE`.
fn family(license: &str) -> String {
    let first = license.split([' ', '(', '+']).next().unwrap_or_default();
    let numbered = first.rsplit_once('-').filter(|(_, end)| end.starts_with(|c: char| c.is_ascii_digit()));
    numbered.map_or(first, |(family, _)| family).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_listed_individually_and_by_family() {
        let parsed = |text| {
            let licenses = alternatives(text);
            (licenses.join("; "), licenses.iter().map(|l| family(l)).collect::<Vec<_>>().join("; "))
        };
        let assert_parsed = |text, licenses: &str, families: &str| {
            assert_eq!(parsed(text), (licenses.to_owned(), families.to_owned()), "{text}");
        };
        assert_parsed("GPL-2 | GPL-3", "GPL-2; GPL-3", "GPL; GPL");
        assert_parsed("GPL (>= 2)", "GPL (>= 2)", "GPL");
        assert_parsed("MIT + file LICENSE", "MIT + file LICENSE", "MIT");
        assert_parsed(
            "Apache License (== 2.0)|BSD_3_clause +  file LICENSE",
            "Apache License (== 2.0); BSD_3_clause + file LICENSE",
            "Apache; BSD_3_clause",
        );
        assert_parsed("CC BY-SA 4.0", "CC BY-SA 4.0", "CC");
        assert_eq!(
            families(&["GPL-3".to_owned(), "Apache-2.0".to_owned(), "GPL-2".to_owned()]),
            ["Apache", "GPL"]
        );
    }
}
