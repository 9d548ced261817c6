//! Names of projects and extras, and their normalization (PyPA: name normalization, PEP 503).

use base::model::project_name::{BadProjectName, ProjectName, spelling_key};

/// Maximum length of a name in bytes, which is that of a directory name.
const MAX_NAME: usize = 255;
const EXPECTED: &str = "a Python project: use ASCII letters, digits, '.', '_' and '-', beginning and ending with a letter \
                        or a digit";

/// Parses a name in any spelling. Its normalized form has lower case, and one `-` for each run of `-`, `_`, `.`.
pub fn parse(text: &str) -> Result<ProjectName, BadProjectName> {
    if is_valid(text) {
        Ok(ProjectName::folded(normalize(text)))
    } else {
        Err(BadProjectName::new(text, EXPECTED))
    }
}

/// Returns whether the text is a spelling of a name.
pub fn is_spelling(text: &str, name: &ProjectName) -> bool {
    // The prefixes of a file name, which may have a hundred, differ from the name after as many bytes as it has.
    let mut previous = 0;
    let bytes =
        text.bytes().map(|byte| if matches!(byte, b'.' | b'_') { b'-' } else { byte.to_ascii_lowercase() });
    let folded = bytes.filter(|byte| (*byte, std::mem::replace(&mut previous, *byte)) != (b'-', b'-'));
    folded.eq(name.as_str().bytes()) && is_valid(text)
}

/// Returns whether the text is a valid name: `^([A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])\Z`, ignoring case.
pub fn is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= MAX_NAME
        && is_alphanumeric(bytes.first())
        && is_alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Normalizes any text, without checking that it is a valid name.
pub fn normalize(name: &str) -> String {
    spelling_key(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_name_have_one_normal_form() {
        for (text, normal) in [
            ("friendly-bard", "friendly-bard"),
            ("Friendly-Bard", "friendly-bard"),
            ("FrIeNdLy-._.-bArD", "friendly-bard"),
            ("zope.interface", "zope-interface"),
            ("a", "a"),
            ("0", "0"),
            ("a--b", "a-b"),
        ] {
            assert_eq!(parse(text).map(|name| name.to_string()), Ok(normal.to_owned()));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long = "a".repeat(256);
        for bad in
            ["", "-a", "a-", "_", "a b", "a\n", "пакет", "a/b", "..", "a\0", "\u{212A}elvin", long.as_str()]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_character_that_is_not_ascii_is_stated() {
        let error = |text: &str| parse(text).map_err(|error| error.to_string()).expect_err(text);
        // Cyrillic letters that look like Latin ones.
        let text = error("fl\u{430}sk\u{43e}");
        assert!(text.starts_with("'fl\u{430}sk\u{43e}' is not the name"), "{text}");
        assert!(text.ends_with("with a letter or a digit; '\u{430}' is U+0430, not ASCII"), "{text}");
        assert!(error("a\u{202e}b").ends_with("; '\\u{202e}' is U+202E, not ASCII"));
        assert!(error("-a").ends_with("with a letter or a digit"));
    }

    proptest! {
        #[test]
        fn normalizing_is_idempotent(text in "\\PC{0,20}", name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,12}[A-Za-z0-9])?") {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once);
            let normal = parse(&name).unwrap();
            prop_assert_eq!(parse(normal.as_str()), Ok(normal.clone()));
            prop_assert!(is_spelling(&name, &normal));
            prop_assert!(is_spelling(&normal.as_str().replace('-', "_"), &normal));
        }
    }
}
