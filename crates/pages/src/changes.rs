//! The page of the packages that differ between two snapshots.

use maud::{Markup, html};

use super::first_packages::FirstPackages;
use super::frame::{Frame, Location, Printed, Root, Section, pager};
use super::table::{Column, table};
use super::text::{self, count, number, visible};
use base::model::kind::Language;
use base::model::time::Day;

#[derive(Clone, Debug)]
pub struct ChangedPackage {
    pub name: String,
    pub kind: &'static str,
    /// Whether the change needs attention.
    pub is_notable: bool,
    pub from: Option<String>,
    pub to: Option<String>,
    /// The name of the source, or both names if the sources differ.
    pub source: String,
    /// Publication day of the version after, if known.
    pub published: Option<Day>,
}

#[derive(Clone, Debug)]
pub struct Changes {
    pub location: Location,
    /// The earlier snapshot; `None` if there is no earlier state.
    pub since: Option<String>,
    pub kind: Option<&'static str>,
    pub counts: Vec<(&'static str, usize)>,
    /// The first syncs in the period: `first sync of cran`, with its day.
    pub first_syncs: Vec<(String, Day)>,
    pub rows: Vec<ChangedPackage>,
    /// The page, from 1.
    pub page: usize,
    pub pages: usize,
    /// The language of an index of the repository, whose projects are not compared.
    pub index: Option<Language>,
    pub json: Option<String>,
    pub printed: Printed,
    pub first_packages: Option<FirstPackages>,
}

impl Changes {
    pub fn render(&self, root: Root) -> String {
        let Location { repo, snapshot } = &self.location;
        let since = self.since.as_deref().unwrap_or_default();
        let frame = Frame {
            location: Some((self.location.clone(), Section::Changes)),
            json: self.json.clone(),
            ..Frame::new(root, format!("Changes of {repo} from {since} to {snapshot}"))
        };
        let total: usize = self.counts.iter().map(|(_, count)| count).sum();
        let snapshots: Vec<&str> = self.since.as_deref().into_iter().chain([snapshot.as_str()]).collect();
        frame.render(&html! {
            h1 {
                "Changes of " (repo)
                @if self.since.is_some() { " from " span.whole { (since) } }
                " to " span.whole { (snapshot) }
            }
            (self.printed.render(repo, &snapshots))
            (self.form(&frame.root))
            @if self.since.is_none() {
                p {
                    "No earlier day has other packages."
                    @if let Some(first_packages) = &self.first_packages { " " (first_packages.render()) }
                }
            } @else if total == 0 {
                p { "No package differs." }
            } @else {
                @for (subject, day) in &self.first_syncs {
                    p.notice { (text::day(*day)) ": " (visible(subject)) ", in which all its packages are new." }
                }
                (self.kinds(&frame.root, total))
                (self.table(&frame.root))
                (pager(self.page, self.pages, |page| self.address(&frame.root, self.kind, page, None)))
                p.screen { a href=(self.address(&frame.root, self.kind, 1, Some("csv"))) { "All as CSV" } }
            }
            @if let Some(language) = self.index {
                p.muted { "Projects of an index of " (language.label()) " packages are not compared." }
            }
        })
    }

    /// Returns the address of a page of these changes, as a query.
    fn address(&self, root: &Root, kind: Option<&str>, page: usize, format: Option<&str>) -> String {
        let page = page.to_string();
        let parameters = [
            ("since", self.since.as_deref()),
            ("kind", kind),
            ("page", Some(page.as_str()).filter(|page| *page != "1")),
            ("format", format),
        ];
        let present = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        root.query(&present.collect::<Vec<_>>())
    }

    fn form(&self, root: &Root) -> Markup {
        html! {
            form.fields method="get" action=(root.changes(&self.location.repo, &self.location.snapshot)) {
                label { "Since (a day or a transaction) "
                    input name="since" value=(self.since.as_deref().unwrap_or_default()) maxlength="20";
                }
                @if let Some(version) = root.bioconductor() { input type="hidden" name="bioc" value=(version); }
                button { "Compare" }
            }
        }
    }

    fn kinds(&self, root: &Root, total: usize) -> Markup {
        let current = |kind: Option<&str>| (self.kind == kind).then_some("true");
        html! {
            ul.links {
                li { a href=(self.address(root, None, 1, None)) aria-current=[current(None)] {
                    (count(total, "package", "packages"))
                } }
                @for (kind, count) in self.counts.iter().filter(|(_, count)| *count > 0) {
                    li { a href=(self.address(root, Some(kind), 1, None)) aria-current=[current(Some(kind))] {
                        (number(*count)) " " (kind)
                    } }
                }
            }
        }
    }

    fn table(&self, root: &Root) -> Markup {
        let columns = [
            Column::name("Name"),
            Column::text("Change"),
            Column::name("Before"),
            Column::name("After"),
            Column::text("Source"),
            Column::name("Published"),
        ];
        let version =
            |version: &Option<String>| html! { @if let Some(version) = version { (visible(version)) } };
        let row = |row: &ChangedPackage| {
            [
                html! {
                    @if row.to.is_some() {
                        a href=(root.package(&self.location, &row.name, "")) { (visible(&row.name)) }
                    } @else { (visible(&row.name)) }
                },
                html! { @if row.is_notable { span.changed { (row.kind) } } @else { (row.kind) } },
                version(&row.from),
                version(&row.to),
                html! { (visible(&row.source)) },
                html! { @if let Some(day) = row.published { (text::day(day)) } },
            ]
        };
        table("Changes", columns, self.rows.iter().map(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_escaped_and_links_keep_the_choice() {
        let row = ChangedPackage {
            name: "<b>".to_owned(),
            kind: "updated",
            is_notable: false,
            from: Some("1\"".to_owned()),
            to: Some("2".to_owned()),
            source: "team".to_owned(),
            published: None,
        };
        let changes = Changes {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            since: Some("2026-11-01".to_owned()),
            kind: Some("updated"),
            counts: vec![("removed", 0), ("updated", 900)],
            first_syncs: vec![("first sync of <cran>".to_owned(), "2026-11-17".parse().expect("a day"))],
            rows: vec![row],
            page: 1,
            pages: 2,
            index: Some(Language::Python),
            json: None,
            first_packages: None,
            printed: Printed { server: "https://pm.example".to_owned(), published: None },
        };
        let html = changes.render(Root::of_path("/prod/latest/web/changes/"));
        for part in [
            "&lt;b&gt;",
            "1&quot;",
            "href=\"?since=2026-11-01&amp;kind=updated&amp;page=2\"",
            "href=\"?since=2026-11-01&amp;kind=updated&amp;format=csv\"",
            "aria-current=\"true\">900 updated",
            "2026-11-17</time>: first sync of &lt;cran&gt;, in which all its packages are new.</p>",
            "Projects of an index of Python packages are not compared.",
            "at https://pm.example, repository prod, <span class=\"whole\">2026-11-01</span> to \
             <span class=\"whole\">latest</span></p>",
            "from <span class=\"whole\">2026-11-01</span> to <span class=\"whole\">latest</span></h1>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("0 removed") && !html.contains("<b>"), "{html}");
        assert!(!html.contains(">Published<"), "no row has a day: {html}");
        let first = Changes { since: None, counts: Vec::new(), rows: Vec::new(), ..changes };
        assert!(first.render(Root::of_path("/")).contains("No earlier day has other packages."));
    }
}
