//! Compatibility tags of wheels: interpreter, ABI and platform (PyPA: platform compatibility tags, PEP 425). Unknown
//! tags are accepted, because new families of tags appear every year.

use std::borrow::Cow;
use std::fmt;

/// The tags of a wheel: all combinations of three sets, whose members are joined by dots, such as `py2.py3-none-any`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WheelTags<'a> {
    python: Cow<'a, str>,
    abi: Cow<'a, str>,
    platform: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag<'a> {
    /// The interpreter: `py3`, `cp311`.
    pub python: &'a str,
    /// The ABI: `none`, `abi3`, `cp313t`.
    pub abi: &'a str,
    /// The platform: `any`, `win_amd64`, `manylinux_2_17_x86_64`.
    pub platform: &'a str,
}

impl<'a> WheelTags<'a> {
    /// Parses the three sets. `None` unless every member consists of ASCII letters, digits and `_`.
    pub fn new(python: &'a str, abi: &'a str, platform: &'a str) -> Option<WheelTags<'a>> {
        let is_tag =
            |tag: &str| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_set = |set: &&str| set.split('.').all(is_tag);
        let lower = |set: &'a str| match set.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(set.to_ascii_lowercase()),
            false => Cow::Borrowed(set),
        };
        [python, abi, platform].iter().all(is_set).then(|| WheelTags {
            python: lower(python),
            abi: lower(abi),
            platform: lower(platform),
        })
    }

    /// Returns the interpreters, joined by dots.
    pub fn python(&self) -> &str {
        &self.python
    }

    /// Returns the platforms, joined by dots.
    pub fn platform(&self) -> &str {
        &self.platform
    }

    pub fn expand(&self) -> impl Iterator<Item = Tag<'_>> {
        self.python.split('.').flat_map(move |python| {
            self.abi.split('.').flat_map(move |abi| {
                self.platform.split('.').map(move |platform| Tag { python, abi, platform })
            })
        })
    }
}

impl fmt::Display for WheelTags<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_expanded_to_every_combination() {
        let tags = WheelTags::new("py2.PY3", "none", "win32.any").expect("tags");
        let all: Vec<String> = tags.expand().map(|tag| tag.to_string()).collect();
        assert_eq!(all, ["py2-none-win32", "py2-none-any", "py3-none-win32", "py3-none-any"]);
        assert_eq!(tags.to_string(), "py2.py3-none-win32.any");
    }

    #[test]
    fn unknown_families_are_accepted_and_other_characters_are_not() {
        for platform in ["linux_x86_64", "pyemscripten_2025_0_wasm32", "ios_13_0_arm64_iphoneos", "x"] {
            assert!(WheelTags::new("cp313", "cp313t", platform).is_some(), "{platform}");
        }
        for platform in ["", "a..b", "a-b", "a b", "é", "any.", "a/b", "a\n"] {
            assert_eq!(WheelTags::new("py3", "none", platform), None, "{platform:?}");
        }
    }
}
