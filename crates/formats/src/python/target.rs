//! Target environments, and which wheels can be installed in them. Used to choose the wheels of a bundle.

use std::str::FromStr;

use super::tag::{Tag, WheelTags};

/// CPython of a minor version on a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelTarget {
    pub python: PythonMinor,
    pub platform: WheelPlatform,
}

/// A minor version of Python, written `3.11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PythonMinor {
    /// 3 in `3.11`.
    pub major: u16,
    /// 11 in `3.11`.
    pub minor: u16,
}

/// A platform, given by the newest platform tag that it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WheelPlatform {
    /// `manylinux_{major}_{minor}_{arch}`: Linux with at least this version of glibc.
    Glibc(u16, u16, Box<str>),
    /// `musllinux_{major}_{minor}_{arch}`: Linux with at least this version of musl.
    Musl(u16, u16, Box<str>),
    /// `macosx_{major}_{minor}_{arch}`: macOS of at least this version.
    MacOs(u16, u16, Box<str>),
    /// Any other platform, such as `win_amd64`, which accepts only its own tag.
    Other(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("'{0}' is not a minor version of Python; write for example 3.11")]
    Python(String),
    #[error(
        "'{0}' is not a platform tag; write for example manylinux_2_17_x86_64, win_amd64 or macosx_11_0_arm64"
    )]
    Platform(String),
}

impl WheelTarget {
    pub fn accepts(&self, tags: &WheelTags<'_>) -> bool {
        tags.expand().any(|tag| self.python.accepts(tag) && self.platform.accepts(tag.platform))
    }
}

impl PythonMinor {
    /// Returns whether CPython of this version loads wheels with these interpreter and ABI tags: the ABI of this
    /// version, `abi3` of this or an earlier version, and no ABI.
    pub fn accepts(self, tag: Tag<'_>) -> bool {
        let Some((interpreter, version)) = interpreter(tag.python) else { return false };
        let own_abi = format!("cp{}{}", self.major, self.minor);
        // Until 3.8, ABIs had flags: `cp27mu`, `cp37m`.
        let flags = tag.abi.strip_prefix(own_abi.as_str());
        let has_flags = self < PythonMinor { major: 3, minor: 8 };
        let is_own_abi =
            flags.is_some_and(|flags| flags.is_empty() || (has_flags && matches!(flags, "m" | "mu")));
        let is_not_newer = version.major == self.major && version.minor <= self.minor;
        match interpreter {
            "cp" if version == self => is_own_abi || matches!(tag.abi, "none" | "abi3"),
            "cp" => tag.abi == "abi3" && self.major == 3 && version.minor >= 2 && is_not_newer,
            "py" => tag.abi == "none" && is_not_newer,
            _ => false,
        }
    }
}

/// Splits `cp311` into `cp` and 3.11; `py3` is 3.0.
fn interpreter(tag: &str) -> Option<(&str, PythonMinor)> {
    let (name, digits) = tag.split_at_checked(2)?;
    let (major, minor) = digits.split_at_checked(1)?;
    let minor = if minor.is_empty() { 0 } else { minor.parse().ok()? };
    Some((name, PythonMinor { major: major.parse().ok()?, minor }))
}

impl WheelPlatform {
    /// Returns whether a wheel with this platform tag runs on this platform.
    pub fn accepts(&self, tag: &str) -> bool {
        if tag == "any" {
            return true;
        }
        match (self, tag.parse::<WheelPlatform>()) {
            (
                WheelPlatform::Glibc(major, minor, arch),
                Ok(WheelPlatform::Glibc(tag_major, tag_minor, tag_arch)),
            )
            | (
                WheelPlatform::Musl(major, minor, arch),
                Ok(WheelPlatform::Musl(tag_major, tag_minor, tag_arch)),
            ) => *arch == tag_arch && *major == tag_major && tag_minor <= *minor,
            (
                WheelPlatform::MacOs(major, minor, arch),
                Ok(WheelPlatform::MacOs(tag_major, tag_minor, tag_arch)),
            ) => {
                let fits = match &*tag_arch {
                    "universal2" => matches!(&**arch, "x86_64" | "arm64"),
                    "intel" | "fat64" | "fat3" | "universal" => &**arch == "x86_64",
                    other => other == &**arch,
                };
                // Wheels for macOS 10 run on macOS 11 and later only on Intel Macs, or if they are universal2.
                fits && (tag_major, tag_minor) <= (*major, *minor)
                    && (tag_major > 10 || &**arch == "x86_64" || &*tag_arch == "universal2")
            }
            (WheelPlatform::Other(own), _) => &**own == tag,
            (WheelPlatform::Glibc(_, _, arch) | WheelPlatform::Musl(_, _, arch), _) => {
                tag.strip_prefix("linux_") == Some(&**arch)
            }
            (WheelPlatform::MacOs(..), _) => false,
        }
    }
}

