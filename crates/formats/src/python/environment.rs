//! Evaluates environment markers for a version of Python and a platform, each of which may be unspecified.

use super::marker::{Marker, Operand};
use super::name::normalize;
use super::specifier::Specifiers;
use super::target::{PythonMinor, WheelPlatform};
use super::version::Pep440Version;

/// A patch version that is later than all others of a minor version.
const LAST_PATCH: u32 = 9999;

/// CPython of a minor version on a platform; `None` means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    pub python: Option<PythonMinor>,
    pub platform: Option<WheelPlatform>,
}

impl Environment {
    /// Returns whether a marker may be true in this environment when these extras (normalized names) are requested. A
    /// comparison with an unknown variable, such as the version of the kernel, counts as true.
    pub fn may_satisfy(&self, marker: &Marker, extras: &[String]) -> bool {
        if let Some(is_true) = marker.extra_comparison(extras) {
            return is_true;
        }
        match marker {
            Marker::Any(markers) => markers.iter().any(|marker| self.may_satisfy(marker, extras)),
            Marker::All(markers) => markers.iter().all(|marker| self.may_satisfy(marker, extras)),
            Marker::Compare(Operand::Variable(name), operator, Operand::Text(text)) => {
                let compare = |value: &String| compare(value, operator, text);
                self.values(name, text).is_none_or(|values| values.iter().any(compare))
            }
            Marker::Compare(Operand::Text(text), operator, Operand::Variable(name)) => {
                let compare = |value: &String| match *operator {
                    "in" | "not in" => value.contains(&**text) == (*operator == "in"),
                    other => compare(value, mirrored(other), text),
                };
                self.values(name, text).is_none_or(|values| values.iter().any(compare))
            }
            Marker::Compare(..) => true,
        }
    }

    /// Returns whether a marker may be true in this environment, with or without the extras that it names.
    pub fn may_apply(&self, marker: &Marker) -> bool {
        let mut extras = Vec::new();
        add_named_extras(marker, &mut extras);
        self.may_satisfy(marker, &[]) || self.may_satisfy(marker, &extras)
    }

    /// Returns whether a value of `Requires-Python` allows any patch version of this Python. A text that is not a list
    /// of specifiers allows all versions.
    pub fn is_allowed_by(&self, requires_python: Option<&str>) -> bool {
        let specifiers = requires_python.and_then(Specifiers::lenient);
        let (Some(specifiers), Some(python)) = (specifiers, self.python) else { return true };
        // The first and the last patch version, and those that the text names.
        let mut versions = full_versions(python, "");
        let prefix = format!("{}.{}.", python.major, python.minor);
        let parts = specifiers.as_str().split(|c: char| !c.is_ascii_digit() && c != '.');
        versions.extend(parts.filter(|part| part.starts_with(&prefix)).map(str::to_owned));
        versions.iter().any(|version| specifiers.contains(&Pep440Version::lenient(version)))
    }

    /// Returns the values of a variable that must be compared with a text; `None` if they are unknown.
    fn values(&self, name: &str, text: &str) -> Option<Vec<String>> {
        let one = |value: &str| Some(vec![value.to_owned()]);
        match name {
            "python_version" => self.python.map(|python| vec![format!("{}.{}", python.major, python.minor)]),
            "python_full_version" | "implementation_version" => {
                self.python.map(|python| full_versions(python, text))
            }
            "platform_python_implementation" | "platform.python_implementation" | "python_implementation" => {
                self.python.and_then(|_| one("CPython"))
            }
            "implementation_name" => self.python.and_then(|_| one("cpython")),
            "os_name" | "os.name" => one(self.system()?.0),
            "sys_platform" | "sys.platform" => one(self.system()?.1),
            "platform_system" => one(self.system()?.2),
            "platform_machine" | "platform.machine" => one(self.machine()?),
            _ => None,
        }
    }

    /// Returns `os.name`, `sys.platform` and `platform.system()`.
    fn system(&self) -> Option<(&'static str, &'static str, &'static str)> {
        match self.platform.as_ref()? {
            WheelPlatform::Glibc(..) | WheelPlatform::Musl(..) => Some(("posix", "linux", "Linux")),
            WheelPlatform::MacOs(..) => Some(("posix", "darwin", "Darwin")),
            WheelPlatform::Other(tag) if tag.starts_with("win") => Some(("nt", "win32", "Windows")),
            WheelPlatform::Other(tag) if tag.starts_with("linux") => Some(("posix", "linux", "Linux")),
            WheelPlatform::Other(_) => None,
        }
    }

    /// Returns `platform.machine()`.
    fn machine(&self) -> Option<&str> {
        match self.platform.as_ref()? {
            WheelPlatform::Glibc(_, _, machine)
            | WheelPlatform::Musl(_, _, machine)
            | WheelPlatform::MacOs(_, _, machine) => Some(machine),
            WheelPlatform::Other(tag) => match &**tag {
                "win_amd64" => Some("AMD64"),
                "win_arm64" => Some("ARM64"),
                "win32" => Some("x86"),
                other => other.strip_prefix("linux_"),
            },
        }
    }
}

