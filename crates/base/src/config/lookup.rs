//! Looks up sections, properties and their defaults in the table, by name.

use super::rows::{PREPARED, SECTIONS};
use super::table::{Property, Section};

/// Returns the section named `name`, ignoring case.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().chain(PREPARED).find(|section| section.name.eq_ignore_ascii_case(name))
}

/// Returns the name of the section that has the property, if exactly one section has it.
pub(super) fn section_of(property: &str) -> Option<&'static str> {
    let mut sections = SECTIONS.iter().filter(|section| section.property(property).is_some());
    sections.next().filter(|_| sections.next().is_none()).map(|section| section.name)
}

/// Resolves the reference at the beginning of a default, `{Section.Property}` or `{TMPDIR}`, if there is one.
pub(super) fn expand(default: &str, lookup: &dyn Fn(&str, &str) -> String) -> String {
    let Some((reference, rest)) = default.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return default.to_owned();
    };
    match reference.split_once('.') {
        Some((section, property)) => lookup(section, property) + rest,
        None => lookup("", reference) + rest,
    }
}

/// Returns the default of a property when no other property is set; `class` replaces `{class}`.
pub(super) fn plain_default(property: &Property, class: &str) -> String {
    let lookup = |section_name: &str, name: &str| match section(section_name)
        .and_then(|section| section.property(name))
    {
        Some(other) => plain_default(other, class),
        None => "/tmp".to_owned(),
    };
    expand(property.default, &lookup).replace("{class}", class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::nearest;
    use crate::model::kind::StorageClass;

    fn rows() -> impl Iterator<Item = (&'static Section, &'static Property)> {
        SECTIONS.iter().flat_map(|section| section.properties.iter().map(move |property| (section, property)))
    }

    #[test]
    fn every_default_is_of_its_type() {
        for (section, property) in rows().filter(|(_, property)| !property.default.is_empty()) {
            for text in plain_default(property, "cache").split(", ") {
                let result = property.kind.check(text);
                assert_eq!(result, Ok(()), "[{}] {} = {text}", section.name, property.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_fit_for_environment_variables() {
        for (section, property) in rows() {
            let has_same_name = |other: &&Property| other.name.eq_ignore_ascii_case(property.name);
            assert_eq!(section.properties.iter().filter(has_same_name).count(), 1, "{}", property.name);
            assert!(!property.name.contains('_') && !section.name.contains('_'));
            assert!(property.sentence.ends_with('.'), "{}: a sentence ends with a full stop", property.name);
            assert!(!property.is_multi || property.default.split(", ").all(|value| !value.contains('{')));
        }
        for section in SECTIONS {
            let has_same_name = |other: &&Section| other.name.eq_ignore_ascii_case(section.name);
            assert_eq!(SECTIONS.iter().filter(has_same_name).count(), 1, "{}", section.name);
        }
    }

    #[test]
    fn references_in_defaults_name_rows() {
        for (_, property) in rows() {
            let check = |section_name: &str, name: &str| {
                let exists = section(section_name).and_then(|section| section.property(name)).is_some();
                assert!(
                    exists || (section_name.is_empty() && name == "TMPDIR"),
                    "{}: {}",
                    property.name,
                    property.default
                );
                String::new()
            };
            expand(&property.default.replace("{class}", ""), &check);
        }
    }

    #[test]
    fn names_are_case_insensitive_and_the_nearest_is_suggested() {
        assert_eq!(section("hTtPs").map(|section| section.name), Some("HTTPS"));
        let server = section("Server").expect("known");
        assert!(server.property("datadir").is_some());
        assert_eq!(nearest("DataDri", server.properties.iter().map(|p| p.name)), Some("DataDir"));
        assert_eq!(nearest("zzz", server.properties.iter().map(|p| p.name)), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["x"].into_iter()), None);
    }

    #[test]
    fn the_nine_classes_have_a_property_in_storage() {
        let storage = section("Storage").expect("known");
        for class in StorageClass::ALL {
            assert!(storage.property(class.as_str()).is_some(), "{class:?}");
        }
    }
}
