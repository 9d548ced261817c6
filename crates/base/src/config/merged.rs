//! The second of the three forms of a configuration: the sections of the file are merged and overridden by the
//! environment, and each value has its origin.

use super::lookup;
use super::parsed_file::{Heading, ParsedFile};
use super::problem::{Origin, Position, Problem, ProblemCategory, did_you_mean, nearest};
use super::rows::SECTIONS;
use super::table::{Property, Section};

#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// The text with quotes and escapes resolved, decrypted if possible.
    pub text: String,
    /// The position at which the value is set.
    pub origin: Origin,
    pub form: ValueForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueForm {
    Plain,
    /// The value is encrypted and was not decrypted.
    Encrypted,
    /// The value was decrypted with the current key.
    Decrypted,
    /// The value was decrypted with the key before the last rotation.
    DecryptedWithOld,
}

/// A property with its values.
#[derive(Clone)]
pub struct Setting {
    pub section: &'static Section,
    pub sub: Option<String>,
    pub property: &'static Property,
    /// One value, or several for a multi property; never empty.
    pub values: Vec<Value>,
}

impl Value {
    /// Creates a value from its text in the file or the environment.
    pub(super) fn plain(text: String, origin: Origin) -> Value {
        Value { text, origin, form: ValueForm::Plain }
    }
}

// SECURITY: the values may be secrets; only their origins are printed.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format!("{} {}", heading(self.section.name, self.sub.as_deref()), self.property.name);
        let values = self.values.iter().map(|value| self.property.kind.printable(&value.text));
        write!(f, "{name} = {:?}", values.collect::<Vec<_>>())
    }
}

/// All properties that are set, in order of first occurrence.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    settings: Vec<Setting>,
    /// Value of `{TMPDIR}`.
    pub(super) temp_dir: Option<String>,
}

/// `[Name]` or `[Name "sub"]`.
pub(super) fn heading(section: &str, sub: Option<&str>) -> String {
    let position = Position { line: 0, column: 0 };
    Heading { name: section.to_owned(), sub: sub.map(str::to_owned), position }.to_string()
}