/// Adds the extras (normalized names) with which a marker compares.
fn add_named_extras(marker: &Marker, extras: &mut Vec<String>) {
    match marker {
        Marker::Any(markers) | Marker::All(markers) => {
            markers.iter().for_each(|marker| add_named_extras(marker, extras));
        }
        Marker::Compare(Operand::Variable("extra"), _, Operand::Text(text))
        | Marker::Compare(Operand::Text(text), _, Operand::Variable("extra")) => extras.push(normalize(text)),
        Marker::Compare(..) => {}
    }
}

/// Returns the first and the last patch version, and `text` if it is one of the patch versions. If any patch version
/// satisfies a comparison with `text`, one of these does.
fn full_versions(python: PythonMinor, text: &str) -> Vec<String> {
    let prefix = format!("{}.{}.", python.major, python.minor);
    let mut versions = vec![format!("{prefix}0"), format!("{prefix}{LAST_PATCH}")];
    if text.starts_with(&prefix) {
        versions.push(text.to_owned());
    }
    versions
}

/// Returns the operator for exchanged operands.
fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}

/// Compares as versions if both are versions, otherwise as texts.
fn compare(value: &str, operator: &str, text: &str) -> bool {
    if matches!(operator, "in" | "not in") {
        return text.contains(value) == (operator == "in");
    }
    let version = Pep440Version::lenient(value);
    if version.is_valid()
        && let Ok(specifiers) = format!("{operator}{text}").parse::<Specifiers>()
    {
        return specifiers.contains(&version);
    }
    match operator {
        "==" | "===" => value == text,
        "!=" => value != text,
        "<" => value < text,
        "<=" => value <= text,
        ">" => value > text,
        ">=" => value >= text,
        // `~=` is defined for versions only.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(python: &str, platform: &str) -> Environment {
        Environment {
            python: Some(python.parse().expect(python)),
            platform: Some(platform.parse().expect(platform)),
        }
    }

    fn applies(environment: &Environment, marker: &str, extras: &[&str]) -> bool {
        let extras: Vec<String> = extras.iter().map(|extra| (*extra).to_owned()).collect();
        environment.may_satisfy(&Marker::parse(marker).expect(marker), &extras)
    }

    #[test]
    fn markers_are_evaluated_for_a_python_and_a_platform() {
        let linux = environment("3.11", "manylinux_2_17_x86_64");
        for (marker, expected) in [
            ("python_version < '3.9'", false),
            ("python_version >= '3.9'", true),
            ("'3.9' <= python_version", true),
            ("'3.12' <= python_version", false),
            ("python_version in '3.10 3.11'", true),
            ("python_version == '3.*'", true),
            ("python_full_version < '3.11.4'", true),
            ("python_full_version == '3.11.4'", true),
            ("python_full_version < '3.11'", false),
            ("sys_platform == 'win32'", false),
            ("sys_platform != 'win32' and os_name == 'posix'", true),
            ("platform_system == 'Darwin' or platform_machine == 'x86_64'", true),
            ("platform_python_implementation == 'PyPy'", false),
            ("implementation_name == 'cpython'", true),
            ("platform_release > '6'", true),
            ("'linux' in sys_platform", true),
            ("'win' not in sys_platform", true),
            ("extra == 'socks'", false),
        ] {
            assert_eq!(applies(&linux, marker, &[]), expected, "{marker}");
        }
        assert!(applies(&linux, "extra == 'socks' and python_version > '3'", &["socks"]));
        let windows = environment("3.12", "win_amd64");
        assert!(applies(&windows, "sys_platform == 'win32' and platform_machine == 'AMD64'", &[]));
        let mac = environment("3.12", "macosx_11_0_arm64");
        assert!(applies(&mac, "sys_platform == 'darwin' and platform_machine == 'arm64'", &[]));
        let any = Environment::default();
        assert!(applies(&any, "python_version < '2' and sys_platform == 'win32'", &[]));
        assert!(!applies(&any, "extra == 'x'", &[]));
    }

    #[test]
    fn requires_python_is_about_any_patch_version() {
        let environment = environment("3.9", "win_amd64");
        for (text, expected) in [
            (None, true),
            (Some(">=3.7"), true),
            (Some(">=3.10"), false),
            (Some("<3.9"), false),
            (Some("!=3.9.0,>=3.8"), true),
            (Some(">=3.9.2"), true),
            (Some("==3.9.5"), true),
            (Some("nonsense"), true),
        ] {
            assert_eq!(environment.is_allowed_by(text), expected, "{text:?}");
        }
    }
}