impl FromStr for PythonMinor {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<PythonMinor, BadTarget> {
        let number = |part: &str| {
            let is_number = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            if is_number { part.parse().ok() } else { None }
        };
        let split = text.split_once('.');
        let version = split
            .and_then(|(major, minor)| Some(PythonMinor { major: number(major)?, minor: number(minor)? }));
        version.ok_or_else(|| BadTarget::Python(text.chars().take(40).collect()))
    }
}

impl FromStr for WheelPlatform {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<WheelPlatform, BadTarget> {
        let is_tag = !text.is_empty()
            && text.len() <= 255
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_tag {
            return Err(BadTarget::Platform(text.chars().take(80).collect()));
        }
        // Platform tags before PEP 600.
        for (old, minor) in [("manylinux1_", 5), ("manylinux2010_", 12), ("manylinux2014_", 17)] {
            if let Some(arch) = text.strip_prefix(old) {
                return Ok(WheelPlatform::Glibc(2, minor, arch.into()));
            }
        }
        let versioned = |family: &str| {
            let mut parts = text.strip_prefix(family)?.splitn(3, '_');
            let [major, minor] = [parts.next()?.parse().ok()?, parts.next()?.parse().ok()?];
            Some((major, minor, Box::<str>::from(parts.next()?)))
        };
        let glibc = versioned("manylinux_").map(|(a, b, arch)| WheelPlatform::Glibc(a, b, arch));
        let musl = || versioned("musllinux_").map(|(a, b, arch)| WheelPlatform::Musl(a, b, arch));
        let macos = || versioned("macosx_").map(|(a, b, arch)| WheelPlatform::MacOs(a, b, arch));
        Ok(glibc.or_else(musl).or_else(macos).unwrap_or_else(|| WheelPlatform::Other(text.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(python: &str, platform: &str, wheel: &str) -> bool {
        let target = WheelTarget {
            python: python.parse().expect(python),
            platform: platform.parse().expect(platform),
        };
        let parts: Vec<&str> = wheel.split('-').collect();
        target.accepts(&WheelTags::new(parts[0], parts[1], parts[2]).expect(wheel))
    }

    #[test]
    fn wheels_of_the_platform_and_of_older_ones_are_accepted() {
        for (python, platform, wheel) in [
            ("3.11", "manylinux_2_17_x86_64", "py2.py3-none-any"),
            ("3.11", "manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "cp311-cp311-manylinux1_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "cp36-abi3-manylinux_2_5_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "cp311-cp311-linux_x86_64"),
            ("3.7", "manylinux_2_17_x86_64", "cp37-cp37m-manylinux1_x86_64"),
            ("3.12", "musllinux_1_2_aarch64", "cp312-cp312-musllinux_1_1_aarch64"),
            ("3.12", "win_amd64", "cp312-none-win_amd64"),
            ("3.12", "macosx_14_0_arm64", "cp312-cp312-macosx_11_0_arm64"),
            ("3.12", "macosx_14_0_arm64", "cp312-cp312-macosx_10_9_universal2"),
            ("3.12", "macosx_14_0_x86_64", "cp312-cp312-macosx_10_9_x86_64"),
        ] {
            assert!(accepts(python, platform, wheel), "{python} {platform} {wheel}");
        }
    }

    #[test]
    fn other_wheels_are_not_accepted() {
        for (python, platform, wheel) in [
            ("3.11", "manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_17_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_aarch64"),
            ("3.11", "manylinux_2_17_x86_64", "cp311-cp311-musllinux_1_1_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "cp312-abi3-manylinux1_x86_64"),
            ("3.13", "manylinux_2_17_x86_64", "cp313-cp313t-manylinux_2_17_x86_64"),
            ("3.11", "manylinux_2_17_x86_64", "py2-none-any"),
            ("3.11", "manylinux_2_17_x86_64", "pp311-pypy311_pp73-manylinux_2_17_x86_64"),
            ("3.11", "win_amd64", "cp311-cp311-win32"),
            ("3.12", "macosx_11_0_arm64", "cp312-cp312-macosx_14_0_arm64"),
            ("3.12", "macosx_14_0_arm64", "cp312-cp312-macosx_10_9_x86_64"),
        ] {
            assert!(!accepts(python, platform, wheel), "{python} {platform} {wheel}");
        }
        for bad in ["", "3", "3.x", "3.11.1", "+3.1"] {
            assert!(bad.parse::<PythonMinor>().is_err(), "{bad}");
        }
        assert!("linux x86".parse::<WheelPlatform>().is_err() && "".parse::<WheelPlatform>().is_err());
    }
}
