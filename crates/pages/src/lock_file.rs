//! The page that compares a lock file with a snapshot.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::text::{self, count, number, visible};
use base::model::locked_version::{Interval, LockedState, LockedVersion, SkipReason, Skipped};
use base::model::time::Day;

const MAX_PERIODS: usize = 50;
/// Maximum number of packages in the comparison with another day.
const MAX_CHANGES: usize = 200;
/// Maximum number of skipped parts of the file with the same reason.
const MAX_SKIPPED: usize = 100;

#[derive(Clone, Debug)]
pub struct OtherDay {
    pub day: Day,
    /// The packages that the day does not list in the version of the file: name, that version, and state.
    pub changes: Vec<(String, String, LockedState)>,
}

#[derive(Clone, Debug)]
pub struct Result {
    pub rows: Vec<LockedVersion>,
    /// The periods in which exactly these versions were listed at the end of each day: the first day, and the
    /// day after the last one, if any. `None` if days are not compared.
    pub days: Option<Vec<Interval>>,
    pub skipped: Vec<Skipped>,
    pub other_day: Option<OtherDay>,
}

#[derive(Clone, Debug)]
pub struct RefusedForm {
    pub text: String,
    pub day: Option<Day>,
    pub reason: String,
    /// Whether the reason is about the day, not about the file.
    pub is_about_day: bool,
}

#[derive(Clone, Debug)]
pub struct LockFileForm {
    pub location: Location,
    /// The names of the files that can be compared.
    pub files: &'static str,
    /// The form that was refused, which the page shows again.
    pub refused: Option<RefusedForm>,
}

impl LockFileForm {
    /// Returns the page, with the result for a file if there is one.
    pub fn render(&self, root: Root, result: Option<&Result>) -> String {
        let Location { repo, snapshot } = &self.location;
        let frame = Frame {
            location: Some((self.location.clone(), Section::LockFile)),
            ..Frame::new(root, format!("Lock file and {repo}, {snapshot}"))
        };
        let root = &frame.root;
        let about = |day: bool| self.refused.as_ref().filter(|refused| refused.is_about_day == day);
        let (of_file, of_day) = (about(false), about(true));
        let other_day = result.and_then(|result| result.other_day.as_ref()).map(|other| other.day);
        let other_day = other_day.or_else(|| self.refused.as_ref().and_then(|refused| refused.day));
        frame.render(&html! {
            h1 { "Lock file" }
            @if let Some(result) = result { (self.result(root, result)) }
            h2 { @if result.is_some() { "Another file" } @else { "Compare a file with this snapshot" } }
            p.prose {
                (self.files) ". At most 1 MiB; the file is not stored."
            }
            form method="post" action=(root.lock_file(repo, snapshot)) {
                p {
                    label for="file" { "Text of the file" } br;
                    textarea id="file" name="file" rows="12" cols="80" spellcheck="false" required
                        aria-invalid=[of_file.map(|_| "true")] aria-describedby=[of_file.map(|_| "file-problem")] {
                        // Browsers remove the first line feed.
                        @if let Some(refused) = &self.refused { "\n" (visible(&refused.text)) }
                    }
                }
                @if let Some(refused) = of_file { p.danger id="file-problem" { (visible(&refused.reason)) } }
                p {
                    label for="other-day" { "What would this day change " small { "empty: no other day" } } " "
                    input type="date" id="other-day" name="day" value=[other_day.map(|day| day.to_string())]
                        aria-invalid=[of_day.map(|_| "true")] aria-describedby=[of_day.map(|_| "day-problem")];
                }
                @if let Some(refused) = of_day { p.danger id="day-problem" { (visible(&refused.reason)) } }
                button { "Compare" }
            }
        })
    }

