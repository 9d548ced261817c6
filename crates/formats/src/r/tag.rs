//! Versions of packages in the names of git tags, such as `v1.2.0`.

use super::version::{self, is_package_version};

/// Words that may precede a version, besides names of the package.
const WORDS: [&str; 9] = ["v", "ver", "version", "r", "rel", "release", "releases", "cran", "tags"];
const SEPARATORS: [char; 5] = ['-', '_', '/', '.', '@'];
/// Maximum number of words before a version.
const MAX_WORDS: usize = 4;

/// Returns the version that a tag names: the tag without the words before it, such as `v`, `release-`, `R/`, or one of
/// `names`, those of the package and its directories. `None` for a tag that does not consist of a version and such
/// words, such as `latest`, `v1.2.0-rc1`, or one of another package.
pub fn version<'a>(tag: &'a str, names: &[&str]) -> Option<&'a str> {
    find(tag, names, 0)
}

/// Returns whether a tag names a version, compared by value: `v1.0-1` names `1.0.1`.
pub fn names_version(tag: &str, names: &[&str], version: &str) -> bool {
    self::version(tag, names).is_some_and(|named| version::compare(named, version).is_eq())
}

fn find<'a>(text: &'a str, names: &[&str], words: usize) -> Option<&'a str> {
    let text = text.trim_start_matches(SEPARATORS);
    if is_package_version(text) {
        return Some(text);
    }
    if words == MAX_WORDS {
        return None;
    }
    names.iter().chain(&WORDS).filter(|word| !word.is_empty()).find_map(|word| {
        let (start, rest) = text.split_at_checked(word.len())?;
        if start.eq_ignore_ascii_case(word) { find(rest, names, words + 1) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_the_version_after_known_words() {
        for (tag, named) in [
            ("1.2.0", Some("1.2.0")),
            ("v1.2.0", Some("1.2.0")),
            ("V1.2-0", Some("1.2-0")),
            ("v.1.2", Some("1.2")),
            ("release-1.2", Some("1.2")),
            ("releases/v1.2", Some("1.2")),
            ("version_1.2", Some("1.2")),
            ("my.pkg-1.2", Some("1.2")),
            ("my.pkg_v1.2", Some("1.2")),
            ("my.pkg@1.2", Some("1.2")),
            ("R/0.7", Some("0.7")),
            ("lang/r/v0.7", Some("0.7")),
            ("cran-1.2", Some("1.2")),
            ("v1.2.0-rc1", None),
            ("v1.2.0rc1", None),
            ("rc1.2.0", None),
            ("v1.2.0-1-gabcdef0", None),
            ("v1.2.0+build", None),
            ("other-1.2.0", None),
            ("python/1.2.0", None),
            ("before-v1.2.0", None),
            ("v1.2.0-again", None),
            ("nightly", None),
            ("latest", None),
            ("stable", None),
            ("v1", None),
            ("v", None),
            ("é1.2", None),
            ("", None),
        ] {
            assert_eq!(version(tag, &["my.pkg", "lang", "r", ""]), named, "{tag}");
        }
        // The name of a package may end in a number, and begin as a word does.
        assert_eq!(version("v2-1.0", &["v2"]), Some("1.0"));
        assert_eq!(version("v2.0", &["v2"]), Some("2.0"));
        assert_eq!(version(&"v".repeat(1000), &["vv"]), None);
    }

    #[test]
    fn versions_are_compared_by_value() {
        for (tag, version, expected) in [
            ("v1.0-1", "1.0.1", true),
            ("v01.2", "1.2", true),
            ("v1.2", "1.2.0", false),
            ("v1.2.0", "1.2.0.9000", false),
            ("v1.2.0-rc1", "1.2.0", false),
        ] {
            assert_eq!(names_version(tag, &[], version), expected, "{tag} {version}");
        }
    }
}
