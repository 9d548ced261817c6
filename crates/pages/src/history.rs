//! The days on which a repository listed the versions of a package.

use maud::html;

use super::frame::{Frame, Location, Root, Section};
use super::table::{Column, table};
use super::text::{self, visible};
use super::timeline::{Release, timeline};
use base::model::time::Day;

/// Maximum number of versions in the notice about hidden ones.
const MAX_HIDDEN: usize = 20;

#[derive(Clone, Debug)]
pub struct ListedVersion {
    pub version: String,
    pub source: String,
    pub from: Day,
    /// The first day on which the version was no longer listed; `None` if it is listed now.
    pub until: Option<Day>,
    /// The transaction with which the period began, if there is one.
    pub transaction: Option<i64>,
    /// The kind of the first state of the source, `first sync`, if the period began with it: the origin may have had the
    /// version before.
    pub first_state: Option<&'static str>,
    /// Whether only dated URLs list the version now, because a rule hides it in `latest`.
    pub is_only_dated: bool,
}

impl ListedVersion {
    /// Returns whether the version was not listed at the end of any day of the period.
    fn is_within_day(&self) -> bool {
        self.until == Some(self.from)
    }

    /// Returns a snapshot that lists the version: the first day or, for a period within a day, the transaction.
    fn snapshot(&self) -> Option<String> {
        if self.is_within_day() {
            return self.transaction.map(|transaction| transaction.to_string());
        }
        Some(self.from.to_string())
    }
}

#[derive(Clone, Debug)]
pub struct History {
    pub package: String,
    /// The versions that the repository listed, newest first.
    pub listed: Vec<ListedVersion>,
    /// The versions that block rules hide at some time, newest first, with the rule and its reason.
    pub hidden: Vec<(String, String)>,
    /// The day of the newest state, up to which the picture shows the versions that are still listed.
    pub newest: Option<Day>,
    /// Version and source that only `latest` lists, because of a rule that does not apply to days.
    pub only_latest: Option<(String, String)>,
}

impl History {
    pub fn render(&self, root: Root, location: &Location) -> String {
        let History { package, listed, hidden, newest, only_latest } = self;
        let frame = Frame {
            location: Some((location.clone(), Section::Packages)),
            package: Some((package.clone(), Some("History"))),
            has_version_feed: true,
            ..Frame::new(root, format!("History of {}, {}", visible(package), location.repo))
        };
        let of_snapshot =
            |snapshot: String| frame.root.package(&Location { snapshot, ..location.clone() }, package, "");
        let columns = [
            Column::name("Version"),
            Column::text("Source"),
            Column::name("Listed from"),
            Column::name("Until"),
        ];
        let release =
            |row: &ListedVersion| Release { version: row.version.clone(), from: row.from, until: row.until };
        let releases: Vec<Release> = listed.iter().map(release).collect();
        let of_latest = only_latest.iter().map(|(version, source)| {
            [
                html! { (visible(version)) },
                html! { (visible(source)) },
                html! { a href=(of_snapshot("latest".to_owned())) { "latest" } },
                html! { "only in latest, not in dated snapshots" },
            ]
        });
        let row = |row: &ListedVersion| {
            [
                html! { (visible(&row.version)) },
                html! { (visible(&row.source)) },
                html! {
                    @match row.snapshot() {
                        Some(snapshot) => { a href=(of_snapshot(snapshot)) { (text::day(row.from)) } },
                        None => (text::day(row.from)),
                    }
                    @if let Some(kind) = row.first_state { " " small { (kind) } }
                },
                html! {
                    @if row.is_within_day() { "the same day" }
                    @else if let Some(day) = row.until { (text::day(day)) }
                    @else if row.is_only_dated { "only in dated snapshots, not in latest" }
                    @else { strong { "still listed" } }
                },
            ]
        };
        frame.render(&html! {
            h1 { "History of " (visible(package)) }
            p.prose {
                "The versions that this repository listed, with its sources in their order of that time. Each day is a link "
                "to the package as of the end of that day; for a version that was listed only within a day, to the "
                "transaction that began it."
            }
            @if !hidden.is_empty() {
                p.notice {
                    "Block rules hide versions of this package: "
                    @for (index, (version, reason)) in hidden.iter().take(MAX_HIDDEN).enumerate() {
                        @if index > 0 { "; " }
                        (visible(version)) " by " (visible(reason))
                    }
                    @if hidden.len() > MAX_HIDDEN { "; and " (hidden.len() - MAX_HIDDEN) " more" }
                    ". The table has the days whose addresses list a version under these rules."
                }
            }
            (timeline(package, &releases, *newest))
            (table("History", columns, of_latest.chain(listed.iter().map(row))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_days_and_a_link_to_the_first() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let row = |version: &str, from: &str, until: Option<&str>| ListedVersion {
            version: version.to_owned(),
            source: "<team>".to_owned(),
            from: day(from),
            until: until.map(day),
            transaction: Some(7),
            first_state: (version == "1.0").then_some("first sync"),
            is_only_dated: false,
        };
        let location = Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() };
        let listed = vec![row("1.1", "2026-11-20", None), row("1.0", "2026-11-01", Some("2026-11-20"))];
        let history = |listed: Vec<ListedVersion>, hidden| {
            let history =
                History { package: "a".to_owned(), listed, hidden, newest: None, only_latest: None };
            history.render(Root::of_path("/prod/latest/web/packages/a/history/"), &location)
        };
        let html = history(listed.clone(), Vec::new());
        let parts = [
            "/prod/2026-11-20/web/packages/a/",
            "still listed",
            "&lt;team&gt;",
            "2026-11-01</time></a> <small>first sync",
        ];
        for part in parts {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("Block rules"), "{html}");
        assert!(!html.contains("/prod/7/") && !html.contains("the same day"), "{html}");
        let within_day = vec![row("1.2", "2026-11-20", Some("2026-11-20"))];
        let html = history(within_day.clone(), Vec::new());
        assert!(html.contains("/prod/7/web/packages/a/") && html.contains("the same day"), "{html}");
        let unknown = ListedVersion { transaction: None, ..within_day[0].clone() };
        let html = history(vec![unknown], Vec::new());
        assert!(html.contains("<td class=\"name\"><time"), "no link: {html}");
        let mut dated = listed;
        dated[0].is_only_dated = true;
        let hidden = (0..=MAX_HIDDEN).map(|at| (format!("2.{at}"), "rule 1 (<b>)".to_owned())).collect();
        let html = history(dated, hidden);
        assert!(
            html.contains("only in dated snapshots, not in latest") && !html.contains("still listed"),
            "{html}"
        );
        assert!(
            html.contains("2.0 by rule 1 (&lt;b&gt;); 2.1 by") && html.contains("; and 1 more. The table"),
            "{html}"
        );
        let only_latest = History {
            package: "a".to_owned(),
            listed: Vec::new(),
            hidden: Vec::new(),
            newest: None,
            only_latest: Some(("1.9".to_owned(), "team".to_owned())),
        };
        let html = only_latest.render(Root::of_path("/prod/latest/web/packages/a/history/"), &location);
        for part in [
            ">1.9</td>",
            "/prod/latest/web/packages/a/\">latest</a>",
            "only in latest, not in dated snapshots",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
