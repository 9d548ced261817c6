//! The folder `{name}-{version}.data` of a wheel, whose members installers write outside of `site-packages` (PEP 427).

use std::collections::BTreeSet;

use super::scripts;
use super::{PackageError, excerpt, notice};
use crate::python::name;
use crate::python::version::Pep440Version;

const DATA: &str = ".data";
/// The folders in it: the keys of installation schemes.
const KEYS: [&str; 5] = ["purelib", "platlib", "headers", "scripts", "data"];

/// Checks the members below top folders whose names end in `.data`, and that no member is installed as the metadata of
/// another distribution. pip moves the members of every such folder, uv only those of the folder that is named like
/// `.dist-info`. `stem` is that name without the suffix. Fails for another folder, an unknown key, a file directly in
/// the folder, the name of an interpreter, the configuration of the environment, or a second distribution because of
/// which an installer fails.
pub(super) fn check<'a>(
    paths: impl Iterator<Item = &'a str>,
    stem: &str,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    let mut eggs = BTreeSet::new();
    for path in paths {
        let (top, rest) = path.split_once('/').unwrap_or((path, ""));
        let Some(top) = top.strip_suffix(DATA) else {
            check_egg(top, path, &mut eggs, notices)?;
            continue;
        };
        if top != stem {
            return Err(PackageError::OtherDataFolder { path: excerpt(path), expected: excerpt(stem) });
        }
        let Some((key, rest)) = rest.split_once('/').filter(|(key, _)| KEYS.contains(key)) else {
            if rest.is_empty() && path.ends_with('/') {
                continue;
            }
            return Err(PackageError::DataKey(excerpt(path)));
        };
        if let Some(name) = name_in_site_packages(key, rest) {
            check_egg(name, path, &mut eggs, notices)?;
            match name.strip_suffix(".dist-info") {
                None => {}
                Some(own) if own == stem => {
                    notice(notices, || {
                        format!("'{}' is installed among the metadata of the wheel", excerpt(path))
                    });
                }
                Some(_) => return Err(PackageError::SecondInfo(excerpt(path))),
            }
        }
        if key == "data" && rest.eq_ignore_ascii_case("pyvenv.cfg") {
            return Err(PackageError::Configuration(excerpt(path)));
        }
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

/// Returns the name below `site-packages` of a member of `.data`: that folder is also reached from the one of the
/// environment, as `lib/python3.12/site-packages` or `Lib/site-packages`.
fn name_in_site_packages<'a>(key: &str, rest: &'a str) -> Option<&'a str> {
    let mut parts = rest.split('/');
    match key {
        "purelib" | "platlib" => parts.next(),
        "data" => {
            let is_packages = |part: &str| {
                ["site-packages", "dist-packages"].iter().any(|name| part.eq_ignore_ascii_case(name))
            };
            let top = rest.split('/').next().unwrap_or_default();
            let is_library = ["lib", "lib64", "local"].iter().any(|name| top.eq_ignore_ascii_case(name));
            parts.by_ref().find(|part| is_packages(part)).filter(|_| is_library || is_packages(top))?;
            parts.next()
        }
        _ => None,
    }
}

/// Checks a name in `site-packages` that may be the metadata of a distribution in the old format, `name-1.0-py3.12.egg-info`.
/// uv fails in an environment in which the version is invalid.
fn check_egg<'a>(
    name: &'a str,
    path: &str,
    eggs: &mut BTreeSet<&'a str>,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    let Some(stem) = name.strip_suffix(".egg-info").filter(|_| eggs.insert(name)) else { return Ok(()) };
    let mut parts = stem.split('-');
    let is_project = parts.next().is_some_and(name::is_valid);
    if !is_project || parts.next().is_some_and(|version| !Pep440Version::lenient(version).is_valid()) {
        return Err(PackageError::SecondInfo(excerpt(path)));
    }
    notice(notices, || {
        format!(
            "'{}' is installed as another distribution; without a version, pip check fails",
            excerpt(name)
        )
    });
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
            "odd/a-b-1.0.egg-info/PKG-INFO",
            "odd-1.0.data/purelib/odd/dj-a-b-1.0.dist-info/METADATA",
            "odd-1.0.data/data/share/python/lib/site-packages/pip-23.0.dist-info/METADATA",
            "odd-1.0.data/data/lib/x-1.0.dist-info/METADATA",
            "odd-1.0.data/data/lib/python3.11/site-packages/other.py",
            "odd-1.0.data/data/etc/pyvenv.cfg",
            "odd-1.0.data/headers/a-1.0.dist-info",
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
        for path in ["odd-1.0.data/data/pyvenv.cfg", "odd-1.0.data/data/PyVenv.cfg"] {
            assert!(check_path(path).is_err_and(|error| error.contains("(pyvenv.cfg)")), "{path}");
        }
    }

    #[test]
    fn no_other_distribution_is_installed() {
        const FOLDERS: [&str; 7] = [
            "purelib/",
            "platlib/",
            "data/lib/python3.11/site-packages/",
            "data/lib64/python3.11/site-packages/",
            "data/lib/python3/dist-packages/",
            "data/local/lib/python3.11/dist-packages/",
            "data/Lib/Site-Packages/",
        ];
        let folders = FOLDERS.map(|folder| format!("odd-1.0.data/{folder}"));
        for folder in &folders {
            for name in ["dj-a-b-1.0", "other_pkg-9.0", "odd-2.0", "Odd-1.0"] {
                for path in
                    [format!("{folder}{name}.dist-info/METADATA"), format!("{folder}{name}.dist-info")]
                {
                    let result = check_path(&path);
                    assert!(result.is_err_and(|error| error.contains("another distribution")), "{path}");
                }
            }
            assert_eq!(check_path(&format!("{folder}odd-1.0.dist-info/x")), Ok(1), "{folder}");
        }
        for folder in folders.iter().map(String::as_str).chain([""]) {
            for name in ["a-b-1.0", "o-p", ".-1.0", "a--1.0"] {
                let path = format!("{folder}{name}.egg-info/PKG-INFO");
                assert!(
                    check_path(&path).is_err_and(|error| error.contains("another distribution")),
                    "{path}"
                );
            }
            for name in ["other_pkg-9.0", "other_pkg", "other_pkg-9.0-py3.11"] {
                for path in [format!("{folder}{name}.egg-info/x"), format!("{folder}{name}.egg-info")] {
                    assert_eq!(check_path(&path), Ok(1), "{path}");
                }
            }
        }
        let (mut notices, paths) =
            (Vec::new(), ["a-1.egg-info/x", "a-1.egg-info/y", "odd-1.0.data/purelib/a-1.egg-info/z"]);
        check(paths.into_iter(), "odd-1.0", &mut notices).expect("accepted");
        assert_eq!(notices.len(), 1, "one for each name: {notices:?}");
    }
}
