//! Package versions in R's order: numbers are compared one by one, `.` and `-` are equivalent, and `1.0` precedes
//! `1.0.0`. Different texts can have equal values (`1.0-1`, `1.0.1`), but are in the names of different files. Also:
//! minor versions of R, and versions in the names of git tags.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version as written. Comparisons (including `==`) use the value: `1.0-1` equals `1.0.1`, and `1.2` equals `01.2`.
/// To compare texts, use [`PackageVersion::as_str`]. Components may have any number of digits.
#[derive(Clone, Debug)]
pub struct PackageVersion(Box<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a package version: write two or more numbers with '.' or '-' between them, such as 1.0 or 0.9-2"
)]
pub struct BadPackageVersion(String);

impl PackageVersion {
    /// Creates a version from any text, because old files have versions with letters, which must be sorted too.
    pub fn lenient(text: &str) -> PackageVersion {
        PackageVersion(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether R accepts the text as a package version: `([0-9]+[.-])+[0-9]+`.
    pub fn is_valid(&self) -> bool {
        is_package_version(&self.0)
    }
}

/// Returns whether the text is a package version (Writing R Extensions, 1.1.1): two or more numbers between `.` or `-`.
pub fn is_package_version(text: &str) -> bool {
    is_numeric(text) && text.bytes().any(|byte| matches!(byte, b'.' | b'-'))
}

/// Returns whether the text is numbers between `.` or `-`. One is valid in requirements such as `R (>= 4)`.
pub fn is_numeric(text: &str) -> bool {
    let mut has_digits = false;
    let is_valid = text.bytes().all(|byte| match byte {
        b'.' | b'-' => std::mem::take(&mut has_digits),
        _ => {
            has_digits = byte.is_ascii_digit();
            has_digits
        }
    });
    is_valid && has_digits
}

/// The greatest number in a version that R can compare: it reads greater ones as `NA`.
pub const MAX_COMPONENT: i32 = i32::MAX;

/// Returns whether R can compare a version: every number, without leading zeros, is at most [`MAX_COMPONENT`].
pub fn is_comparable(text: &str) -> bool {
    let mut number = 0_u64;
    text.bytes().all(|byte| {
        number = match byte {
            b'.' | b'-' => 0,
            _ => number.saturating_mul(10).saturating_add(byte.wrapping_sub(b'0').into()),
        };
        number <= MAX_COMPONENT.unsigned_abs().into()
    })
}

/// Compares two versions by value, without allocating; valid ones as R's `compareVersion`. In other texts, letters
/// precede numbers, and all other ASCII characters are separators.
pub fn compare(a: &str, b: &str) -> Ordering {
    VersionTokens(a.as_bytes()).cmp(VersionTokens(b.as_bytes()))
}

/// A run of digits or of other text; `Text` sorts before `Number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum VersionToken<'a> {
    Text(&'a [u8]),
    /// The number of digits, and the digits without leading zeros: the longer number is the greater.
    Number(usize, &'a [u8]),
}

struct VersionTokens<'a>(&'a [u8]);

impl<'a> Iterator for VersionTokens<'a> {
    type Item = VersionToken<'a>;

    fn next(&mut self) -> Option<VersionToken<'a>> {
        let is_separator = |b: &u8| b.is_ascii() && !b.is_ascii_alphanumeric();
        let start = self.0.iter().position(|b| !is_separator(b))?;
        let text = &self.0[start..];
        let is_number = text[0].is_ascii_digit();
        let end = text
            .iter()
            .position(|b| is_separator(b) || b.is_ascii_digit() != is_number)
            .unwrap_or(text.len());
        self.0 = &text[end..];
        if !is_number {
            return Some(VersionToken::Text(&text[..end]));
        }
        let zeros = text[..end].iter().take_while(|&&b| b == b'0').count();
        Some(VersionToken::Number(end - zeros, &text[zeros..end]))
    }
}

impl FromStr for PackageVersion {
    type Err = BadPackageVersion;

