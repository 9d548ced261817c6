//! A month as a table: every day that a repository serves is a link, and the days with changes are marked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use maud::{Markup, html};

use super::first_packages::FirstPackages;
use super::frame::Root;
use super::picture::Picture;
use super::text::{self, visible};
use base::model::time::Day;

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

    pub fn year(self) -> u16 {
        self.year
    }

    pub(super) fn is_january(self) -> bool {
        self.month == 1
    }

    /// Returns its first day; `None` after the year 9999.
    pub(super) fn first_day(self) -> Option<Day> {
        format!("{self}-01").parse().ok()
    }

    fn days(self) -> Vec<Day> {
        let mut days = Vec::with_capacity(31);
        let mut next = self.first_day();
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

/// The number of weeks of the picture of a year.
const WEEKS: i64 = 53;
/// Side of a square, in user units.
const SIDE: i64 = 13;
/// Distance of two squares, in user units.
const STEP: i64 = 16;
/// Space for the names of the days of the week, in user units.
const LEFT: i64 = 26;
/// Space for the names of the months, in user units.
const TOP: i64 = 18;

/// The days of the week, from Monday on.
pub(super) const WEEKDAYS: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];

/// Returns the day of the week, from 0 for Monday.
pub(super) fn weekday(day: Day) -> i64 {
    // The day of the epoch was a Thursday.
    (day.number() + 3).rem_euclid(7)
}

/// Returns the first day of the picture of a year that ends today.
pub fn first_day_of_year(today: Day) -> Day {
    Day::from_number(today.number() - weekday(today) - 7 * (WEEKS - 1))
}

/// What was published on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedDay {
    /// The number of packages that transactions of the sources changed; 0 if it is unknown.
    pub packages: i64,
    /// The first syncs: `first sync of cran`.
    pub first_syncs: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    pub repo: &'a str,
    pub month: Month,
    /// The days on which something was published.
    pub changes: &'a BTreeMap<Day, PublishedDay>,
    pub today: Day,
    pub selected: Option<Day>,
    pub first_packages: &'a FirstPackages,
}

