//! The list of the packages of a snapshot.

use maud::{Markup, html};

use super::first_packages::FirstPackages;
use super::frame::{Frame, Location, Root, Section, pager};
use super::table::{Column, table};
use super::text::{self, count, visible};
use base::model::time::Day;

#[derive(Clone, Debug)]
pub struct PackageLine {
    pub name: String,
    /// The name as its owner writes it.
    pub display_name: String,
    pub version: String,
    /// Publication day of the listed version, if known.
    pub published: Option<Day>,
    pub source: String,
    pub title: String,
    pub vulnerabilities: usize,
}

#[derive(Clone, Debug)]
pub struct List {
    pub location: Location,
    pub query: String,
    /// Whether the texts of all packages were searched.
    pub is_complete: bool,
    /// The names most similar to the query, if nothing was found.
    pub similar: Vec<String>,
    /// The sort key: `relevance` (only with a query), `name`, `version`, `published` or `source`.
    pub sort: String,
    pub descending: bool,
    /// The page, from 1.
    pub page: usize,
    pub pages: usize,
    pub total: usize,
    pub rows: Vec<PackageLine>,
    /// Whether the packages are available as CSV.
    pub has_csv: bool,
    /// The address of the API with the same rows, if there is one.
    pub json: Option<String>,
    /// The command for the first packages, if the snapshot is the newest one.
    pub first_packages: Option<FirstPackages>,
}

impl List {
    pub fn render(&self, root: Root) -> String {
        let Location { repo, snapshot } = &self.location;
        let frame = Frame {
            location: Some((self.location.clone(), Section::Packages)),
            search: self.query.clone(),
            json: self.json.clone(),
            ..Frame::new(root, format!("Packages in {repo}, {snapshot}"))
        };
        frame.render(&html! {
            h1 { "Packages" }
            p {
                (count(self.total, "package", "packages"))
                @if !self.query.is_empty() {
                    " for “" (visible(&self.query)) "”. "
                    a href=(frame.root.packages(repo, snapshot)) { "All packages" }
                }
            }
            (text::proposals(self.similar.iter().map(|name| html! {
                a href=(frame.root.package(&self.location, name, "")) { (visible(name)) }
            })))
            @if !self.is_complete { (text::incomplete_search()) }
            @if let Some(first_packages) = self.first_packages.as_ref().filter(|_| self.is_empty()) {
                p { "The repository is empty. " (first_packages.render()) }
            }
            @if !self.rows.is_empty() {
                (self.table(&frame.root))
                (pager(self.page, self.pages, |page| self.address(&frame.root, &self.sort, self.descending, page)))
                @if self.has_csv { p.screen { a href=(self.csv(&frame.root)) { "All as CSV" } } }
            }
        })
    }

    fn is_empty(&self) -> bool {
        self.total == 0 && self.query.is_empty()
    }

    fn table(&self, root: &Root) -> Markup {
        let columns = [
            self.sortable(root, "name", Column::name("Name")),
            self.sortable(root, "version", Column::text("Version")),
            self.sortable(root, "published", Column::name("Published")),
            self.sortable(root, "source", Column::text("Source")),
            Column::title("Title"),
        ];
        let row = |row: &PackageLine| {
            [
                html! {
                    a href=(root.package(&self.location, &row.name, ""))
                        data-automation={ "package-link-" (row.name) } { (visible(&row.display_name)) }
                },
                html! {
                    (visible(&row.version))
                    @if row.vulnerabilities > 0 {
                        " " span.danger { (count(row.vulnerabilities, "vulnerability", "vulnerabilities")) }
                    }
                },
                html! { @if let Some(day) = row.published { (text::day(day)) } },
                html! { (row.source) },
                text::marked(&row.title, &self.query),
            ]
        };
        table("Packages", columns, self.rows.iter().map(row))
    }

    /// Makes the heading of a column a link to the list in the order of the column; `key` is the value of `sort`.
    fn sortable(&self, root: &Root, key: &str, mut column: Column) -> Column {
        let is_current = self.sort == key;
        column.order = match (is_current, self.descending) {
            (false, _) => None,
            (true, false) => Some("ascending"),
            (true, true) => Some("descending"),
        };
        let reverse = is_current && !self.descending;
        column.heading = html! {
            a href=(self.address(root, key, reverse, 1)) { (column.heading) }
            @if is_current { @if reverse { " ▲" } @else { " ▼" } }
        };
        column
    }

    /// Returns the address of all packages of this list as CSV, as a query.
    fn csv(&self, root: &Root) -> String {
        let query = Some(("q", self.query.as_str())).filter(|(_, text)| !text.is_empty());
        root.query(&query.into_iter().chain([("format", "csv")]).collect::<Vec<_>>())
    }

    /// Returns the address of a page of this list, as a query.
    fn address(&self, root: &Root, sort: &str, descending: bool, page: usize) -> String {
        let page = page.to_string();
        let default_sort = if self.query.is_empty() { "name" } else { "relevance" };
        let parameters = [
            (true, "q", self.query.as_str()),
            (sort != default_sort, "sort", sort),
            (descending, "order", "desc"),
            (page != "1", "page", page.as_str()),
        ];
        let present = parameters.into_iter().filter(|(is_present, ..)| *is_present);
        root.query(&present.map(|(_, name, value)| (name, value)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_with_markup_are_text_and_long_lists_have_pages() {
        let row = |at: usize| PackageLine {
            name: format!("p{at}"),
            display_name: format!("P{at}"),
            version: "1.0".to_owned(),
            published: None,
            source: "team".to_owned(),
            title: "<img src=x onerror=alert(1)>\u{202e}".to_owned(),
            vulnerabilities: at % 2,
        };
        let list = List {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            query: "a&b".to_owned(),
            is_complete: true,
            similar: Vec::new(),
            sort: "version".to_owned(),
            descending: false,
            page: 4,
            pages: 9,
            total: 850,
            rows: (0..3).map(row).collect(),
            has_csv: true,
            json: None,
            first_packages: None,
        };
        let html = list.render(Root::of_path("/prod/latest/web/packages/"));
        assert!(
            !html.contains("<img") && html.contains("&lt;img src=x onerror=alert(1)&gt;⟨U+202E⟩"),
            "{html}"
        );
        assert!(html.contains("href=\"?q=a%26b&amp;sort=version&amp;page=5\""), "{html}");
        assert!(html.contains("href=\"?q=a%26b&amp;sort=version&amp;order=desc\""), "{html}");
        assert!(html.contains("href=\"?q=a%26b&amp;format=csv\">All as CSV</a>"), "{html}");
        assert!(
            html.contains("aria-sort=\"ascending\"") && html.contains("aria-current=\"page\">4<"),
            "{html}"
        );
    }
}