    fn from_str(text: &str) -> Result<PackageVersion, BadPackageVersion> {
        if is_package_version(text) {
            return Ok(PackageVersion(text.into()));
        }
        Err(BadPackageVersion(text.chars().take(80).collect()))
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for PackageVersion {
    fn cmp(&self, other: &PackageVersion) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for PackageVersion {
    fn partial_cmp(&self, other: &PackageVersion) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PackageVersion {
    fn eq(&self, other: &PackageVersion) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PackageVersion {}

/// A minor version of R, written `4.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RMinor {
    /// 4 in `4.5`.
    pub major: u16,
    /// 5 in `4.5`.
    pub minor: u16,
}

impl RMinor {
    /// Parses `4.5`: two decimal numbers of at most three digits, without leading zeros.
    pub fn parse(text: &str) -> Option<RMinor> {
        let number = |part: &str| {
            let has_digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            let is_canonical = part.len() == 1 || !part.starts_with('0');
            if has_digits && is_canonical { part.parse().ok() } else { None }
        };
        let (major, minor) = text.split_once('.')?;
        Some(RMinor { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for RMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Words that may precede a version in a git tag, besides names of the package.
const TAG_WORDS: [&str; 9] = ["v", "ver", "version", "r", "rel", "release", "releases", "cran", "tags"];
const TAG_SEPARATORS: [char; 5] = ['-', '_', '/', '.', '@'];
/// Maximum number of words before a version in a tag.
const MAX_TAG_WORDS: usize = 4;

/// Returns the version that a git tag, such as `v1.2.0`, names: the tag without the words before it, such as `v`, `release-`, `R/`, or one of
/// `names`, those of the package and its directories. `None` for a tag that does not consist of a version and such
/// words, such as `latest`, `v1.2.0-rc1`, or one of another package.
pub fn tag_version<'a>(tag: &'a str, names: &[&str]) -> Option<&'a str> {
    find_version(tag, names, 0)
}

/// Returns whether a tag names a version, compared by value: `v1.0-1` names `1.0.1`.
pub fn tag_names_version(tag: &str, names: &[&str], version: &str) -> bool {
    tag_version(tag, names).is_some_and(|named| compare(named, version).is_eq())
}

fn find_version<'a>(text: &'a str, names: &[&str], words: usize) -> Option<&'a str> {
    let text = text.trim_start_matches(TAG_SEPARATORS);
    if is_package_version(text) {
        return Some(text);
    }
    if words == MAX_TAG_WORDS {
        return None;
    }
    names.iter().chain(&TAG_WORDS).filter(|word| !word.is_empty()).find_map(|word| {
        let (start, rest) = text.split_at_checked(word.len())?;
        if start.eq_ignore_ascii_case(word) { find_version(rest, names, words + 1) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_in_r() {
        let versions = ["0.9", "1", "1.0", "1.0.0", "1.0-1", "1.2", "1.9", "1.10", "1.10.0.9000", "2.0"];
        for pair in versions.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        for (a, b) in [("1.0-1", "1.0.1"), ("01.2", "1.2"), ("1.00", "1.0")] {
            assert_eq!(PackageVersion::lenient(a), PackageVersion::lenient(b));
        }
    }

    #[test]
    fn numbers_of_any_size_do_not_overflow() {
        assert!(compare("1.99999999999999999999999998", "1.99999999999999999999999999").is_lt());
        assert!(compare("1.2147483648", "1.18446744073709551616").is_lt());
        assert!(compare("20240101.1", "9.9").is_gt());
    }

    #[test]
    fn r_compares_numbers_of_31_bits() {
        for good in ["1.2147483647", "1.0.2024011512", "1.00000000000000000001", "0-0"] {
            assert!(is_comparable(good), "{good}");
        }
        for bad in ["1.2147483648", "1.0-20240115123456", "99999999999999999999.1", "0.1.0.4294967296"] {
            assert!(!is_comparable(bad), "{bad}");
        }
    }

    #[test]
    fn validity_is_that_of_the_manual() {
        for good in ["1.0", "0.9-2", "1.2.3.4", "20240101.1", "0-0"] {
            assert!(good.parse::<PackageVersion>().is_ok(), "{good}");
        }
        for bad in ["", "1", "1.0a", "1.0.", ".1", "1..0", "1.0\n2", "1_0", "1.0 ", "-1.0", "１.0"] {
            assert!(bad.parse::<PackageVersion>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unusual_old_versions_are_sorted_near_their_numbers() {
        for pair in ["", "1.0", "1.0a", "1.0b", "1.0.1", "1.1"].windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn order_is_total(a in "[0-9a-c._-]{0,6}", b in "[0-9a-c._-]{0,6}", c in "[0-9a-cé._-]{0,6}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            let mut versions = [&a, &b, &c];
            versions.sort_by(|x, y| compare(x, y));
            prop_assert!(compare(versions[0], versions[2]).is_le());
            if compare(&a, &b).is_eq() {
                prop_assert_eq!(compare(&a, &c), compare(&b, &c));
            }
        }

        #[test]
        fn valid_versions_compare_as_lists_of_numbers(
            a in proptest::collection::vec(0u32..2000, 2..6), b in proptest::collection::vec(0u32..2000, 2..6),
        ) {
            let text = |v: &[u32], sep: &str| v.iter().map(u32::to_string).collect::<Vec<_>>().join(sep);
            prop_assert_eq!(compare(&text(&a, "."), &text(&b, "-")), a.cmp(&b));
        }
    }

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
            assert_eq!(tag_version(tag, &["my.pkg", "lang", "r", ""]), named, "{tag}");
        }
        // The name of a package may end in a number, and begin as a word does.
        assert_eq!(tag_version("v2-1.0", &["v2"]), Some("1.0"));
        assert_eq!(tag_version("v2.0", &["v2"]), Some("2.0"));
        assert_eq!(tag_version(&"v".repeat(1000), &["vv"]), None);
    }

    #[test]
    fn versions_of_tags_are_compared_by_value() {
        for (tag, version, expected) in [
            ("v1.0-1", "1.0.1", true),
            ("v01.2", "1.2", true),
            ("v1.2", "1.2.0", false),
            ("v1.2.0", "1.2.0.9000", false),
            ("v1.2.0-rc1", "1.2.0", false),
        ] {
            assert_eq!(tag_names_version(tag, &[], version), expected, "{tag} {version}");
        }
    }
}