    fn result(&self, root: &Root, result: &Result) -> Markup {
        let of = |is_state: fn(&LockedState) -> bool| {
            result.rows.iter().filter(|row| is_state(&row.state)).count()
        };
        let (listed, archived) =
            (of(|s| matches!(s, LockedState::Listed)), of(|s| matches!(s, LockedState::Archived(_))));
        let (other, missing) =
            (of(|s| matches!(s, LockedState::Other(_))), of(|s| matches!(s, LockedState::Missing)));
        let blocked = of(|s| matches!(s, LockedState::Blocked { .. }));
        let vulnerable = result.rows.iter().filter(|row| !row.vulnerabilities.is_empty()).count();
        html! {
            p {
                strong { (count(result.rows.len(), "package", "packages")) } ": "
                (number(listed)) " listed in this version"
                @if archived > 0 { ", " (number(archived)) " in the archive" }
                @if other > 0 { ", " span.changed { (number(other)) " only in another version" } }
                @if blocked > 0 { ", " span.danger { (number(blocked)) " refused" } }
                @if missing > 0 { ", " span.danger { (number(missing)) " missing" } }
                @if vulnerable > 0 { ", " span.danger { (number(vulnerable)) " with known vulnerabilities" } }
                "."
            }
            (skipped(&result.skipped))
            @if let Some(days) = &result.days { (self.days(root, days, &result.rows)) }
            @if let Some(other) = &result.other_day { (self.other_day(root, other)) }
            section.scroll tabindex="0" aria-label="Packages of the file" { table {
                thead { tr {
                    @for heading in ["Name", "Version", "This snapshot", "Known vulnerabilities"] {
                        th scope="col" { (heading) }
                    }
                } }
                tbody { @for row in &result.rows { tr {
                    td.name {
                        @if row.state.has_details() {
                            a href=(root.package(&self.location, &row.name, "")) { (visible(&row.name)) }
                        } @else { (visible(&row.name)) }
                    }
                    td { (visible(&row.version)) }
                    td {
                        @match &row.state {
                            LockedState::Listed => "lists it",
                            LockedState::Archived(Some(listed)) => { "has it in the archive, lists " (visible(listed)) },
                            LockedState::Archived(None) => "has it in the archive",
                            LockedState::Other(listed) => { span.changed { "lists " (visible(listed)) } },
                            LockedState::Blocked { reason, .. } => { span.danger { "refuses it: " (visible(reason)) } },
                            LockedState::Missing => { span.danger { "does not have it" } },
                            LockedState::Unknown => "is not known: the index was not queried, or did not answer",
                        }
                        @if let Some(spelling) = &row.spelling {
                            "; there it is written " span.changed { (visible(spelling)) }
                            ": the same version number, but another file name"
                        }
                    }
                    td { span.danger { (row.vulnerabilities.iter().map(|id| visible(id)).collect::<Vec<_>>().join(", ")) } }
                } } }
            } }
        }
    }

    fn other_day(&self, root: &Root, other: &OtherDay) -> Markup {
        let location = Location { repo: self.location.repo.clone(), snapshot: other.day.to_string() };
        let total = other.changes.len();
        html! {
            h2 { "What " (text::day(other.day)) " would change" }
            p {
                a href=(root.snapshot(&location.repo, &location.snapshot)) { "That day" }
                @if total == 0 { " lists all versions of the file." }
                @else { " changes " strong { (count(total, "package", "packages")) } "." }
                @if total > MAX_CHANGES { " The first " (MAX_CHANGES) " are shown." }
            }
            @if total > 0 { section.scroll tabindex="0" aria-label="Packages that the day changes" { table {
                thead { tr {
                    @for heading in ["Name", "Version of the file", "Version on that day"] {
                        th scope="col" { (heading) }
                    }
                } }
                tbody { @for (name, version, state) in other.changes.iter().take(MAX_CHANGES) { tr {
                    td.name {
                        @if state.has_details() {
                            a href=(root.package(&location, name, "")) { (visible(name)) }
                        } @else { (visible(name)) }
                    }
                    td { (visible(version)) }
                    td { @match state {
                        LockedState::Listed => (visible(version)),
                        LockedState::Archived(Some(listed)) | LockedState::Other(listed) => {
                            span.changed { "→ " (visible(listed)) }
                        },
                        LockedState::Archived(None) => { span.danger { "not listed, only in the archive" } },
                        LockedState::Blocked { reason, .. } => { span.danger { "refused: " (visible(reason)) } },
                        LockedState::Missing => { span.danger { "not in the repository on that day" } },
                        LockedState::Unknown => "not known: the index was not queried, or did not answer",
                    } }
                } } }
            } } }
        }
    }