impl Settings {
    /// Returns the setting of a property, if it is set. Names are spelled as in the table.
    pub fn get(&self, section: &str, sub: Option<&str>, property: &str) -> Option<&Setting> {
        // The most selective name first: the embedded platform table has hundreds of settings of one section.
        self.settings.iter().find(|setting| {
            setting.property.name == property
                && setting.sub.as_deref() == sub
                && setting.section.name == section
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Setting> {
        self.settings.iter_mut()
    }

    /// Iterates over the values that are encrypted in the file or the environment: each with its origin and property,
    /// as in `/etc/rstudio-pm/rstudio-pm.gcfg:5:12: [Postgres] Password`.
    pub fn encrypted_values(&self) -> impl Iterator<Item = (String, ValueForm)> {
        self.settings.iter().flat_map(|setting| {
            let heading = heading(setting.section.name, setting.sub.as_deref());
            let values = setting.values.iter().filter(|value| value.form != ValueForm::Plain);
            values.map(move |value| {
                (format!("{}: {heading} {}", value.origin, setting.property.name), value.form)
            })
        })
    }

    /// Returns the effective value as text: the last one set, otherwise the default with its references resolved.
    pub(super) fn effective(&self, section: &str, sub: Option<&str>, property: &Property) -> String {
        if let Some(value) = self.get(section, sub, property.name).and_then(|setting| setting.values.last()) {
            return value.text.clone();
        }
        let lookup = |section_name: &str, name: &str| match lookup::section(section_name)
            .and_then(|section| section.property(name))
        {
            Some(other) => self.effective(section_name, None, other),
            None => self.temp_dir.clone().unwrap_or_else(|| "/tmp".to_owned()),
        };
        lookup::expand(property.default, &lookup).replace("{class}", sub.unwrap_or_default())
    }

    /// Adds a value: appends it for a multi property, otherwise replaces the previous one.
    pub(super) fn add(
        &mut self,
        section: &'static Section,
        sub: Option<String>,
        property: &'static Property,
        value: Value,
    ) {
        let old_setting = self.settings.iter_mut().find(|setting| {
            std::ptr::eq(setting.section, section)
                && setting.sub == sub
                && std::ptr::eq(setting.property, property)
        });
        match old_setting {
            Some(setting) if property.is_multi => setting.values.push(value),
            Some(setting) => setting.values = vec![value],
            None => self.settings.push(Setting { section, sub, property, values: vec![value] }),
        }
    }

    /// Returns all effective values as text: those that are set, otherwise the default with its references resolved.
    pub(super) fn effective_values(
        &self,
        section: &Section,
        sub: Option<&str>,
        property: &Property,
    ) -> Vec<String> {
        match self.get(section.name, sub, property.name) {
            Some(setting) => setting.values.iter().map(|value| value.text.clone()).collect(),
            None => {
                let default = self.effective(section.name, sub, property);
                if property.is_multi {
                    default.split(", ").map(str::to_owned).collect()
                } else {
                    vec![default]
                }
            }
        }
    }

    /// Replaces the setting of the same property.
    pub(super) fn replace(&mut self, setting: Setting) {
        self.clear(setting.section, setting.sub.as_deref(), setting.property);
        self.settings.push(setting);
    }

    pub(super) fn clear(
        &mut self,
        section: &'static Section,
        sub: Option<&str>,
        property: &'static Property,
    ) {
        self.settings.retain(|setting| {
            !(std::ptr::eq(setting.section, section)
                && setting.sub.as_deref() == sub
                && std::ptr::eq(setting.property, property))
        });
    }

    /// Iterates over the names of a section's subsections that have settings.
    pub(super) fn subsections<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a str> {
        let is_of_section = move |setting: &&Setting| std::ptr::eq(setting.section, section);
        self.settings.iter().filter(is_of_section).filter_map(|setting| setting.sub.as_deref())
    }
}

/// Merges the sections of a file. Names that are not in the table are omitted and reported.
pub(super) fn merge(parsed: &ParsedFile) -> (Settings, Vec<Problem>) {
    let mut settings = Settings::default();
    let mut problems = Vec::new();
    for (heading, entries) in &parsed.sections {
        let problem = |position, property: Option<&str>, message| Problem {
            category: ProblemCategory::Name,
            origin: Origin::File(parsed.file.clone(), position),
            section: Some(heading.to_string()),
            property: property.map(str::to_owned),
            value: None,
            message,
        };
        let Some(section) = lookup::section(&heading.name) else {
            problems.push(problem(heading.position, None, unknown_section(&heading.name)));
            continue;
        };
        let sub = match section.subsection(heading.sub.as_deref()) {
            Ok(sub) => sub,
            Err(message) => {
                problems.push(problem(heading.position, None, message));
                continue;
            }
        };
        for entry in entries {
            match section.property(&entry.name) {
                Some(property) => {
                    let origin = Origin::File(parsed.file.clone(), entry.value_position);
                    settings.add(section, sub.clone(), property, Value::plain(entry.value.clone(), origin));
                }
                None => problems.push(problem(
                    entry.position,
                    Some(&entry.name),
                    unknown_property(section, &entry.name),
                )),
            }
        }
    }
    (settings, problems)
}

/// Returns the message for a section that is not in the table.
pub(super) fn unknown_section(name: &str) -> String {
    let hint = nearest(name, SECTIONS.iter().map(|section| section.name));
    hint.map_or_else(
        || "unknown section; it is ignored".to_owned(),
        |suggestion| format!("unknown section; it is ignored; did you mean `[{suggestion}]`?"),
    )
}

/// Returns the message for a property that its section does not have.
pub(super) fn unknown_property(section: &Section, name: &str) -> String {
    let suggestion = nearest(name, section.properties.iter().map(|property| property.name));
    let section = lookup::section_of(name).map(|section| format!("it belongs to `[{section}]`"));
    match section.or_else(|| suggestion.map(did_you_mean)) {
        Some(hint) => format!("unknown property; it is ignored; {hint}"),
        None => "unknown property; it is ignored".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge_text(text: &str) -> (Settings, Vec<String>) {
        let (settings, problems) = merge(&ParsedFile::read("f", text.as_bytes()));
        (settings, problems.iter().map(Problem::to_string).collect())
    }

    fn values<'a>(settings: &'a Settings, section: &str, sub: Option<&str>, property: &str) -> Vec<&'a str> {
        let setting = settings.get(section, sub, property).expect("is set");
        setting.values.iter().map(|value| value.text.as_str()).collect()
    }

    #[test]
    fn repeated_sections_are_merged_and_the_last_value_applies() {
        let (settings, _) =
            merge_text("[Server]\nDataDir = /a\nTempDir = /t\n[HTTP]\n[sErver]\ndatadir = /b\n");
        assert_eq!(values(&settings, "Server", None, "DataDir"), ["/b"]);
        assert_eq!(values(&settings, "Server", None, "TempDir"), ["/t"]);
    }

    #[test]
    fn multi_properties_collect_their_values() {
        let (settings, _) =
            merge_text("[Logging]\nSystemLog = STDERR\nSystemLog = /a.log\n[Logging]\nSystemLog = /b.log\n");
        assert_eq!(values(&settings, "Logging", None, "SystemLog"), ["STDERR", "/a.log", "/b.log"]);
    }

    #[test]
    fn sub_sections_are_separate_and_classes_are_case_insensitive() {
        let (settings, _) =
            merge_text("[FileStorage \"Cache\"]\nLocation = /a\n[FileStorage \"packages\"]\nLocation = /b\n");
        assert_eq!(values(&settings, "FileStorage", Some("cache"), "Location"), ["/a"]);
        assert_eq!(values(&settings, "FileStorage", Some("packages"), "Location"), ["/b"]);
    }

    #[test]
    fn an_unknown_section_is_reported_once_with_the_nearest_name() {
        let (_, problems) = merge_text("[Sever]\nDataDir = /a\nX = 1\n");
        assert_eq!(problems, ["f:1:1: [Sever]: unknown section; it is ignored; did you mean `[Server]`?"]);
    }

    #[test]
    fn an_unknown_property_is_reported_with_the_nearest_name() {
        let (_, problems) = merge_text("[Server]\n  DataDri = /a\n");
        assert_eq!(
            problems,
            ["f:2:3: [Server] DataDri: unknown property; it is ignored; did you mean `DataDir`?"]
        );
    }

    #[test]
    fn a_property_of_another_section_is_reported_with_that_section() {
        let (_, problems) = merge_text("[Server]\nSyncScheduel = x\nProvider = sqlite\n");
        assert_eq!(problems.len(), 2);
        assert!(problems[1].ends_with("it belongs to `[Database]`"), "{problems:?}");
    }

    #[test]
    fn a_wrong_subsection_name_is_reported_with_the_remedy() {
        let (_, problems) =
            merge_text("[Server \"x\"]\n[FileStorage]\n[FileStorage \"pakages\"]\n[IdentityFederation]\n");
        assert_eq!(
            problems,
            [
                "f:1:1: [Server \"x\"]: accepts no subsection name; write `[Server]`",
                "f:2:1: [FileStorage]: needs a storage class; write `[FileStorage \"packages\"]`",
                "f:3:1: [FileStorage \"pakages\"]: unknown storage class \"pakages\"; did you mean `packages`?",
                "f:4:1: [IdentityFederation]: needs a name; write `[IdentityFederation \"name\"]`",
            ]
        );
    }
}
