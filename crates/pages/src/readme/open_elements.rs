//! The elements of clean HTML that are open at a tag, and those that HTML does not permit there.

use super::nesting::VOID;
use super::tag::heading;

/// How the tags of an element are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagForm {
    Same,
    /// Not at all; only the content of the element is written.
    Omitted,
}

#[derive(Default)]
pub(super) struct OpenElements<'a> {
    /// Names, and how the tags are written, from the outside in.
    open: Vec<(&'a str, TagForm)>,
    /// The number of headings among them.
    headings: usize,
}

impl<'a> OpenElements<'a> {
    /// Reads the next tag, and returns how it is written. Paragraphs are not permitted in headings.
    pub(super) fn read(&mut self, tag: &'a str) -> TagForm {
        if tag.starts_with('/') {
            let Some((name, form)) = self.open.pop() else { return TagForm::Same };
            if heading(name).is_some() {
                self.headings = self.headings.saturating_sub(1);
            }
            return form;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        if VOID.contains(&name) {
            return TagForm::Same;
        }
        let form = match name {
            "p" | "div" if self.is_in_heading() => TagForm::Omitted,
            _ => TagForm::Same,
        };
        if heading(name).is_some() {
            self.headings += 1;
        }
        self.open.push((name, form));
        form
    }

    pub(super) fn is_in_heading(&self) -> bool {
        self.headings > 0
    }

    /// Omits the end tag of the element that the last tag began.
    pub(super) fn omit(&mut self) {
        if let Some((_, form)) = self.open.last_mut() {
            *form = TagForm::Omitted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_no_paragraphs() {
        use TagForm::{Omitted, Same};
        for (tags, expected) in [
            ("p /p", vec![Same, Same]),
            ("h3 p br /p /h3 p /p", vec![Same, Omitted, Same, Omitted, Same, Same, Same]),
            ("h3 h4 /h4 div /div /h3", vec![Same, Same, Same, Omitted, Omitted, Same]),
            ("p /p /p p /p", vec![Same; 5]),
        ] {
            let mut open = OpenElements::default();
            let forms = tags.split(' ').map(|tag| open.read(tag));
            assert_eq!(forms.collect::<Vec<_>>(), expected, "{tags}");
        }
    }
}