    fn days(&self, root: &Root, days: &[Interval], rows: &[LockedVersion]) -> Markup {
        let of_day = |day: Day| root.snapshot(&self.location.repo, &day.to_string());
        let names = |is_meant: fn(&LockedVersion) -> bool| {
            rows.iter().filter(|row| is_meant(row)).map(|row| visible(&row.name)).collect::<Vec<String>>()
        };
        let never = names(|row| {
            row.listed.as_ref().is_some_and(Vec::is_empty) && row.listed_within.is_none() && !row.is_hidden
        });
        let hidden = names(|row| row.is_hidden);
        let within = rows.iter().filter_map(|row| Some((&row.name, &row.version, row.listed_within?)));
        let within: Vec<(&String, &String, Day)> = within.collect();
        html! {
            h2 { "Days with exactly these versions" }
            @if !hidden.is_empty() {
                p.notice {
                    "Block rules hide the versions of: " (hidden.join(", ")) ". Days on which a rule hides one of them are "
                    "omitted, because an installation then fails."
                }
            }
            @if days.is_empty() {
                p {
                    "There is no day at the end of which this repository lists all of them."
                    @if !never.is_empty() { " It never listed the versions of: " (never.join(", ")) "." }
                    @if !within.is_empty() {
                        " Only within a day, it listed: "
                        @for (at, (name, version, day)) in within.iter().enumerate() {
                            @if at > 0 { ", " }
                            a href=(root.package(&self.location, name, "history/")) { (visible(name)) " " (visible(version)) }
                            " (" (text::day(*day)) ")"
                        }
                        "."
                    }
                }
            } @else {
                ul { @for (from, until) in days.iter().rev().take(MAX_PERIODS) { li {
                    "from " a href=(of_day(*from)) { (text::day(*from)) }
                    @match until {
                        Some(until) => { " to the day before " (text::day(*until)) },
                        None => " up to this snapshot",
                    }
                } } }
            }
        }
    }
}

