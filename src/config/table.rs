//! The table of sections and properties: its types and the lookup by name. Its rows are in [`super::rows`].
//!
//! It defines the defaults, `rstudio-pm.gcfg.defaults`, the reference page, the list of reloadable properties
//! and the check for unknown names.

use super::address::{self, UrlPurpose};
use super::binaries;
use super::rows::SECTIONS;
use super::storage::StorageClass;
use super::value;

/// A section of the file.
#[derive(Debug)]
pub struct Section {
    /// As documented; matched case-insensitively.
    pub name: &'static str,
    /// Whether it takes a quoted sub-name.
    pub sub: SubName,
    /// Its description.
    pub sentence: &'static str,
    /// Its properties.
    pub properties: &'static [Property],
}

/// The quoted part of a section header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubName {
    /// No sub-name.
    Never,
    /// A storage class.
    Class,
    /// A storage class, or none for the settings of all classes.
    ClassOrNone,
    /// A name that the administrator chooses.
    Free,
}

/// One property: a row of the table.
#[derive(Debug)]
pub struct Property {
    /// As documented; matched case-insensitively.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// The default as written in a file; empty if unset. It may begin with `{Section.Property}`, `{TMPDIR}` or contain
    /// `{class}`; several values of a multi property are separated by `, `.
    pub default: &'static str,
    /// Whether repeating it adds a value instead of replacing the previous one.
    pub multi: bool,
    /// Whether a reload applies it.
    pub reloadable: bool,
    /// Whether it has an effect.
    pub effect: Effect,
    /// Its description in one sentence.
    pub sentence: &'static str,
}

/// Whether a property has an effect in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has an effect since that version.
    Since(&'static str),
    /// It is parsed and checked, but has no effect yet.
    NotYet,
    /// It is accepted for compatibility with older versions and will never have an effect.
    Obsolete,
    /// It restricts access, which this version does not support: a configuration that turns it on is refused, so that
    /// nothing is public that its administrator considers private.
    Refused,
}

/// The type of a property's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true, yes, on, 1; false, no, off, 0.
    Boolean,
    /// A whole number between two bounds.
    Integer(i64, i64),
    /// `3.14`, `7.`, `.217`.
    Decimal,
    /// Any text.
    Text,
    /// Any text; never printed.
    Secret,
    /// An absolute path.
    Path,
    /// `1m15s`, `30d`; a bare number is nanoseconds.
    Duration,
    /// `32KB`, between two bounds in bytes.
    Size(u64, u64),
    /// Five cron fields, UTC.
    Schedule,
    /// `:port` or `host:port`.
    Listen,
    /// An IP address or network: `10.0.0.0/8`.
    Network,
    /// A URL.
    Url(UrlPurpose),
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// `STDOUT`, `STDERR` or an absolute path.
    LogDestination,
}

impl Kind {
    /// Checks that `text` is of this type; the error is the rest of a sentence.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Kind::Boolean => value::boolean(text).map(drop),
            Kind::Integer(least, most) => value::integer(text, least, most).map(drop),
            Kind::Decimal => value::decimal(text).map(drop),
            Kind::Text | Kind::Secret => Ok(()),
            Kind::Path => value::path(text).map(drop),
            Kind::Duration => value::duration(text).map(drop),
            Kind::Size(least, most) => value::size(text, least, most).map(drop),
            Kind::Schedule => value::cron(text).map(drop),
            Kind::Listen => value::listen(text).map(drop),
            Kind::Network => value::network(text).map(drop),
            Kind::Url(UrlPurpose::Binaries) => binaries::parse(text).map(drop),
            Kind::Url(purpose) => address::url(text, purpose).map(drop),
            Kind::Choice(words) => value::choice(text, words).map(drop),
            Kind::LogDestination => value::log_destination(text).map(drop),
        }
    }

    /// Returns a value in a form that is safe to print.
    #[must_use]
    pub fn printable(self, text: &str) -> String {
        match self {
            Kind::Secret | Kind::Url(UrlPurpose::Postgres) => "***".to_owned(),
            Kind::Url(_) => address::without_userinfo(text),
            Kind::Boolean
            | Kind::Integer(..)
            | Kind::Decimal
            | Kind::Text
            | Kind::Path
            | Kind::Duration
            | Kind::Size(..)
            | Kind::Schedule
            | Kind::Listen
            | Kind::Network
            | Kind::Choice(_)
            | Kind::LogDestination => text.to_owned(),
        }
    }
}

impl Property {
    /// Returns true if this value differs in effect from an unset one: a true boolean, or a text that is neither empty
    /// nor the default.
    pub(super) fn is_on(&self, text: &str) -> bool {
        match self.kind {
            Kind::Boolean => value::boolean(text).unwrap_or(true),
            _ => !text.is_empty() && text != self.default,
        }
    }
}

