//! The known vulnerabilities of the packages of a snapshot.

use maud::{Markup, html};

use super::frame::{Frame, Location, Printed, Root, Section, pager};
use super::table::{Column, table};
use super::text::{count, visible};
use api::public::vulnerability::AffectedPackage;
use base::model::kind::Layout;
use base::model::text::one_line;

/// Maximum number of characters of the summary of an advisory on pages and in feeds.
pub(super) const MAX_SUMMARY: usize = 300;
const MAX_VERSIONS: usize = 5;

#[derive(Clone, Debug)]
pub struct Vulnerabilities {
    pub location: Location,
    pub layout: Layout,
    pub rows: Vec<AffectedPackage>,
    pub total: usize,
    /// The page, from 1.
    pub page: usize,
    pub pages: usize,
    pub json: Option<String>,
    pub printed: Printed,
    pub has_advisories: bool,
}

impl Vulnerabilities {
    pub fn render(&self, root: Root) -> String {
        let Location { repo, snapshot } = &self.location;
        let frame = Frame {
            location: Some((self.location.clone(), Section::Vulnerabilities)),
            json: self.json.clone(),
            ..Frame::new(root, format!("Vulnerabilities in {repo}, {snapshot}"))
        };
        let root = &frame.root;
        let address = |page: usize| match page {
            1 => root.vulnerabilities(repo, snapshot),
            page => root.query(&[("page", &page.to_string())]),
        };
        frame.render(&html! {
            h1 { "Known vulnerabilities" }
            (self.printed.render(repo, &[snapshot.as_str()]))
            @if !self.has_advisories {
                p.notice {
                    "This server has no advisories, so no vulnerability of any package is known. "
                    code { "rspm sync --type=vulns" } " fetches advisories."
                }
            }
            p.prose {
                (count(self.total, "advisory", "advisories"))
                " about versions that this snapshot lists or has in its archive. Advisories are those known today, also "
                "for snapshots of the past."
                @if self.layout == Layout::Projects {
                    " Of the projects of an index, the list has those that were requested from this server before."
                }
            }
            @if !self.rows.is_empty() {
                (self.table(root))
                (pager(self.page, self.pages, address))
            }
        })
    }

    fn table(&self, root: &Root) -> Markup {
        let columns = [
            Column::name("Package"),
            Column::text("Advisory"),
            Column::number("Score"),
            Column::text("Affected"),
            Column::text("Fixed in"),
            Column::name("Published"),
        ];
        let rows = self.rows.iter().map(|row| {
            let summary = row.summary.as_deref().filter(|text| !text.is_empty());
            [
                html! {
                    a href=(root.package(&self.location, &row.name, "")) { (visible(&row.name)) }
                    br; small { (visible(&row.source)) }
                },
                html! {
                    strong { (visible(&row.id)) }
                    @for alias in &row.aliases { ", " (visible(alias)) }
                    @if let Some(summary) = summary { br; (visible(&one_line(summary, MAX_SUMMARY))) }
                },
                html! { @if let Some(score) = score(row) { (format!("{score:.1}")) } },
                html! { (versions(&row.versions)) },
                html! { @if row.fixed_in.is_empty() { "no version" } @else { (versions(&row.fixed_in)) } },
                html! { (row.published.iter().flat_map(|at| at.chars().take(10)).collect::<String>()) },
            ]
        });
        table("Known vulnerabilities", columns, rows)
    }
}

/// Returns the highest base score of the Common Vulnerability Scoring System, 0 to 10, if there is one.
fn score(row: &AffectedPackage) -> Option<f64> {
    let scores = row.severity.iter().filter_map(|severity| severity.calculated_score.as_ref());
    scores.map(|score| score.base_score).reduce(f64::max)
}

/// Returns a text with the first versions and the number of the others.
pub(super) fn versions(versions: &[String]) -> String {
    let first = versions.iter().take(MAX_VERSIONS).map(|version| visible(version).to_string());
    let first = first.collect::<Vec<_>>().join(", ");
    match versions.len().saturating_sub(MAX_VERSIONS) {
        0 => first,
        others => format!("{first} and {others} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::public::vulnerability::{CalculatedScore, Severity};

    #[test]
    fn a_row_names_the_package_the_advisory_and_the_fix() {
        let versions = |count: usize| (0..count).map(|minor| format!("1.{minor}")).collect::<Vec<_>>();
        let severity =
            Severity { calculated_score: Some(CalculatedScore { base_score: 6.5 }), ..Severity::default() };
        let row = AffectedPackage {
            name: "commonmark".to_owned(),
            source: "cran".to_owned(),
            id: "RSEC-2023-6".to_owned(),
            aliases: vec!["CVE-2020-5238".to_owned()],
            summary: Some("<script>".to_owned()),
            published: Some("2023-10-06T00:00:00Z".to_owned()),
            modified: None,
            versions: versions(7),
            fixed_in: Vec::new(),
            severity: vec![severity],
        };
        let page = Vulnerabilities {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            layout: Layout::Projects,
            rows: vec![row],
            total: 101,
            page: 1,
            pages: 2,
            json: None,
            printed: Printed { server: "https://pm.example".to_owned(), published: None },
            has_advisories: true,
        };
        let html = page.render(Root::of_path("/prod/latest/web/vulnerabilities/"));
        for part in [
            "101 advisories",
            "that were requested from this server before",
            "<strong>RSEC-2023-6</strong>, CVE-2020-5238",
            "&lt;script&gt;",
            "1.0, 1.1, 1.2, 1.3, 1.4 and 2 more",
            "no version",
            ">6.5<",
            "href=\"?page=2\"",
            "aria-current=\"page\">Vulnerabilities<",
            "at https://pm.example, repository prod, <span class=\"whole\">latest</span>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("rspm sync"), "{html}");
        let mut page = page;
        page.rows[0].summary = Some("é".repeat(900_000));
        let html = page.render(Root::of_path("/prod/latest/web/vulnerabilities/"));
        let shortened = format!("{}…", "é".repeat(MAX_SUMMARY));
        assert!(html.contains(&shortened) && html.len() < 100_000, "{} bytes", html.len());
        let none = Vulnerabilities { rows: Vec::new(), total: 0, has_advisories: false, ..page };
        let html = none.render(Root::of_path("/prod/latest/web/vulnerabilities/"));
        assert!(html.contains("has no advisories") && html.contains("rspm sync --type=vulns"), "{html}");
    }
}
