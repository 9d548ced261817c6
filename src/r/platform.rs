//! What a binary package is built for, and the one short name of it: in labels, in the header clients read, in URLs.

use std::fmt;

use super::layout::RMinor;

/// Processors that packages are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// Intel and AMD, 64 bits.
    X86_64,
    /// ARM, 64 bits.
    Arm64,
}

impl Arch {
    /// Both.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Arm64];

    /// From any spelling in use: Linux says `aarch64` where macOS says `arm64`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Arch> {
        match text {
            "x86_64" | "amd64" | "x86-64" => Some(Arch::X86_64),
            "arm64" | "aarch64" => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// As the status answer spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a build runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A Linux distribution, by the name in URLs.
    Linux(String),
    /// Windows.
    Windows,
    /// macOS.
    MacOs,
}

/// What a build is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The minor version of R.
    pub r: RMinor,
    /// The system.
    pub target: Target,
    /// The processor.
    pub arch: Arch,
}

impl Platform {
    /// The name of the list its builds are in, for every processor: `4.5-noble`, `4.5-win`, `4.5-macos`.
    #[must_use]
    pub fn label(&self) -> String {
        let system = match &self.target {
            Target::Linux(name) => name.as_str(),
            Target::Windows => "win",
            Target::MacOs => "macos",
        };
        format!("{}-{system}", self.r)
    }
}

/// The tag in `X-Package-Binary-Tag`: the label, and the processor when it is not `x86_64`.
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
    fn a_tag_is_what_clients_split() {
        let tag = |target, arch| Platform { r: RMinor { major: 4, minor: 5 }, target, arch }.to_string();
        assert_eq!(tag(Target::Linux("noble".to_owned()), Arch::X86_64), "4.5-noble");
        assert_eq!(tag(Target::Linux("noble".to_owned()), Arch::Arm64), "4.5-noble-arm64");
        assert_eq!(tag(Target::Windows, Arch::X86_64), "4.5-win");
        assert_eq!(tag(Target::MacOs, Arch::Arm64), "4.5-macos-arm64");
    }
}
