//! Reads typed values from merged settings, for the modules that read one section each.

use std::fmt::Debug;

use super::merged::{Settings, ValueForm, heading};
use super::problem::{Origin, Problem, ProblemCategory};
use super::table::{Effect, Kind, Property};
use super::{lookup, value};
use crate::model::kind::Language;

/// Reader of typed values that collects errors and warnings.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings) -> Reader<'a> {
        Reader { settings, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Checks the type of every value that is set; only a warning for a property without effect.
    pub(super) fn check_all(&mut self) {
        for setting in self.settings.iter() {
            let property = setting.property;
            for value in setting.values.iter().filter(|value| value.form != ValueForm::Encrypted) {
                let result = if value.text.is_empty() {
                    check_empty(property)
                } else {
                    property.kind.check(&value.text)
                };
                let category = match (property.kind, value.text.is_empty()) {
                    (Kind::Path, false) => ProblemCategory::Path,
                    _ => ProblemCategory::Syntax,
                };
                let mut problem = Problem {
                    category,
                    origin: value.origin.clone(),
                    section: Some(heading(setting.section.name, setting.sub.as_deref())),
                    property: Some(property.name.to_owned()),
                    value: Some(property.kind.printable(&value.text)),
                    message: String::new(),
                };
                match result {
                    Ok(()) => {}
                    Err(message) if !matches!(property.effect, Effect::Since(_)) => {
                        problem.message = message;
                        problem.category = ProblemCategory::Effect;
                        self.warnings.push(problem.clone());
                    }
                    Err(message) => {
                        problem.message = message;
                        self.errors.push(problem.clone());
                    }
                }
            }
            let message = match property.effect {
                Effect::Since(_) => continue,
                Effect::NotYet => "is not supported in this version",
                Effect::Obsolete => "no longer has an effect; remove it",
            };
            let problem = self.problem(
                ProblemCategory::Effect,
                setting.section.name,
                setting.sub.as_deref(),
                property.name,
                message,
            );
            self.warnings.push(Problem { value: None, ..problem });
        }
    }

    /// Returns the effective value; the default if the value is invalid (which [`Reader::check_all`] reports).
    pub(super) fn value<T, E: Debug>(
        &self,
        section: &str,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        self.value_in(section, None, name, parse)
    }

    /// Returns a whole number within the bounds of its row.
    pub(super) fn number(&self, section: &str, name: &str) -> usize {
        let Kind::Integer(min, max) = row(section, name).kind else {
            panic!("{section}.{name} is not a whole number")
        };
        let number = self.value(section, name, |text| value::integer(text, min, max));
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    /// Returns a size, in bytes, within the bounds of its row.
    pub(super) fn size(&self, section: &str, name: &str) -> u64 {
        let Kind::Size(min, max) = row(section, name).kind else { panic!("{section}.{name} is not a size") };
        self.value(section, name, |text| value::size(text, min, max))
    }

    /// Returns the effective value; `None` if it is unset or empty.
    pub(super) fn optional<T>(
        &self,
        section: &str,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.settings.effective(section, None, row(section, name));
        if text.is_empty() { None } else { parse(&text).ok() }
    }

    /// Returns all values of a multi property, or its defaults.
    pub(super) fn values<T>(
        &self,
        section: &str,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        match self.settings.get(section, None, name) {
            Some(setting) => setting.values.iter().filter_map(|value| parse(&value.text).ok()).collect(),
            None => row(section, name).default.split(", ").filter_map(|text| parse(text).ok()).collect(),
        }
    }

    /// Returns the names of a section's subsections that have settings, each once, in the order of the file.
    pub(super) fn subsections(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for setting in self.settings.iter().filter(|setting| setting.section.name == section) {
            if let Some(sub) = setting.sub.as_ref().filter(|sub| !names.contains(sub)) {
                names.push(sub.clone());
            }
        }
        names
    }

    /// Returns the effective value of a property of a section or subsection; the default if the value is invalid.
    pub(super) fn value_in<T, E: Debug>(
        &self,
        section: &str,
        sub: Option<&str>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        let property = row(section, name);
        parse(&self.settings.effective(section, sub, property))
            .or_else(|_| parse(&lookup::plain_default(property, sub.unwrap_or_default())))
            .expect("the defaults of the table are of their types")
    }

    /// Returns the non-empty texts that a property of a subsection is set to.
    pub(super) fn texts_in(&self, section: &str, sub: &str, name: &str) -> Vec<String> {
        let setting = self.settings.get(section, Some(sub), name);
        let values = setting.map(|setting| setting.values.as_slice()).unwrap_or_default();
        values.iter().map(|value| value.text.clone()).filter(|text| !text.is_empty()).collect()
    }

    /// Returns the last non-empty text that a property of a subsection is set to.
    pub(super) fn text_in(&self, section: &str, sub: &str, name: &str) -> Option<String> {
        self.texts_in(section, sub, name).pop()
    }

    /// Returns whether a property is set, even to an empty value.
    pub(super) fn is_present(&self, section: &str, name: &str) -> bool {
        self.settings.get(section, None, name).is_some()
    }

    /// Returns whether a property is set to a non-empty value.
    pub(super) fn is_non_empty(&self, section: &str, sub: Option<&str>, name: &str) -> bool {
        let setting = self.settings.get(section, sub, name);
        setting.is_some_and(|setting| setting.values.iter().any(|value| !value.text.is_empty()))
    }

    pub(super) fn error(
        &mut self,
        category: ProblemCategory,
        section: &str,
        sub: Option<&str>,
        name: &str,
        message: &str,
    ) {
        let problem = self.problem(category, section, sub, name, message);
        self.errors.push(problem);
    }

    pub(super) fn warning(
        &mut self,
        category: ProblemCategory,
        section: &str,
        sub: Option<&str>,
        name: &str,
        message: &str,
    ) {
        let problem = self.problem(category, section, sub, name, message);
        self.warnings.push(problem);
    }

    fn problem(
        &self,
        category: ProblemCategory,
        section: &str,
        sub: Option<&str>,
        name: &str,
        message: &str,
    ) -> Problem {
        let last = self.settings.get(section, sub, name).and_then(|setting| setting.values.last());
        Problem {
            category,
            origin: last.map_or(Origin::Default, |value| value.origin.clone()),
            section: Some(heading(section, sub)),
            property: Some(name.to_owned()),
            value: last.map(|value| row(section, name).kind.printable(&value.text)),
            message: message.to_owned(),
        }
    }
}

/// Returns the table row of a property; panics if the table lacks it. A section of an index may lack some of the rows of
/// `[PyPI]`, whose defaults apply then.
fn row(section: &str, name: &str) -> &'static Property {
    let property = |section| lookup::section(section).and_then(|section| section.property(name));
    let is_index = || Language::ALL.into_iter().any(|language| language.mirror().label() == section);
    let found = property(section).or_else(|| property("PyPI").filter(|_| is_index()));
    found.expect("the property is in the table")
}

/// Checks an empty value, which means unset. A property with a default allows it only if its type gives it a meaning.
fn check_empty(property: &Property) -> Result<(), String> {
    let default = lookup::plain_default(property, "<class>");
    let can_be_empty = matches!(property.kind, Kind::Listen | Kind::Text | Kind::Network | Kind::Host);
    if default.is_empty() || can_be_empty {
        Ok(())
    } else {
        Err(format!("has no value; remove the line to use the default, {default}"))
    }
}
