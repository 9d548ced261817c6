//! File names of wheels: `{name}-{version}(-{build})?-{python}-{abi}-{platform}.whl` (PEP 427).

use super::name;
use super::tag::WheelTags;
use super::version::Pep440Version;

/// Maximum number of digits at the beginning of a build tag: uv refuses numbers of more than 64 bits.
const MAX_BUILD_DIGITS: usize = 19;

/// The parts of a wheel's file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName<'a> {
    /// The project, in any spelling, with `_` instead of `-`.
    pub distribution: &'a str,
    /// The version as written; it may be invalid, see [`Pep440Version::is_valid`].
    pub version: &'a str,
    pub build: Option<Build<'a>>,
    pub tags: WheelTags<'a>,
}

/// A build tag, which begins with a digit and orders the wheels of one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build<'a> {
    pub number: u64,
    pub rest: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWheelName {
    #[error("'{0}' is not the file name of a wheel; it has the form name-1.0-py3-none-any.whl")]
    Form(String),
    #[error("'{0}': the part before the first '-' is not the name of a project")]
    Distribution(String),
    #[error("'{0}': the part after the first '-' is not a version")]
    Version(String),
    #[error("'{0}': the build tag, between version and interpreter, must begin with a digit")]
    Build(String),
    /// The number at the beginning of the build tag does not fit into 64 bits.
    #[error(
        "'{0}': the number of the build tag, between version and interpreter, has more than {MAX_BUILD_DIGITS} digits; use a shorter one"
    )]
    BuildLength(String),
    #[error("'{0}': the tags for interpreter, ABI and platform have letters, digits, '_' and '.' only")]
    Tags(String),
}

impl<'a> WheelName<'a> {
    pub fn parse(file: &'a str) -> Result<WheelName<'a>, BadWheelName> {
        let excerpt = || file.chars().take(200).collect::<String>();
        let form = || BadWheelName::Form(excerpt());
        let stem = file.strip_suffix(".whl").filter(|_| file.len() <= 255).ok_or_else(form)?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (distribution, version, build, [python, abi, platform]) = match parts[..] {
            [name, version, python, abi, platform] => (name, version, None, [python, abi, platform]),
            [name, version, build, python, abi, platform] => {
                (name, version, Some(build), [python, abi, platform])
            }
            _ => return Err(form()),
        };
        if !name::is_valid(distribution) {
            return Err(BadWheelName::Distribution(excerpt()));
        }
        // Old tools wrote `_` instead of `-` in versions.
        let is_version_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'!');
        if version.is_empty() || !version.bytes().all(is_version_byte) {
            return Err(BadWheelName::Version(excerpt()));
        }
        let build = build.map(|tag| {
            let is_long = tag.bytes().take_while(u8::is_ascii_digit).count() > MAX_BUILD_DIGITS;
            let error = if is_long { BadWheelName::BuildLength } else { BadWheelName::Build };
            Build::parse(tag).filter(|_| !is_long).ok_or_else(|| error(excerpt()))
        });
        Ok(WheelName {
            distribution,
            version,
            build: build.transpose()?,
            tags: WheelTags::new(python, abi, platform).ok_or_else(|| BadWheelName::Tags(excerpt()))?,
        })
    }

    pub fn version(&self) -> Pep440Version {
        Pep440Version::lenient(self.version)
    }

    /// Returns whether name and version are normalized, as PyPI requires of new wheels.
    pub fn is_normal(&self) -> bool {
        name::normalize(self.distribution).replace('-', "_") == self.distribution
            && self.version().normalized() == self.version
    }
}

impl<'a> Build<'a> {
    fn parse(tag: &'a str) -> Option<Build<'a>> {
        let digits = tag.bytes().take_while(u8::is_ascii_digit).count();
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_');
        let (number, rest) = tag.split_at(digits);
        let number = number.parse().ok()?;
        rest.bytes().all(is_allowed).then_some(Build { number, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_split_into_parts() {
        let plain = WheelName::parse("Odd_Name-3.1-py2.py3-none-any.whl").expect("a wheel");
        assert_eq!((plain.distribution, plain.version, &plain.build), ("Odd_Name", "3.1", &None));
        assert_eq!(plain.tags.to_string(), "py2.py3-none-any");
        let file = "odd-3.1+cu121-12b_x-cp36-abi3-manylinux_2_12_x86_64.manylinux2010_x86_64.whl";
        let name_with_build = WheelName::parse(file).expect("a wheel");
        assert_eq!(name_with_build.build, Some(Build { number: 12, rest: "b_x" }));
        assert!(name_with_build.is_normal() && !plain.is_normal());
        assert!(Build::parse("2a") > Build::parse("2") && Build::parse("10") > Build::parse("9z"));
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        let error = |file: &str| WheelName::parse(file).expect_err(file);
        for file in ["a-1-py3-none.whl", "a-1-1-1-py3-none-any.whl", "a.whl", "a-1-py3-none-any.zip", ".whl"]
        {
            assert!(matches!(error(file), BadWheelName::Form(_)), "{file}");
        }
        assert!(matches!(error("_a-1-py3-none-any.whl"), BadWheelName::Distribution(_)));
        assert!(matches!(error("a/b-1-py3-none-any.whl"), BadWheelName::Distribution(_)));
        assert!(matches!(error("a-1/2-py3-none-any.whl"), BadWheelName::Version(_)));
        assert!(matches!(error("a--py3-none-any.whl"), BadWheelName::Version(_)));
        assert!(matches!(error("a-1-x1-py3-none-any.whl"), BadWheelName::Build(_)));
        let long = error("a-1-20260101123045123456789-py3-none-any.whl");
        assert!(long.to_string().contains("has more than 19 digits"), "{long}");
        assert!(WheelName::parse("a-1-20260101123045-py3-none-any.whl").is_ok());
        assert!(matches!(error("a-1-py3--any.whl"), BadWheelName::Tags(_)));
        assert!(matches!(error("a-1-py3-none-any\n.whl"), BadWheelName::Tags(_)));
    }

    proptest! {
        #[test]
        fn parts_are_read_back(
            name in "[a-z][a-z0-9_]{0,8}[a-z0-9]", version in "[0-9]\\.[0-9]{1,3}(rc1|\\+x)?",
            build in proptest::option::of("[0-9]{1,3}[a-z]?"), platform in "[a-z]{1,3}_[0-9]_[a-z]{2}(\\.[a-z]{3})?",
        ) {
            let middle = build.as_ref().map(|build| format!("{build}-")).unwrap_or_default();
            let file = format!("{name}-{version}-{middle}py3-none-{platform}.whl");
            let wheel_name = WheelName::parse(&file).unwrap();
            prop_assert_eq!((wheel_name.distribution, wheel_name.version), (&*name, &*version));
            prop_assert_eq!(wheel_name.build.is_some(), build.is_some());
            prop_assert_eq!(wheel_name.tags.platform(), &*platform);
        }
    }
}
