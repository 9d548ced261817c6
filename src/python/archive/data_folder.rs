//! The folder `{name}-{version}.data` of a wheel, whose members installers write outside of `site-packages` (PEP 427).

use super::scripts;
use super::{PackageError, excerpt, notice};

const DATA: &str = ".data";
/// The folders in it: the keys of installation schemes.
const KEYS: [&str; 5] = ["purelib", "platlib", "headers", "scripts", "data"];

/// Checks the members below top folders whose names end in `.data`. pip moves those of every such folder, uv only those of
/// the folder that is named like `.dist-info`. `stem` is that name without the suffix.
///
/// # Errors
/// Another folder, an unknown key, a file directly in the folder, or the name of an interpreter.
pub(super) fn check<'a>(
    paths: impl Iterator<Item = &'a str>,
    stem: &str,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    for path in paths {
        let (top, rest) = path.split_once('/').unwrap_or((path, ""));
        let Some(top) = top.strip_suffix(DATA) else { continue };
        if top != stem {
            return Err(PackageError::OtherDataFolder { path: excerpt(path), expected: excerpt(stem) });
        }
        let Some((key, rest)) = rest.split_once('/').filter(|(key, _)| KEYS.contains(key)) else {
            if rest.is_empty() && path.ends_with('/') {
                continue;
            }
            return Err(PackageError::DataKey(excerpt(path)));
        };
        if key == "scripts" {
            scripts::check_name(rest)?;
            if rest.contains('/') {
                notice(notices, || {
                    format!("'{}' is in a folder of scripts; uv does not install such a wheel", excerpt(path))
                });
            }
        }
        // The folders of programs of an environment, on Unix and on Windows.
        if let Some((folder, name)) = rest.split_once('/').filter(|_| key == "data")
            && ["bin", "scripts"].iter().any(|programs| folder.eq_ignore_ascii_case(programs))
        {
            scripts::check_name(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_path(path: &str) -> Result<usize, String> {
        let mut notices = Vec::new();
        check([path].into_iter(), "odd-1.0", &mut notices).map_err(|error| error.to_string())?;
        Ok(notices.len())
    }

    #[test]
    fn only_the_folder_of_the_wheel_and_known_keys_are_installed() {
        for path in [
            "odd/x.data/a",
            "odd-1.0.data/",
            "odd-1.0.data/scripts/",
            "odd-1.0.data/scripts/run",
            "odd-1.0.data/headers/a/b.h",
            "odd-1.0.data/data/etc/python",
            "odd-1.0.data/purelib/odd.py",
            "odd-1.0.data/platlib/odd.so",
            "odd-1.0.DATA/x",
        ] {
            assert_eq!(check_path(path), Ok(0), "{path}");
        }
        for path in [
            "Odd-1.0.data/scripts/a",
            "odd-1.data/scripts/a",
            "other.data/data/x",
            "x.data",
            ".data/scripts/a",
        ] {
            assert!(
                check_path(path).is_err_and(|error| error.contains("another folder than 'odd-1.0.data'")),
                "{path}"
            );
        }
        for path in
            ["odd-1.0.data/x", "odd-1.0.data/bogus/x", "odd-1.0.data/Scripts/x", "odd-1.0.data/include/a.h"]
        {
            assert!(check_path(path).is_err_and(|error| error.contains("purelib")), "{path}");
        }
        for path in [
            "odd-1.0.data/scripts/python3",
            "odd-1.0.data/data/bin/python",
            "odd-1.0.data/data/Scripts/python.exe",
        ] {
            assert!(check_path(path).is_err_and(|error| error.contains("an interpreter")), "{path}");
        }
        assert_eq!(check_path("odd-1.0.data/scripts/sub/x"), Ok(1));
    }
}
