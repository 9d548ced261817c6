//! The file WHEEL of a wheel: the version of the format, and the tags (PEP 427).

use std::collections::BTreeSet;

use super::{PackageError, encoding_error, excerpt, notice};
use crate::python::metadata::header::Headers;
use crate::python::tag::{Tag, WheelTags};

/// Checks WHEEL, the member `path`. Tags that are malformed, or none of which is one of the file name, are notices:
/// installers use those of the file name, but `pip check` fails, or uv installs the wheel again each time. Fails with
/// [`PackageError::WheelVersion`], and the errors of [`encoding_error`], with which no installer reads the file.
pub(super) fn check(
    bytes: &[u8],
    path: &str,
    tags: &WheelTags<'_>,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    if let Some(error) = encoding_error(bytes, path) {
        return Err(error);
    }
    let headers = Headers::parse(bytes);
    let values = |name: &'static str| {
        headers
            .fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| &*field.value)
    };
    let version = values("Wheel-Version").next().unwrap_or_default();
    if version.split('.').next() != Some("1") {
        return Err(PackageError::WheelVersion(version.chars().take(20).collect()));
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !version.contains('.') || !version.split('.').all(is_number) {
        notice(notices, || {
            format!(
                "WHEEL has Wheel-Version '{}', which is not like 1.0; pip or uv refuses it",
                excerpt(version)
            )
        });
    }
    if !headers.fields.iter().any(|field| field.name == "Wheel-Version") {
        notice(notices, || "WHEEL has Wheel-Version in another case; uv refuses the wheel".to_owned());
    }
    let expected: BTreeSet<Tag<'_>> = tags.expand().collect();
    let (mut count, mut is_own) = (0, false);
    for text in values("Tag") {
        count += 1;
        let parts: Vec<&str> = text.split('-').collect();
        let declared = match parts[..] {
            [python, abi, platform] => WheelTags::new(python, abi, platform),
            _ => None,
        };
        match declared {
            Some(declared) => is_own |= declared.expand().any(|tag| expected.contains(&tag)),
            None => notice(notices, || {
                format!(
                    "WHEEL has the Tag '{}', which is not like py3-none-any; pip check ends with an error",
                    excerpt(text)
                )
            }),
        }
    }
    if count == 0 {
        notice(notices, || "WHEEL has no Tag; uv sync installs the wheel again each time".to_owned());
    } else if !is_own {
        notice(notices, || {
            format!("WHEEL has no Tag of the file name ({tags}); uv sync installs the wheel again each time")
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Result<usize, String> {
        let tags = WheelTags::new("py2.py3", "none", "any").expect("tags");
        let mut notices = Vec::new();
        check(text.as_bytes(), "WHEEL", &tags, &mut notices).map_err(|error| error.to_string())?;
        Ok(notices.len())
    }

    #[test]
    fn the_major_version_of_the_format_is_1() {
        assert_eq!(check_text("Wheel-Version: 1.9\nGenerator: x\nTag: py3-none-any\n"), Ok(0));
        for bad in ["", "Wheel-Version: 2.0\n", "Wheel-Version: \n", "Generator: 1.0\n"] {
            assert!(check_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn forms_that_an_installer_refuses_are_stated() {
        for (line, count) in [
            ("Wheel-Version: 1.0", 0),
            ("Wheel-Version: 1.0.0", 0),
            ("Wheel-Version: 1.99", 0),
            ("Wheel-Version: 1", 1),
            ("Wheel-Version: 1.x", 1),
            ("Wheel-Version: 1.0.x", 1),
            ("Wheel-Version: 1.", 1),
            ("wheel-version: 1.0", 1),
            ("WHEEL-VERSION: 1", 2),
        ] {
            assert_eq!(check_text(&format!("{line}\nTag: py3-none-any\n")), Ok(count), "{line}");
        }
        let text = "\u{feff}Wheel-Version: 1.0\nTag: py3-none-any\n";
        assert!(check_text(text).is_err_and(|error| error.starts_with("line 1 of 'WHEEL' begins with")));
        let tags = WheelTags::new("py3", "none", "any").expect("tags");
        let result = check(b"Wheel-Version: 1.0\nGenerator: \xe9\n", "WHEEL", &tags, &mut Vec::new());
        assert!(matches!(result, Err(PackageError::NotUtf8 { line: 2, byte: 0xe9, .. })), "{result:?}");
    }

    #[test]
    fn tags_are_those_of_the_file_name() {
        for tags in
            ["py2.py3-none-any", "py3-none-any", "PY3-none-any", "cp36-cp36m-win32\nTag: py2-none-any"]
        {
            assert_eq!(check_text(&format!("Wheel-Version: 1.0\nTag: {tags}\n")), Ok(0), "{tags}");
        }
        for (tags, count) in [
            ("", 2),
            ("py3-any", 2),
            ("py4-none-any", 1),
            ("py3-none-any\nTag: -x", 1),
            ("py3-none-any-x", 2),
        ] {
            assert_eq!(check_text(&format!("Wheel-Version: 1.0\nTag: {tags}\n")), Ok(count), "{tags}");
        }
        assert_eq!(check_text("Wheel-Version: 1.0\n"), Ok(1));
    }
}
