//! Our parser of the git-config dialect and the crate `gix-config` read the same values.

use std::collections::BTreeMap;

use gix_config::parse::{EventRef, Events};
use gix_config::value::normalize;
use proptest::prelude::*;
use rstudio_pm::config::{ConfigError, Loaded, ProblemCategory};

/// Values by section, subsection name and property; names that are case-insensitive are in lower case.
type Values = BTreeMap<(String, Option<String>, String), Vec<String>>;

fn add(values: &mut Values, section: &str, sub: Option<&str>, name: &str, value: String) {
    let key = (section.to_lowercase(), sub.map(str::to_owned), name.to_lowercase());
    let property_values = values.entry(key).or_default();
    if !name.eq_ignore_ascii_case("CustomScope") {
        property_values.clear();
    }
    property_values.push(value);
}

/// The values that the other implementation reads; `None` if it fails or if a name has no `=`.
fn reference_values(text: &str) -> Option<Values> {
    let events = Events::from_bytes(text.as_bytes(), None).ok()?;
    let mut values = Values::new();
    let (mut section, mut sub, mut name) = (String::new(), None, String::new());
    let (mut has_separator, mut value_start) = (false, String::new());
    for event in events.iter() {
        match event {
            EventRef::SectionHeader { name, subsection_name, .. } => {
                section = name.to_string();
                sub = subsection_name.map(ToString::to_string);
            }
            EventRef::SectionValueName(value_name) => {
                (name, has_separator) = (value_name.to_string(), false);
                value_start.clear();
            }
            EventRef::KeyValueSeparator => has_separator = true,
            EventRef::ValueNotDone(part) => value_start.push_str(&part.to_string()),
            EventRef::Value(part) | EventRef::ValueDone(part) => {
                if !has_separator {
                    return None;
                }
                let value = format!("{value_start}{part}");
                add(&mut values, &section, sub.as_deref(), &name, normalize(value.as_str()).to_string());
                value_start.clear();
            }
            EventRef::Comment { .. } | EventRef::Newline(_) | EventRef::Whitespace(_) => {}
        }
    }
    Some(values)
}

/// Whether all names are known. If a comment ends with a backslash, the next line, which was generated as the rest
/// of a value, is a separate property with an unknown name.
fn knows_all_names(text: &str) -> bool {
    let unknown = |loaded: Loaded| loaded.warnings.iter().any(|w| w.category == ProblemCategory::Name);
    !rstudio_pm::config::parse("f", text.as_bytes(), []).is_ok_and(unknown)
}

/// The values that our parser reads; `None` if the text has a syntax error.
fn parsed_values(text: &str) -> Option<Values> {
    match rstudio_pm::config::parse("f", text.as_bytes(), []) {
        Ok(loaded) => {
            let mut values = Values::new();
            for setting in loaded.settings.iter() {
                for value in &setting.values {
                    let (section, sub) = (setting.section.name, setting.sub.as_deref());
                    add(&mut values, section, sub, setting.property.name, value.text.clone());
                }
            }
            Some(values)
        }
        Err(ConfigError::Invalid { errors, .. }) => {
            assert!(errors.iter().all(|error| error.category == ProblemCategory::Syntax), "{errors:?}");
            None
        }
        Err(ConfigError::Unreadable { .. }) => panic!("no file was opened"),
    }
}

fn header() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[Repos]".to_owned()),
        Just("[rEPOS] ; comment".to_owned()),
        "[ac .é\\[\\]#;-]{0,6}".prop_map(|sub| format!("[IdentityFederation \"{sub}\"]")),
        "([ac]|\\\\\"|\\\\\\\\){0,4}".prop_map(|sub| format!("[identityfederation \"{sub}\"] # comment")),
    ]
}

fn tidy_value() -> impl Strategy<Value = String> {
    "([ace =]{0,5}|\"[ac ;#=]{0,5}\"){1,3}"
}

fn entry(tidy_only: bool) -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("GroupsClaim"), Just("GROUPSCLAIM"), Just("RoleClaim"), Just("CustomScope")];
    let blanks = "[ \t]{0,2}";
    // Any mixture of the characters that matter to the dialect; both must agree whether it is balanced.
    let value = "([acnt=é\\[ \t]|[;#]|\"|\\\\[nt\"\\\\]|\\\\\n|\\\\c){0,10}";
    let value = prop_oneof![value, tidy_value()];
    let value = if tidy_only { tidy_value().boxed() } else { value.boxed() };
    (blanks, name, blanks, value)
        .prop_map(|(before, name, after, value)| format!("{before}{name}{after}={value}"))
}

fn text(tidy_only: bool) -> impl Strategy<Value = String> {
    let line =
        prop_oneof![1 => Just(String::new()), 1 => Just("; a = [b \"".to_owned()), 4 => entry(tidy_only)];
    // `[Repos]` has none of these properties: its entries would be unknown names, so it stays empty.
    let body = (header(), proptest::collection::vec(line, 0..5)).prop_map(|(header, lines)| {
        let lines = if header.to_lowercase().starts_with("[repos") { Vec::new() } else { lines };
        let mut lines_with_header = vec![header];
        lines_with_header.extend(lines);
        lines_with_header.join("\n")
    });
    (proptest::collection::vec(body, 1..4), any::<bool>(), any::<bool>()).prop_map(|(bodies, crlf, end)| {
        let text = bodies.join("\n") + if end { "\n" } else { "" };
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn both_read_the_same(text in text(false)) {
        prop_assume!(knows_all_names(&text));
        prop_assert_eq!(parsed_values(&text), reference_values(&text), "{:?}", text);
    }

    #[test]
    fn both_read_well_formed_text(text in text(true)) {
        prop_assume!(knows_all_names(&text));
        prop_assert!(reference_values(&text).is_some(), "{:?}", text);
        prop_assert_eq!(parsed_values(&text), reference_values(&text), "{:?}", text);
    }
}

#[test]
fn only_the_other_implementation_accepts_a_name_without_an_equals_sign() {
    let text = "[IdentityFederation \"a\"]\nGroupsClaim\n";
    assert!(Events::from_bytes(text.as_bytes(), None).is_ok());
    assert_eq!(parsed_values(text), None);
}
