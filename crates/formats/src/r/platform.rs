//! The platform of a binary package. A *label* consists of the version of R and the system (`4.5-noble`). A *tag* also
//! has the architecture, unless it is `x86_64` (`4.5-noble-arm64`).

use std::fmt;

use super::version::RMinor;
use base::words;

words! {
    /// The architectures for which packages are built.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Arch {
        /// Intel and AMD, 64 bits.
        X86_64 = "x86_64",
        /// ARM, 64 bits.
        Arm64 = "arm64",
    }
}

impl Arch {
    /// Returns the architecture with any of its common spellings: for example, Linux uses `aarch64`, macOS `arm64`.
    pub fn of_spelling(text: &str) -> Option<Arch> {
        match text {
            "x86_64" | "amd64" | "x86-64" => Some(Arch::X86_64),
            "arm64" | "aarch64" => Some(Arch::Arm64),
            _ => None,
        }
    }
}

/// The architecture of binaries without compiled code, in the database.
pub const ANY_ARCH: &str = "any";

/// The distribution or operating system of a binary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BinaryTarget {
    /// A Linux distribution, by its name in URLs.
    Linux(String),
    Windows,
    MacOs,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    pub r: RMinor,
    pub target: BinaryTarget,
    pub arch: Arch,
}

impl Platform {
    /// Parses a tag, such as `4.5-noble`, `4.5-noble-arm64`, `4.5-win` or `4.5-macos-arm64`.
    pub fn parse(tag: &str) -> Option<Platform> {
        let (r, rest) = tag.split_once('-')?;
        let (target, arch) = match rest.rsplit_once('-') {
            Some((target, arch)) => (target, Arch::of_spelling(arch)?),
            None => (rest, Arch::X86_64),
        };
        Platform::from_parts(r, target, arch)
    }

    /// Parses the form of [`Platform::database_form`]; the architecture `any` becomes `x86_64`.
    pub fn parse_database_form(text: &str) -> Option<Platform> {
        let (label, arch) = text.rsplit_once('/')?;
        let (r, target) = label.split_once('-')?;
        let arch = if arch == ANY_ARCH { Arch::X86_64 } else { Arch::of_spelling(arch)? };
        Platform::from_parts(r, target, arch)
    }

    fn from_parts(r: &str, target: &str, arch: Arch) -> Option<Platform> {
        let target = match target {
            "win" => BinaryTarget::Windows,
            "macos" => BinaryTarget::MacOs,
            name => {
                let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                (!name.is_empty() && name.bytes().all(is_allowed))
                    .then(|| BinaryTarget::Linux(name.to_owned()))?
            }
        };
        Some(Platform { r: RMinor::parse(r)?, target, arch })
    }

    /// Returns the form in the database: the label, a slash, and `arch` (not the platform's own); `any` for `None`.
    pub fn database_form(&self, arch: Option<Arch>) -> String {
        format!("{}/{}", self.label(), arch.map_or(ANY_ARCH, Arch::as_str))
    }

    /// Returns the extension of binary packages, without a leading dot.
    pub fn extension(&self) -> &'static str {
        match self.target {
            BinaryTarget::Linux(_) => "tar.gz",
            BinaryTarget::Windows => "zip",
            BinaryTarget::MacOs => "tgz",
        }
    }

    /// Returns the platform without the architecture, such as `4.5-noble`, `4.5-win` or `4.5-macos`.
    pub fn label(&self) -> String {
        let system = match &self.target {
            BinaryTarget::Linux(name) => name.as_str(),
            BinaryTarget::Windows => "win",
            BinaryTarget::MacOs => "macos",
        };
        format!("{}-{system}", self.r)
    }
}

/// Writes the tag, as in the header `X-Package-Binary-Tag`: the label, and the architecture unless it is `x86_64`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())?;
        match self.arch {
            Arch::X86_64 => Ok(()),
            Arch::Arm64 => write!(f, "-{}", self.arch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_the_form_that_clients_parse() {
        let tag = |target, arch| Platform { r: RMinor { major: 4, minor: 5 }, target, arch }.to_string();
        assert_eq!(tag(BinaryTarget::Linux("noble".to_owned()), Arch::X86_64), "4.5-noble");
        assert_eq!(tag(BinaryTarget::Linux("noble".to_owned()), Arch::Arm64), "4.5-noble-arm64");
        assert_eq!(tag(BinaryTarget::Windows, Arch::X86_64), "4.5-win");
        assert_eq!(tag(BinaryTarget::MacOs, Arch::Arm64), "4.5-macos-arm64");
    }

    #[test]
    fn a_tag_is_read_back_and_anything_else_is_none() {
        for tag in ["4.5-noble", "4.5-noble-arm64", "4.6-win", "4.4-macos-arm64", "3.6-manylinux_2_28"] {
            assert_eq!(Platform::parse(tag).expect(tag).to_string(), tag);
        }
        for bad in ["", "4.5", "4.5-", "noble", "4-noble", "4.5-no/ble", "4.5-noble-sparc", "4.5-a-b-arm64"] {
            assert_eq!(Platform::parse(bad), None, "{bad}");
        }
        let platform = Platform::parse("4.5-noble-arm64").expect("a tag");
        assert_eq!(
            (platform.database_form(Some(Arch::Arm64)), platform.database_form(None)),
            ("4.5-noble/arm64".into(), "4.5-noble/any".into())
        );
        assert_eq!(Platform::parse_database_form("4.5-noble/arm64"), Some(platform));
        assert_eq!(
            Platform::parse_database_form("4.5-win/any").map(|p| p.to_string()),
            Some("4.5-win".to_owned())
        );
        assert_eq!(Platform::parse_database_form("4.5-win"), None);
    }
}
