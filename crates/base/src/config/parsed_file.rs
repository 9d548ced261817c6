//! The first of the three forms of a configuration: sections and entries as written, before any lookup.

use std::sync::Arc;

use super::lexer::{self, Item};
use super::problem::{Origin, Position, Problem, ProblemCategory};

/// `[Name "sub"]` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) name: String,
    pub(super) sub: Option<String>,
    pub(super) position: Position,
}

impl std::fmt::Display for Heading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.sub {
            None => write!(f, "[{}]", self.name),
            Some(sub) => write!(f, "[{} {sub:?}]", self.name),
        }
    }
}

/// `Name = value` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) position: Position,
    pub(super) value: String,
    pub(super) value_position: Position,
}

/// A file as written: sections in their order, repeated ones not merged.
#[derive(Clone, Debug)]
pub(super) struct ParsedFile {
    pub(super) file: Arc<str>,
    pub(super) sections: Vec<(Heading, Vec<Entry>)>,
    pub(super) errors: Vec<Problem>,
}

impl ParsedFile {
    /// Parses a text; `file` is its name in messages.
    pub(super) fn read(file: &str, text: &[u8]) -> ParsedFile {
        let file: Arc<str> = file.into();
        let (items, syntax_errors) = lexer::lex(text);
        let problem = |position, section, property, message| Problem {
            category: ProblemCategory::Syntax,
            origin: Origin::File(Arc::clone(&file), position),
            section,
            property,
            value: None,
            message,
        };
        let heading_at = |position: Position, items: &[Item]| {
            let mut heading = None;
            for item in items {
                match item {
                    Item::Section { position: start, name, sub } if *start < position => {
                        heading = Some(
                            Heading { name: name.clone(), sub: sub.clone(), position: *start }.to_string(),
                        );
                    }
                    Item::Section { .. } | Item::Entry { .. } | Item::BrokenSection => {}
                }
            }
            heading
        };
        let mut errors: Vec<Problem> = syntax_errors
            .into_iter()
            .map(|error| {
                // Only an error inside an entry belongs to the section above it.
                let section = error.property.as_ref().and_then(|_| heading_at(error.position, &items));
                problem(error.position, section, error.property, error.message)
            })
            .collect();
        let mut sections: Vec<(Heading, Vec<Entry>)> = Vec::new();
        let mut is_broken = false;
        for item in items {
            match item {
                Item::Section { position, name, sub } => {
                    is_broken = false;
                    sections.push((Heading { name, sub, position }, Vec::new()));
                }
                Item::BrokenSection => is_broken = true,
                Item::Entry { .. } if is_broken => {}
                Item::Entry { position, name, value_position, value } => match sections.last_mut() {
                    Some((_, entries)) => entries.push(Entry { name, position, value, value_position }),
                    None => {
                        let message = match super::lookup::section_of(&name) {
                            Some(section) => format!("is outside of any section; put `[{section}]` above it"),
                            None => "is outside of any section; put a header such as `[Server]` above it"
                                .to_owned(),
                        };
                        errors.push(problem(position, None, Some(name), message));
                    }
                },
            }
        }
        ParsedFile { file, sections, errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        ParsedFile::read("f.gcfg", text.as_bytes()).errors.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_property_outside_every_section_is_an_error_with_its_section() {
        assert_eq!(
            messages("DataDir = /x\nnonsense = 1\n"),
            [
                "f.gcfg:1:1: DataDir: is outside of any section; put `[Server]` above it",
                "f.gcfg:2:1: nonsense: is outside of any section; put a header such as `[Server]` above it"
            ]
        );
    }

    #[test]
    fn a_syntax_error_names_its_section_and_property() {
        let errors = messages("[Server]\nA = 1\n[FileStorage \"cache\"]\nLocation\n[HTTP]\n");
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].starts_with("f.gcfg:4:1: [FileStorage \"cache\"] Location: `=` is missing"),
            "{errors:?}"
        );
    }

    #[test]
    fn entries_below_a_broken_header_cause_no_second_error() {
        assert_eq!(messages("[Server\nDataDir = /x\n[HTTP]\nListen = :1\n").len(), 1);
    }
}