/// Renders the parts of a file that are not compared, by reason.
fn skipped(skipped: &[Skipped]) -> Markup {
    let of = |reason: SkipReason| {
        let names = skipped.iter().filter(|skipped| skipped.reason == reason);
        names.map(|skipped| skipped.name.as_str()).collect::<Vec<&str>>()
    };
    html! {
        @if !skipped.is_empty() {
            p.muted { "Not compared:" }
            ul.muted { @for reason in SkipReason::ALL {
                @let names = of(reason);
                @if !names.is_empty() { li {
                    (reason.text()) ": "
                    (names.iter().take(MAX_SKIPPED).map(|name| visible(name)).collect::<Vec<_>>().join(", "))
                    @if names.len() > MAX_SKIPPED { " and " (number(names.len() - MAX_SKIPPED)) " more" }
                } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the page of a repository with R packages that has this result.
    fn rendered(result: &Result) -> String {
        let form = LockFileForm {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            files: "renv.lock",
            refused: None,
        };
        form.render(Root::of_path("/prod/latest/web/lockfile/"), Some(result))
    }

    #[test]
    fn the_result_has_states_days_and_no_markup_of_the_file() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let row = |name: &str, state: LockedState| LockedVersion {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            state,
            spelling: None,
            vulnerabilities: vec!["RSEC-1".to_owned()],
            listed: None,
            listed_within: None,
            is_hidden: false,
        };
        let skipped = |name: &str, reason: SkipReason| Skipped { name: name.to_owned(), reason };
        let result = Result {
            rows: vec![
                row("a", LockedState::Listed),
                row("b", LockedState::Other("2.0".to_owned())),
                row("<i>", LockedState::Missing),
                row("c", LockedState::Blocked { reason: "rule 1".to_owned(), has_details: true }),
                row("d", LockedState::Blocked { reason: "name guard 2".to_owned(), has_details: false }),
            ],
            days: Some(vec![(day("2026-11-01"), Some(day("2026-11-04"))), (day("2026-11-20"), None)]),
            skipped: vec![
                skipped("mine", SkipReason::NotFromRepository),
                skipped("-r (line 2)", SkipReason::OtherFile),
                skipped("<u>", SkipReason::NotFromRepository),
            ],
            other_day: None,
        };
        let html = rendered(&result);
        for part in [
            "<strong>5 packages</strong>: 1 listed in this version",
            "2 refused",
            "refuses it: rule 1",
            "refuses it: name guard 2",
            "/prod/latest/web/packages/c/\"",
            "1 only in another version",
            "lists 2.0",
            "&lt;i&gt;",
            "/prod/2026-11-20/",
            "to the day before",
            "RSEC-1",
            "<li>not from a repository: mine, &lt;u&gt;</li>",
            "<li>a reference to another file, which is not read: -r (line 2)</li>",
            "action=\"../../../../prod/latest/web/lockfile/\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("<i>") && !html.contains("would change<"), "{html}");
        assert!(!html.contains("/web/packages/d/"), "a guarded package has no page: {html}");
    }

    #[test]
    fn all_numbers_of_the_result_have_the_same_format() {
        let states = [
            LockedState::Listed,
            LockedState::Archived(None),
            LockedState::Other("2.0".to_owned()),
            LockedState::Missing,
        ];
        let rows = states.iter().cycle().take(4_800).map(|state| LockedVersion {
            name: "a".to_owned(),
            version: "1.0".to_owned(),
            state: state.clone(),
            spelling: None,
            vulnerabilities: vec!["RSEC-1".to_owned()],
            listed: None,
            listed_within: None,
            is_hidden: false,
        });
        let result = Result { rows: rows.collect(), days: None, skipped: Vec::new(), other_day: None };
        let html = rendered(&result);
        for part in [
            "4\u{202f}800 packages",
            ": 1\u{202f}200 listed in this version",
            ", 1\u{202f}200 in the archive",
            "1\u{202f}200 only in another version",
            "1\u{202f}200 missing",
            "4\u{202f}800 with known vulnerabilities",
        ] {
            assert!(html.contains(part), "{part}: {}", html.get(..5_000).unwrap_or_default());
        }
    }

    #[test]
    fn a_version_within_a_day_and_another_text_of_a_version_are_named() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let row = |name: &str, spelling: Option<&str>, listed: Option<Vec<Interval>>, listed_within| {
            LockedVersion {
                name: name.to_owned(),
                version: "1.0-01".to_owned(),
                state: LockedState::Listed,
                spelling: spelling.map(str::to_owned),
                vulnerabilities: Vec::new(),
                listed,
                listed_within,
                is_hidden: false,
            }
        };
        let many = (0..MAX_SKIPPED + 2)
            .map(|number| Skipped { name: format!("p{number}"), reason: SkipReason::NoExactVersion });
        let result = Result {
            rows: vec![
                row("a", Some("1.0-1"), None, None),
                row("b", None, Some(Vec::new()), Some(day("2026-11-20"))),
                row("c", None, Some(Vec::new()), None),
            ],
            days: Some(Vec::new()),
            skipped: many.collect(),
            other_day: None,
        };
        let html = rendered(&result);
        for part in [
            "lists it; there it is written <span class=\"changed\">1.0-1</span>: the same version number",
            "It never listed the versions of: c.",
            "Only within a day, it listed: <a href=\"../../../../prod/latest/web/packages/b/history/\">b 1.0-01</a> (<time",
            "p99 and 2 more</li>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert_eq!(html.matches("there it is written").count(), 1, "{html}");
    }

    #[test]
    fn another_day_has_its_changes_up_to_a_limit() {
        let form = LockFileForm {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            files: "renv.lock",
            refused: None,
        };
        let render = |changes: Vec<(String, String, LockedState)>| {
            let day = "2026-11-03".parse::<Day>().expect("a day");
            let other_day = Some(OtherDay { day, changes });
            let result = Result { rows: Vec::new(), days: None, skipped: Vec::new(), other_day };
            form.render(Root::of_path("/prod/latest/web/lockfile/"), Some(&result))
        };
        let change = |name: &str, state| (name.to_owned(), "1.0".to_owned(), state);
        let html = render(vec![
            change("a", LockedState::Archived(Some("1.2".to_owned()))),
            change("<i>", LockedState::Missing),
            change("c", LockedState::Archived(None)),
        ]);
        for part in [
            "changes <strong>3 packages</strong>.",
            "/prod/2026-11-03/web/packages/a/",
            "→ 1.2",
            "&lt;i&gt;",
            "not in the repository on that day",
            "not listed, only in the archive",
            "name=\"day\" value=\"2026-11-03\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(render(Vec::new()).contains("lists all versions of the file"));
        let many =
            (0..=MAX_CHANGES).map(|number| change(&format!("p{number}"), LockedState::Missing)).collect();
        let html = render(many);
        assert!(
            html.contains("The first 200 are shown.") && html.contains("p199<") && !html.contains("p200<")
        );
    }
}