/// Returns the section of that name, in any case.
#[must_use]
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name.eq_ignore_ascii_case(name))
}

impl Section {
    /// Returns the property of that name, in any case.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name.eq_ignore_ascii_case(name))
    }

    /// Returns the sub-name in its canonical spelling, or the reason why it is invalid.
    pub(super) fn sub_name(&self, sub: Option<&str>) -> Result<Option<String>, String> {
        let class = |name: &str| {
            let known = StorageClass::ALL.map(StorageClass::as_str);
            match known.iter().find(|class| class.eq_ignore_ascii_case(name)) {
                Some(class) => Ok(Some((*class).to_owned())),
                None => {
                    let near = nearest(name, known.into_iter());
                    let hint = near.map_or_else(|| format!("known are {}", known.join(", ")), did_you_mean);
                    Err(format!("unknown storage class {name:?}; {hint}"))
                }
            }
        };
        match (self.sub, sub) {
            (SubName::Never | SubName::ClassOrNone, None) => Ok(None),
            (SubName::Never, Some(_)) => Err(format!("takes no sub-name; write `[{}]`", self.name)),
            (SubName::Class, None) => {
                Err(format!("needs a storage class; write `[{} \"packages\"]`", self.name))
            }
            (SubName::Class | SubName::ClassOrNone, Some(name)) => class(name),
            (SubName::Free, None) => Err(format!("needs a name; write `[{} \"name\"]`", self.name)),
            (SubName::Free, Some(name)) => Ok(Some(name.to_owned())),
        }
    }
}

/// Formats `did you mean X?`
pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// Returns the section that has a property of that name, if there is exactly one.
pub(super) fn section_of(property: &str) -> Option<&'static str> {
    let mut homes = SECTIONS.iter().filter(|section| section.property(property).is_some());
    homes.next().filter(|_| homes.next().is_none()).map(|section| section.name)
}

/// Returns the known name with the smallest edit distance to `name`, if it is similar enough.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    // The comparison is quadratic, and no known name is that long.
    if name.len() > 64 {
        return None;
    }
    let distance = |other: &str| strsim::damerau_levenshtein(&name, &other.to_ascii_lowercase());
    let (distance, best) =
        known.map(|other| (distance(other), other)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + best.len() / 4).then_some(best)
}

/// Resolves the reference in a default.
pub(super) fn expand(default: &str, lookup: &dyn Fn(&str, &str) -> String) -> String {
    let Some((reference, rest)) = default.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return default.to_owned();
    };
    match reference.split_once('.') {
        Some((section, property)) => lookup(section, property) + rest,
        None => lookup("", reference) + rest,
    }
}

/// Returns the default of a property when no other property is set, with `class` filled in.
#[must_use]
pub fn plain_default(property: &Property, class: &str) -> String {
    let lookup = |of: &str, name: &str| match section(of).and_then(|section| section.property(name)) {
        Some(other) => plain_default(other, class),
        None => "/tmp".to_owned(),
    };
    expand(property.default, &lookup).replace("{class}", class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = (&'static Section, &'static Property)> {
        SECTIONS.iter().flat_map(|section| section.properties.iter().map(move |property| (section, property)))
    }

    #[test]
    fn every_default_is_of_its_type() {
        for (section, property) in all().filter(|(_, property)| !property.default.is_empty()) {
            for text in plain_default(property, "cache").split(", ") {
                let verdict = property.kind.check(text);
                assert_eq!(verdict, Ok(()), "[{}] {} = {text}", section.name, property.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_fit_for_environment_variables() {
        for (section, property) in all() {
            let same = |other: &&Property| other.name.eq_ignore_ascii_case(property.name);
            assert_eq!(section.properties.iter().filter(same).count(), 1, "{}", property.name);
            assert!(!property.name.contains('_') && !section.name.contains('_'));
            assert!(property.sentence.ends_with('.'), "{}: a sentence ends with a full stop", property.name);
            assert!(!property.multi || property.default.split(", ").all(|value| !value.contains('{')));
        }
        for section in SECTIONS {
            let same = |other: &&Section| other.name.eq_ignore_ascii_case(section.name);
            assert_eq!(SECTIONS.iter().filter(same).count(), 1, "{}", section.name);
        }
    }

    #[test]
    fn references_in_defaults_name_rows() {
        for (_, property) in all() {
            let check = |of: &str, name: &str| {
                let known = section(of).and_then(|section| section.property(name)).is_some();
                assert!(
                    known || (of.is_empty() && name == "TMPDIR"),
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
    fn names_are_found_in_any_case_and_the_nearest_is_suggested() {
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
