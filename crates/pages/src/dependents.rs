//! The page of the packages that depend on a package.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section, pager};
use super::table::{Column, table};
use super::text::{count, number, visible};

#[derive(Clone, Debug)]
pub struct Dependent {
    pub name: String,
    /// The field that declares the dependency: `Imports`.
    pub kind: &'static str,
    /// The condition on the version: `>= 1.0`; empty if there is none.
    pub condition: String,
}

#[derive(Clone, Debug)]
pub struct Dependents {
    pub location: Location,
    pub package: String,
    /// The field to which the list is restricted, if any.
    pub kind: Option<&'static str>,
    /// The number of dependencies of each field.
    pub counts: Vec<(&'static str, usize)>,
    pub rows: Vec<Dependent>,
    /// The page, from 1.
    pub page: usize,
    pub pages: usize,
}

impl Dependents {
    pub fn render(&self, root: Root) -> String {
        let frame = Frame {
            location: Some((self.location.clone(), Section::Packages)),
            package: Some((self.package.clone(), Some("Dependents"))),
            ..Frame::new(root, format!("Dependents of {}, {}", visible(&self.package), self.location.repo))
        };
        let root = &frame.root;
        frame.render(&html! {
            h1 { "Packages that depend on " (visible(&self.package)) }
            @if self.counts.iter().all(|(_, count)| *count == 0) {
                p { "No package of this snapshot depends on it." }
            } @else {
                (self.kinds(root))
                (self.table(root))
                (pager(self.page, self.pages, |page| self.address(root, self.kind, page)))
            }
        })
    }

    fn address(&self, root: &Root, kind: Option<&str>, page: usize) -> String {
        let page = page.to_string();
        let parameters = [("kind", kind), ("page", Some(page.as_str()).filter(|page| *page != "1"))];
        let present = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        match root.query(&present.collect::<Vec<_>>()) {
            // An empty link would lead to this page with its current query.
            query if query.is_empty() => root.package(&self.location, &self.package, "dependents/"),
            query => query,
        }
    }

    fn kinds(&self, root: &Root) -> Markup {
        let total: usize = self.counts.iter().map(|(_, count)| count).sum();
        let current = |kind: Option<&str>| (self.kind == kind).then_some("true");
        html! {
            ul.links {
                li { a href=(self.address(root, None, 1)) aria-current=[current(None)] {
                    (count(total, "dependency", "dependencies"))
                } }
                @for (kind, count) in self.counts.iter().filter(|(_, count)| *count > 0) {
                    li { a href=(self.address(root, Some(kind), 1)) aria-current=[current(Some(kind))] {
                        (number(*count)) " " (kind)
                    } }
                }
            }
        }
    }

    fn table(&self, root: &Root) -> Markup {
        let columns = [Column::name("Name"), Column::text("Field"), Column::text("Condition")];
        let row = |row: &Dependent| {
            [
                html! { a href=(root.package(&self.location, &row.name, "")) { (visible(&row.name)) } },
                html! { (row.kind) },
                html! { (visible(&row.condition)) },
            ]
        };
        table("Dependents", columns, self.rows.iter().map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_by_field_and_page() {
        let page = Dependents {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: "cli".to_owned(),
            kind: Some("Imports"),
            counts: vec![("Depends", 0), ("Imports", 250), ("Suggests", 3)],
            rows: vec![Dependent { name: "<b>".to_owned(), kind: "Imports", condition: ">= 1".to_owned() }],
            page: 2,
            pages: 3,
        };
        let html = page.render(Root::of_path("/prod/latest/web/packages/cli/dependents/"));
        for part in [
            "253 dependencies",
            "href=\"?kind=Imports\" aria-current=\"true\">250 Imports",
            "href=\"?kind=Imports&amp;page=3\"",
            "&lt;b&gt;",
            "&gt;= 1",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("Depends<") && !html.contains("<b>"), "{html}");
    }
}
