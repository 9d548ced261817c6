//! A month as a table: every day that a repository serves is a link, and the days with changes are marked.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use maud::{Markup, html};

use super::first_packages::FirstPackages;
use super::frame::Root;
use base::model::time::{Day, SECOND, Timestamp};

/// A month of a year, `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    month: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a month is written YYYY-MM")]
pub struct BadMonth;

impl FromStr for Month {
    type Err = BadMonth;

    fn from_str(text: &str) -> Result<Month, BadMonth> {
        let first: Day = format!("{text}-01").parse().map_err(|_| BadMonth)?;
        Ok(Month::of(first))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl Month {
    pub fn of(day: Day) -> Month {
        let civil = day.start().civil();
        Month {
            year: u16::try_from(civil.year()).unwrap_or_default(),
            month: u8::try_from(civil.month()).unwrap_or(1),
        }
    }

    pub fn previous(self) -> Month {
        match self.month {
            1 => Month { year: self.year.saturating_sub(1), month: 12 },
            month => Month { month: month - 1, ..self },
        }
    }

    pub fn next(self) -> Month {
        match self.month {
            12 => Month { year: self.year.saturating_add(1), month: 1 },
            month => Month { month: month + 1, ..self },
        }
    }

    fn days(self) -> Vec<Day> {
        let mut days = Vec::with_capacity(31);
        let mut next: Option<Day> = format!("{self}-01").parse().ok();
        while let Some(day) = next.filter(|day| Month::of(*day) == self) {
            days.push(day);
            next = Some(day.end().day()).filter(|next| *next > day);
        }
        days
    }

    fn name(self) -> &'static str {
        const NAMES: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        NAMES.get(usize::from(self.month).saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Returns the day of the week, from 0 for Monday.
fn weekday(day: Day) -> usize {
    const DAY: i64 = 86_400 * SECOND;
    // The day of the epoch was a Thursday.
    let Timestamp(start) = day.start();
    usize::try_from((start.div_euclid(DAY) + 3).rem_euclid(7)).unwrap_or_default()
}

#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    pub repo: &'a str,
    pub month: Month,
    pub changes: &'a BTreeSet<Day>,
    pub today: Day,
    pub selected: Option<Day>,
    pub first_packages: &'a FirstPackages,
}

impl Calendar<'_> {
    /// Renders the month, with links to the previous and the next month if they contain days of the repository.
    pub fn render(&self, root: &Root) -> Markup {
        let Some(first) = self.changes.first().copied() else {
            return html! { p { "Nothing was published yet. " (self.first_packages.render()) } };
        };
        let days = self.month.days();
        let offset = days.first().copied().map_or(0, weekday);
        let cells: Vec<Option<Day>> =
            std::iter::repeat_n(None, offset).chain(days.into_iter().map(Some)).collect();
        let previous = Some(self.month.previous()).filter(|month| *month >= Month::of(first));
        let next = Some(self.month.next()).filter(|month| *month <= Month::of(self.today));
        html! {
            table.month {
                caption { (self.month.name()) " " (self.month.year) }
                thead { tr {
                    @for name in ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"] { th scope="col" { (name) } }
                } }
                tbody { @for week in cells.chunks(7) {
                    tr { @for day in week { td { @if let Some(day) = day { (self.cell(root, *day, first)) } } } }
                } }
            }
            ul.links {
                @if let Some(month) = previous { li { a href=(root.query(&[("month", &month.to_string())])) { "Previous month" } } }
                @if let Some(month) = next { li { a href=(root.query(&[("month", &month.to_string())])) { "Next month" } } }
            }
            p { small { "On days with a border something was published; all other days have the state of the last of them before." } }
        }
    }

    fn cell(&self, root: &Root, day: Day, first: Day) -> Markup {
        let number = day.start().civil().day();
        if day < first || day > self.today {
            return html! { span.muted { (number) } };
        }
        let has_changes = self.changes.contains(&day);
        // WCAG 2.5.3: the accessible name contains the visible number as a word, which 2026-11-01 does not.
        let suffix = if has_changes { ", with changes" } else { "" };
        let label = format!("{number} {} {}{suffix}", self.month.name(), self.month.year);
        let current = (self.selected == Some(day)).then_some("date");
        html! {
            a.with[has_changes] href=(root.snapshot(self.repo, &day.to_string())) aria-label=(label)
                aria-current=[current] { (number) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::kind::{ChangePolicy, RepoKind};

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn first_packages(repo: &str, kind: RepoKind) -> FirstPackages {
        FirstPackages { repo: repo.to_owned(), kind, changes: ChangePolicy::Any, source: None }
    }

    #[test]
    fn months_have_their_days_and_neighbors() {
        let month: Month = "2024-02".parse().expect("a month");
        assert_eq!((month.days().len(), month.to_string()), (29, "2024-02".to_owned()));
        assert_eq!(weekday(day("2026-11-20")), 4, "a Friday");
        assert_eq!(weekday(day("1969-12-29")), 0, "a Monday");
        let january: Month = "2026-01".parse().expect("a month");
        assert_eq!(
            (january.previous().to_string(), january.next().to_string()),
            ("2025-12".into(), "2026-02".into())
        );
        for bad in ["", "2026", "2026-13", "2026-1", "x"] {
            assert_eq!(bad.parse::<Month>(), Err(BadMonth), "{bad}");
        }
    }

    #[test]
    fn only_days_that_are_served_are_links() {
        let changes = BTreeSet::from([day("2026-11-10"), day("2026-11-17")]);
        let calendar = Calendar {
            repo: "prod",
            month: Month::of(day("2026-11-01")),
            changes: &changes,
            today: day("2026-11-20"),
            selected: Some(day("2026-11-17")),
            first_packages: &first_packages("prod", RepoKind::R),
        };
        let html = calendar.render(&Root::of_path("/prod/latest/")).into_string();
        assert_eq!(html.matches("<a ").count(), 11, "{html}");
        assert_eq!(html.matches("with changes").count(), 2);
        assert!(html.contains(
            "href=\"../../prod/2026-11-17/\" aria-label=\"17 November 2026, with changes\" aria-current"
        ));
        assert!(!html.contains("?month="), "nothing before or after");
    }

    #[test]
    fn the_name_of_each_link_begins_with_its_visible_number() {
        let month: Month = "2026-12".parse().expect("a month");
        let changes: BTreeSet<Day> = month.days().into_iter().step_by(2).collect();
        let calendar = Calendar {
            repo: "prod",
            month,
            changes: &changes,
            today: day("2027-01-05"),
            selected: Some(day("2026-12-03")),
            first_packages: &first_packages("prod", RepoKind::R),
        };
        let html = calendar.render(&Root::of_path("/prod/latest/")).into_string();
        let links = html.split("aria-label=\"").skip(1).filter_map(|part| {
            let (label, after) = part.split_once('"')?;
            let (_, after) = after.split_once('>')?;
            Some((label.to_owned(), after.split('<').next()?.to_owned()))
        });
        let expected = (1..=31).map(|number| {
            let suffix = if number % 2 == 1 { ", with changes" } else { "" };
            (format!("{number} December 2026{suffix}"), number.to_string())
        });
        assert_eq!(links.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{html}");
    }

    #[test]
    fn links_have_the_selected_version_of_bioconductor() {
        let changes = BTreeSet::from([day("2026-10-10"), day("2026-11-17")]);
        let first_packages = first_packages("bioc", RepoKind::Bioconductor);
        let calendar = Calendar {
            repo: "bioc",
            month: Month::of(day("2026-11-01")),
            changes: &changes,
            today: day("2026-12-02"),
            selected: None,
            first_packages: &first_packages,
        };
        let root = Root::of_path("/bioc/latest/").with_bioconductor(Some("3.20".to_owned()));
        let html = calendar.render(&root).into_string();
        let links: Vec<&str> =
            html.split("href=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
        assert_eq!(links.len(), 32, "30 days, and the months before and after: {html}");
        assert!(links.iter().all(|link| link.contains("bioc=3.20")), "{links:?}");
        assert!(links.contains(&"../../bioc/2026-11-17/?bioc=3.20"), "{links:?}");
    }
}