impl Calendar<'_> {
    /// Renders the month, with links to the previous and the next month if they contain days of the repository.
    pub fn render(&self, root: &Root) -> Markup {
        let Some((first, _)) = self.changes.first_key_value() else {
            return html! { p { "Nothing was published yet. " (self.first_packages.render()) } };
        };
        let first = *first;
        let days = self.month.days();
        let offset = days.first().and_then(|day| usize::try_from(weekday(*day)).ok()).unwrap_or(0);
        let cells: Vec<Option<Day>> =
            std::iter::repeat_n(None, offset).chain(days.into_iter().map(Some)).collect();
        let previous = Some(self.month.previous()).filter(|month| *month >= Month::of(first));
        let next = Some(self.month.next()).filter(|month| *month <= Month::of(self.today));
        html! {
            table.month {
                caption { (self.month.name()) " " (self.month.year) }
                thead { tr {
                    @for name in WEEKDAYS { th scope="col" { (name) } }
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
        let published = self.changes.get(&day);
        // WCAG 2.5.3: the accessible name contains the visible number as a word, which 2026-11-01 does not.
        let suffix = match published.map(|published| published.first_syncs.as_slice()) {
            None => String::new(),
            Some([]) => ", with changes".to_owned(),
            Some(first_syncs) => format!(", {}", first_syncs.join(", ")),
        };
        let label = format!("{number} {} {}{suffix}", self.month.name(), self.month.year);
        let current = (self.selected == Some(day)).then_some("date");
        html! {
            a.with[published.is_some()] href=(root.snapshot(self.repo, &day.to_string())) aria-label=(label)
                aria-current=[current] { (number) }
        }
    }

    /// Renders the days of a year up to today as a picture of weeks, in which each day that is served is a link. Nothing
    /// before the first publish. The links are not reached by the Tab key: the month has the same ones.
    pub fn year(&self, root: &Root) -> Markup {
        let Some((first, _)) = self.changes.first_key_value() else { return html! {} };
        let today = self.today.number();
        let begin = first_day_of_year(self.today).number();
        let shown = self.changes.range(Day::from_number(begin)..=self.today);
        let most = shown.clone().max_by_key(|(_, published)| published.packages);
        let most = most.filter(|(_, published)| published.packages > 0).map(|(day, published)| {
            format!(", most packages on {day}: {}", text::number(published.packages))
        });
        let title = format!("Changes of {} by day", self.repo);
        let description = format!(
            "On {} of the last {WEEKS} weeks something was published{}. The calendar of a month has the same links.",
            text::count(shown.count(), "day", "days"),
            most.unwrap_or_default()
        );
        let (width, height) = (LEFT + WEEKS * STEP, TOP + 7 * STEP);
        let picture = Picture { name: "year", width, height, title: &title, description: &description };
        let day = |number: i64| {
            let day = Day::from_number(number);
            let y = TOP + weekday(day) * STEP;
            let published = self.changes.get(&day);
            let square =
                html! { path class=[published.map(class)] d={ "M0 " (y) "h" (SIDE) "v" (SIDE) "H0z" } {} };
            html! {
                @if day < *first { (square) } @else {
                    a href=(root.snapshot(self.repo, &day.to_string())) tabindex="-1" {
                        title { (day) ": " (published.map_or_else(|| "unchanged".to_owned(), PublishedDay::text)) }
                        (square)
                    }
                }
            }
        };
        // The month that begins in a week is above it.
        let month = |monday: i64| {
            let sunday = Day::from_number(monday + 6);
            let is_first = Month::of(Day::from_number(monday - 1)) != Month::of(sunday);
            is_first.then(|| &Month::of(sunday).name()[..3])
        };
        let picture = picture.render("group", &html! {
            @for (at, name) in (0_i64..).zip(WEEKDAYS).step_by(2).take(3) {
                text x="0" y=(TOP + at * STEP + 11) { (name) }
            }
            @for week in 0..WEEKS {
                @let monday = begin + 7 * week;
                g transform={ "translate(" (LEFT + week * STEP) ")" } {
                    @if let Some(name) = month(monday).filter(|_| week < WEEKS - 1) { text x="0" y="11" { (name) } }
                    @for number in monday..=today.min(monday + 6) { (day(number)) }
                }
            }
        });
        html! {
            (picture)
            p { small { "Each square is a day; a stronger color means more changed packages." } }
        }
    }
}

impl PublishedDay {
    fn text(&self) -> String {
        match (self.first_syncs.as_slice(), self.packages) {
            ([], 0) => "changed".to_owned(),
            ([], packages) => text::count(usize::try_from(packages).unwrap_or(0), "package", "packages"),
            (first_syncs, _) => visible(&first_syncs.join(", ")),
        }
    }
}

/// Returns the class of the square of a day, by the order of magnitude of its changes; another one for a first sync.
fn class(published: &PublishedDay) -> &'static str {
    match published.packages {
        _ if !published.first_syncs.is_empty() => "first",
        ..10 => "few",
        10..100 => "some",
        100..1_000 => "many",
        1_000.. => "most",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::kind::{ChangePolicy, RepoKind};

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn days(days: impl IntoIterator<Item = Day>) -> BTreeMap<Day, PublishedDay> {
        days.into_iter().map(|day| (day, PublishedDay::default())).collect()
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
        let changes = days([day("2026-11-10"), day("2026-11-17")]);
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
        let changes = days(month.days().into_iter().step_by(2));
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
        let changes = days([day("2026-10-10"), day("2026-11-17")]);
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

    #[test]
    fn a_year_has_a_square_and_a_link_for_each_day() {
        let today = day("2026-12-01");
        let all: Vec<Day> = (0..400).map(|before| Day::from_number(today.number() - before)).collect();
        let mut changes = days(all);
        for (at, published) in changes.values_mut().enumerate() {
            published.packages = i64::try_from(at * at).expect("a number");
        }
        changes.insert(
            day("2026-11-20"),
            PublishedDay { packages: 9, first_syncs: vec!["first sync of <cran>".to_owned()] },
        );
        let calendar = Calendar {
            repo: "prod",
            month: Month::of(today),
            changes: &changes,
            today,
            selected: None,
            first_packages: &first_packages("prod", RepoKind::R),
        };
        let root = Root::of_path("/prod/latest/");
        let html = calendar.year(&root).into_string();
        assert_eq!(
            (html.matches("<a ").count(), html.matches("<path ").count()),
            (366, 366),
            "52 weeks and two days"
        );
        for part in [
            "On 366 days of the last 53 weeks something was published, most packages on 2026-12-01: 159\u{202f}201.",
            "<a href=\"../../prod/2026-12-01/\" tabindex=\"-1\"><title>2026-12-01: 159\u{202f}201 packages</title>\
             <path class=\"most\" d=\"M0 34h13v13H0z\"></path></a>",
            "<title>2026-11-20: first sync of &lt;cran&gt;</title><path class=\"first\"",
            ">Jan</text>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let sent = crate::assets::gzip(html.as_bytes(), 6).expect("memory").len();
        assert!(sent <= 6_000, "{sent} bytes");
        let elements = html.matches('<').count() - html.matches("</").count();
        assert!(elements <= 1_200, "{elements} elements");
        let changes = days([day("2026-11-30")]);
        let calendar = Calendar { changes: &changes, ..calendar };
        let html = calendar.year(&root).into_string();
        assert_eq!((html.matches("<a ").count(), html.matches("<path ").count()), (2, 366), "{html}");
        assert!(
            html.contains("<title>2026-12-01: unchanged</title>") && html.contains("On 1 day of"),
            "{html}"
        );
        let empty = Calendar { changes: &BTreeMap::new(), ..calendar };
        assert_eq!(empty.year(&root).into_string(), "");
    }
}
