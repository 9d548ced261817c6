//! Package names, file names of source packages, and R's base packages.

use super::version;

/// Packages that are part of R itself and in no repository.
pub const BASE_PACKAGES: [&str; 15] = [
    "base",
    "compiler",
    "datasets",
    "grDevices",
    "graphics",
    "grid",
    "methods",
    "parallel",
    "splines",
    "stats",
    "stats4",
    "tcltk",
    "tools",
    "translations",
    "utils",
];

pub fn is_base(package: &str) -> bool {
    BASE_PACKAGES.contains(&package)
}

/// Returns whether R allows the name (Writing R Extensions, 1.1.1): two or more ASCII letters, digits and dots,
/// beginning with a letter, not ending with a dot. At most 255 bytes, the maximum of a directory name.
pub fn is_package(name: &str) -> bool {
    let bytes = name.as_bytes();
    (2..=255).contains(&bytes.len())
        && bytes[0].is_ascii_alphabetic()
        && bytes[bytes.len() - 1] != b'.'
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'.')
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSourceFileName {
    #[error("'{0}' is not a source package's file name; expected the form name_1.0.tar.gz")]
    Form(String),
    #[error(
        "'{0}': the part before '_' is not a package name (2 to 255 ASCII letters, digits and dots, beginning with a \
         letter and not ending with a dot)"
    )]
    Package(String),
    #[error("'{0}': the part after '_' is not a version, such as 1.0 or 1.0-2")]
    Version(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `.tar.gz`: the current format.
    TarGz,
    /// `.tgz`: some old files, and macOS binaries.
    Tgz,
    /// `.tar.bz2`: some old files.
    TarBz2,
    /// `.tar.xz`: some old files.
    TarXz,
}

impl Extension {
    /// Returns the extension with its leading dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Extension::TarGz => ".tar.gz",
            Extension::Tgz => ".tgz",
            Extension::TarBz2 => ".tar.bz2",
            Extension::TarXz => ".tar.xz",
        }
    }
}

/// The parts of `{package}_{version}.tar.gz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFileName<'a> {
    /// The part before the first `_`.
    pub package: &'a str,
    /// The part between the first `_` and the extension. [`SourceFileName::parse`] only accepts versions that R allows.
    pub version: &'a str,
    pub extension: Extension,
}

impl<'a> SourceFileName<'a> {
    pub fn parse(name: &'a str) -> Result<SourceFileName<'a>, BadSourceFileName> {
        let file = SourceFileName::parse_archived(name)?;
        if version::is_package_version(file.version) {
            return Ok(file);
        }
        Err(BadSourceFileName::Version(excerpt(name)))
    }

    /// Like [`SourceFileName::parse`], but also accepts versions of old files: see [`is_archive_file_version`].
    pub fn parse_archived(name: &'a str) -> Result<SourceFileName<'a>, BadSourceFileName> {
        let extensions = [Extension::TarGz, Extension::Tgz, Extension::TarBz2, Extension::TarXz];
        let (stem, extension) = extensions
            .into_iter()
            .find_map(|e| name.strip_suffix(e.as_str()).map(|stem| (stem, e)))
            .ok_or_else(|| BadSourceFileName::Form(excerpt(name)))?;
        let (package, version) =
            stem.split_once('_').ok_or_else(|| BadSourceFileName::Form(excerpt(name)))?;
        if !is_package(package) {
            return Err(BadSourceFileName::Package(excerpt(name)));
        }
        if !is_archive_file_version(version) {
            return Err(BadSourceFileName::Version(excerpt(name)));
        }
        Ok(SourceFileName { package, version, extension })
    }
}

/// Returns whether a text can be the version in a file name. Besides versions that R allows, old files have others: at
/// most 128 ASCII letters, digits, `.`, `-`, `_` and `+`, beginning with a letter or digit.
pub fn is_archive_file_version(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    text.len() <= 128
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(is_allowed)
}

fn excerpt(name: &str) -> String {
    name.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_are_those_of_the_manual() {
        for good in ["R6", "data.table", "A3", "rJava", "ab"] {
            assert!(is_package(good), "{good}");
        }
        for bad in
            ["", "a", "1a", "a.", "a_b", "a-b", "../x", "__api__", ".well-known", "naïve", "a b", "a\n"]
        {
            assert!(!is_package(bad), "{bad:?}");
        }
        assert!(!is_package(&"a".repeat(256)));
    }

    #[test]
    fn file_names_split_at_the_first_underscore() {
        let file = SourceFileName::parse("png_0.1-8.tar.gz").expect("a good name");
        assert_eq!((file.package, file.version, file.extension), ("png", "0.1-8", Extension::TarGz));
        let file = SourceFileName::parse_archived("foo_0.9_2b.tgz").expect("an old name");
        assert_eq!((file.package, file.version, file.extension), ("foo", "0.9_2b", Extension::Tgz));
        for (extension, name) in [(Extension::TarBz2, "a1_1.0.tar.bz2"), (Extension::TarXz, "a1_1.0.tar.xz")]
        {
            assert_eq!(SourceFileName::parse(name).map(|f| f.extension), Ok(extension));
        }
    }

    #[test]
    fn other_file_names_are_refused_with_the_reason() {
        let cases = [
            ("png.tar.gz", BadSourceFileName::Form("png.tar.gz".into())),
            ("png_1.0.zip", BadSourceFileName::Form("png_1.0.zip".into())),
            ("p_1.0.tar.gz", BadSourceFileName::Package("p_1.0.tar.gz".into())),
            ("../x_1.0.tar.gz", BadSourceFileName::Package("../x_1.0.tar.gz".into())),
            ("png_.tar.gz", BadSourceFileName::Version("png_.tar.gz".into())),
            ("png_1.0/..tar.gz", BadSourceFileName::Version("png_1.0/..tar.gz".into())),
            ("png_1.0b.tar.gz", BadSourceFileName::Version("png_1.0b.tar.gz".into())),
        ];
        for (name, error) in cases {
            assert_eq!(SourceFileName::parse(name), Err(error));
        }
        let rule = BadSourceFileName::Package("p_1.0.tar.gz".into()).to_string();
        for part in
            ["2 to 255 ASCII letters, digits and dots", "beginning with a letter", "not ending with a dot"]
        {
            assert!(rule.contains(part), "{rule}");
        }
    }

    #[test]
    fn base_packages_are_known() {
        assert!(is_base("stats4") && is_base("translations") && !is_base("MASS"));
    }
}
