//! The individual licenses of a `License` field, as written there, for `POST /filter/packages`.

/// Returns the alternative licenses of a `License` field of R ("Writing R Extensions", 1.1.2), separated by `|`;
/// `+ file LICENSE` belongs to the license before it.
pub(super) fn alternatives(license: &str) -> Vec<String> {
    let parts = license.split('|').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_listed_individually() {
        assert_eq!(alternatives("GPL-2 | GPL-3"), ["GPL-2", "GPL-3"]);
        assert_eq!(
            alternatives("Apache License (== 2.0)|BSD_3_clause +  file LICENSE"),
            ["Apache License (== 2.0)", "BSD_3_clause + file LICENSE"]
        );
        assert_eq!(alternatives(" | "), [""; 0]);
    }
}
