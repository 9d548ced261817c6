//! The elements of clean HTML that are open at a tag, and those that HTML does not permit there.

use super::tag::{Part, heading, is_blank};

/// Elements without an end tag.
const VOID: [&str; 3] = ["br", "hr", "img"];

/// How the tags of an element are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagForm {
    /// As they are.
    Same,
    /// Not at all; only the content of the element is written.
    Omitted,
    /// As the tags of an item of a list.
    Item,
}

/// The elements that are open at a tag.
#[derive(Default)]
pub(super) struct OpenElements<'a> {
    /// Names, and how the tags are written, from the outside in.
    open: Vec<(&'a str, TagForm)>,
    /// The number of headings among them.
    headings: usize,
}

impl<'a> OpenElements<'a> {
    /// Reads the next tag, and returns how it is written; `after` are the parts after it.
    ///
    /// Paragraphs are not permitted in headings, and in lists only inside an item.
    pub(super) fn read(&mut self, tag: &'a str, after: &[Part<'_>]) -> TagForm {
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
        let is_in_list = self.open.last().is_some_and(|(parent, _)| ["ol", "ul"].contains(parent));
        let is_empty = matches!(after, [Part::Text(text), Part::Tag("/p"), ..] if is_blank(text));
        let form = match name {
            "p" if is_in_list && is_empty && tag == name => TagForm::Omitted,
            "p" if is_in_list => TagForm::Item,
            "p" | "div" if self.is_in_heading() => TagForm::Omitted,
            _ => TagForm::Same,
        };
        if heading(name).is_some() {
            self.headings += 1;
        }
        self.open.push((name, form));
        form
    }

    /// Returns true in a heading.
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
    use crate::web::readme::tag::parts;

    /// Returns how each tag is written.
    fn forms(html: &str) -> Vec<TagForm> {
        let parts = parts(html);
        let mut open = OpenElements::default();
        let mut forms = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if let Part::Tag(tag) = part {
                forms.push(open.read(tag, parts.get(at + 1..).unwrap_or_default()));
            }
        }
        forms
    }

    #[test]
    fn paragraphs_are_only_where_html_permits_them() {
        use TagForm::{Item, Omitted, Same};
        for (html, expected) in [
            ("<p>a</p>", vec![Same, Same]),
            ("<h3><p>a<br></p></h3><p></p>", vec![Same, Omitted, Same, Omitted, Same, Same, Same]),
            ("<h3><h4></h4><div></div></h3>", vec![Same, Same, Same, Omitted, Omitted, Same]),
            ("<ul><li><p>a</p></li></ul>", vec![Same; 6]),
            ("<ul><p>a</p></ul>", vec![Same, Item, Item, Same]),
            ("<ol><p> </p><p id=\"a\"></p></ol>", vec![Same, Omitted, Omitted, Item, Item, Same]),
            ("<p></p></p><p>a</p>", vec![Same; 5]),
        ] {
            assert_eq!(forms(html), expected, "{html}");
        }
    }
}
